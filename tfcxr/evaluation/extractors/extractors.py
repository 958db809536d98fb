"""What `--extractor` names: the networks and pixels by which images are compared, with features kept on disk.

`trained` is the evaluation's own classifier, trained on the real training images; `pixels` are grey values at 32 px;
all else is a path, of a classifier that `python -m tfcxr.train_classifier` stored or see `frozen_network`, or
NAME=PATH; without a name it is called as its file or folder is.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from tfcxr.backbones.frozen_network import open_frozen_network
from tfcxr.backbones.saved_network import folder_with
from tfcxr.backbones.stored_classifier import CLASSIFIER_FILE, StoredClassifier
from tfcxr.command_line import name_and_path
from tfcxr.data.pipeline import from_pixels
from tfcxr.data.stored_images import Images, read_batches
from tfcxr.evaluation import kept
from tfcxr.evaluation.cohorts import Cohort, Cohorts
from tfcxr.evaluation.evaluation import TRAINED, Evaluation
from tfcxr.evaluation.extractors.feature_extractor import FeatureExtractor, find_or_train_extractor
from tfcxr.evaluation.extractors.fitting import prediction_batch

PIXELS = "pixels"
PIXELS_SIZE = 32
FEATURES_FOLDER = "features"


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A way to see images.

    Attributes:
      name: in reports.
      passport: all that its features depend on, ready for JSON; equal passports give comparable numbers.
      read: uint8 images [images, size, size, 1] -> "features" float32 [images, features] and, where it is a classifier
        of the evaluation's labels, "probability" float32 [images, labels].
      folder: where what was read of cohorts is kept.
      words: in sentences.
      is_classifier: whether it gives probabilities.
    """

    name: str
    passport: dict[str, Any]
    read: Callable[[Images], dict[str, np.ndarray]]
    folder: pathlib.Path
    words: str
    is_classifier: bool = False

    def features(self, images: Images) -> np.ndarray:
        """Features float32 [images, features] of uint8 images [images, size, size, 1]."""
        return self.read(images)["features"]

    def features_of(self, cohort: Cohort) -> np.ndarray:
        """Features float32 [images, features] of a cohort, see `read_cohort`."""
        return self.read_cohort(cohort)["features"]

    def read_cohort(self, cohort: Cohort) -> dict[str, np.ndarray]:
        """What `read` gives of a cohort, computed once for all protocols and later evaluations."""
        key = kept.key_of({"passport": self.passport, "cohort": cohort.identity, "software": kept.software_versions()})
        path = self.folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', self.name).strip('-')}-{key[:16]}.json"
        if found := kept.find(path, key):
            return found[1]
        arrays = self.read(cohort.images)
        kept.keep(path, key, {"passport": self.passport, "cohort": cohort.identity}, arrays)
        return arrays


def open_extractors(evaluation: Evaluation, cohorts: Cohorts) -> list[Extractor]:
    """The extractors that the evaluation names, each once.

    Raises:
      FileNotFoundError: no such file or folder.
      ValueError: what `open_frozen_network` and `find_or_train_extractor` refuse.
    """
    folder = evaluation.out_dir / FEATURES_FOLDER
    opened = []
    for name, given in _by_name(evaluation.extractors).items():
        if name == TRAINED:
            trained = find_or_train_extractor(
                evaluation, cohorts.real, cohorts.validation, cohorts.label_names, cohorts.is_single_label
            )
            passport = {"extractor": name, "layer": "last global pooling", "values": "[-1, 1]", "channels": 1}
            passport |= {"input_size": None, "resize": "none", "sha256": trained.facts["weights_sha256"]}
            passport |= {name: trained.facts[name] for name in ("classifier", "seed", "features", "label_names")}
            read = functools.partial(_read_classifier, trained)
            words = evaluation.classifier.architecture
            opened.append(Extractor(name, passport, read, folder, words, True))
        elif name == PIXELS:
            passport = {
                "extractor": name,
                "input_size": PIXELS_SIZE,
                "resize": "area",
                "values": "[0, 1]",
                "channels": 1,
            }
            opened.append(Extractor(name, passport, _read_pixels, folder, "grey pixels"))
        elif folder_with(given, CLASSIFIER_FILE):
            opened.append(_stored_classifier(name, StoredClassifier(given), cohorts, folder))
        else:
            network = open_frozen_network(given)
            read = lambda images, network=network: {"features": network.features(images)}  # noqa: E731
            opened.append(Extractor(name, network.passport, read, folder, name))
    return opened


