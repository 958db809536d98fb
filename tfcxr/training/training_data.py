"""The records of a training: which folder, splits and labels, and their batches for each stage."""

import dataclasses
import pathlib
from collections.abc import Sequence

import tensorflow as tf
from absl import logging

from tfcxr.data.label_choice import LabelChoice, choose_labels
from tfcxr.data.pipeline import count_images, training_batches
from tfcxr.data.pyramid import smaller_records
from tfcxr.data.records import read_dataset_info, read_patient_keys, shard_paths
from tfcxr.data.schema import DatasetInfo
from tfcxr.data.sizes import find_size
from tfcxr.models.model_config import AdversarialConfig, Stage
from tfcxr.training.embedded_data import phantom_records
from tfcxr.training.loop import OpenBatches
from tfcxr.training.run_folder import RunConfig, describe_data


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Some labels of some splits of a data folder.

    Attributes:
      folder: of one image size.
      info: what it holds.
      splits: to train on, with commas between.
      labels: as the user chose them; all where none is named.
    """

    folder: pathlib.Path
    info: DatasetInfo
    splits: str
    labels: tuple[str, ...] = ()

    @property
    def choice(self) -> LabelChoice:
        """The labels among those of the folder."""
        return choose_labels(self.info, self.labels)

    @property
    def images(self) -> int:
        """How many images are trained on."""
        return count_images(self.info, self.splits, self.choice)

    def patients(self) -> list[str]:
        """The keys of the patients that are trained on."""
        return read_patient_keys(self.folder, self.splits, self.labels)

    def description(self) -> dict[str, str]:
        """The data of `RunConfig`; it names the labels where the user chose some."""
        chosen = {"labels": ",".join(self.choice.names)} if self.labels else {}
        return describe_data(self.info, self.splits) | chosen

    def open_batches(
        self, seed: int, stages: Sequence[Stage], config: AdversarialConfig, replicas: int = 1, cache: bool = False
    ) -> OpenBatches:
        """A function that opens the batches of a stage; all are opened once here, so that none is found missing later.

        With `cache`, the decoded images of a stage are kept in memory.

        Raises:
          FileNotFoundError: a shard is missing.
          ValueError: a batch that cannot be shared by the replicas, or for which there are too few images; too little
            memory for the `cache`.
        """
        self._check_batches(stages, config.batches_per_step, replicas)
        sources = {size: smaller_records(self.folder, size) for size in sorted({stage.image_size for stage in stages})}

        def open_batches(stage: Stage, skipped_steps: int, rows: slice) -> tf.data.Dataset:
            folder, shrink = sources[stage.image_size]
            return training_batches(
                folder,
                self.splits,
                stage.batch_size * config.batches_per_step,
                seed + stage.first_step,  # each stage has an order of its own
                skipped_steps,
                shrink=shrink,
                labels=self.labels,
                conditions=config.condition_columns,
                rows=rows,
                cache=cache,
            )

        for stage in stages:
            open_batches(stage, 0, slice(None))
        for size, (folder, shrink) in sources.items():
            if shrink > 1:
                logging.warning(
                    "there are no records of %d px: those in %s are shrunk while they are read, which is slower; build "
                    "them with --image_sizes=%d",
                    size,
                    folder,
                    size,
                )
        return open_batches

    def _check_batches(self, stages: Sequence[Stage], batches_per_step: int, replicas: int) -> None:
        for batch_size in sorted({stage.batch_size for stage in stages}):
            if batch_size % replicas:
                raise ValueError(f"batch_size {batch_size} cannot be shared equally by {replicas} replicas")
        images, largest = self.images, max(stage.batch_size for stage in stages)
        if images >= largest * batches_per_step:
            return
        product = f" ({largest} x {batches_per_step} batches per step)" if batches_per_step > 1 else ""
        possible = images // batches_per_step // replicas * replicas
        advice = f"the largest batch size that works is {possible}" if possible else "train on more images"
        raise ValueError(
            f"split {self.splits!r} of {self.info.name} holds {images} images, too few for one training step of "
            f"{largest * batches_per_step}{product}; {advice}"
        )


def find_training_data(
    data_dir: str | None, image_size: int | None, splits: Sequence[str], labels: Sequence[str], verify_checksums: bool
) -> TrainingData:
    """The data folder of `image_size` pixels, or of the only size there is; the phantom's where `data_dir` is None.

    Raises:
      FileNotFoundError: no such folder, or a shard is missing.
      ValueError: no such split or label, several sizes, or a damaged shard.
    """
    folder = phantom_records(image_size or 64) if data_dir is None else find_size(data_dir, image_size)
    info = read_dataset_info(folder)
    chosen = choose_labels(info, labels).names if labels else ()
    shard_paths(folder, info, ",".join(splits), verify_checksums)
    return TrainingData(folder, info, ",".join(splits), chosen)


def labels_to_resume(run_dir: pathlib.Path, stored: RunConfig, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels that the run to be resumed was begun with, which need not be given again.

    Raises:
      ValueError: others are given.
    """
    begun = tuple(stored.data["labels"].split(",")) if "labels" in stored.data else ()
    if labels and tuple(name.strip() for name in labels) != begun:
        was = f"--labels={','.join(begun)}" if begun else "all labels"
        raise ValueError(
            f"{run_dir} was begun with {was}, got --labels={','.join(labels)}; leave out --labels or choose another "
            "--run_dir"
        )
    return begun
