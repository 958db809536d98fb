"""Turns the inert objects of a PyTorch checkpoint into numpy arrays, numbers and plain containers."""

import math
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from tfcxr.porting.inert_pickle import LARGE_INTEGER, PickledObject, class_name
from tfcxr.porting.pickle_names import STORAGE, TORCH_CONSTANT, is_inside, present_name

PERSISTENT = "torch_utils.persistence"  # NVIDIA's: objects that are stored with the source text of their class
DTYPES = {  # of a storage by its class
    **{"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Bool": "bool"},
    **{"Char": "int8", "Short": "int16", "Int": "int32", "Long": "int64", "Byte": "uint8", "Untyped": "uint8"},
    **{"ComplexFloat": "complex64", "ComplexDouble": "complex128"},
}
TENSOR_DTYPES = {*DTYPES.values(), "uint16", "uint32", "uint64"}
DICTIONARIES = ("OrderedDict", "Counter", "defaultdict")
WRAPPED_TENSORS = ("parameter", "parameter_with_state", "device_tensor_from_numpy", "device_tensor_from_cpu_tensor")
NUMPY_DTYPE = re.compile(r"[<>|=]?(\?|b1|[iuf][1248]|c8|c16|[US]\d{1,5})")


class Storage(NamedTuple):
    """Numbers of one dtype: an entry of the file, or bytes at hand in a plain pickle.

    Attributes:
      key: of the entry.
      dtype: of PyTorch.
      whole_count: how many numbers the entry has.
      start: the first of them that is this storage's.
      count: how many of them are this storage's.
      content: all their bytes, if at hand.
    """

    key: str
    dtype: str
    whole_count: int
    start: int
    count: int
    content: memoryview | None = None