def _by_name(given: Sequence[str]) -> dict[str, str]:
    """What `--extractor` gave, by the names that reports show.

    Raises:
      ValueError: two of one name.
    """
    named: dict[str, str] = {}
    for text in dict.fromkeys(given):
        name, path = name_and_path(text)
        name = name or _file_name(text)
        if name in named:
            raise ValueError(f"--extractor names two networks {name!r}; give each as NAME=PATH")
        named[name] = path
    return named


def _file_name(text: str) -> str:
    """Name of the file or folder of "PATH" or "PATH:layer=..."; of a version's number, that of the folder above."""
    path = pathlib.PurePath(re.split(r":(?=[a-z_]+=)", text)[0])
    return path.parent.name if path.name.isdecimal() else path.stem


def _read_classifier(extractor: FeatureExtractor, images: Images) -> dict[str, np.ndarray]:
    probability, features = extractor.classifier.predict(images)
    return {"features": features, "probability": probability}


def _stored_classifier(name: str, classifier: StoredClassifier, cohorts: Cohorts, folder: pathlib.Path) -> Extractor:
    """Features and, where it tells all labels of the evaluation, their probabilities."""
    labels = list(cohorts.label_names)
    has_labels = bool(labels) and set(labels) <= set(classifier.label_names)
    has_labels &= classifier.is_single_label == cohorts.is_single_label
    has_labels &= not classifier.is_single_label or len(labels) == len(classifier.label_names)
    columns = [classifier.label_names.index(label) for label in labels] if has_labels else None
    passport = {
        "extractor": "a stored classifier",
        "sha256": classifier.sha256,
        "layer": "features",
        "values": "[-1, 1]",
        "channels": 1,
        "input_size": classifier.image_size,
        "resize": "bilinear, antialiased",
        "label_names": labels if has_labels else [],
    }
    return Extractor(name, passport, _reader_of(classifier, columns), folder, name, has_labels)


def _reader_of(classifier: StoredClassifier, columns: list[int] | None) -> Callable[[Images], dict[str, np.ndarray]]:
    """Reads images by a stored classifier, traced once for all sets of one size."""

    @functools.cache
    def outputs_of(shape: tuple[int, ...], dtype: np.dtype) -> Callable[[np.ndarray], dict[str, tf.Tensor]]:
        signature = [tf.TensorSpec([None, *shape], tf.as_dtype(dtype))]
        return tf.function(
            lambda batch: classifier.outputs(from_pixels(batch)), input_signature=signature, autograph=False
        )

    def read(images: Images) -> dict[str, np.ndarray]:
        rows = prediction_batch(max(images.shape[1], classifier.image_size))
        outputs = outputs_of(tuple(images.shape[1:]), images.dtype)
        batches = [outputs(batch) for batch in read_batches(images, rows)]
        found = {"features": np.concatenate([batch["features"] for batch in batches])}
        if columns is not None:
            found["probability"] = np.concatenate([batch["probability"] for batch in batches])[:, columns]
        return found

    return read


def _read_pixels(images: Images) -> dict[str, np.ndarray]:
    resized = functools.partial(cv2.resize, dsize=(PIXELS_SIZE, PIXELS_SIZE), interpolation=cv2.INTER_AREA)
    rows = [resized(image[..., 0]).ravel() for batch in read_batches(images, 256) for image in batch]
    return {"features": np.stack(rows).astype(np.float32) / 255}
