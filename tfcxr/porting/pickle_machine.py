"""Reads a pickle as data: a stack machine of our own in place of Python's, which would import and call what it is told.

A name in the pickle ("global") is looked up in nothing but the table the caller gives, so a file can neither import a
module nor call a function. `pickletools` splits the bytes into instructions and runs nothing either.
"""

import dataclasses
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

HEADERS = {"PROTO", "FRAME"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
EMPTY_CONTAINERS = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
ARGUMENTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
KEY_TYPES = (str, bytes, int, float, type(None))  # nested tuples could take for ever to hash


@dataclasses.dataclass(eq=False)
class PickledObject:
    """Stands for an instance of a class that was not imported, or for the class itself.

    Attributes:
      class_name: module and name. state: what the pickle gives the instance, mostly a dictionary of attributes.
    """

    class_name: str
    state: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Constructor:
    """What an allowed name of the pickle does: `make` gets the arguments."""

    name: str
    make: Callable[..., Any]


class HasState(Protocol):
    """A value that may be given a state after it was made."""

    def set_state(self, state: Any) -> None: ...


class PickleMachine:
    """One reader for all pickles of a file.

    Args:
      find_global: module and name -> a `Constructor` or a plain value; raises ValueError for what is forbidden.
      find_persistent: the identifier of something that is stored outside the pickle -> its stand-in.
      stateful: classes of ours that have `set_state`.
    """

    def __init__(
        self,
        find_global: Callable[[str, str], Any],
        find_persistent: Callable[[Any], Any],
        stateful: tuple[type[HasState], ...] = (),
    ) -> None:
        self._find_global = find_global
        self._find_persistent = find_persistent
        self._stateful = stateful
        self._start()

    def load(self, stream: BinaryIO) -> Any:
        """The object of the pickle that begins here; `stream` then stands behind it.

        Raises:
          ValueError: a forbidden name, an instruction that no weights need, or a damaged or truncated pickle.
        """
        self._start()
        instructions = pickletools.genops(stream)
        while True:
            try:
                instruction, argument, position = next(instructions)
            except (ValueError, MemoryError) as error:
                raise ValueError(f"its pickle is truncated or damaged ({error})") from error
            if instruction.name == "STOP":
                break
            try:
                self._step(instruction.name, argument)
            except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
                raise ValueError(f"its pickle is damaged at byte {position} ({instruction.name}: {error})") from error
        if len(self._stack) != 1:
            raise ValueError(f"its pickle is damaged: it ends with {len(self._stack)} objects, expected 1")
        return self._stack.pop()

    def _start(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memory: dict[int, Any] = {}

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in ARGUMENTS:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY_CONTAINERS:
            stack.append(EMPTY_CONTAINERS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memory[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memory[len(self._memory)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memory[argument])
        elif name in INSTRUCTIONS:
            INSTRUCTIONS[name](self, argument)
        elif name not in HEADERS:
            raise ValueError(f"its pickle has the instruction {name}, which weights do not need; nothing was run")

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _mark(self, _: None) -> None:
        self._marks.append(len(self._stack))

    def _pop(self, _: None) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _pop_mark(self, _: None) -> None:
        self._since_mark()

    def _dup(self, _: None) -> None:
        self._stack.append(self._stack[-1])

    # containers

    def _tuple(self, _: None) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _tuple1(self, _: None) -> None:
        self._stack[-1:] = [(self._stack[-1],)]

    def _tuple2(self, _: None) -> None:
        self._stack[-2:] = [(self._stack[-2], self._stack[-1])]

    def _tuple3(self, _: None) -> None:
        self._stack[-3:] = [(self._stack[-3], self._stack[-2], self._stack[-1])]

    def _list(self, _: None) -> None:
        self._stack.append(self._since_mark())

    def _dict(self, _: None) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._fill(items)

    def _frozenset(self, _: None) -> None:
        self._stack.append(frozenset(map(plain_key, self._since_mark())))

    def _append(self, _: None) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _appends(self, _: None) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise TypeError(f"expected a list, got {type(target).__name__}")
        target.extend(items)

    def _additems(self, _: None) -> None:
        items = self._since_mark()
        if type(self._stack[-1]) is not set:
            raise TypeError(f"expected a set, got {type(self._stack[-1]).__name__}")
        self._stack[-1].update(map(plain_key, items))

    def _setitem(self, _: None) -> None:
        items = self._stack[-2:]
        del self._stack[-2:]
        self._fill(items)

    def _setitems(self, _: None) -> None:
        self._fill(self._since_mark())

    def _fill(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict:
            raise TypeError(f"expected a dictionary, got {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=False):
            target[plain_key(key)] = value

    # names, objects and their state

    def _global(self, argument: str) -> None:
        self._stack.append(self._find_global(*argument.split(" ", 1)))

    def _stack_global(self, _: None) -> None:
        module, name = self._stack[-2:]
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("a global is named by two strings")
        self._stack[-2:] = [self._find_global(module, name)]

    def _binpersid(self, _: None) -> None:
        self._stack.append(self._find_persistent(self._stack.pop()))

    def _reduce(self, _: None) -> None:
        constructor, arguments = self._stack[-2:]
        self._stack[-2:] = [_made(constructor, arguments)]

    def _newobj_ex(self, _: None) -> None:
        keywords = self._stack.pop()
        if keywords:
            raise TypeError("an object is made with named arguments")
        self._reduce(None)

    def _inst(self, argument: str) -> None:
        arguments = tuple(self._since_mark())
        self._stack.append(_made(self._find_global(*argument.split(" ", 1)), arguments))

    def _obj(self, _: None) -> None:
        constructor, *arguments = self._since_mark()
        self._stack.append(_made(constructor, tuple(arguments)))

    def _build(self, _: None) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, PickledObject):
            target.state = state
        elif isinstance(target, self._stateful):
            target.set_state(state)
        elif type(target) is not dict:  # the state of an OrderedDict is torch's metadata, which nothing reads
            raise TypeError(f"a state is given to {type(target).__name__}")


def plain_key(value: Any) -> Any:
    """`value` where it may be a key of a dictionary or an element of a set, else TypeError."""
    if not isinstance(value, KEY_TYPES):
        raise TypeError(f"{type(value).__name__} as a key or element of a set")
    return value


def _made(constructor: Any, arguments: Any) -> Any:
    if not isinstance(constructor, Constructor) or type(arguments) is not tuple:
        raise TypeError(f"{type(constructor).__name__} is called")
    return constructor.make(*arguments)


INSTRUCTIONS: dict[str, Callable[[PickleMachine, Any], None]] = {
    "MARK": PickleMachine._mark,
    "POP": PickleMachine._pop,
    "POP_MARK": PickleMachine._pop_mark,
    "DUP": PickleMachine._dup,
    "TUPLE": PickleMachine._tuple,
    "TUPLE1": PickleMachine._tuple1,
    "TUPLE2": PickleMachine._tuple2,
    "TUPLE3": PickleMachine._tuple3,
    "LIST": PickleMachine._list,
    "DICT": PickleMachine._dict,
    "FROZENSET": PickleMachine._frozenset,
    "APPEND": PickleMachine._append,
    "APPENDS": PickleMachine._appends,
    "ADDITEMS": PickleMachine._additems,
    "SETITEM": PickleMachine._setitem,
    "SETITEMS": PickleMachine._setitems,
    "GLOBAL": PickleMachine._global,
    "STACK_GLOBAL": PickleMachine._stack_global,
    "BINPERSID": PickleMachine._binpersid,
    "REDUCE": PickleMachine._reduce,
    "NEWOBJ": PickleMachine._reduce,
    "NEWOBJ_EX": PickleMachine._newobj_ex,
    "INST": PickleMachine._inst,
    "OBJ": PickleMachine._obj,
    "BUILD": PickleMachine._build,
}
