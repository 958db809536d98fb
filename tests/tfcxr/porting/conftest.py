"""Files as `torch.save` writes them, made without PyTorch, and reference numbers, here or beside the checkout."""

import importlib.util
import json
import pathlib
import struct
import types
import zipfile

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parent
REFERENCES = (FOLDER / "reference", FOLDER.parents[3] / "shared" / "reference")
STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}


class Global:
    """A name, as pickles write it."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """A name that is called with arguments; `state` is then given to the result. `is_new` makes an object instead."""

    def __init__(self, module, name, *arguments, state=None, is_new=False):
        self.made_of = Global(module, name), arguments
        self.state, self.is_new = state, is_new


class Tensor:
    """A tensor in a storage that others may share; `storage` is a one-dimensional array, `metadata` PyTorch's bits."""

    def __init__(self, storage, size, stride, offset=0, storage_type=None, count=None, metadata=None):
        self.metadata = metadata
        self.storage, self.size, self.stride, self.offset = storage, tuple(size), tuple(stride), offset
        self.storage_type = storage_type or STORAGES[storage.dtype.name]
        self.count = storage.size if count is None else count


class Storage:
    """The storage of a tensor, by itself."""

    def __init__(self, tensor):
        self.tensor = tensor


class Encoder:
    """Writes pickles of protocol 2 (with bytes of protocol 3); `storages` are those that it met."""

    def __init__(self, is_legacy=False):
        self.storages, self.is_legacy = {}, is_legacy

    def pickle(self, value):
        return b"\x80\x02" + self.encode(value) + b"."

    def encode(self, value):
        match value:
            case None:
                return b"N"
            case bool():
                return b"\x88" if value else b"\x89"
            case int():
                size = (value.bit_length() + 8) // 8
                return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
            case bytes():
                return b"B" + struct.pack("<I", len(value)) + value
            case tuple():
                return b"(" + b"".join(map(self.encode, value)) + b"t"
            case list():
                return b"](" + b"".join(map(self.encode, value)) + b"e"
            case dict():
                return b"}(" + b"".join(self.encode(part) for item in value.items() for part in item) + b"u"
            case Global():
                return f"c{value.module}\n{value.name}\n".encode()
            case Call():
                made_of = b"".join(map(self.encode, value.made_of)) + (b"\x81" if value.is_new else b"R")
                return made_of if value.state is None else made_of + self.encode(value.state) + b"b"
            case np.ndarray():
                strides = np.cumprod((1, *value.shape[:0:-1]))[::-1] if value.ndim else ()
                return self.encode(Tensor(value.reshape(-1), value.shape, map(int, strides)))
            case Storage():
                tensor, known = value.tensor, list(self.storages)
                key = known.index(id(tensor.storage)) if id(tensor.storage) in known else len(known)
                self.storages[id(tensor.storage)] = tensor.storage
                view = (None,) if self.is_legacy else ()
                identifier = ("storage", Global("torch", tensor.storage_type), str(key), "cuda:0", tensor.count, *view)
                return self.encode(identifier) + b"Q"
            case Tensor():
                rest = (value.offset, value.size, value.stride, False, Call("collections", "OrderedDict"))
                rest += () if value.metadata is None else (value.metadata,)
                made_of = self.encode(Global("torch._utils", "_rebuild_tensor_v2"))
                return made_of + b"(" + self.encode(Storage(value)) + self.encode(rest)[1:] + b"R"
        raise TypeError(type(value))


def module(class_name, parameters=None, buffers=None, children=None, **more):
    """A pickled torch.nn.Module."""

    def ordered(items):
        return Call("collections", "OrderedDict", list((items or {}).items()))

    state = {"training": False, "_parameters": ordered(parameters), "_buffers": ordered(buffers)}
    state |= {"_modules": ordered(children)} | more
    return Call(*class_name.rsplit(".", 1), is_new=True, state=state)


