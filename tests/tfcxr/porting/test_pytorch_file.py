"""The reader of torch.save's files: what it gives back, and that nothing in a file runs."""

import pathlib
import pickle
import re
import zipfile

import numpy as np
import pytest

from tfcxr.porting.pickle_machine import PickledObject
from tfcxr.porting.pytorch_file import read_pytorch_file, state_dict


@pytest.fixture(params=["zip", "legacy"])
def write(request, torch_file, tmp_path):
    """A function that writes a value in either layout and returns the path."""
    writer = {"zip": torch_file.write_zip, "legacy": torch_file.write_legacy}[request.param]
    return lambda value, **keywords: writer(tmp_path / "file.pt", value, **keywords)


def module(torch_file, class_name, parameters=None, buffers=None, children=None, **more):
    """A pickled torch.nn.Module."""
    ordered = lambda items: torch_file.Call("collections", "OrderedDict", list((items or {}).items()))  # noqa: E731
    state = {"training": False, "_parameters": ordered(parameters), "_buffers": ordered(buffers)}
    state |= {"_modules": ordered(children)} | more
    package, name = class_name.rsplit(".", 1)
    return torch_file.Call(package, name, is_new=True, state=state)


# what is read


def test_tensors_of_every_kind(write, torch_file):
    generator = np.random.default_rng(0)
    plain = {
        name: np.array([[0, 1, 2], [100, 3, 4]], name) for name in ("int64", "int32", "int16", "int8", "uint8", "bool")
    }
    plain |= {name: generator.normal(size=[2, 3]).astype(name) for name in ("float64", "float32", "float16")}
    plain |= {"scalar": np.array(3.5, np.float32), "empty": np.zeros([0, 3], np.float32)}
    storage = np.arange(12, dtype=np.float32)
    halves = (np.array([1.5, -2.0, 3e38], np.float32).view(np.uint32) >> 16).astype(np.int16)
    value = plain | {
        "transposed": torch_file.Tensor(storage, [3, 2], [1, 3], offset=2),
        "row": torch_file.Tensor(storage, [4], [1], offset=8),
        "repeated": torch_file.Tensor(storage, [2, 2], [0, 1]),
        "bfloat16": torch_file.Tensor(halves, [3], [1], storage_type="BFloat16Storage"),
    }
    found = read_pytorch_file(write(value))
    for name, array in plain.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
    np.testing.assert_array_equal(found["transposed"], [[2, 5], [3, 6], [4, 7]])
    np.testing.assert_array_equal(found["row"], [8, 9, 10, 11])
    np.testing.assert_array_equal(found["repeated"], [[0, 1], [0, 1]])
    assert found["bfloat16"].dtype == np.float32
    np.testing.assert_allclose(found["bfloat16"], [1.5, -2.0, 3e38], rtol=0.01)


def test_containers_numbers_and_names(write, torch_file):
    call, weight = torch_file.Call, np.ones([2], np.float32)
    hooks = call("collections", "OrderedDict")
    dtype = call("numpy", "dtype", "f4", False, True, state=(3, "<", None, None, None, -1, -1, 0))
    array = call("numpy.core.multiarray", "_reconstruct", torch_file.Global("numpy", "ndarray"), (0,), b"b")
    array.state = (1, (2, 2), dtype, True, np.arange(4, dtype="<f4").tobytes())
    value = {
        "nested": [1, -7, 2**70, 2.5, None, True, ("a", ["b"])],
        "ordered": call("collections", "OrderedDict", [("k", weight)], state={"_metadata": {"": {"version": 1}}}),
        "parameter": call("torch._utils", "_rebuild_parameter", weight, True, hooks),
        "size": call("torch", "Size", (2, 3)),
        "device": call("torch", "device", "cuda", 1),
        "dtype": torch_file.Global("torch", "float16"),
        "set": call("__builtin__", "set", [1, 2]),
        "array": array,
        "scalar": call("numpy._core.multiarray", "scalar", dtype, np.float32(2.5).tobytes()),
        "bytes": call("_codecs", "encode", "\x00\xff", "latin1"),
        "config": call("models.utils.config", "BaseConfig", is_new=True, state={"alpha": 0.5}),
    }
    found = read_pytorch_file(write(value))
    assert found["nested"] == value["nested"]
    assert type(found["ordered"]) is dict
    np.testing.assert_array_equal(found["ordered"]["k"], weight)
    np.testing.assert_array_equal(found["parameter"], weight)
    assert (found["size"], found["device"], found["dtype"]) == ((2, 3), "cuda:1", "torch.float16")
    assert (found["set"], found["scalar"], found["bytes"]) == ({1, 2}, 2.5, b"\x00\xff")
    np.testing.assert_array_equal(found["array"], [[0, 2], [1, 3]])
    assert isinstance(found["config"], PickledObject)
    assert (found["config"].class_name, found["config"].state) == ("models.utils.config.BaseConfig", {"alpha": 0.5})


