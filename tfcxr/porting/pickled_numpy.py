"""Arrays and scalars of numpy in a checkpoint, rebuilt from their bytes; only numbers, never objects."""

import re
from typing import Any

import numpy as np


class NumpyDtype:
    """A dtype of numbers; its byte order comes as a state."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not (isinstance(code, str) and re.fullmatch(r"[<>|=]?(b1|\?|[iuf][1248])", code)):
            raise TypeError("a numpy array of other things than numbers")
        self.value = np.dtype(code)

    def set_state(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


class NumpyArray:
    """An array whose content comes as a state."""

    def __init__(self, *_: Any) -> None:
        self.value = np.zeros(0, np.float32)

    def set_state(self, state: Any) -> None:
        _, shape, dtype, is_fortran, content = state
        if not (isinstance(dtype, NumpyDtype) and isinstance(content, bytes)):
            raise TypeError("a numpy array of other things than numbers")
        array = np.frombuffer(content, dtype.value)
        self.value = array.reshape(shape, order="F" if is_fortran else "C")


STATEFUL = (NumpyDtype, NumpyArray)


def encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """The bytes that pickles of protocol 2 write as text.

    Raises:
      TypeError: an unknown encoding.
    """
    if encoding not in ("latin1", "latin-1", "utf-8"):
        raise TypeError("bytes in an unknown encoding")
    return text.encode(encoding)


def scalar(dtype: Any, content: Any) -> int | float | bool:
    """The number of a numpy scalar.

    Raises:
      TypeError: something else than a number.
    """
    if not (isinstance(dtype, NumpyDtype) and isinstance(content, bytes) and len(content) == dtype.value.itemsize):
        raise TypeError("a numpy scalar that is no number")
    return np.frombuffer(content, dtype.value)[0].item()
