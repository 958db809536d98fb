"""Checkpoints of a training run: one file each, whole or absent, and everything needed to go on to the same bits.

`checkpoints/step-00002000.npz` holds every variable of `GAN.checkpoint_variables` by name and a JSON state. Arrays are
read without pickle, so nothing in the file can run.
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
    """The checkpoints of one run folder, the newest `keep` of them and the best."""

    def __init__(self, run_dir: str | os.PathLike, keep: int = 3) -> None:
        if keep < 1:
            raise ValueError(f"at least one checkpoint must be kept, got {keep}")
        self._folder = pathlib.Path(run_dir) / "checkpoints"
        self._keep = keep

    def save(self, step: int, variables: dict[str, Any], state: dict[str, Any], is_best: bool = False) -> pathlib.Path:
        """Writes the checkpoint of a step and removes the oldest ones; `state` must be plain JSON.

        Raises:
          OSError: no space or permission; older checkpoints are still there.
        """
        path = self._folder / f"step-{step:08d}.npz"
        arrays = {name: np.asarray(variable) for name, variable in variables.items()}
        arrays[STATE_ENTRY] = np.array(json.dumps(state | {"step": step}))
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
        if is_best:
            with atomic_path(self._folder / BEST_NAME) as temporary:
                os.link(path, temporary)
        for old in self.paths()[: -self._keep]:
            old.unlink()
        return path

    def paths(self) -> list[pathlib.Path]:
        """Finished checkpoints, oldest first, without the best."""
        return sorted(self._folder.glob("step-*.npz"))

    def find(self, which: str = "last") -> pathlib.Path | None:
        """The "last" or "best" checkpoint, or None where there is none."""
        if which == "best":
            best = self._folder / BEST_NAME
            return best if best.is_file() else None
        paths = self.paths()
        return paths[-1] if paths else None

    def last_step(self) -> int:
        """The step of the last checkpoint, 0 where there is none."""
        last = self.find()
        return 0 if last is None else int(last.stem.removeprefix("step-"))

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
