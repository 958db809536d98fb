"""A trained classifier in a folder: a SavedModel that loads without tfcxr, and `classifier.json`.

    classifier = StoredClassifier("saved_models/densenet")
    logits = classifier.logits(images)                      # differentiable with respect to the images

`serving_default` takes `image`, float32 [batch, height, width, 1] in [-1, 1]. It gives `features` float32
[batch, features], and `logits` and `probability` float32 [batch, labels]. Images of another size than `image_size` are
resized inside, antialiased. `python -m tfcxr.train_classifier` writes such folders.
"""

import json
import os
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import tensorflow as tf

import tfcxr
from tfcxr.backbones.bilinear_resize import resize_antialiased
from tfcxr.backbones.saved_network import folder_sha256, folder_with, save_quietly
from tfcxr.data.atomic import atomic_path, remove_temporary_files
from tfcxr.layers.channels import with_channels

CLASSIFIER_FILE = "classifier.json"
REQUIRED = ("labels", "is_single_label", "image_size", "thresholds", "validation_auc")

Classify = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]  # images in [-1, 1] -> (features, logits)


class ServedClassifier(tf.Module):
    """The function that is exported."""

    def __init__(self, classify: Classify, variables: Collection[Any], image_size: int, is_single_label: bool) -> None:
        super().__init__(name="tfcxr")
        self._weights = [getattr(variable, "value", variable) for variable in variables]

        def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
            features, logits = classify(resize_antialiased(image, image_size))
            probability = tf.nn.softmax(logits) if is_single_label else tf.sigmoid(logits)
            return {"features": tf.cast(features, tf.float32), "logits": logits, "probability": probability}

        spec = tf.TensorSpec([None, None, None, 1], tf.float32, "image")
        self.classify = tf.function(call, input_signature=[spec], autograph=False)


def write_classifier(
    path: str | os.PathLike,
    classify: Classify,
    variables: Collection[Any],
    description: Mapping[str, Any],
    write_beside: Callable[[pathlib.Path], None] | None = None,
) -> pathlib.Path:
    """Writes the folder, which appears only when it is whole.

    Args:
      path: the version's folder, such as `saved_models/densenet/1`.
      classify: float32 [batch, image_size, image_size, 1] in [-1, 1] -> (features [batch, features], logits float32
        [batch, labels]), for inference.
      variables: all that `classify` reads.
      description: of `classifier.json`, plain JSON. It needs "labels", "is_single_label", "image_size", "thresholds"
        (label -> probability with the largest Youden's J on validation images, None where these lack a side) and
        "validation_auc" (label -> AUC or None); data and training settings stand beside them.
      write_beside: writes further files into the folder, on which no output depends.

    Raises:
      ValueError: something is there already, or the description lacks an entry.
      OSError: no space or permission.
    """
    path = pathlib.Path(path)
    if path.exists():
        raise ValueError(f"{path} exists already; choose another folder")
    _check_description(description, "the description of a classifier")
    description = {**description, "tfcxr_version": tfcxr.__version__, "tensorflow_version": tf.__version__}
    served = ServedClassifier(classify, variables, description["image_size"], description["is_single_label"])
    remove_temporary_files(path.parent)
    with atomic_path(path) as folder:
        save_quietly(served, folder, served.classify)
        (folder / CLASSIFIER_FILE).write_text(json.dumps(description, indent=2, allow_nan=False) + "\n", "utf-8")
        if write_beside:
            write_beside(folder)
    return path


class StoredClassifier:
    """A classifier that `write_classifier` wrote.

    Attributes:
      path: the version's folder.
      description: what its `classifier.json` says.
      label_names: in the order of the logits.
      is_single_label: exclusive labels, a softmax; else a sigmoid each.
      image_size: of the images that it was trained on; others are resized.
      thresholds: label -> probability from which it is called present, None where none could be chosen.
      sha256: of all files that its outputs depend on.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Loads a version's folder, or the newest version in a folder.

        Raises:
          FileNotFoundError: no classifier there.
          ValueError: a damaged SavedModel or description.
        """
        self.path = find_classifier(path)
        file = self.path / CLASSIFIER_FILE
        try:
            self.description: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            _check_description(self.description, str(file))
            self._model = tf.saved_model.load(str(self.path))
            self._call = self._model.signatures["serving_default"]
        except (ValueError, KeyError, TypeError, OSError, tf.errors.OpError) as error:
            what = " ".join(str(error).split())[:300]
            raise ValueError(f"{self.path} holds a damaged classifier ({what}); train it again") from error
        self.label_names: tuple[str, ...] = tuple(self.description["labels"])
        self.is_single_label: bool = self.description["is_single_label"]
        self.image_size: int = self.description["image_size"]
        self.thresholds: dict[str, float | None] = self.description["thresholds"]
        self.sha256 = folder_sha256(self.path)

    def outputs(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Features, logits and probabilities of float32 images [batch, size, size, 1 or 3] in [-1, 1].

        Usable in a graph and differentiable; colours are averaged.
        """
        return self._call(image=with_channels(tf.convert_to_tensor(images, tf.float32), 1))

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """Features float32 [batch, features] of images as for `outputs`."""
        return self.outputs(images)["features"]

    def logits(self, images: tf.Tensor) -> tf.Tensor:
        """Logits float32 [batch, labels] of images as for `outputs`."""
        return self.outputs(images)["logits"]

    def probability(self, images: tf.Tensor) -> tf.Tensor:
        """Probabilities float32 [batch, labels] of images as for `outputs`."""
        return self.outputs(images)["probability"]


def find_classifier(path: str | os.PathLike) -> pathlib.Path:
    """The version's folder that `path` names: itself, or its newest version.

    Raises:
      FileNotFoundError: no such folder, or no classifier in it.
    """
    if folder := folder_with(path, CLASSIFIER_FILE):
        return folder
    if folder_with(path, "saved_model.pb"):
        raise FileNotFoundError(
            f"{path} holds another SavedModel, no classifier; python -m tfcxr.train_classifier writes one to --out_dir"
        )
    what = "holds no classifier" if pathlib.Path(path).is_dir() else "does not exist"
    raise FileNotFoundError(f"{path} {what}; python -m tfcxr.train_classifier --out_dir={path} writes one")


def _check_description(description: Mapping[str, Any], what: str) -> None:
    if missing := [name for name in REQUIRED if name not in description]:
        raise ValueError(f"{what} has no {missing[0]!r}; it needs {', '.join(REQUIRED)}")
    for name in ("thresholds", "validation_auc"):
        if list(description[name]) != list(description["labels"]):
            raise ValueError(f"{what} has {name} of {', '.join(description[name])}, expected of its labels")