def test_big_endian_numbers(torch_file, tmp_path):
    path = torch_file.write_zip(tmp_path / "big.pt", [np.arange(3, dtype=">f4")], {"byteorder": "big"})
    (found,) = read_pytorch_file(path)
    np.testing.assert_array_equal(found, [0, 1, 2])
    path = torch_file.write_zip(tmp_path / "odd.pt", [np.arange(3, dtype=">f4")], {"byteorder": "middle"})
    with pytest.raises(ValueError, match="its byte order is 'middle', expected little or big"):
        read_pytorch_file(path)


def test_a_pickled_module_becomes_its_state_dict(write, torch_file):
    weight, mean, count = np.ones([2, 3], np.float32), np.zeros([2], np.float32), np.array(7)
    norm = module(
        torch_file,
        "torch.nn.modules.batchnorm.BatchNorm2d",
        buffers={"running_mean": mean, "lost": mean, "num_batches_tracked": count, "none": None},
        _non_persistent_buffers_set=torch_file.Call("builtins", "set", ["lost"]),
    )
    linear = module(torch_file, "torch.nn.modules.linear.Linear", parameters={"weight": weight, "bias": None})
    features = module(torch_file, "torch.nn.modules.container.Sequential", children={"0": norm, "gone": None})
    children = {"features": features, "classifier": linear}
    whole = module(torch_file, "torchxrayvision.models.DenseNet", children=children, pathologies=["Mass"])
    found = read_pytorch_file(write(whole))
    assert (found.class_name, found.state["pathologies"]) == ("torchxrayvision.models.DenseNet", ["Mass"])
    state = state_dict(found)
    assert list(state) == ["features.0.running_mean", "features.0.num_batches_tracked", "classifier.weight"]
    np.testing.assert_array_equal(state["classifier.weight"], weight)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "expected a state dict .* in the file, which is of type list"),
        ({}, "expected a state dict .* in the file, which is an empty dictionary"),
        ({"a": np.ones(2), "b": "text", "c": {}}, "no tensors are its keys b, c"),
        (PickledObject("models.utils.config.BaseConfig", {}), "or a pickled torch.nn.Module, got a models.utils"),
        (PickledObject("N", {"_modules": {"a": PickledObject("torch.nn.ReLU")}}), "got a torch.nn.ReLU at a$"),
        (PickledObject("N", {"_modules": {"a": 3}}), "a is of type int, expected a module"),
        (PickledObject("N", {"_modules": {}, "_parameters": {"w": "x"}}), "w is of type str, expected a tensor"),
    ],
)
def test_what_is_no_state_dict_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        state_dict(value, "the file")


def test_a_module_that_contains_itself_is_refused():
    endless = PickledObject("torch.nn.Sequential", {"_modules": {}})
    endless.state["_modules"]["again"] = endless
    with pytest.raises(ValueError, match="the pickled torch.nn.Sequential has no end at again"):
        state_dict(endless)
    many = PickledObject("torch.nn.Sequential", {"_modules": {}, "_parameters": {"w": np.zeros(1)}})
    for _ in range(40):  # 2^40 paths lead to the first
        many = PickledObject("torch.nn.Sequential", {"_modules": {"a": many, "b": many}})
    with pytest.raises(ValueError, match="the pickled torch.nn.Sequential has no end at"):
        state_dict(many)


# what must not run

ATTACKS = [
    ("os", "system", ["touch PATH"]),
    ("posix", "system", ["touch PATH"]),
    ("subprocess", "check_call", [["touch", "PATH"]]),
    ("builtins", "eval", ["open('PATH', 'w')"]),
    ("__builtin__", "exec", ["open('PATH', 'w')"]),
    ("builtins", "open", ["PATH", "w"]),
    ("builtins", "getattr", ["x", "upper"]),
    ("builtins", "__import__", ["os"]),
    ("importlib", "import_module", ["antigravity"]),
    ("pathlib", "Path.touch", ["PATH"]),
    ("torch", "load", ["PATH"]),
    ("torch.hub", "load", ["PATH"]),
    ("torch._utils", "_import_dotted_name", ["os.system"]),
    ("torch.serialization", "_load", ["PATH"]),
    ("torch.utils.cpp_extension", "load", ["x", "PATH"]),
    ("numpy.testing._private.utils", "runstring", ["open('PATH', 'w')", {}]),
    ("operator", "attrgetter", ["system"]),
    ("functools", "partial", ["x"]),
    ("pickle", "loads", [b"N."]),
    ("tfcxr.porting.pytorch_file", "read_pytorch_file", ["PATH"]),
]


