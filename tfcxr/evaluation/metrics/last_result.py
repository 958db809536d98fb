"""Work that several metrics share on one pair of sets."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def remember_last(function: Callable[..., Result]) -> Callable[..., Result]:
    """A function that is not called again for the very objects of its last call.

    The objects are held until the next call; do not change them in between. Calls with keywords are not remembered.
    """
    last: list[Any] = []

    @functools.wraps(function)
    def remembered(*arguments: Any, **options: Any) -> Result:
        if options:
            return function(*arguments, **options)
        if not last or [*map(id, last[0])] != [*map(id, arguments)]:
            last[:] = [arguments, function(*arguments)]
        return last[1]

    return remembered
