"""Optimised latents of a cohort that is being made, on disk as they are found, so that a killed one loses none."""

import dataclasses
import json
import os
import pathlib

import numpy as np

from tfcxr.sampling.latent_optimization import Tried


@dataclasses.dataclass(frozen=True)
class Optimum(Tried):
    """What became of one try of a pseudo-patient.

    Attributes:
      tries: which try it is, from 1.
      z: float32 [latent].
      shortfalls: see `Tried`.
      first_log_odds: by class, at the start.
      log_odds: by class, at `z`.
    """

    tries: int
    z: np.ndarray
    shortfalls: list[float]
    first_log_odds: list[float]
    log_odds: list[float]


class KeptOptima:
    """A file of one JSON line per ended try.

    Attributes:
      found: number of a pseudo-patient -> its optimum, as earlier runs found them.
      tries: number of a pseudo-patient -> its tries so far, of those that have none.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Reads what is there; a line that a killed process left half-written is cut off."""
        self._path = pathlib.Path(path)
        self.found: dict[int, Optimum] = {}
        self.tries: dict[int, int] = {}
        self._path.touch()
        *lines, torn = self._path.read_bytes().split(b"\n")
        os.truncate(self._path, self._path.stat().st_size - len(torn))
        for entry in map(json.loads, lines):
            patient, z = entry.pop("patient"), np.array(entry.pop("z"), np.float32)
            optimum = Optimum(z=z, **entry)
            if optimum.is_reached:
                self.found[patient] = optimum
                self.tries.pop(patient, None)
            else:
                self.tries[patient] = optimum.tries

    def add(self, patient: int, optimum: Optimum) -> None:
        """Appends a try."""
        entry = {"patient": patient} | dataclasses.asdict(optimum) | {"z": optimum.z.tolist()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
