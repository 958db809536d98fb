"""Which epoch of a training is kept, when its learning rate falls, and when it ends; by loss or by macro AUC."""

import dataclasses
import json
import pathlib
import zipfile
import zlib
from typing import Any

import keras
import numpy as np

from tfcxr.data.atomic import atomic_path


@dataclasses.dataclass
class EpochSelection:
    """What has been seen of a training, epoch by epoch.

    Attributes:
      patience: epochs after the best one at which it ends.
      plateau_patience: epochs after the best one, or after the last time, at which the rate falls.
      is_higher_better: of the values that are added.
      curves: "loss", "validation_loss" and, where it decides, "validation_auc"; one value per epoch.
      best_epoch: counted from 1, 0 before the first.
      best_weights: of the network.
      seconds: of training so far.
    """

    patience: int
    plateau_patience: int
    is_higher_better: bool
    curves: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    best_epoch: int = 0
    best_value: float = 0.0
    best_weights: list[np.ndarray] = dataclasses.field(default_factory=list)
    lowered_epoch: int = 0
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """How many were added."""
        return len(self.curves.get("loss", ()))

    @property
    def is_over(self) -> bool:
        """Whether nothing has got better for `patience` epochs."""
        return self.epochs - self.best_epoch >= self.patience > 0 and self.epochs > 0

    def add(self, value: float, curves: dict[str, float], network: keras.Model) -> None:
        """Adds an epoch with the value that decides; keeps the weights where it is the best so far."""
        for name, number in curves.items():
            self.curves.setdefault(name, []).append(number)
        is_better = value > self.best_value if self.is_higher_better else value < self.best_value
        if not self.best_epoch or is_better:
            self.best_epoch, self.best_value, self.best_weights = self.epochs, value, network.get_weights()

    def lowers_rate(self) -> bool:
        """Whether the rate falls now; asking counts as lowering it."""
        is_due = self.epochs - max(self.best_epoch, self.lowered_epoch) >= self.plateau_patience
        if is_due:
            self.lowered_epoch = self.epochs
        return is_due

    def save(self, path: pathlib.Path, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Writes all that is needed to go on after this epoch."""
        facts = {name: value for name, value in vars(self).items() if name != "best_weights"}
        groups = {
            "network": [np.asarray(variable) for variable in network.variables],  # also the state of its dropout
            "optimizer": [np.asarray(variable) for variable in optimizer.variables],
            "best": self.best_weights,
        }
        arrays = {f"{name}/{index}": array for name, group in groups.items() for index, array in enumerate(group)}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **arrays)

    def restore(self, path: pathlib.Path, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Reads what `save` wrote of the same training.

        Raises:
          ValueError: a damaged file.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                facts: dict[str, Any] = json.loads(str(arrays["facts"]))
                groups = {
                    name: [arrays[f"{name}/{index}"] for index in range(count)]
                    for name, count in (
                        ("network", len(network.variables)),
                        ("optimizer", len(optimizer.variables)),
                        ("best", len(network.weights)),
                    )
                }
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is damaged ({type(error).__name__}: {error}); remove its folder and train again"
            ) from error
        variables = [*network.variables, *optimizer.variables]
        for variable, value in zip(variables, groups["network"] + groups["optimizer"], strict=True):
            variable.assign(value)
        vars(self).update(facts | {"best_weights": groups["best"]})
