"""The serialised records of a cohort, a batch at a time, the same whoever makes them and in whatever order."""

import dataclasses
import pathlib

from tfcxr.data.conditions import record_fields
from tfcxr.data.schema import Record, default_encoding, encode_record
from tfcxr.sampling.cohort_labels import CohortLabels
from tfcxr.sampling.cohort_options import CohortOptions
from tfcxr.sampling.gate_log import GateLog
from tfcxr.sampling.image_source import ImageSource
from tfcxr.serving.gate import Gate
from tfcxr.serving.loaded_model import LoadedModel


@dataclasses.dataclass(frozen=True)
class CohortBatch:
    """The records of some consecutive images of a cohort.

    Attributes:
      examples: serialised, in order.
      log: what the gate did with them, empty without a gate.
    """

    examples: list[bytes]
    log: GateLog


class CohortRecords:
    """Makes the records of a cohort."""

    def __init__(self, source: ImageSource, labels: CohortLabels, options: CohortOptions) -> None:
        """Makes them of the images of `source`."""
        self._source, self._labels, self._options = source, labels, options
        self._prefix = f"synthetic-{source.description.weights_sha256[:8]}"
        self._encoding = default_encoding(source.description.image_size)

    def make(self, numbers: range) -> CohortBatch:
        """The records of the images `numbers`, one of the ranges of `ImageSource.batches`.

        Raises:
          ValueError: see `ImageSource.images`.
        """
        options, labels, source, batch = self._options, self._labels, self._source, CohortBatch([], GateLog())
        images = source.images(labels, numbers, options.first_seed, options.truncation, options.batch_size)
        for number, image in zip(numbers, images, strict=True):
            key = f"{self._prefix}-{image.seed}"
            label = tuple(map(float, labels.rows[labels.order[number]]))
            fields = {}
            if labels.conditions is not None:
                fields = record_fields(labels.conditions[number], source.description.condition_names)
            record = Record(image.pixels, key, label, patient_key=key, **fields)
            batch.examples.append(encode_record(record, self._encoding))
            if source.gate is not None:
                batch.log.add(image)
        return batch


@dataclasses.dataclass(frozen=True)
class CohortParts:
    """What `CohortRecords` are made of, for another process: models by their folders, and the rest as it is."""

    model: pathlib.Path
    gate: Gate | None
    super_resolution: pathlib.Path | None
    labels: CohortLabels
    options: CohortOptions

    def open(self) -> CohortRecords:
        """Loads the models.

        Raises:
          FileNotFoundError, ValueError: see `LoadedModel` and `ImageSource`.
        """
        super_resolution = LoadedModel(self.super_resolution) if self.super_resolution else None
        source = ImageSource(LoadedModel(self.model), self.gate, super_resolution)
        return CohortRecords(source, self.labels, self.options)