def filled(argument, path):
    if isinstance(argument, list):
        return [filled(item, path) for item in argument]
    return argument.replace("PATH", str(path)) if isinstance(argument, str) else argument


@pytest.mark.parametrize(("package", "name", "arguments"), ATTACKS, ids=lambda value: str(value)[:20])
def test_a_forbidden_name_is_refused_and_nothing_runs(write, torch_file, tmp_path, package, name, arguments):
    marker = tmp_path / "made_by_the_attack"
    attack = torch_file.Call(package, name, *filled(arguments, marker))
    places = [
        attack,
        {"state_dict": {"w": np.ones(2, np.float32)}, "settings": [attack]},
        torch_file.Call("collections", "OrderedDict", [("k", attack)]),
        torch_file.Call("torch._utils", "_rebuild_parameter", attack, True, {}),
        torch_file.Call("torch.nn.modules.linear", "Linear", is_new=True, state={"_parameters": attack}),
    ]
    for value in places:
        with pytest.raises(ValueError, match=f"it names '{re.escape(package)}.{re.escape(name)}', .*nothing was run"):
            read_pytorch_file(write(value))
    path = tmp_path / "plain.pkl"
    path.write_bytes(torch_file.Encoder().pickle(attack))
    with pytest.raises(ValueError, match=f"it names '{re.escape(package)}.{re.escape(name)}'"):
        read_pytorch_file(path)
    assert not marker.exists()


def test_the_attacks_would_work_on_pythons_own_reader(torch_file, tmp_path):
    """So the test above can fail."""
    marker = tmp_path / "made_by_the_attack"
    for package, name, arguments in ATTACKS[:4]:
        pickle.loads(torch_file.Encoder().pickle(torch_file.Call(package, name, *filled(arguments, marker))))
        assert marker.exists()
        marker.unlink()


def test_names_in_allowed_modules_are_not_looked_up(write, torch_file, tmp_path):
    """torch.nn and the like stand for themselves: nothing is imported, called or given a state by Python's rules."""
    marker = tmp_path / "made_by_the_attack"
    call = torch_file.Call("torch.nn.modules.module", "os.system", f"touch {marker}", state={"__setstate__": 1})
    found = read_pytorch_file(write([call, torch_file.Global("torchvision.models.densenet", "DenseNet")]))
    assert (found[0].class_name, found[0].state) == ("torch.nn.modules.module.os.system", {"__setstate__": 1})
    assert (found[1].class_name, found[1].state) == ("torchvision.models.densenet.DenseNet", None)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"\x80\x02\x82\x01.", "the instruction EXT1, which weights do not need"),
        (b"\x80\x02P0\n.", "the instruction PERSID, which weights do not need"),
        (b"\x80\x02X\x03\x00\x00\x00abcQ.", "a tensor's storage is described in an unknown way"),
        (b"\x80\x02X\x03\x00\x00\x00abc)R.", r"damaged at byte 11 \(REDUCE: str is called\)"),
        (b"\x80\x02)}b.", r"damaged at byte 4 \(BUILD: a state is given to tuple\)"),
        (b"\x80\x02ctorch\nSize\n}(X\x01\x00\x00\x00aNub.", "a state is given to Constructor"),
        (b"\x80\x02NN.", "it ends with 2 objects, expected 1"),
        (b"\x80\x02r\xff\xff\xff\xff.", "damaged at byte 2"),
        (b"\x80\x02h\x05.", "damaged at byte 2"),
        (b"\x80\x02}))s.", "tuple as a key"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "truncated or damaged"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "it names 'os.system'"),
        (b"(S'x'\nios\nsystem\n.", "it names 'os.system'"),
        (b"(cos\nsystem\nS'x'\no.", "it names 'os.system'"),
        (b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".", "nested too deeply"),
        (b"\x80\x02N", "truncated or damaged"),
    ],
    ids=range(16),
)
def test_damaged_and_hostile_pickles(torch_file, tmp_path, pickled, message):
    with pytest.raises(ValueError, match=message):
        read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", None, pickled=pickled))


def test_lists_in_lists_that_share_do_not_explode(torch_file, tmp_path):
    pickled = b"\x80\x02]q\x000" + b"](h\x00h\x00eq\x000" * 100 + b"h\x00."  # 2^100 leaves
    found = read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", None, pickled=pickled))
    for _ in range(100):
        assert found[0] is found[1]
        found = found[0]
    assert found == []
    value = read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", None, pickled=b"\x80\x02]q\x00h\x00a."))
    assert value[0] is value, "a list may hold itself"


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_any_flipped_byte_gives_a_value_or_a_sentence(torch_file, tmp_path):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = {"a": weight, "b": module(torch_file, "torch.nn.Linear", {"w": weight}), "c": [1, 2.5, None, "text"]}
    pickled = torch_file.Encoder().pickle(value)
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(600):
        damaged = bytearray(pickled)
        damaged[generator.integers(len(damaged))] = generator.integers(256)
        path = torch_file.write_zip(tmp_path / "file.pt", value, pickled=bytes(damaged))
        try:
            read_pytorch_file(path)
        except ValueError:
            refused += 1
    assert 200 < refused < 600


