"""The reader of torch.save's files: what it gives back, and which files it refuses."""

import pathlib
import zipfile

import numpy as np
import pytest

from tfcxr.porting.inert_pickle import PickledObject
from tfcxr.porting.pytorch_file import read_pytorch_file


@pytest.fixture(params=["zip", "legacy"])
def write(request, torch_file, tmp_path):
    """A function that writes a value in either layout and returns the path."""
    writer = {"zip": torch_file.write_zip, "legacy": torch_file.write_legacy}[request.param]
    return lambda value, **keywords: writer(tmp_path / "file.pt", value, **keywords)


# what is read


def test_tensors_of_every_kind(write, torch_file):
    generator = np.random.default_rng(0)
    plain = {
        name: np.array([[0, 1, 2], [100, 3, 4]], name) for name in ("int64", "int32", "int16", "int8", "uint8", "bool")
    }
    plain |= {name: generator.normal(size=[2, 3]).astype(name) for name in ("float64", "float32", "float16")}
    plain |= {
        name: (generator.normal(size=[2, 3]) + 1j * generator.normal(size=[2, 3])).astype(name)
        for name in ("complex64", "complex128")
    }
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


def drawn(seed):
    generator = np.random.default_rng(seed)
    return (generator.normal(size=[3, 4]) + 1j * generator.normal(size=[3, 4])).astype(np.complex64)


@pytest.mark.parametrize("seed", [1, 2])
def test_conjugate_and_negative_bits_are_applied(write, torch_file, seed):
    """They stand beside the numbers: x.conj() and x.conj().imag are views of x with a bit set."""
    numbers, halves = drawn(seed), drawn(seed + 10)
    size, stride = numbers.shape, [4, 1]
    flat, parts = numbers.reshape(-1), halves.view(np.float32).reshape(-1)
    value = {
        "conjugate": torch_file.Tensor(flat, size, stride, metadata={"conj": True}),
        "both": torch_file.Tensor(flat, size, stride, metadata={"conj": True, "neg": True}),
        "adjoint": torch_file.Tensor(flat, [4, 3], [1, 4], metadata={"conj": True}),
        "imaginary": torch_file.Tensor(parts, size, [8, 2], 1, metadata={"neg": True}),
        "neither": torch_file.Tensor(parts, size, [8, 2], 0, metadata={"neg": False, "conj": False}),
    }
    found = read_pytorch_file(write(value))
    np.testing.assert_array_equal(found["conjugate"], numbers.conj())
    np.testing.assert_array_equal(found["both"], -numbers.conj())
    np.testing.assert_array_equal(found["adjoint"], numbers.conj().T)
    np.testing.assert_array_equal(found["imaginary"], -halves.imag)
    np.testing.assert_array_equal(found["neither"], halves.real)
    parameter = torch_file.Call("torch._utils", "_rebuild_parameter", value["imaginary"], True, {})
    np.testing.assert_array_equal(read_pytorch_file(write([parameter]))[0], -halves.imag)
    kind = torch_file.Global("torch.nn.parameter", "Parameter")
    rebuild = torch_file.Global("torch._utils", "_rebuild_parameter")
    typed = torch_file.Call(
        "torch._tensor", "_rebuild_from_type_v2", rebuild, kind, (value["imaginary"], True, {}), {"note": 1}
    )
    np.testing.assert_array_equal(read_pytorch_file(write([typed]))[0], -halves.imag)


def test_unknown_bits_beside_the_numbers_are_refused(write, torch_file):
    tensor = torch_file.Tensor(np.ones(2, np.float32), [2], [1], metadata={"scaled": True})
    with pytest.raises(ValueError, match=r"a tensor has the unknown metadata scaled; save its clone\(\)"):
        read_pytorch_file(write([tensor]))


