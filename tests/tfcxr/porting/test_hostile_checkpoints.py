"""Nothing in a checkpoint runs, nothing of it changes the reader, and a small file cannot fill the memory or hang."""

import pickle
import re
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from tfcxr.porting import inert_pickle, pickled_values, pytorch_file
from tfcxr.porting.pytorch_file import read_pytorch_file

SECONDS = 20  # a loaded machine; most take less than one, and without the bounds none ends
MEGABYTES = 100

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
    ("subprocess", "Popen", [["touch", "PATH"]]),
    ("webbrowser", "open", ["file://PATH"]),
    ("shutil", "rmtree", ["PATH"]),
    ("copyreg", "_reconstructor", []),
    ("types", "FunctionType", []),
    ("numpy", "load", ["PATH"]),
    ("numpy.lib.npyio", "NpzFile", ["PATH"]),
    ("keras.saving", "load_model", ["PATH"]),
    ("torch.jit", "ScriptModule", []),
    ("__main__", "download", ["PATH"]),
]


@pytest.fixture(params=["zip", "legacy", "plain"])
def write(request, torch_file, tmp_path):
    """A function that writes a value in one of the three layouts and returns the path."""

    def write_plain(path, value):
        path.write_bytes(torch_file.Encoder().pickle(value))
        return path

    writers = {"zip": torch_file.write_zip, "legacy": torch_file.write_legacy, "plain": write_plain}
    return lambda value: writers[request.param](tmp_path / "file.pt", value)


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
        {"state_dict": {"w": 2.5}, "settings": [attack]},
        torch_file.Call("collections", "OrderedDict", [("k", attack)]),
        torch_file.Call("torch._utils", "_rebuild_parameter", attack, True, {}),
        torch_file.Call("torch.nn.modules.linear", "Linear", is_new=True, state={"_parameters": attack}),
    ]
    for value in places:
        with pytest.raises(ValueError, match=f"it names '{re.escape(package)}.{re.escape(name)}', .*nothing was run"):
            read_pytorch_file(write(value))
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
        (b"\x80\x02X\x03\x00\x00\x00abc)R.", r"its pickle is damaged \('str' object is not callable\)"),
        (b"\x80\x02)}b.", r"its pickle is damaged \('tuple' object has no attribute '__dict__'"),
        (b"\x80\x02ctorch\nSize\n}(X\x01\x00\x00\x00aNub.", "its pickle is damaged .*missing 1 required .*'state'"),
        (b"\x80\x02NN.", "it ends with 2 objects, expected 1"),
        (b"\x80\x02r\xff\xff\xff\xff.", "damaged at byte 2"),
        (b"\x80\x02h\x05.", "damaged at byte 2"),
        (b"\x80\x02}]Ns.", "its pickle is damaged .*unhashable type: 'list'"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "truncated or damaged"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "it names 'os.system'"),
        (b"(S'x'\nios\nsystem\n.", "it names 'os.system'"),
        (b"(cos\nsystem\nS'x'\no.", "it names 'os.system'"),
        (b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".", "nested too deeply"),
        (b"\x80\x02N", "truncated or damaged"),
        (b"\x80\x02q\x00N.", "damaged at byte 2"),
        (b"\x80\x02(N.", "damaged"),
    ],
    ids=range(18),
)
def test_damaged_and_hostile_pickles(torch_file, tmp_path, pickled, message):
    with pytest.raises(ValueError, match=message):
        read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", None, pickled=pickled))


# states on what has none