def itemsize(dtype: str) -> int:
    """Bytes of one number; numpy does not know bfloat16."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def find_persistent(identifier: Any) -> Any:
    """Makes the `Storage` of ("storage", type, key, device, count[, view]); the device does not matter.

    Raises:
      ValueError: another identifier, or a dtype without plain numbers.
    """
    match identifier:
        case ("storage", kind, str() as key, str(), int() as count, *view) if count >= 0:
            match = STORAGE.fullmatch(class_name(kind) or "")
            dtype = DTYPES.get(match[2]) if match else None
            if match and dtype is None:
                raise ValueError(f"it holds a tensor of {match[2]} numbers, which is not supported; save it as float32")
            match view:
                case [] | [None] if dtype:
                    return Storage(key, dtype, count, 0, count)
                case [(str(), int() as start, int() as part)] if dtype and 0 <= start <= start + part <= count:
                    return Storage(key, dtype, count, start, part)
        case ("module", kind, *_) if class_name(kind):  # a class with its source text, which is not read
            return kind
    raise ValueError("a tensor's storage is described in an unknown way")


class Resolver:
    """Replaces inert objects by what they mean.

    Args:
      read_storage: returns the bytes of all `whole_count` numbers of a storage.
      read_inner: returns the storage in a file of torch.save that a pickle holds as bytes.
      max_numbers: of all tensors together. They may share and repeat numbers, so a small file could ask for more than
        the memory holds.
      byte_order: of storages.
    """

    def __init__(
        self,
        read_storage: Callable[[Storage], bytes | memoryview],
        read_inner: Callable[[Any], Storage],
        max_numbers: int,
        byte_order: Literal["little", "big"] = "little",
    ) -> None:
        self._read_storage, self._read_inner = read_storage, read_inner
        self._max_numbers = self._numbers_left = max_numbers
        self._order = "<" if byte_order == "little" else ">"
        self._contents: dict[str, bytes | memoryview] = {}
        self._done: dict[int, tuple[Any, Any]] = {}  # each object once, or sharing could make a small file endless

    def resolve(self, value: Any) -> Any:
        """Returns what a value means.

        Raises:
          ValueError: objects nested too deeply, tensors that do not fit their storage or are too many, anything but
            plain data, or what `read_storage` raises.
        """
        try:
            return self._convert(value)
        except RecursionError as error:
            raise ValueError("its objects are nested too deeply") from error
        except (LookupError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"its pickle is damaged ({error})") from error

    def _convert(self, item: Any) -> Any:
        if id(item) in self._done:
            return self._done[id(item)][1]
        match item:
            case dict():
                filled = self._keep(item, {})
                filled.update((self._key(key), self._convert(value)) for key, value in item.items())
            case list():
                self._keep(item, []).extend(map(self._convert, item))
            case Storage():
                return item
            case tuple():
                self._keep(item, tuple(map(self._convert, item)))
            case set() | frozenset():
                self._keep(item, type(item)(map(self._key, item)))
            case bytearray():
                self._keep(item, bytes(item))
            case type():
                name = present_name(class_name(item))
                self._keep(item, name if TORCH_CONSTANT.fullmatch(name) else PickledObject(name))
            case PickledObject():
                name = present_name(item.class_name)
                if name in MEANINGS:
                    self._keep(item, MEANINGS[name](self, item))
                elif item.pairs:  # a dictionary of a class of its own
                    self._dictionary(item)
                elif item.elements:
                    self._keep(item, self._convert(item.elements))
                else:
                    self._keep(item, item)
                    item.class_name = name
                    item.arguments, item.state = self._convert(item.arguments), self._convert(item.state)
            case _:
                return item
        return self._done[id(item)][1]

    def _keep(self, item: Any, converted: Any) -> Any:
        self._done[id(item)] = item, converted  # the item too, or another could get its id
        return converted

    def _key(self, key: Any) -> Any:
        return key if _is_plain_key(key) else self._convert(key)

    def _spend(self, count: int) -> None:
        """Counts numbers and elements that are copied."""
        self._numbers_left -= count
        if self._numbers_left < 0:
            raise ValueError(f"it repeats its content: more than {self._max_numbers} numbers in so small a file")

    # containers and plain objects

    def _dictionary(self, item: PickledObject) -> dict[Any, Any]:
        filled = self._keep(item, {})
        for content in map(self._convert, item.arguments):  # a defaultdict has its factory there
            if isinstance(content, (dict, list)):
                self._spend(len(content))
                pairs = content.items() if isinstance(content, dict) else content
                filled.update((_plain_key(key), value) for key, value in pairs)
        filled.update((self._key(key), self._convert(value)) for key, value in item.pairs)
        return filled

    def _elements(self, item: PickledObject) -> Any:
        """A deque becomes a list; a set too where its elements are neither text nor numbers."""
        found = [*self._convert((*item.arguments, ())[0]), *map(self._convert, item.elements)]
        self._spend(len(found))
        kinds = {"set": set, "frozenset": frozenset}
        return kinds.get(item.class_name.split(".")[-1], list)(found) if all(map(_is_plain_key, found)) else found

    def _bytes(self, item: PickledObject) -> bytes:
        """Bytes, or the text that pickles of protocol 2 make of them."""
        content, *encoding = self._convert(item.arguments) or (b"",)
        if not isinstance(content, str):
            return bytes(memoryview(content))
        if encoding not in ([], ["latin1"], ["latin-1"], ["utf-8"]):
            raise TypeError("bytes in an unknown encoding")
        self._spend(len(content))
        return content.encode(*encoding)

    def _persistent_object(self, item: PickledObject) -> PickledObject:
        """An instance of NVIDIA's networks; the source text of its class is not read."""
        content = self._convert(item.arguments[0])
        return PickledObject(f"{PERSISTENT}.{content['class_name']:s}", content["state"])

    # numpy

    def _array(self, item: PickledObject) -> np.ndarray:
        _, shape, dtype, is_fortran, content = item.state
        return self._numbers(content, dtype, shape, "F" if is_fortran else "C")

    def _scalar(self, item: PickledObject) -> Any:
        dtype, content = item.arguments
        return self._numbers(content, dtype, (), "C").item()

    def _numbers(self, content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        content = self._convert(content)
        if isinstance(content, str):  # of Python 2
            self._spend(len(content))
            content = content.encode("latin1")
        return np.frombuffer(content, self._convert(dtype)).reshape(self._convert(shape), order=order)

    # tensors

    def _tensor_of_type(self, item: PickledObject) -> np.ndarray:
        rebuild, kind, arguments, _ = item.arguments
        if not is_inside(class_name(kind) or "", ("torch",)):
            raise ValueError(f"it holds a tensor of the class {class_name(kind)}; save it as_subclass(torch.Tensor)")
        if not is_inside(class_name(rebuild) or "", ("torch._utils",)):
            raise TypeError("a tensor made by something else")
        return self._convert(PickledObject(class_name(rebuild), arguments=arguments))

    def _tensor_of_dtype(self, item: PickledObject) -> np.ndarray:
        """(storage, offset, size, stride, needs gradient, hooks, dtype[, metadata])."""
        *view, dtype = item.arguments[:7]
        return self._view(*view, *item.arguments[7:], dtype=self._convert(dtype).removeprefix("torch."))

    def _view(
        self, storage: Any, offset: Any, size: Any, stride: Any, *more: Any, dtype: str | None = None
    ) -> np.ndarray:
        storage, size, stride = map(self._convert, (storage, size, stride))
        metadata = self._convert((*more, None, None, None)[2]) or {}
        if not isinstance(storage, Storage):
            raise TypeError("a tensor without a storage")
        dtype = dtype or storage.dtype
        if dtype not in TENSOR_DTYPES:
            raise ValueError(f"it holds a tensor of dtype {dtype}, which is not supported; save it as float32")
        content, width = self._content(storage), itemsize(storage.dtype)
        content = content[storage.start * width : (storage.start + storage.count) * width]
        stored = np.dtype({"bfloat16": "uint16", "bool": "uint8"}.get(dtype, dtype)).newbyteorder(self._order)
        flat = np.frombuffer(content[: len(content) // stored.itemsize * stored.itemsize], stored)
        numbers = (offset, *size, *stride)
        is_view = len(size) == len(stride) and all(type(number) is int and number >= 0 for number in numbers)
        count = math.prod(size) if is_view else 0
        reach = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else -1
        if not is_view or reach >= flat.size:
            raise ValueError(
                f"a tensor of size {size}, stride {stride} and offset {offset} does not fit into its storage of "
                f"{flat.size} numbers"
            )
        self._spend(count)
        strides = [step * stored.itemsize if n > 1 else 0 for n, step in zip(size, stride, strict=True)]
        array = np.lib.stride_tricks.as_strided(flat[offset:] if count else flat, size, strides, writeable=False)
        array = array.astype(stored.newbyteorder("="), copy=False)
        if dtype == "bfloat16":  # the upper half of a float32
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return _with_bits(array != 0 if dtype == "bool" else array, metadata)

    def _content(self, storage: Storage) -> memoryview:
        if storage.content is not None:
            return storage.content
        if storage.key not in self._contents:
            self._contents[storage.key] = self._read_storage(storage)
        return memoryview(self._contents[storage.key])


def _with_bits(array: np.ndarray, metadata: dict[str, Any]) -> np.ndarray:
    """Applies the bits that PyTorch keeps beside a tensor's numbers: conjugate and negative."""
    bits = {name for name, is_set in metadata.items() if is_set}
    if bits - {"conj", "neg"}:
        raise ValueError(f"a tensor has the unknown metadata {', '.join(map(str, bits))[:100]}; save its clone()")
    array = np.conj(array) if "conj" in bits else array
    return -array if "neg" in bits else array


def _is_plain_key(key: Any) -> bool:
    """Whether it may be hashed: text, or a number whose hash cannot easily be made to collide."""
    return key is None or isinstance(key, (str, bytes, float)) or (isinstance(key, int) and abs(key) < LARGE_INTEGER)


def _plain_key(key: Any) -> Any:
    if not _is_plain_key(key):
        raise TypeError(f"{type(key).__name__} as a key")
    return key


def _size(sizes: Any = ()) -> tuple[int, ...]:
    if type(sizes) is not tuple or len(sizes) > 64 or not all(type(size) is int for size in sizes):
        raise TypeError("a torch.Size of something else than a few whole numbers")
    return sizes


def _device(kind: str, index: int | None = None) -> str:
    return f"{kind:s}" if index is None else f"{kind:s}:{index:d}"


def _dtype(item: PickledObject) -> np.dtype:
    code = item.arguments[0]
    if not (isinstance(code, str) and NUMPY_DTYPE.fullmatch(code)):
        raise TypeError("a numpy array of other things than numbers and text")
    order = item.state[1] if item.state else "="
    return np.dtype(code).newbyteorder(order if order in ("<", ">") else "=")


def _first(resolver: Resolver, item: PickledObject) -> Any:
    """The tensor inside a parameter, or inside a tensor of a rare device."""
    return resolver._convert(item.arguments[0])


def _tensor(resolver: Resolver, item: PickledObject) -> np.ndarray:
    """(storage, offset, size, stride[, needs gradient, hooks[, metadata]])."""
    return resolver._view(*item.arguments)


MEANINGS: dict[str, Callable[[Resolver, PickledObject], Any]] = {
    **dict.fromkeys((f"collections.{name}" for name in DICTIONARIES), Resolver._dictionary),
    **dict.fromkeys(("collections.deque", "builtins.set", "builtins.frozenset"), Resolver._elements),
    **dict.fromkeys(("builtins.bytearray", "_codecs.encode"), Resolver._bytes),
    "builtins.complex": lambda _, item: complex(*map(float, item.arguments)),
    "numpy.dtype": lambda _, item: _dtype(item),
    "numpy.core.multiarray._reconstruct": Resolver._array,
    "numpy.core.multiarray.scalar": Resolver._scalar,
    "numpy.core.numeric._frombuffer": lambda resolver, item: resolver._numbers(*item.arguments),
    "torch.Size": lambda _, item: _size(*item.arguments[:1]),
    "torch.device": lambda _, item: _device(*item.arguments[:2]),
    "torch.storage._load_from_bytes": lambda resolver, item: resolver._read_inner(_first(resolver, item)),
    **dict.fromkeys((f"torch._utils._rebuild_{name}" for name in ("tensor", "tensor_v2")), _tensor),
    "torch._utils._rebuild_tensor_v3": Resolver._tensor_of_dtype,
    **dict.fromkeys((f"torch._utils._rebuild_{name}" for name in WRAPPED_TENSORS), _first),
    "torch._tensor._rebuild_from_type_v2": Resolver._tensor_of_type,
    f"{PERSISTENT}._reconstruct_persistent_obj": Resolver._persistent_object,
}