# tensors that do not fit their storage


@pytest.mark.parametrize(
    ("size", "stride", "offset", "count"),
    [
        ([4], [1], 3, 6),  # past the end
        ([2, 3], [4, 1], 0, 6),
        ([2], [2**62], 0, 6),
        ([2**40], [0], 0, 6),  # would be terabytes once it is copied
        ([2], [-1], 5, 6),
        ([-1], [1], 0, 6),
        ([1], [1], 6, 6),
        ([1], [1], -1, 6),
        ([2, 2], [1], 0, 6),
        ([2.0], [1], 0, 6),
        ([6], [1], 0, 7),  # the storage is shorter than it says
        ([6], [1], 0, 2**60),
        ([3], [1], 0, 3),  # or longer
    ],
)
def test_tensors_outside_their_storage_are_refused(write, torch_file, size, stride, offset, count):
    storage = np.arange(6, dtype=np.float32)
    tensor = torch_file.Tensor(storage, size, stride, offset, count=count)
    with pytest.raises(ValueError, match="was not read: (a tensor (has|of) size|it is (truncated or )?damaged)"):
        read_pytorch_file(write({"w": tensor}))


def test_one_storage_described_in_two_ways_is_refused(write, torch_file):
    storage = np.arange(6, dtype=np.float32)
    tensors = [torch_file.Tensor(storage, [6], [1]), torch_file.Tensor(storage, [3], [1], storage_type="DoubleStorage")]
    with pytest.raises(ValueError, match="storage 0 is described in two ways"):
        read_pytorch_file(write(tensors))


# files of another kind


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint .*none.pt"):
        read_pytorch_file(tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file.pt was not read: it is empty"),
        (b"<!DOCTYPE html>", "begins with b'<!DO', so neither a zip nor the older layout"),
        (b"\x80\x02N.", "a plain pickle, not a file of torch.save"),
        (b"\x80\x04ctorch_utils.persistence\n_reconstruct_persistent_obj\n.", "NVIDIA's own .pkl files hold programs"),
    ],
)
def test_files_of_other_kinds(tmp_path, content, message):
    path = tmp_path / "file.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_pytorch_file(path)


def test_truncated_files(write):
    path = write({"a": np.arange(500, dtype=np.float32), "b": [1, 2]})
    whole = path.read_bytes()
    for length in (1, 3, 30, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="file.pt was not read: .*(truncated|neither a zip|damaged)"):
            read_pytorch_file(path)


def test_zips_of_other_things(torch_file, tmp_path):
    path = tmp_path / "file.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "text")
    with pytest.raises(ValueError, match="it is a zip of something else: torch.save writes a data.pkl, which it lacks"):
        read_pytorch_file(path)
    for entry in ("constants.pkl", "code/__torch__.py"):
        torch_file.write_zip(path, [1], {entry: b"N."})
        with pytest.raises(ValueError, match="it is a TorchScript archive, a program"):
            read_pytorch_file(path)
    torch_file.write_zip(path, [np.zeros(10_000, np.float32)], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="it is compressed, which torch.save never does"):
        read_pytorch_file(path)


def test_damaged_zip_entries(torch_file, tmp_path):
    path = torch_file.write_zip(tmp_path / "file.pt", [np.full(100, 1.5, np.float32)])
    content = path.read_bytes()
    value = np.full(100, 1.5, np.float32).tobytes()
    path.write_bytes(content.replace(value, value[:-1] + b"!"))
    with pytest.raises(ValueError, match="file.pt was not read: Bad CRC-32"):
        read_pytorch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", torch_file.Encoder().pickle([np.ones(2, np.float32)]))
    with pytest.raises(ValueError, match="it is damaged: archive/data/0 has no bytes, expected 8"):
        read_pytorch_file(path)


def test_a_zip_that_says_it_is_larger_than_its_file(torch_file, tmp_path):
    """Two names for the same bytes, as zip bombs have them."""
    path = torch_file.write_zip(tmp_path / "file.pt", [np.zeros(5000, np.float32)])
    with zipfile.ZipFile(path, "a") as archive:
        entry = archive.getinfo("archive/data/0")
        for index in range(1, 4):
            copy = zipfile.ZipInfo(f"archive/data/{index}")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(copy, field, getattr(entry, field))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive._didModify = True
    with pytest.raises(ValueError, match="its parts are larger than the whole"):
        read_pytorch_file(path)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        read_pytorch_file(pathlib.Path(tmp_path))
