"""What a cohort's gate did: tries and realism per image, and their summary."""

import collections
import dataclasses
import json
from typing import Any

import numpy as np

from tfcxr.sampling.cohort_labels import CohortLabels
from tfcxr.sampling.image_source import SourceImage
from tfcxr.serving.realism_gate import TRY_STRIDE, RealismGate


@dataclasses.dataclass
class GateLog:
    """Of each image in order.

    Attributes:
      tries: candidates that were generated.
      realism: of the accepted one.
    """

    tries: list[int] = dataclasses.field(default_factory=list)
    realism: list[float] = dataclasses.field(default_factory=list)

    def add(self, image: SourceImage) -> None:
        """Notes the next image."""
        self.tries.append(image.tries)
        self.realism.append(image.realism)

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, *texts: str) -> "GateLog":
        """Joins what `to_json` wrote of consecutive images."""
        logs = [json.loads(text) for text in texts]
        return cls(*(sum((log[name] for log in logs), []) for name in ("tries", "realism")))

    def summary(self, gate: RealismGate, labels: CohortLabels, label_names: tuple[str, ...]) -> dict[str, Any]:
        """What a cohort's provenance says of its gate."""
        tries, total = np.array(self.tries), sum(self.tries)
        is_unlabelled = 1.0 - labels.rows.max(axis=1, keepdims=True, initial=0.0)
        has_label = np.concatenate([labels.rows, is_unlabelled], axis=1) == 1
        by_label = {}
        for name, rows in zip([*label_names, "no label"], has_label.T, strict=True):
            of_label = tries[rows[labels.order]]
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
