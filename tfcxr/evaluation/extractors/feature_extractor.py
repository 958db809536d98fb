"""A classifier trained on real patients as a feature extractor, kept in a folder that many evaluations share.

    extractor = find_or_train_extractor(folder, config, seed, real, validation, label_names, is_single_label)
    features = extractor.features(images)

Distances are comparable only where they come from the same weights. So an extractor is kept under a key of everything
its weights depend on: the same request finds it again, another request trains another one beside it.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
from typing import Any

import keras
import numpy as np
from absl import logging

from tfcxr.config import to_plain
from tfcxr.data.atomic import write_atomically
from tfcxr.evaluation.cohorts import Cohort, split_off_validation
from tfcxr.evaluation.extractors.classifier import (
    ClassifierConfig,
    TrainedClassifier,
    build_classifier,
    train_classifier,
)
from tfcxr.evaluation.extractors.fitting import Fit
from tfcxr.evaluation.labelled_images import Images
from tfcxr.evaluation.report.plain import json_key, json_text, plain_json, software_versions

EXTRACTOR_VERSION = 1  # raise it when a change makes kept extractors wrong
POOLING_LAYERS = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


@dataclasses.dataclass(frozen=True)
class FeatureExtractor:
    """A classifier whose pooled features stand for an image.

    Attributes:
      classifier: its `predict` gives probabilities and the features that its dense layers start from.
      facts: ready for JSON: architecture, settings, number of features, hash of the weights, how it was trained.
    """

    classifier: TrainedClassifier
    facts: dict[str, Any]

    def features(self, images: Images) -> np.ndarray:
        """Pooled features float32 [images, features] of uint8 images [images, size, size, 1]."""
        return self.classifier.predict(images)[1]


def find_or_train_extractor(
    folder: str | os.PathLike,
    config: ClassifierConfig,
    seed: int,
    real: Cohort,
    validation: Cohort | None,
    label_names: tuple[str, ...],
    is_single_label: bool,
) -> FeatureExtractor:
    """The extractor of this request: from `folder` where it is kept, else trained now and kept there.

    Args:
      folder: of kept extractors.
      config: of the classifier.
      seed: of its training.
      real: training patients.
      validation: patients that end the training; None keeps back a share of `real`.
      label_names: what it learns.
      is_single_label: exclusive labels.

    Raises:
      ValueError: what `train_classifier` refuses.
    """
    depends_on = {
        "version": EXTRACTOR_VERSION,
        "seed": seed,
        "classifier": to_plain(config),
        "label_names": label_names,
        "is_single_label": is_single_label,
        "image_size": real.images.shape[1],
        "cohorts": [cohort and cohort.identity for cohort in (real, validation)],
        "software": software_versions(),
    }
    key = json_key(depends_on)
    path = pathlib.Path(folder) / f"{config.architecture}-{key[:16]}.json"
    model = _with_pooled_features(
        build_classifier(config, real.images.shape[1], len(label_names), is_single_label, seed)
    )
    if kept := _kept(path, key, model):
        logging.info("the feature extractor is taken from %s", path)
        return kept
    others = len(list(path.parent.glob(f"{config.architecture}-*.json")))
    logging.info(
        "%s holds no extractor of these data and settings%s: training one",
        path.parent,
        f" ({others} of others)" if others else "",
    )
    training = real.labelled
    if validation is None:
        is_kept_back = split_off_validation(real.patient_keys, config.validation_fraction, seed)
        training, held_out = training.where(~is_kept_back), training.where(is_kept_back)
    else:
        held_out = validation.labelled
    trained = train_classifier(config, training, held_out, is_single_label, seed, description="feature extractor")
    model.set_weights(trained.model.get_weights())
    facts = plain_json(
        {
            "key": key,
            **depends_on,
            "features": model.output[1].shape[-1],
            "weights_sha256": _weights_sha256(model.get_weights()),
            **dataclasses.asdict(trained.fit),
        }
    )
    buffer = io.BytesIO()
    np.savez(buffer, *model.get_weights())
    write_atomically(path.with_suffix(".npz"), buffer.getvalue())
    write_atomically(path, json_text(facts))  # last: it says that both are whole
    return FeatureExtractor(dataclasses.replace(trained, model=model), facts)


def _kept(path: pathlib.Path, key: str, model: keras.Model) -> FeatureExtractor | None:
    """The extractor that is kept at `path`, its weights in `model`; None where there is none that is whole."""
    if not path.is_file() or not path.with_suffix(".npz").is_file():
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    with np.load(path.with_suffix(".npz")) as arrays:
        weights = [arrays[f"arr_{index}"] for index in range(len(arrays))]
    if facts["key"] != key or facts["weights_sha256"] != _weights_sha256(weights):
        logging.warning("%s does not fit the weights beside it and is made again", path)
        return None
    model.set_weights(weights)
    fit = Fit(facts["curves"], facts["best_epoch"], facts["seconds"])
    return FeatureExtractor(TrainedClassifier(model, fit), facts)


def _with_pooled_features(model: keras.Model) -> keras.Model:
    """Images -> (probabilities, output of the last global pooling)."""
    pooling = [layer for layer in model.layers if isinstance(layer, POOLING_LAYERS)][-1]
    return keras.Model(model.input, [model.output[0], pooling.output])


def _weights_sha256(weights: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in weights:
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