@pytest.mark.parametrize(
    "target",
    [
        b"ctorch\nFloatStorage\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"c__main__\nNetwork\n",
        b"ctorch\nfloat32\n",
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ",
        b"]",
        b"}",
        b"X\x01\x00\x00\x00a",
        b"K\x07",
        b"N",
        b"\x8f",
    ],
)
@pytest.mark.parametrize("names", ["__new__", "full_name", "__setstate__", "dtype", "count", "__class__", "__dict__"])
def test_a_state_changes_neither_the_reader_nor_another_file(torch_file, tmp_path, target, names):
    """BUILD sets attributes where an object has them: by a dictionary, and by the second of a pair."""
    weight = np.arange(6, dtype=np.float32)
    before = {part: dict(vars(part)) for part in (inert_pickle.PickledObject, pickled_values.Storage)}
    for state in ({names: "changed"}, (None, {names: "changed"})):
        pickled = b"\x80\x04" + target + torch_file.Encoder().encode(state) + b"b."
        path = torch_file.write_zip(tmp_path / "hostile.pt", weight, pickled=pickled)
        with pytest.raises(ValueError, match="was not read: its pickle is damaged"):
            read_pytorch_file(path)
    assert before == {part: dict(vars(part)) for part in before}
    found = read_pytorch_file(torch_file.write_zip(tmp_path / "good.pt", {"w": weight}))
    np.testing.assert_array_equal(found["w"], weight)


def test_a_state_on_an_instance_is_only_kept(write, torch_file):
    state = {"__class__": "changed", "class_name": "changed", "__setstate__": 1, "state": 2}
    for given in (state, (None, state)):
        found = read_pytorch_file(write(torch_file.Call("__main__", "Network", 7, is_new=True, state=given)))
        assert (found.class_name, found.arguments, found.state) == ("__main__.Network", (7,), given)
        assert type(found) is inert_pickle.PickledObject


def test_what_was_read_is_not_called(torch_file, tmp_path):
    """A stand-in, a tensor or a storage in the place of a function."""
    made = torch_file.Encoder().encode(torch_file.Call("__main__", "Network"))
    for target in (made, b"K\x07", b"]", b"}", b"N"):
        for call in (b")R", b")\x81", b")}\x92"):
            path = torch_file.write_zip(tmp_path / "file.pt", None, pickled=b"\x80\x04" + target + call + b".")
            with pytest.raises(ValueError, match="its pickle is damaged"):
                read_pytorch_file(path)


# small files that ask for much


def whole_number(value):
    content = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def repeated(function, arguments):
    """A list of 20,000 results of one function with the same arguments, in 5 bytes each."""
    return arguments + b"q\x000c" + function + b"\nq\x010](" + b"h\x01h\x00R" * 20_000 + b"e"


TEXT = b"X" + struct.pack("<I", 200_000) + b"a" * 200_000
BOMBS = {
    "a key of a tuple in a tuple ...": (b"})" + b"\x85" * 20_000 + b"Ns", "the keys of its .* more than 10000 parts"),
    "a key of 2^60 parts": (b"})" + b"2\x86" * 60 + b"Ns", "the keys of its .* more than 10000 parts"),
    "an element of 2^60 parts": (b"\x8f()" + b"2\x86" * 60 + b"\x90", "the keys of its .* more than 10000 parts"),
    "a frozenset of 2^60 parts": (b"()" + b"2\x86" * 60 + b"\x91", "the keys of its .* more than 10000 parts"),
    "keys of the same hash": (
        b"}(" + b"".join(whole_number((2**61 - 1) * index) + b"N" for index in range(1, 20_000)) + b"u",
        "the keys of its .* more than 10000 parts",
    ),
    "lists in lists": (b"]" * 20_000 + b"a" * 19_999, "nested too deeply"),
    "tuples in tuples": (b")" + b"\x85" * 20_000, "nested too deeply"),
    "objects in objects": (
        b"c__main__\nN\nq\x000" + b"h\x00" * 9_999 + b")" + b"R\x85" * 9_998 + b"R",
        "nested too deeply",
    ),
    "a whole number beyond the file": (b"\x8b\xff\xff\xff\x7f", "truncated or damaged"),
    "a negative length": (b"\x8b\xff\xff\xff\xff", "truncated or damaged"),
    "bytes beyond the file": (b"\x8e" + struct.pack("<Q", 2**62), "truncated or damaged"),
    "a byte array beyond the file": (b"\x96" + struct.pack("<Q", 2**40), "truncated or damaged"),
    "a frame beyond the file": (b"\x95" + struct.pack("<Q", 2**62) + b"N", "its pickle is damaged"),
    "a number of many digits": (b"I" + b"9" * 100_000 + b"\n", "truncated or damaged"),
    "a far place in the memo": (b"Nr\xff\xff\xff\xff", "the memo has no place 4294967295"),
    "a far place in text": (b"Np999999999\n", "the memo has no place 999999999"),
    "the same arguments again and again": (
        repeated(b"__main__\nN", b"(" + b"N" * 20_000 + b"t"),
        "it copies its objects again and again",
    ),
    "the same text encoded again and again": (repeated(b"_codecs\nencode", TEXT + b"\x85"), "it repeats its content"),
    "the same set again and again": (
        repeated(b"builtins\nset", b"](" + b"".join(b"M" + struct.pack("<H", i) for i in range(20_000)) + b"e\x85"),
        "it repeats its content",
    ),
    "the same dictionary again and again": (
        repeated(
            b"collections\nOrderedDict",
            b"}(" + b"".join(b"M" + struct.pack("<H", i) + b"N" for i in range(20_000)) + b"u\x85",
        ),
        "it repeats its content",
    ),
    "many names": (b"".join(b"c__main__\nA%d\n0" % i for i in range(2_000)) + b"N", "more than 1000 different things"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_neither_fills_the_memory_nor_hangs(torch_file, tmp_path, monkeypatch, name):
    monkeypatch.setattr(pytorch_file, "SPARE_NUMBERS", 2**14)  # for the test's own speed
    pickled, message = BOMBS[name]
    path = torch_file.write_zip(tmp_path / "file.pt", None, pickled=b"\x80\x05" + pickled + b".")
    start = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"file.pt was not read: .*{message}"):
            read_pytorch_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < SECONDS and peak < MEGABYTES * 2**20


def test_tensors_that_repeat_one_storage_have_an_end(torch_file, tmp_path, monkeypatch):
    """Hundreds of copies of a bfloat16 storage of 100 kB, which become float32 each."""
    monkeypatch.setattr(pytorch_file, "SPARE_NUMBERS", 2**14)
    halves = np.zeros(50_000, np.int16)
    views = [torch_file.Tensor(halves, [49_000 - i], [1], i, storage_type="BFloat16Storage") for i in range(500)]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="it repeats its content: more than [0-9]+ numbers in so small a file"):
            read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", views))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEGABYTES * 2**20


