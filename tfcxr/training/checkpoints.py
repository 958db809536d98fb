"""Checkpoints of a training run: one file each, whole or absent, with everything needed to resume to the same bits.

`checkpoints/step-00002000.npz` holds every variable of `AdversarialModel.checkpoint_variables` by name, and a JSON
state. Arrays are read without pickle, so nothing in the file can run.
"""

import json
import os
import pathlib
import zipfile
from typing import Any

import numpy as np

from tfcxr.data.atomic import atomic_path, remove_temporary_files

STATE_ENTRY = "state_json"
BEST_NAME = "best.npz"


class Checkpoints:
    """The checkpoints of one run folder: the newest `keep` of those that were due, and the best one beside them.

    Due are the multiples of `every`. That of another step, where training was interrupted or ended, takes none of
    their places, and stays until a later one is written.
    """

    def __init__(self, run_dir: str | os.PathLike, keep: int = 3, every: int = 1) -> None:
        if keep < 1:
            raise ValueError(f"at least one checkpoint must be kept, got {keep}")
        self._folder = pathlib.Path(run_dir) / "checkpoints"
        self._keep, self._every = keep, every

    def save(
        self,
        step: int,
        variables: dict[str, Any],
        state: dict[str, Any],
        is_due: bool = True,
        is_best: bool = False,
    ) -> pathlib.Path:
        """Writes the checkpoint of a step: under its number where it `is_due`, as the best where it `is_best`.

        Args:
          step: that has ended.
          variables: name -> variable.
          state: plain JSON, stored with the step.
          is_due: whether it is the last one, and not only the best.
          is_best: whether it replaces the best.

        Raises:
          OSError: no space or permission; older checkpoints are still there.
        """
        path = self._path(step) if is_due else self._folder / BEST_NAME
        arrays = {name: np.asarray(variable) for name, variable in variables.items()}
        arrays[STATE_ENTRY] = np.array(json.dumps(state | {"step": step}))
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        if is_due and is_best:
            with atomic_path(self._folder / BEST_NAME) as temporary:
                os.link(path, temporary)
        steps = self.steps()
        kept = {*steps[-1:], *[other for other in steps if other % self._every == 0][-self._keep :]}
        for old in {*steps} - kept:
            self._path(old).unlink()
        return path

    def paths(self) -> list[pathlib.Path]:
        """Finished checkpoints, oldest first, without the best."""
        return sorted(self._folder.glob("step-*.npz"))

    def find(self, which: str = "last") -> pathlib.Path | None:
        """The "last" checkpoint, the "best", or that of a step, such as "2000"; None where there is none.

        Raises:
          ValueError: `which` is none of these.
        """
        paths = self.paths()
        if which == "last":
            return paths[-1] if paths else None
        if which != "best" and not (which.isascii() and which.isdecimal()):
            raise ValueError(f"expected last, best or the number of a step as checkpoint, got {which!r}")
        path = self._folder / BEST_NAME if which == "best" else self._path(int(which))
        return path if path.is_file() else None

    def steps(self) -> list[int]:
        """The steps of the finished checkpoints, without the best."""
        return [int(path.stem.removeprefix("step-")) for path in self.paths()]

    def last_step(self) -> int:
        """The step of the last checkpoint, 0 where there is none."""
        return max(self.steps(), default=0)

    def _path(self, step: int) -> pathlib.Path:
        return self._folder / f"step-{step:08d}.npz"

    def remove_leftovers(self) -> None:
        """Removes what a killed process left half-written."""
        remove_temporary_files(self._folder)


def restore(path: str | os.PathLike, variables: dict[str, Any]) -> dict[str, Any]:
    """Assigns a checkpoint's values to variables of the same names; returns its state, with "step".

    Raises:
      ValueError: a damaged file, or one of other settings (names or shapes differ; the first is named).
    """
    arrays, state = _read(path)
    if arrays.keys() != variables.keys():
        difference = sorted(arrays.keys() ^ variables.keys())
        raise ValueError(
            f"checkpoint {path} was written with other settings: {len(difference)} variables occur on one side only, "
            f"such as {difference[0]}; use the settings in the run's config.json"
        )
    for name, variable in variables.items():
        if arrays[name].shape != tuple(variable.shape):
            raise ValueError(
                f"checkpoint {path} was written with other settings: {name} has shape {arrays[name].shape}, "
                f"expected {tuple(variable.shape)}; use the settings in the run's config.json"
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return state


def read_state(path: str | os.PathLike) -> dict[str, Any]:
    """The state of a checkpoint.

    Raises:
      ValueError: a damaged file.
    """
    return _read(path)[1]


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The values of a checkpoint by name.

    Raises:
      ValueError: a damaged file.
    """
    return _read(path)[0]


def _read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(str(arrays.pop(STATE_ENTRY)))
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"checkpoint {path} is damaged ({error}); remove it, an older one will be used") from error
