"""What the names in a PyTorch checkpoint mean to us: stand-ins for tensors and storages, harmless builtins, numpy.

A tensor is where it lies (storage, offset, size, stride) until `resolve` has the storages' bytes. Classes of networks
become inert `PickledObject`s. Every other name is forbidden.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tfcxr.porting.pickle_machine import Constructor, PickledObject, plain_key
from tfcxr.porting.pickled_numpy import NumpyArray, NumpyDtype, encoded, scalar

INERT_MODULES = ("torch.nn", "torchvision.models", "torchvision.ops", "torchxrayvision", "models.utils.config")
NVIDIA_MODULES = ("torch_utils", "dnnlib", "training")
STORAGE_DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
TENSOR_DTYPES = {*STORAGE_DTYPES.values(), "uint16", "uint32", "uint64"}
EXPANDED_ELEMENTS = 2**20  # a repeating tensor may have more elements than its storage, but not many more


@dataclasses.dataclass(frozen=True)
class Storage:
    """Numbers outside the pickle: `count` of them from the `start`-th on of what is stored under `key`.

    `whole_count` is how many are stored there.
    """

    key: str
    dtype: str
    count: int
    start: int = 0
    whole_count: int = 0


@dataclasses.dataclass(frozen=True)
class StorageType:
    """The class of a storage."""

    dtype: str


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage; `offset` and `stride` count numbers."""

    storage: Storage
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.size, *self.stride)
        if len(self.size) != len(self.stride) or any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError(f"a tensor has size {self.size} and stride {self.stride} from {self.offset} on")
        available = self.storage.count * itemsize(self.storage.dtype) // itemsize(self.dtype)
        elements = math.prod(self.size)
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True))
        if (elements and last >= available) or elements > max(available, EXPANDED_ELEMENTS):
            raise ValueError(
                f"a tensor of size {self.size}, stride {self.stride} and offset {self.offset} does not fit into its "
                f"storage of {available} numbers"
            )


