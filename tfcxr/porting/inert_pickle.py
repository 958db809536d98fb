"""Reads a pickle as data, with Python's own `pickle.Unpickler`, and runs nothing of it.

Why nothing can run. A pickle can only look up names, call what it looked up, and give states to objects.

- Looking up a name returns a class made here (`_named`): nothing is imported, and the caller's `check_name` refuses
  names that weights do not need.
- Only such a class can be called, and that makes a `PickledObject`, which remembers its arguments.
- A state goes to `__setstate__`, which stores it (`PickledObject`) or fails (the classes), so no attribute is ever set.
  Python's own containers and numbers have none.

Why it ends soon. `_scan` first follows the instructions without running them. It refuses lengths beyond the file,
instructions that bypass `find_class` (EXT1, EXT2, EXT4 use the registry of `copyreg`) or need more than the file, memo
indices beyond the file, and keys that would take for ever to hash. Arguments are copied at most in proportion to the
pickle's length, so a short pickle cannot become a large object.
"""

import dataclasses
import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

REFUSED = {"EXT1", "EXT2", "EXT4", "PERSID", "NEXT_BUFFER", "READONLY_BUFFER"}
MAX_NAMES = 1000  # different ones of a pickle; networks name fewer than a hundred
MAX_KEY_PARTS = 10_000  # of all keys together that are no text and no small number: their hashes can be made to collide
LARGE_INTEGER = 2**61 - 1  # from here on two whole numbers have the same hash
KEYS = {  # instructions that hash what they take from the stack -> which of it
    "SETITEM": slice(1, None, 2),
    "SETITEMS": slice(1, None, 2),
    "DICT": slice(0, None, 2),
    "ADDITEMS": slice(1, None),
    "FROZENSET": slice(0, None),
}
DAMAGES = (pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError)


@dataclasses.dataclass(eq=False, slots=True)
class PickledObject:
    """Stands for an instance of a class that was not imported, or for the class itself.

    Attributes:
      class_name: module and name.
      state: what the pickle gives the instance after it was made, mostly a dictionary of attributes.
      arguments: what it was made of.
      pairs: keys and values, of an instance that is a dictionary.
      elements: of an instance that is a list.
    """

    class_name: str
    state: Any = None
    arguments: tuple[Any, ...] = ()
    pairs: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)
    elements: list[Any] = dataclasses.field(default_factory=list)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pairs.append((key, value))

    def extend(self, items: list[Any]) -> None:
        """Takes more elements."""
        self.elements.extend(items)


def load(
    content: bytes, check_name: Callable[[str], None], find_persistent: Callable[[Any], Any], start: int = 0
) -> tuple[Any, int]:
    """Reads the pickle that begins at byte `start`; returns its object and the position behind its end.

    Args:
      check_name: is given "module.name"; raises ValueError to refuse it.
      find_persistent: the identifier of something outside the pickle -> its stand-in, immutable and not callable; or
        the class that the identifier names.

    Raises:
      ValueError: a refused name or instruction, a damaged or truncated pickle, or one that would grow without bound.
    """
    stream = io.BytesIO(content)
    stream.seek(start)
    _scan(stream, len(content) - start)
    end = stream.tell()
    try:
        return _Unpickler(content[start:end], check_name, find_persistent).load(), end
    except DAMAGES as error:
        raise ValueError(f"its pickle is damaged ({error})") from error


def class_name(item: Any) -> str | None:
    """The "module.name" that a class made here stands for; None for anything else."""
    return item.full_name if isinstance(item, type) else None


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, content: bytes, check_name: Callable[[str], None], find_persistent: Callable[[Any], Any]
    ) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")  # bytes of Python 2
        self._check_name, self._find_persistent = check_name, find_persistent
        self._classes: dict[str, type] = {}
        self._arguments_left = 16 * len(content)

    def find_class(self, module: str, name: str) -> type:
        full_name = f"{module}.{name}"
        if full_name not in self._classes:
            self._check_name(full_name)
            if len(self._classes) == MAX_NAMES:
                raise ValueError(f"it names more than {MAX_NAMES} different things, which no weights do")
            self._classes[full_name] = _named(full_name, self._spend)
        return self._classes[full_name]

    def persistent_load(self, identifier: Any) -> Any:
        return self._find_persistent(identifier)

    def _spend(self, count: int) -> None:
        self._arguments_left -= count
        if self._arguments_left < 0:
            raise ValueError("it copies its objects again and again, so it would fill the memory")


def _named(name: str, spend: Callable[[int], None]) -> type:
    """Makes the class that stands for a name; pickles make new objects of classes alone."""

    class Named:
        __slots__ = ()
        full_name = name

        def __new__(cls, *arguments: Any, **settings: Any) -> PickledObject:
            spend(len(arguments) + len(settings))
            return PickledObject(name, arguments=(*arguments, settings) if settings else arguments)

        def __setstate__(self, state: Any) -> None:  # called without an instance, so it fails before this line
            raise TypeError("a state is given to a class")

    return Named


def _scan(stream: io.BytesIO, size: int) -> None:
    """Follows the pickle's stack without making its objects; each is counted by the parts that its hash would visit."""
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[int, int] = {}
    key_parts = 0
    instructions = pickletools.genops(stream)
    while True:
        try:
            instruction, argument, position = next(instructions)
        except (ValueError, MemoryError, OverflowError) as error:
            raise ValueError(f"its pickle is truncated or damaged ({error})") from error
        name = instruction.name
        if name in REFUSED:
            raise ValueError(f"its pickle has the instruction {name}, which weights do not need; nothing was run")
        try:
            if name == "MARK":
                marks.append(len(stack))
            elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                index = len(memo) if name == "MEMOIZE" else argument
                if not 0 <= index <= size:
                    raise IndexError(f"the memo has no place {index}")
                memo[index] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name == "DUP":
                stack.append(stack[-1])
            elif name == "POP" and marks and marks[-1] == len(stack):
                marks.pop()
            else:
                taken = _taken(instruction, stack, marks)
                parts = 1
                if name.startswith("TUPLE"):
                    parts = min(1 + sum(taken), MAX_KEY_PARTS + 1)
                elif isinstance(argument, int) and abs(argument) >= LARGE_INTEGER:
                    parts = 2
                if name in KEYS:
                    key_parts += sum(count for count in taken[KEYS[name]] if count > 1)
                stack += [parts] * len(instruction.stack_after)
        except LookupError as error:
            raise ValueError(f"its pickle is damaged at byte {position} ({name}: {error})") from error
        if key_parts > MAX_KEY_PARTS:
            raise ValueError(f"the keys of its dictionaries and sets have more than {MAX_KEY_PARTS} parts")
        if name == "STOP":
            break
    if stack or marks:
        raise ValueError(f"its pickle is damaged: it ends with {len(stack) + 1} objects, expected 1")


def _taken(instruction: pickletools.OpcodeInfo, stack: list[int], marks: list[int]) -> list[int]:
    """Removes from the stack, and returns, what the instruction takes."""
    before = instruction.stack_before
    if pickletools.markobject in before:
        start = marks.pop() - before.index(pickletools.markobject)
    else:
        start = len(stack) - len(before)
    if start < (marks[-1] if marks else 0):
        raise IndexError("too little on the stack")
    taken = stack[start:]
    del stack[start:]
    return taken
