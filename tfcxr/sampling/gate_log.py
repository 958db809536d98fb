"""What a cohort's gate did: tries, realism and copies per image, and their summary."""

import collections
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcxr.sampling.cohort_labels import CohortLabels
from tfcxr.sampling.image_source import SourceImage
from tfcxr.serving.gate import TRY_STRIDE


@dataclasses.dataclass
class GateLog:
    """Of each image in order.

    Attributes:
      tries: candidates that were generated.
      realism: of the accepted one.
      copies_refused: of the tries.
      copy_ratio: of the accepted one.
    """

    tries: list[int] = dataclasses.field(default_factory=list)
    realism: list[float] = dataclasses.field(default_factory=list)
    copies_refused: list[int] = dataclasses.field(default_factory=list)
    copy_ratio: list[float] = dataclasses.field(default_factory=list)

    def add(self, image: SourceImage) -> None:
        """Notes the next image."""
        for name, values in vars(self).items():
            values.append(getattr(image, name))

    def extend(self, other: "GateLog") -> None:
        """Adds the images of another log behind those of this one."""
        for name, values in vars(self).items():
            values.extend(getattr(other, name))

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, *texts: str) -> "GateLog":
        """Joins what `to_json` wrote of consecutive images."""
        logs = [json.loads(text) for text in texts]
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(sum((log.get(name, []) for log in logs), []) for name in names))

    def summary(
        self, gate: Mapping[str, Any], labels: CohortLabels, label_names: tuple[str, ...]
    ) -> dict[str, dict[str, Any]]:
        """What a cohort's provenance says of its gate (`Gate.settings`): "realism_gate", "copy_gate" or both."""
        tries, total = np.array(self.tries), sum(self.tries)
        is_unlabelled = 1.0 - labels.rows.max(axis=1, keepdims=True, initial=0.0)
        has_label = np.concatenate([labels.rows, is_unlabelled], axis=1) == 1
        by_label = {}
        for name, rows in zip([*label_names, "no label"], has_label.T, strict=True):
            of_label = tries[rows[labels.order]]
            if len(of_label):
                by_label[name] = {"images": len(of_label), "tries": int(of_label.sum())}
        counts = {
            "max_tries": gate["max_tries"],
            "accepted": len(tries),
            "tries": total,
            "acceptance_rate": len(tries) / total,
            "images_by_tries": {str(key): count for key, count in sorted(collections.Counter(self.tries).items())},
            "tries_by_label": by_label,
        }
        seeds = {"seeds": f"try t of image i, both from 0: first_seed + i + t * {TRY_STRIDE}"}
        found: dict[str, dict[str, Any]] = {}
        if "min_realism" in gate:
            limit = {name: gate[name] for name in ("min_realism", "calibration") if name in gate}
            found["realism_gate"] = {**limit, **counts, "realism": _spread(self.realism), **seeds}
        if "copies" in gate:
            copies = {"copies_refused": sum(self.copies_refused), "copy_ratio": _spread(self.copy_ratio)}
            found["copy_gate"] = {**gate["copies"], **counts, **copies, **seeds}
        return found


def _spread(values: list[float]) -> dict[str, float]:
    return {"minimum": min(values), "mean": float(np.mean(values)), "maximum": max(values)}
