"""Where a synthetic picture comes from: the facts that its PNG or DICOM file carries."""

import dataclasses
import math
import re

from tfcxr.data.schema import DatasetInfo, Record

SHORT_SHA256 = 12  # digits of a hash in sentences
_KEY_WITH_SEED = re.compile(r"synthetic-[0-9a-f]{8}-(\d+)")  # of a cohort whose images follow from their seeds


@dataclasses.dataclass(frozen=True)
class SyntheticFacts:
    """What generated a picture, and from what.

    Attributes:
      model: exported model and version, such as "acgan/1".
      weights_sha256: SHA-256 of its weights.
      labels: labels that were asked for, then conditions such as "sex F"; () for none.
      seed: None where the picture does not follow from one seed, as after an optimisation of its latent.
      truncation: 1 for none.
    """

    model: str
    weights_sha256: str
    labels: tuple[str, ...] = ()
    seed: int | None = None
    truncation: float = 1.0

    @property
    def generated_as(self) -> str:
        """The labels as text that cannot be taken for a finding."""
        return f"generated as: {', '.join(self.labels) or 'no label'}"

    @property
    def sentence(self) -> str:
        """All facts for a reader."""
        parts = [f"model {self.model}", f"weights {self.weights_sha256[:SHORT_SHA256]}"]
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        if self.truncation != 1.0:
            parts.append(f"truncation {self.truncation:g}")
        return f"Synthetic image, shows no patient; {', '.join(parts)}; {self.generated_as}."


def facts_of_record(record: Record, info: DatasetInfo) -> SyntheticFacts:
    """The facts of one image of a synthetic cohort."""
    labels = [name for name, value in zip(info.label_names, record.label, strict=True) if value == 1]
    conditions = {"sex": record.sex, "age": "" if math.isnan(record.age) else f"{record.age:g}", "view": record.view}
    match = _KEY_WITH_SEED.fullmatch(record.key)
    provenance = info.provenance
    return SyntheticFacts(
        model=provenance.get("saved_model") or provenance.get("run") or info.name,
        weights_sha256=provenance.get("weights_sha256", ""),
        labels=(*labels, *(f"{name} {value}" for name, value in conditions.items() if value)),
        seed=int(match[1]) if match else None,
        truncation=provenance.get("truncation", 1.0),
    )
