"""Images that the critic finds real enough: candidates are drawn until each image has one (woloszyn2025).

    for image in RealismSearch(LoadedModel("saved_models/cgan"), RealismGate(0.9), plan).accepted(range(len(plan))):
        image.pixels, image.seed, image.tries, image.realism

Candidates of many images are drawn at once, and an image that has found one makes room for the next of the plan. Which
candidate is kept does not depend on that: it is the first of its own row of seeds (see `RealismGate`) that passes.
"""

import collections
import dataclasses
import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfcxr.sampling.label_plan import LabelPlan
from tfcxr.serving.cascade_parts import TRY_STRIDE, RealismGate
from tfcxr.serving.loaded_model import LoadedModel

IN_FLIGHT = 4  # batches of images that may be searched or wait for an earlier one


@dataclasses.dataclass(frozen=True)
class Accepted:
    """An image of a cohort: uint8 pixels [height, width, channels], its seed, candidates tried, score of the last."""

    pixels: np.ndarray
    seed: int
    tries: int
    realism: float


@dataclasses.dataclass
class GateLog:
    """Candidates tried and the accepted one's realism, of each image in order."""

    tries: list[int] = dataclasses.field(default_factory=list)
    realism: list[float] = dataclasses.field(default_factory=list)

    def add(self, image: Accepted) -> None:
        """Notes the next image."""
        self.tries.append(image.tries)
        self.realism.append(image.realism)

    def extend(self, log: "GateLog") -> None:
        """Notes the images of another log after those of this one."""
        self.tries.extend(log.tries)
        self.realism.extend(log.realism)

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "GateLog":
        """Reads what `to_json` wrote."""
        return cls(**json.loads(text))

    def summary(self, gate: RealismGate, plan: LabelPlan, label_names: tuple[str, ...]) -> dict[str, Any]:
        """What a cohort's provenance says of its gate."""
        tries, total = np.array(self.tries), sum(self.tries)
        has_label = np.concatenate([plan.rows, 1.0 - plan.rows.max(axis=1, keepdims=True, initial=0.0)], axis=1) == 1
        by_label = {}
        for name, rows in zip([*label_names, "no label"], has_label.T, strict=True):
            of_label = tries[rows[plan.order]]
            if len(of_label):
                by_label[name] = {"images": len(of_label), "tries": int(of_label.sum())}
        return {
            "min_realism": gate.min_realism,
            "max_tries": gate.max_tries,
            "accepted": len(tries),
            "tries": total,
            "acceptance_rate": len(tries) / total,
            "images_by_tries": {str(key): count for key, count in sorted(collections.Counter(self.tries).items())},
            "tries_by_label": by_label,
            "realism": {
                "minimum": min(self.realism),
                "mean": float(np.mean(self.realism)),
                "maximum": max(self.realism),
            },
            "seeds": f"try t of image i, both from 0: first_seed + i + t * {TRY_STRIDE}",
        }


@dataclasses.dataclass
class _Search:
    """What is known of an image without an accepted candidate yet."""

    tries: int = 0
    best: float = 0.0


@dataclasses.dataclass(frozen=True)
class RealismSearch:
    """A gate at work on a model's images.

    Attributes:
      model: a generator with a critic. gate: what is kept. plan: labels of the images.
      first_seed: of the first candidate of image 0. truncation: scales z. batch_size: candidates drawn at once.
    """

    model: LoadedModel
    gate: RealismGate
    plan: LabelPlan
    first_seed: int = 0
    truncation: float = 1.0
    batch_size: int = 64

    def accepted(self, images: range) -> Iterator[Accepted]:
        """The images of a part of the plan, in order; only some batches of them are in memory at a time.

        Raises:
          ValueError: an image none of whose candidates passes, or a critic that scores one NaN.
        """
        searches: dict[int, _Search] = {}
        accepted: dict[int, Accepted] = {}
        upcoming, last = iter(images), images.start - 1
        for following in images:
            while following not in accepted:
                room = min(self.batch_size - len(searches), following + IN_FLIGHT * self.batch_size - 1 - last)
                for last in itertools.islice(upcoming, max(0, room)):
                    searches[last] = _Search()
                self._try_once(searches, accepted)
            yield accepted.pop(following)

    def _try_once(self, searches: dict[int, _Search], accepted: dict[int, Accepted]) -> None:
        """Draws the next candidate of every image that is searched."""
        numbers = np.fromiter(searches, np.int64)
        tried = np.array([search.tries for search in searches.values()], np.int64)
        seeds, labels = self.first_seed + numbers + tried * TRY_STRIDE, self.plan.rows[self.plan.order[numbers]]
        candidates = self.model.draw(seeds, labels, self.truncation)
        realism = np.asarray(self.model.score(candidates, labels), np.float32)
        if np.isnan(realism).any():
            raise ValueError(
                f"the critic of {self.model.path} scored an image NaN: the model left its numeric range; "
                "export another checkpoint"
            )
        for row, number in enumerate(numbers.tolist()):
            search, value = searches[number], float(realism[row])
            search.tries += 1
            search.best = max(search.best, value)
            if realism[row] >= np.float32(self.gate.min_realism):
                accepted[number] = Accepted(candidates[row].copy(), int(seeds[row]), search.tries, value)
                del searches[number]
            elif search.tries == self.gate.max_tries:
                raise nothing_passed(labels[row], self.model.description.label_names, self.gate, search.best)


def nothing_passed(
    label: np.ndarray,
    label_names: tuple[str, ...],
    gate: RealismGate,
    best: float,
    cascade: str | os.PathLike | None = None,
) -> ValueError:
    """The error of an image none of whose candidates passes.

    Args:
      label: float32 [labels]. best: the best score of its candidates. cascade: where the gate is inside an export.
    """
    names = " + ".join(name for name, value in zip(label_names, label, strict=True) if value == 1) or "no label"
    advice = (
        "the same command with a higher --max_tries goes on from them, or choose a lower --min_realism and another "
        "--out_dir"
        if cascade is None
        else f"export {cascade} again with a lower min_realism or a higher max_tries and choose another --out_dir"
    )
    return ValueError(
        f"no image of {names} reached realism {gate.min_realism:g} in {gate.max_tries} tries, the best had {best:.3g}; "
        f"finished shards are kept: {advice}, or train the model longer"
    )
