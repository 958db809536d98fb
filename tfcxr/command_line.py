"""How every command starts and how it fails: a user's mistake gives one clear sentence and exit status 1."""

import difflib
import errno
import logging
import os
import pathlib
import sys
from collections.abc import Callable, Iterable

from absl import app, flags
from absl import logging as absl_logging
from tqdm import tqdm

OUR_FOLDERS = (pathlib.Path(__file__).parent, pathlib.Path(__file__).parents[1] / "tfrecords_builder")

flags.DEFINE_bool("traceback", False, "Show the whole traceback of an error instead of one sentence.")


def run(main: Callable[[list[str]], None], argv: list[str] | None = None, takes_arguments: bool = False) -> None:
    """Parses the flags and runs `main`; a wrong value, path or file ends with one sentence and exit status 1.

    Args:
      main: gets the program's name and what stands beside the flags.
      argv: instead of `sys.argv`.
      takes_arguments: whether anything may stand beside the flags.
    """
    app.run(lambda arguments: _run_guarded(main, arguments, takes_arguments), argv)


def nearest_name(name: str, names: Iterable[str]) -> str:
    """A hint for an unknown name: the closest valid one, then all of them."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + f"valid names: {', '.join(names) or 'none'}"


def refuse_flags(names: Iterable[str], reason: str) -> None:
    """Refuses flags that the user gave although they have no effect in what is asked for.

    Args:
      reason: why, such as "they are of a cascade; ...".

    Raises:
      ValueError: one of them was given; the message names those.
    """
    if given := [f"--{name}" for name in names if flags.FLAGS[name].present]:
        raise ValueError(f"{' and '.join(given)} would have no effect: {reason}")


class _TerminalHandler(logging.Handler):
    """Our own messages, and the warnings of libraries, one line each and above a progress bar, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        is_ours = any(folder in pathlib.Path(record.pathname).parents for folder in OUR_FOLDERS)
        if is_ours or record.levelno >= logging.WARNING:
            tqdm.write(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)


def _run_guarded(main: Callable[[list[str]], None], argv: list[str], takes_arguments: bool) -> None:
    absl_logging.set_verbosity(absl_logging.INFO)
    absl_logging.get_absl_logger().handlers = [_TerminalHandler()]
    absl_logging.get_absl_logger().propagate = False
    try:
        if len(argv) > 1 and not takes_arguments:
            raise ValueError(f"unexpected argument {argv[1]!r}; flags are written --name=value")
        main(argv)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, ImportError) as error:
        if flags.FLAGS.traceback:
            raise
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(1)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        where = f" {error.filename}" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"no space left to write{where}; what was finished before is kept, free some space and run again"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"no permission for{where}; choose a folder you may write to"
        return f"{os.strerror(error.errno)}:{where}"
    return str(error)
