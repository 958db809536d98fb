"""Compares a ported network with the original's outputs: arrays that a user saved where PyTorch runs.

    numpy.savez("reference.npz", **{"in/image": x.numpy(), "out/logits": model(x).detach().numpy()})

`in/NAME` are inputs and `out/NAME` outputs, float32 in PyTorch's layout (batch, channel, height, width) and in the
value range of the original network. `reference_outputs` lists the names that a format computes. An output may hold only
the first channels, or a summary: NAME__crop is the 64 x 64 window that begins at row and column size / 2 - 17,
NAME__mean64 the mean of equal blocks down to 64 x 64, NAME__stats the stacked mean and standard deviation of each image
and channel.
"""

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Callable, Mapping

import numpy as np

from tfcxr.porting.parity import LARGEST_ALLOWED, MEAN_ALLOWED, relative_differences

Output = Callable[[Mapping[str, np.ndarray], str], np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class ReferenceCheck:
    """Relative differences of each output, see `relative_differences`.

    Attributes:
      file: name of the reference.
      compared: output -> {"largest", "mean"}.
      not_compared: output -> why.
    """

    file: str
    compared: dict[str, dict[str, float]]
    not_compared: dict[str, str]
    largest_allowed: float = LARGEST_ALLOWED
    mean_allowed: float = MEAN_ALLOWED

    @property
    def missed(self) -> list[str]:
        """Outputs outside the tolerance, the worst first; NaN is outside."""
        outside = {
            name: figures["largest"]
            for name, figures in self.compared.items()
            if not (figures["largest"] <= self.largest_allowed and figures["mean"] <= self.mean_allowed)
        }
        return sorted(outside, key=lambda name: -np.nan_to_num(outside[name], nan=np.inf))

    @property
    def text(self) -> str:
        """One line for people."""
        largest, mean = (np.max([figures[kind] for figures in self.compared.values()]) for kind in ("largest", "mean"))
        verdict = f"not met by {len(self.missed)}" if self.missed else "met"
        left = f", {len(self.not_compared)} others were not compared" if self.not_compared else ""
        return (
            f"{len(self.compared)} outputs of {self.file}: largest difference {largest:.2g}, mean {mean:.2g} of the "
            f"largest value; allowed {self.largest_allowed:g} and {self.mean_allowed:g}, {verdict}{left}"
        )


def check_reference(path: str | os.PathLike, output: Output) -> ReferenceCheck:
    """Computes every output of the file that `output` knows and compares it.

    Args:
      path: an .npz.
      output: inputs by name, and the name of an output -> the array, images channels last; None for an unknown name;
        raises KeyError for a missing input.

    Raises:
      FileNotFoundError: no such file.
      ValueError: not an .npz of in/... and out/..., an output of another shape than the ported network gives, or none
        that the format knows.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no reference {path}")
    inputs, outputs = _read(path)
    compared, not_compared, computed = {}, {}, {}
    for name, expected in outputs.items():
        base, _, summary = name.partition("__")
        try:
            if base not in computed:
                computed[base] = output(inputs, base)
        except KeyError as error:
            not_compared[name] = f"{path.name} has no in/{error.args[0]}"
            continue
        if computed[base] is None or summary not in ("", *SUMMARIES):
            not_compared[name] = "the format knows no output of this name"
            continue
        found = np.asarray(computed[base], np.float64)
        found = found.transpose(0, 3, 1, 2) if found.ndim == 4 else found
        found = SUMMARIES[summary](found) if summary else found
        found = found[:, : expected.shape[1]] if found.ndim == expected.ndim == 4 else found
        if found.shape != expected.shape:
            raise ValueError(f"{path}: out/{name} has shape {expected.shape}, the ported network gives {found.shape}")
        compared[name] = dict(zip(("largest", "mean"), relative_differences(found, expected), strict=True))
    if not compared:
        reasons = "; ".join(f"out/{name}: {reason}" for name, reason in list(not_compared.items())[:5])
        raise ValueError(f"nothing of the reference {path} could be compared ({reasons})")
    return ReferenceCheck(path.name, compared, not_compared)


def _read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npz of numbers ({error})") from error
    inputs, outputs = (
        {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
        for start in ("in/", "out/")
    )
    if not inputs or not outputs:
        raise ValueError(f"{path} needs arrays in/... and out/..., it has {', '.join(list(arrays)[:5]) or 'none'}")
    return inputs, outputs


def _crop(array: np.ndarray) -> np.ndarray:
    start = array.shape[2] // 2 - 17
    return array[:, :, start : start + 64, start : start + 64]


def _block_means(array: np.ndarray) -> np.ndarray:
    size = array.shape[2] // 64
    return array.reshape(*array.shape[:2], 64, size, 64, size).mean((3, 5))


def _stats(array: np.ndarray) -> np.ndarray:
    return np.stack([array.mean((2, 3)), array.std((2, 3))])


SUMMARIES = {"crop": _crop, "mean64": _block_means, "stats": _stats}
