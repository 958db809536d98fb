"""A classifier trained on real patients as a feature extractor, kept in a folder that many evaluations share.

    extractor = find_or_train_extractor(evaluation, real, validation, label_names, is_single_label)
    features = extractor.features(images)

Distances are comparable only where they come from the same weights. So an extractor is kept under a key of everything
its weights depend on: the same request finds it again, another request trains another one beside it.
"""

import dataclasses
import hashlib
import pathlib
from typing import Any

import keras
import numpy as np
from absl import logging

from tfcxr.data.stored_images import Images
from tfcxr.evaluation import kept
from tfcxr.evaluation.cohorts import Cohort, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier import TrainedClassifier, build_classifier, train_classifier
from tfcxr.evaluation.extractors.fitting import Fit
from tfcxr.evaluation.extractors.initial_weights import global_pooling

EXTRACTOR_VERSION = 1  # raise it when a change makes kept extractors wrong


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
    evaluation: Evaluation,
    real: Cohort,
    validation: Cohort | None,
    label_names: tuple[str, ...],
    is_single_label: bool,
) -> FeatureExtractor:
    """The extractor of this request: from the evaluation's folder where it is kept, else trained now and kept there.

    It is the evaluation's classifier, with the first seed; where `validation` is None, a share of `real` is kept back.

    Raises:
      ValueError: what `train_classifier` refuses.
    """
    config, seed, size = evaluation.classifier, evaluation.classifier_seeds[0], real.images.shape[1]
    depends_on = {
        "version": EXTRACTOR_VERSION,
        "seed": seed,
        "classifier": config.identity,
        "label_names": label_names,
        "is_single_label": is_single_label,
        "image_size": size,
        "cohorts": [cohort and cohort.identity for cohort in (real, validation)],
        "software": kept.software_versions(),
    }
    key = kept.key_of(depends_on)
    folder = evaluation.extractor_dir or evaluation.out_dir / "extractor"
    path = pathlib.Path(folder) / f"{config.architecture}-{key[:16]}.json"
    model = _with_pooled_features(build_classifier(config, size, len(label_names), is_single_label, seed))
    if found := kept.find(path, key):
        facts, arrays = found
        weights = [arrays[f"arr_{index}"] for index in range(len(arrays))]
        if facts["weights_sha256"] == _weights_sha256(weights):
            logging.info("the feature extractor is taken from %s", path)
            model.set_weights(weights)
            fit = Fit(facts["curves"], facts["best_epoch"], facts["seconds"])
            return FeatureExtractor(TrainedClassifier(model, fit), facts)
        logging.warning("%s does not fit the weights beside it and is made again", path)
    others = len(list(path.parent.glob(f"{config.architecture}-*.json")))
    beside = f" ({others} of others)" if others else ""
    logging.info("%s holds no extractor of these data and settings%s: training one", path.parent, beside)
    if validation is None:
        is_kept_back = split_off_validation(real.patient_keys, config.validation_fraction, seed)
        sides = real.labelled.where(~is_kept_back), real.labelled.where(is_kept_back)
    else:
        sides = real.labelled, validation.labelled
    trained = train_classifier(config, *sides, is_single_label, seed, "feature extractor")
    weights = trained.model.get_weights()
    model.set_weights(weights)
    facts = {
        **depends_on,
        "features": model.output[1].shape[-1],
        "weights_sha256": _weights_sha256(weights),
        **dataclasses.asdict(trained.fit),
    }
    facts = kept.keep(path, key, facts, {f"arr_{index}": array for index, array in enumerate(weights)})
    return FeatureExtractor(dataclasses.replace(trained, model=model), facts)


def _with_pooled_features(model: keras.Model) -> keras.Model:
    """Images -> (probabilities, output of the last global pooling)."""
    return keras.Model(model.input, [model.output[0], global_pooling(model).output])


def _weights_sha256(weights: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in weights:
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