def write_zip(path, value, more=(), pickled=None, compression=zipfile.ZIP_STORED):
    """The layout of today; `pickled` stands in for the pickle of `value`, `more` are further entries."""
    encoder = Encoder()
    content = encoder.pickle(value)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content if pickled is None else pickled)
        for index, storage in enumerate(encoder.storages.values()):
            archive.writestr(f"archive/data/{index}", storage.tobytes())
        for name, entry in dict(more).items():
            archive.writestr(f"archive/{name}", entry)
    return path


def write_legacy(path, value, pickled=None):
    """The layout of before PyTorch 1.6."""
    encoder = Encoder(is_legacy=True)
    content = encoder.pickle(value)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [encoder.pickle(part) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts += [content if pickled is None else pickled, encoder.pickle([str(i) for i in range(len(encoder.storages))])]
    for storage in encoder.storages.values():
        parts += [struct.pack("<q", storage.size), storage.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture(scope="session")
def torch_file():
    """`write_zip(path, value)`, `write_legacy(path, value)` and what values may be made of."""
    return types.SimpleNamespace(
        Global=Global,
        Call=Call,
        Tensor=Tensor,
        Storage=Storage,
        Encoder=Encoder,
        module=module,
        write_zip=write_zip,
        write_legacy=write_legacy,
    )


@pytest.fixture(scope="session")
def reference():
    """A function: name of a fixture -> its checkpoint, inputs by name, expected numbers, spec, path of the numbers.

    It skips the test where the fixture is absent.
    """
    finder = importlib.util.spec_from_file_location("seeded_checkpoint", FOLDER / "seeded_checkpoint.py")
    seeded = importlib.util.module_from_spec(finder)
    finder.loader.exec_module(seeded)

    def load(name):
        folder = next((root / name for root in REFERENCES if (root / name).is_dir()), None)
        if folder is None:
            pytest.skip(f"the reference numbers {name} are not beside the checkout ({REFERENCES[-1]})")
        spec = json.loads((folder / "spec.json").read_text())
        expected = np.load(folder / "expected.npz")
        arrays = {key.removeprefix("out/"): expected[key] for key in expected.files if key.startswith("out/")}
        return types.SimpleNamespace(
            checkpoint=seeded.make_checkpoint(spec),
            inputs=seeded.make_inputs(spec),
            expected=arrays,
            spec=spec,
            path=folder / "expected.npz",
        )

    return load


@pytest.fixture(scope="session")
def assert_reference():
    """A function: found (key -> array, images channels last) must be all of expected, within the fixtures' tolerance.

    The tolerance is as the fixtures' README states it: 1e-3 at most, 1e-5 in the mean, of the largest magnitude; for
    `loose` keys 2e-2 and 1e-4, as it states for gradients across many kinks of ReLU.
    """

    def check(found, expected, loose=()):
        parts = {}
        for key, value in found.items():
            value = np.asarray(value, np.float64)
            value = value.transpose(0, 3, 1, 2) if value.ndim == 4 else value
            if key in expected:
                parts[key] = value
                continue
            start, size = value.shape[2] // 2 - 17, value.shape[2] // 64
            parts[f"{key}__crop"] = value[:, :, start : start + 64, start : start + 64]
            parts[f"{key}__mean64"] = value.reshape(*value.shape[:2], 64, size, 64, size).mean((3, 5))
            parts[f"{key}__stats"] = np.stack([value.mean((2, 3)), value.std((2, 3))])
        assert parts.keys() == expected.keys()
        worst = {}
        for key, value in parts.items():
            assert value.shape == expected[key].shape, key
            difference = np.abs(value - expected[key]) / np.abs(expected[key]).max()
            worst[key] = float(difference.max()), float(difference.mean())
        misses = {}
        for key, (largest, mean) in worst.items():
            largest_allowed, mean_allowed = (2e-2, 1e-4) if key in loose else (1e-3, 1e-5)
            if not (largest <= largest_allowed and mean <= mean_allowed):
                misses[key] = largest, mean
        assert not misses, misses
        print("\n".join(f"{key}: largest {figures[0]:.2g}, mean {figures[1]:.2g}" for key, figures in worst.items()))

    return check
