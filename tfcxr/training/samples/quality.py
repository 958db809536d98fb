"""How good a generator is while it trains, by a frozen network that judges its images against held-out real ones.

    quality = open_quality("xception.keras", "records/64", "train", "validation", ["NORMAL", "PNEUMONIA"], images=256)
    samples = GeneratedSamples(model, run_dir, label_names, real_images, 500, metrics_log, quality=quality)

KID is the kernel distance of both sets' features, coverage the share of real images with a generated one nearby. The
same numbers of real training images (`kid_real`, `coverage_real`) are what a perfect generator would have. Overfitting
is of the discriminator: what it says of training, held-out and generated images.
"""

import collections
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcxr.backbones.frozen_network import FrozenNetwork, open_frozen_network
from tfcxr.data.atomic import atomic_path
from tfcxr.data.label_choice import LabelChoice, choose_labels
from tfcxr.data.pipeline import evaluation_batches, from_pixels, to_pixels
from tfcxr.data.records import read_dataset_info
from tfcxr.evaluation.metrics.kernel_distance import KERNEL
from tfcxr.evaluation.metrics.manifold import MANIFOLD, manifold_scores
from tfcxr.evaluation.metrics.metric import FeatureDistance, Metric
from tfcxr.training.run_folder import describe_data
from tfcxr.training.samples.flatness import flat_window, is_flat
from tfcxr.training.samples.real_images import BATCH_SIZE, LOOK_AT_MOST

FEATURES_FILE = "quality_features.npz"  # in the run folder
MIN_IMAGES = 16
KID: FeatureDistance = dataclasses.replace(KERNEL, name="kid")
COVERAGE = next(metric for metric in MANIFOLD if metric.name == "coverage")
OVERFITTING = Metric(
    name="overfitting",
    title="Overfitting of the discriminator",
    better="lower",
    meaning="How far the discriminator knows its training images by heart: 0 where it holds held-out images to be as "
    "real, 1 where it holds them to be as generated; lower is better, and augmentations lower it.",
    note="r_v of Karras et al. 2020 (Training Generative Adversarial Networks with Limited Data), section 3: "
    "(training - held out) / (training - generated), of mean logits.",
)

Generate = Callable[[tf.Tensor, tf.Tensor], np.ndarray]  # (seed int64 [batch], label float32 [batch, labels]) -> uint8
Realism = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # (uint8 images, float32 labels) -> logit float32 [batch]


class Quality:
    """KID and coverage of a generator's images, one for each of some held-out real images and with its labels.

    Attributes:
      measure: all that the values depend on, ready for JSON; values of different measures are never compared.
      kids: KID of each sample that counts, in order.
    """

    metrics = (KID, COVERAGE, OVERFITTING)

    def __init__(
        self,
        network: FrozenNetwork,
        measure: dict[str, Any],
        validation: np.ndarray,
        labels: np.ndarray,
        training: np.ndarray,
        training_labels: np.ndarray,
    ) -> None:
        """Use `open_quality`.

        Args:
          network: the judge.
          measure: see the class.
          validation: uint8 [images, size, size, 1], held out.
          labels: float32 [images, labels] of `validation`, as the generator reads them.
          training: uint8 [images, size, size, 1], of the same labels in another order.
          training_labels: float32 [images, labels] of `training`.
        """
        self.measure = measure
        self.kids: list[float] = []
        self._network, self._labels, self._training_labels = network, labels, training_labels
        self._real_images = {"validation": validation, "training": training}

    def prepare(self, run_dir: str | os.PathLike) -> None:
        """Computes the features of the real images, or takes them from the run folder."""
        path = pathlib.Path(run_dir) / FEATURES_FILE
        versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
        key = json.dumps(self.measure | versions, sort_keys=True)
        features = _kept_features(path, key)
        if features is None:
            features = {name: self._network.features(images) for name, images in self._real_images.items()}
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, key=np.array(key), **features)  # type: ignore[arg-type]
        self._validation = features["validation"]
        self._real_values = {f"{name}_real": value for name, value in self._scores(features["training"]).items()}

    def score(self, generate: Generate, realism: Realism | None = None, counts: bool = True) -> dict[str, float]:
        """`kid`, `coverage` and, of real training images, `kid_real` and `coverage_real`; `overfitting`.

        Args:
          generate: uint8 images [batch, size, size, 1] of seeds int64 [batch] and labels float32 [batch, labels].
          realism: what the discriminator says of images; without it there is no `overfitting`.
          counts: whether KID is one of those that `is_flat` compares.
        """
        parts = []
        for start in range(0, len(self._labels), BATCH_SIZE):
            label = tf.constant(self._labels[start : start + BATCH_SIZE])
            parts.append(generate(tf.range(start, start + len(label), dtype=tf.int64), label))
        images = np.concatenate(parts)
        values = self._scores(self._network.features(images))
        if counts:
            self.kids.append(values["kid"])
        if realism is not None:
            values["overfitting"] = self._overfitting(realism, images)
        return values | self._real_values

    @property
    def is_flat(self) -> bool:
        """Whether KID has stopped falling, see the function `is_flat`."""
        return is_flat(self.kids)

    def text(self, values: Mapping[str, float]) -> str:
        """What `score` gave, for the terminal, and whether KID has stopped falling."""
        text = f"kid {values['kid']:.3f} (real {values['kid_real']:.3f}), coverage {values['coverage']:.2f} "
        text += f"(real {values['coverage_real']:.2f})"
        if "overfitting" in values:
            text += f", overfitting {values['overfitting']:.2f}"
        if not self.is_flat:
            return text
        window = flat_window(self.kids)
        after, before = np.mean(self.kids[-window:]), np.mean(self.kids[-2 * window : -window])
        return f"{text}, kid no longer falls (mean of the last {window} samples {after:.3f}, before {before:.3f})"

    @property
    def best_text(self) -> str:
        """Of which step the best checkpoint is."""
        images, network = self.measure["images"], self._network.name
        return (
            f"the smallest kid between generated and {images} real images that are not trained on, by {network} (of "
            f"real training images: {self._real_values['kid_real']:.3f})"
        )

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"measure": self.measure, "kid": self.kids}

    def _overfitting(self, realism: Realism, generated: np.ndarray) -> float:
        sets = (
            (self._real_images["training"], self._training_labels),
            (self._real_images["validation"], self._labels),
            (generated, self._labels),
        )
        training, held_out, generated_mean = (_mean_realism(realism, *images_and_labels) for images_and_labels in sets)
        if training <= generated_mean:  # it tells no image from another
            return 0.0
        return (training - held_out) / (training - generated_mean)

    def _scores(self, features: np.ndarray) -> dict[str, float]:
        return {
            "kid": float(KID.distance(features, self._validation, 0)),
            "coverage": float(manifold_scores(features, self._validation)["coverage"].mean()),
        }


