"""Data without behaviour in a checkpoint is read, and what only a program knows stays an inert object."""

import argparse
import collections
import datetime
import decimal
import pathlib
import pickle
import types

import numpy as np
import pytest

from tfcxr.porting.inert_pickle import PickledObject
from tfcxr.porting.pytorch_file import read_pytorch_file


@pytest.fixture(params=["zip", "legacy"])
def write(request, torch_file, tmp_path):
    """A function that writes a value in either layout and returns the path."""
    writer = {"zip": torch_file.write_zip, "legacy": torch_file.write_legacy}[request.param]
    return lambda value: writer(tmp_path / "file.pt", value)


def python_data():
    counter = collections.Counter("aab")
    grouped = collections.defaultdict(list, {"x": [1]})
    return {
        "counter": (counter, {"a": 2, "b": 1}),
        "grouped": (grouped, {"x": [1]}),
        "complex": (1 + 2j, 1 + 2j),
        "set": ({1, 2}, {1, 2}),
        "frozenset": (frozenset("ab"), frozenset("ab")),
        "queue": (collections.deque([1, 2], 5), [1, 2]),
        "bytes": (b"\x00\xff", b"\x00\xff"),
        "byte array": (bytearray(b"xyz"), b"xyz"),
        "pairs as keys": ({(1, "a"): 2}, {(1, "a"): 2}),
        "numpy's numbers": ({np.int64(3): np.float32(2.5)}, {3: 2.5}),
        "text array": (np.array(["a", "bc"]), np.array(["a", "bc"])),
        "switches": (np.array([True, False]), np.array([True, False])),
        "columns": (np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(6.0).reshape(2, 3)),
        "dtype": (np.dtype(">i2"), np.dtype(">i2")),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", python_data())
def test_data_without_behaviour_is_read(torch_file, tmp_path, protocol, name):
    given, expected = python_data()[name]
    pickled = pickle.dumps([given, given], protocol)
    found = read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", None, pickled=pickled))
    np.testing.assert_equal(found, [expected, expected])
    assert type(found[0]) is type(expected)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("given", "class_name"),
    [
        (argparse.Namespace(rate=0.1), "argparse.Namespace"),
        (types.SimpleNamespace(rate=0.1), "types.SimpleNamespace"),
        (pathlib.PurePosixPath("/a/b"), "PurePosixPath"),
        (datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc), "datetime.datetime"),
        (datetime.timedelta(3), "datetime.timedelta"),
        (decimal.Decimal("1.5"), "decimal.Decimal"),
        (slice(1, 2, 3), "builtins.slice"),
        (range(3), "range"),
        (int, "int"),
        (np.float32, "numpy.float32"),
    ],
)
def test_plain_objects_stay_inert(torch_file, tmp_path, protocol, given, class_name):
    pickled = pickle.dumps({"it": given, "w": [1]}, protocol)
    found = read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", None, pickled=pickled))
    assert type(found["it"]) is PickledObject and found["w"] == [1]
    assert found["it"].class_name.endswith(class_name) or (given is int and protocol == 2)
    if hasattr(given, "rate"):
        assert found["it"].state == {"rate": 0.1}


def test_classes_of_other_programs_stay_inert(write, torch_file):
    """Configurations, and dictionaries and lists of classes of their own, as training programs leave them."""
    call, weight = torch_file.Call, np.ones([2], np.float32)
    value = [
        call("omegaconf.dictconfig", "DictConfig", is_new=True, state={"lr": 0.1}),
        call("__main__", "Colour", 2),
        call("collections", "OrderedDict", [("w", weight)], state={"_metadata": {}}),
    ]
    found = read_pytorch_file(write(value))
    assert (found[0].class_name, found[0].state) == ("omegaconf.dictconfig.DictConfig", {"lr": 0.1})
    assert (found[1].class_name, found[1].arguments) == ("__main__.Colour", (2,))
    np.testing.assert_array_equal(found[2]["w"], weight)


def test_an_ordered_dictionary_of_its_own_class(torch_file, tmp_path):
    pickled = b"\x80\x02c__main__\nWeights\n)R(X\x01\x00\x00\x00aK\x07X\x01\x00\x00\x00bK\x08u}X\x01\x00\x00\x00cNsb."
    assert read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", None, pickled=pickled)) == {"a": 7, "b": 8}
    pickled = b"\x80\x02c__main__\nRow\n)\x81(K\x07K\x08e."
    assert read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", None, pickled=pickled)) == [7, 8]