def itemsize(dtype: str) -> int:
    """Bytes of one number; numpy does not know bfloat16."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def find_global(module: str, name: str) -> Any:
    """What a name in a checkpoint stands for.

    Raises:
      ValueError: it is none of those that weights need.
    """
    full_name = f"{module}.{name}"
    if full_name in CONSTRUCTORS:
        return Constructor(full_name, CONSTRUCTORS[full_name])
    if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGE_DTYPES:
        return StorageType(STORAGE_DTYPES[name])
    if module == "torch" and name in TENSOR_DTYPES:
        return full_name
    if any(module == allowed or module.startswith(f"{allowed}.") for allowed in INERT_MODULES):
        return Constructor(full_name, lambda *_: PickledObject(full_name))
    hint = ""
    if module.split(".")[0] in NVIDIA_MODULES:
        hint = (
            "; NVIDIA's own .pkl files hold programs: save the state dicts instead, with "
            "torch.save({'G_ema': G_ema.state_dict(), 'D': D.state_dict()}, ...) where that program runs"
        )
    raise ValueError(
        f"it names {full_name[:100]!r}, which weights do not need and which could do harm; nothing was run{hint}"
    )


def find_storage(identifier: Any) -> Any:
    """The stand-in of ("storage", type, key, device, count[, view]); the device does not matter.

    Raises:
      ValueError: another identifier.
    """
    match identifier:
        case ("storage", StorageType(dtype), str() as key, str(), int() as count, *view) if count >= 0:
            match view:
                case [] | [None]:
                    return Storage(key, dtype, count, whole_count=count)
                case [(str(), int() as start, int() as view_count)] if 0 <= start <= start + view_count <= count:
                    return Storage(key, dtype, view_count, start, whole_count=count)
        case ("module", Constructor() as stored_class, *_):  # a class with its source text, which is not read
            return stored_class
    raise ValueError("a tensor's storage is described in an unknown way")


def resolve(
    value: Any, read_storage: Callable[[Storage], bytes], byte_order: Literal["little", "big"] = "little"
) -> Any:
    """`value` with plain containers and numpy arrays in place of stand-ins.

    Args:
      read_storage: the bytes of all `whole_count` numbers of a storage. byte_order: of those.

    Raises:
      ValueError: objects nested too deeply, or what `read_storage` raises.
    """
    done: dict[int, Any] = {}  # shared objects are converted once, or a small file could become endless
    storages: dict[str, bytes] = {}

    def convert(item: Any) -> Any:
        if id(item) not in done:
            match item:
                case dict():
                    done[id(item)] = filled = {}
                    filled.update({key: convert(each) for key, each in item.items()})
                case list():
                    done[id(item)] = row = []
                    row.extend(convert(each) for each in item)
                case tuple():
                    done[id(item)] = tuple(convert(each) for each in item)
                case PickledObject():
                    done[id(item)] = converted = PickledObject(item.class_name)
                    converted.state = convert(item.state)
                case Constructor():
                    done[id(item)] = PickledObject(item.name)
                case Tensor():
                    key = item.storage.key
                    if key not in storages:
                        storages[key] = read_storage(item.storage)
                    done[id(item)] = _array(item, storages[key], byte_order)
                case NumpyArray():
                    done[id(item)] = item.value
                case Storage() | StorageType() | NumpyDtype():
                    done[id(item)] = None
                case _:
                    done[id(item)] = item
        return done[id(item)]

    try:
        return convert(value)
    except RecursionError as error:
        raise ValueError("its objects are nested too deeply") from error


def _array(tensor: Tensor, content: bytes, byte_order: Literal["little", "big"]) -> np.ndarray:
    storage, order = tensor.storage, "<" if byte_order == "little" else ">"
    size = itemsize(storage.dtype)
    content = memoryview(content)[storage.start * size : (storage.start + storage.count) * size]
    is_half = tensor.dtype == "bfloat16"  # the upper half of a float32
    stored = np.dtype("uint16" if is_half else "uint8" if tensor.dtype == "bool" else tensor.dtype).newbyteorder(order)
    usable = len(content) // stored.itemsize * stored.itemsize
    numbers = np.frombuffer(content[:usable], stored)
    if not math.prod(tensor.size):
        numbers = np.zeros(tensor.size, numbers.dtype)
    else:
        pairs = zip(tensor.size, tensor.stride, strict=True)
        strides = [stride * stored.itemsize if size > 1 else 0 for size, stride in pairs]
        numbers = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.size, strides, writeable=False)
    numbers = numbers.astype(stored.newbyteorder("="), copy=False)
    if is_half:
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers != 0 if tensor.dtype == "bool" else numbers


# constructors: what REDUCE may make


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    return _tensor_of_dtype(storage, offset, size, stride, None, None, None)


def _tensor_of_dtype(
    storage: Any, offset: Any, size: Any, stride: Any, needs_gradient: Any, hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    if not (isinstance(storage, Storage) and isinstance(size, tuple) and isinstance(stride, tuple)):
        raise TypeError("a tensor without a storage")
    dtype = storage.dtype if dtype is None else str(dtype).removeprefix("torch.")
    if dtype not in TENSOR_DTYPES:
        raise TypeError("a tensor of an unknown dtype")
    return Tensor(storage, dtype, offset, size, stride)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _typed(rebuild: Any, _: Any, arguments: Any, *__: Any) -> Any:
    if not isinstance(rebuild, Constructor) or not rebuild.name.startswith("torch._utils."):
        raise TypeError("a tensor made by something else")
    return rebuild.make(*arguments)


def _ordered_dictionary(items: Any = ()) -> dict:
    return {plain_key(key): value for key, value in items}


def _set(items: Any = ()) -> set:
    return {plain_key(item) for item in items}


def _device(kind: Any, index: Any = None) -> str:
    return f"{kind:s}" if index is None else f"{kind:s}:{index:d}"


CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dictionary,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": _device,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _typed,
    "torch.Tensor": lambda *_: PickledObject("torch.Tensor"),
    "builtins.set": _set,
    "__builtin__.set": _set,
    "builtins.frozenset": lambda items=(): frozenset(_set(items)),
    "__builtin__.frozenset": lambda items=(): frozenset(_set(items)),
    "_codecs.encode": encoded,
    "numpy.dtype": NumpyDtype,
    "numpy.ndarray": NumpyArray,
    "numpy.core.multiarray._reconstruct": NumpyArray,
    "numpy._core.multiarray._reconstruct": NumpyArray,
    "numpy.core.multiarray.scalar": scalar,
    "numpy._core.multiarray.scalar": scalar,
}