def open_quality(
    extractor: str,
    data_dir: str | os.PathLike,
    splits: str,
    validation_splits: str,
    label_names: Sequence[str],
    labels: Sequence[str] = (),
    images: int = 256,
) -> Quality:
    """A judge of images by `extractor`, a text for `open_frozen_network`.

    Args:
      data_dir: of the images that are trained on.
      splits: that are trained on, with commas between.
      validation_splits: with the images that generated ones are compared with.
      label_names: of the model; empty for one without labels.
      labels: chosen among those of the data set; all where none is named.
      images: at most so many of `validation_splits`, the first.

    Raises:
      FileNotFoundError, ValueError: as `open_frozen_network`, or it does not take images of this size.
      ValueError: a split that is trained on, or fewer than `MIN_IMAGES` images.
    """
    if shared := set(splits.split(",")) & set(validation_splits.split(",")):
        raise ValueError(
            f"--quality_extractor judges by images that are not trained on, but --splits={splits} and "
            f"--validation_splits={validation_splits} share {', '.join(sorted(shared))}"
        )
    info = read_dataset_info(data_dir)
    choice, network = choose_labels(info, labels), open_frozen_network(extractor)
    validation, rows = _read_images(data_dir, validation_splits, choice, bool(label_names), images)
    training, training_rows = _read_images(data_dir, splits, choice, bool(label_names), len(rows), like=rows)
    for name, found in ((validation_splits, validation), (splits, training)):
        if len(found) < MIN_IMAGES:
            raise ValueError(
                f"--quality_extractor needs {MIN_IMAGES} images or more of the same labels in each split, got "
                f"{len(found)} in {name!r} of {info.name}"
            )
    network.features(validation[:1])  # it takes images of this size
    measure = network.passport | {
        "images": len(validation),
        "labels": list(choice.names) if label_names else [],
        "splits": [splits, validation_splits],
        "fingerprints": [describe_data(info, split)["fingerprint"] for split in (splits, validation_splits)],
    }
    return Quality(network, measure, validation, rows, training, training_rows)


def _read_images(
    data_dir: str | os.PathLike,
    splits: str,
    choice: LabelChoice,
    is_labelled: bool,
    count: int,
    like: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` images uint8 [images, size, size, 1], and labels float32 [images, labels], 0 where unknown.

    Shards are random mixes, so they are a random sample. With `like`, float32 [count, labels], as many images of each
    row's labels are taken, or what the first `LOOK_AT_MOST` images have of them.
    """
    images: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    wanted: dict[bytes, int] = collections.defaultdict(lambda: count)
    if like is not None:
        wanted = collections.Counter(row.tobytes() for row in like)
    looked_at = 0
    for batch in evaluation_batches(data_dir, splits, BATCH_SIZE).as_numpy_iterator():
        labels = np.nan_to_num(choice.of(batch["label"])) if is_labelled else batch["label"][:, :0]
        for index in np.flatnonzero(choice.keeps(batch["label"])):
            key = labels[index].tobytes()
            if len(images) < count and wanted[key]:
                images.append(batch["image"][index])
                rows.append(labels[index])
                wanted[key] -= 1
        looked_at += len(batch["key"])
        if len(images) == count or looked_at >= LOOK_AT_MOST:
            break
    if not images:
        return np.empty([0, 0, 0, 1], np.uint8), np.empty([0, 0], np.float32)
    return to_pixels(from_pixels(tf.constant(np.stack(images)))).numpy(), np.stack(rows)


def _mean_realism(realism: Realism, images: np.ndarray, labels: np.ndarray) -> float:
    starts = range(0, len(images), BATCH_SIZE)
    parts = [realism(images[start : start + BATCH_SIZE], labels[start : start + BATCH_SIZE]) for start in starts]
    return float(np.mean(np.concatenate(parts)))


def _kept_features(path: pathlib.Path, key: str) -> dict[str, np.ndarray] | None:
    """Features that were kept under the same key."""
    if not path.is_file():
        return None
    with np.load(path) as kept:
        return {name: kept[name] for name in ("validation", "training")} if str(kept["key"]) == key else None