def test_views_of_one_storage_that_overlap_are_plain_views(torch_file, tmp_path):
    storage = np.arange(12, dtype=np.float32)
    windows = torch_file.Tensor(storage, [4, 5], [2, 1])
    shifted = torch_file.Tensor(storage, [11], [1], 1)
    found = read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", [windows, shifted]))
    np.testing.assert_array_equal(found[0], np.lib.stride_tricks.sliding_window_view(storage, 5)[:8:2])
    np.testing.assert_array_equal(found[1], storage[1:])
    with pytest.raises(ValueError, match="read-only"):
        found[0][0, 0] = 1.0


# names inside the zip


@pytest.mark.parametrize("key", ["../data.pkl", "/etc/passwd", "..\\..\\x", "0/../0", ""])
def test_a_storage_is_found_by_its_name_alone(torch_file, tmp_path, key):
    """A storage's name never becomes a path: nothing is unpacked."""
    encoder = torch_file.Encoder()
    pickled = encoder.pickle([np.ones(2, np.float32)]).replace(
        encoder.encode("0"), b"X" + struct.pack("<I", len(key)) + key.encode()
    )
    path = torch_file.write_zip(tmp_path / "file.pt", [np.ones(2, np.float32)], pickled=pickled)
    with pytest.raises(ValueError, match="it is damaged: archive/data/.* has no bytes, expected 8"):
        read_pytorch_file(path)


def test_names_that_lead_out_of_the_archive_are_only_names(torch_file, tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    more = {"../../escaped": b"x", "data/../../escaped": b"x"}
    path = torch_file.write_zip(folder / "file.pt", {"w": np.ones(2, np.float32)}, more)
    np.testing.assert_array_equal(read_pytorch_file(path)["w"], [1, 1])
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["file.pt", "inside"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(torch_file, tmp_path):
    """Which of them counts differs between programs."""
    path = torch_file.write_zip(tmp_path / "file.pt", [np.ones(2, np.float32)])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", np.zeros(2, np.float32).tobytes())
    with pytest.raises(ValueError, match="it has two entries of one name"):
        read_pytorch_file(path)