def test_a_dtype_of_its_own(write, torch_file):
    """As dtypes newer than the storages' classes are saved: bytes and the dtype's name."""
    numbers = np.array([1, 2**15, 2**16 - 1], np.uint16)
    tensor = torch_file.Tensor(numbers.view(np.uint8), [3], [1], storage_type="UntypedStorage")

    def saved(dtype):
        arguments = (torch_file.Storage(tensor), 0, (3,), (1,), False, {}, dtype)
        return torch_file.Call("torch._utils", "_rebuild_tensor_v3", *arguments)

    found = read_pytorch_file(write([saved(torch_file.Global("torch", "uint16"))]))
    np.testing.assert_array_equal(found[0], numbers)
    with pytest.raises(ValueError, match="a tensor of dtype float8_e4m3fn, which is not supported; save it as float32"):
        read_pytorch_file(write([saved(torch_file.Global("torch", "float8_e4m3fn"))]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch._utils._rebuild_qtensor", r"a quantised tensor; save its dequantize\(\)"),
        ("torch._utils._rebuild_sparse_tensor", r"a sparse tensor; save its to_dense\(\)"),
        ("torch._utils._rebuild_nested_tensor", "a nested tensor; save its to_padded_tensor"),
        ("torch._utils._rebuild_meta_tensor_no_storage", "a tensor of the device meta, which has no numbers"),
        ("torch._utils._rebuild_wrapper_subclass", "a tensor of a class that only its program knows"),
    ],
)
def test_tensors_without_plain_numbers_are_refused(write, torch_file, name, message):
    with pytest.raises(ValueError, match=f"was not read: it holds {message}"):
        read_pytorch_file(write({"w": torch_file.Call(*name.rsplit(".", 1), 1)}))


def test_quantised_storages_and_tensors_of_other_classes_are_refused(write, torch_file):
    tensor = torch_file.Tensor(np.ones(2, np.uint8), [2], [1], storage_type="QUInt8Storage")
    with pytest.raises(ValueError, match="it holds a tensor of QUInt8 numbers, which is not supported"):
        read_pytorch_file(write([tensor]))
    rebuild = torch_file.Global("torch._utils", "_rebuild_tensor_v2")
    kind = torch_file.Global("gguf.tensors", "PackedTensor")
    typed = torch_file.Call("torch._tensor", "_rebuild_from_type_v2", rebuild, kind, (1, 0, (), ()), {})
    with pytest.raises(ValueError, match="a tensor of the class gguf.tensors.PackedTensor"):
        read_pytorch_file(write([typed]))


def test_a_plain_pickle(torch_file, tmp_path):
    """As pickle.dump writes a state dict: each storage is a small file of torch.save of its own."""

    def stored(numbers):
        storage = torch_file.Storage(torch_file.Tensor(numbers, [1], [1]))
        path = torch_file.write_legacy(tmp_path / "storage.pt", storage)
        return torch_file.Call("torch.storage", "_load_from_bytes", path.read_bytes())

    numbers = np.arange(6, dtype=np.float32)
    rest = (0, (2, 3), (3, 1), False, torch_file.Call("collections", "OrderedDict"))
    tensor = torch_file.Call("torch._utils", "_rebuild_tensor_v2", stored(numbers), *rest)
    path = tmp_path / "state.pkl"
    path.write_bytes(torch_file.Encoder().pickle({"w": tensor}))
    np.testing.assert_array_equal(read_pytorch_file(path)["w"], numbers.reshape(2, 3))
    for wrong in (b"", b"N.", path.read_bytes()):
        broken = torch_file.Call("torch.storage", "_load_from_bytes", wrong)
        tensor = torch_file.Call("torch._utils", "_rebuild_tensor_v2", broken, *rest)
        path.write_bytes(torch_file.Encoder().pickle(tensor))
        with pytest.raises(ValueError, match="truncated or damaged|described in an unknown way"):
            read_pytorch_file(path)


def test_big_endian_numbers(torch_file, tmp_path):
    path = torch_file.write_zip(tmp_path / "big.pt", [np.arange(3, dtype=">f4")], {"byteorder": "big"})
    (found,) = read_pytorch_file(path)
    np.testing.assert_array_equal(found, [0, 1, 2])
    path = torch_file.write_zip(tmp_path / "odd.pt", [np.arange(3, dtype=">f4")], {"byteorder": "middle"})
    with pytest.raises(ValueError, match="its byte order is 'middle', expected little or big"):
        read_pytorch_file(path)


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
    value = {"a": weight, "b": torch_file.module("torch.nn.Linear", {"w": weight}), "c": [1, 2.5, None, "text"]}
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
    message = "was not read: (a tensor of size|it repeats its content|it is (truncated or )?damaged)"
    with pytest.raises(ValueError, match=message):
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
        (b"\x80\x02N.more", "begins like a plain pickle, which has nothing outside it"),
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
