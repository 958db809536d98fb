"""One classifier from its data to its folder: trained, scored and stored; resumed where it was stopped."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcxr.backbones.stored_classifier import CLASSIFIER_FILE, Classify, write_classifier
from tfcxr.classification.classifier_data import ClassifierData
from tfcxr.classification.classifier_scores import label_thresholds, score_split
from tfcxr.classification.discriminator_network import DiscriminatorConfig, DiscriminatorNetwork
from tfcxr.data.atomic import write_atomically
from tfcxr.data.pipeline import from_pixels
from tfcxr.data.stored_images import read_batches
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE
from tfcxr.evaluation.extractors import CLASSIFIERS
from tfcxr.evaluation.extractors.classifier import train_classifier
from tfcxr.evaluation.extractors.classifier_config import ClassifierConfig
from tfcxr.evaluation.extractors.fitting import Fit, fit_classifier, prediction_batch
from tfcxr.evaluation.kept import plain_json
from tfcxr.evaluation.labelled_images import Images
from tfcxr.evaluation.trainings import write_predictions
from tfcxr.models.base import AdversarialModel
from tfcxr.optimizers import FusedAdam

UNFINISHED, REQUEST_FILE = "unfinished", "request.json"
SCORES_FILE, PREDICTIONS_FILE = "scores.json", "predictions_{split}.npz"
NETWORK_FILE = "network.keras"
REQUESTED = ("classifier", "settings", "seed", "labels", "data", "run")  # entries of classifier.json


@dataclasses.dataclass(frozen=True)
class FittedNetwork:
    """A trained network of any kind.

    Attributes:
      classify: float32 images [batch, size, size, 1] in [-1, 1] -> (features, logits).
      variables: all that it reads.
      fit: how it was trained.
      input_size: to which it resizes images, 0 for none.
      network: the same as a Keras model of Keras's own layers, images -> (features, logits); None where it is none.
    """

    classify: Classify
    variables: Collection[Any]
    fit: Fit
    input_size: int = 0
    network: keras.Model | None = None

    def probability(self, images: Images, is_single_label: bool) -> np.ndarray:
        """float32 [images, labels] of uint8 images [images, size, size, 1]."""
        spec = tf.TensorSpec([None, *images.shape[1:]], tf.as_dtype(images.dtype))
        activate = tf.nn.softmax if is_single_label else tf.sigmoid
        predict = tf.function(
            lambda batch: activate(self.classify(from_pixels(batch))[1]), input_signature=[spec], autograph=False
        )
        rows = prediction_batch(max(images.shape[1], self.input_size))
        return np.concatenate([predict(batch).numpy() for batch in read_batches(images, rows)])


def fit_architecture(
    config: ClassifierConfig, data: ClassifierData, seed: int, progress_dir: pathlib.Path
) -> FittedNetwork:
    """Trains a network of `CLASSIFIERS`; raises what `train_classifier` raises."""
    if CLASSIFIERS[config.architecture].is_published_from_imagenet and not config.initial_weights:
        logging.warning(
            "%s starts from random weights here, in its study from ImageNet's: --set=initial_weights=imagenet",
            config.architecture,
        )
    trained = train_classifier(
        config, data.training, data.validation, data.info.is_single_label, seed, config.architecture,
        progress_dir=progress_dir,
    )  # fmt: skip
    model = trained.model
    network = keras.Model(model.input, [model.get_layer(name).output for name in ("features", "logits")])
    return FittedNetwork(
        lambda image: tuple(network(image, training=False)), network.variables, trained.fit, config.input_size, network
    )


def fit_discriminator(
    model: AdversarialModel, config: DiscriminatorConfig, data: ClassifierData, seed: int, progress_dir: pathlib.Path
) -> FittedNetwork:
    """Trains a copy of the model's discriminator.

    Raises:
      ValueError: a discriminator without features or of another image size, or what `fit_classifier` raises.
    """
    if model.config.image_size != data.info.image_size:
        raise ValueError(
            f"the run's discriminator reads images of {model.config.image_size} px, the data are of "
            f"{data.info.image_size} px; give --data_dir of that size"
        )
    network = DiscriminatorNetwork(model, len(data.label_names), config)
    optimizer = FusedAdam(config.rate(max(1, len(data.training.images) // config.batch_size)))
    optimizer.build(network.trainable_variables)
    fit = fit_classifier(
        network, optimizer, data.training, data.validation, data.info.is_single_label, config, seed, "discriminator",
        progress_file=progress_dir / "phase_1.npz",
    )  # fmt: skip
    return FittedNetwork(network.classify, [*network.variables, *model.sampling_state()], fit)


def train_and_store(
    out_dir: pathlib.Path,
    request: Mapping[str, Any],
    data: ClassifierData,
    fit: Callable[[pathlib.Path], FittedNetwork],
    resamples: int,
    notices: Collection[str] = (),
) -> tuple[pathlib.Path, dict[str, Any]]:
    """Trains where nothing of this request is stored yet, and goes on where it was stopped.

    Args:
      out_dir: `saved_models/<name>`; the classifier is its version 1.
      request: what decides the result, of the entries `REQUESTED`.
      fit: trains, given a folder for its progress.
      resamples: of the patients, for intervals.
      notices: sentences to keep beside the scores.

    Returns:
      the version's folder, and what its `scores.json` says.

    Raises:
      ValueError: the folder holds a classifier, or the beginning of one, of other settings; or what `fit` raises.
    """
    path, unfinished = out_dir / "1", out_dir / UNFINISHED
    request = plain_json(request)
    if (path / CLASSIFIER_FILE).is_file():
        _refuse_another(path, json.loads((path / CLASSIFIER_FILE).read_text(encoding="utf-8")), request)
        logging.info("%s is finished already", path)
        return path, json.loads((path / SCORES_FILE).read_text(encoding="utf-8"))
    if path.exists():
        raise ValueError(f"{path} exists already and is no classifier; choose another --out_dir")
    if (unfinished / REQUEST_FILE).is_file():
        _refuse_another(unfinished, json.loads((unfinished / REQUEST_FILE).read_text(encoding="utf-8")), request)
    write_atomically(unfinished / REQUEST_FILE, json.dumps(request, indent=2) + "\n")
    fitted = fit(unfinished)
    is_single_label, names = data.info.is_single_label, data.label_names
    probability = fitted.probability(data.validation.images, is_single_label)
    sides = {"validation": (data.validation.labels, probability, data.validation_patients)}
    for split, test in data.tests.items():
        sides[split] = (test.labels, fitted.probability(test.images, is_single_label), test.patient_keys)
    scores = {side: score_split(names, *arrays, resamples) for side, arrays in sides.items()}
    facts = plain_json({"classifier": request["classifier"], "notices": list(notices), "auc": scores})
    description = request | {
        "is_single_label": is_single_label,
        "image_size": data.info.image_size,
        "thresholds": label_thresholds(names, data.validation.labels, probability),
        "validation_auc": {name: facts["auc"]["validation"]["labels"][name]["mean"] for name in names},
        "fit": plain_json(dataclasses.asdict(fitted.fit)),
        "notices": list(notices),
    }

    def write_beside(folder: pathlib.Path) -> None:
        for split, test in data.tests.items():
            arms = {request["classifier"]: [sides[split][1]]}
            write_predictions(folder / PREDICTIONS_FILE.format(split=split), test, names, arms)
        patients = "".join(f"{patient}\n" for patient in data.training_patients)
        write_atomically(folder / TRAINING_PATIENTS_FILE, patients)
        if fitted.network is not None:
            fitted.network.save(folder / NETWORK_FILE)
        write_atomically(folder / SCORES_FILE, json.dumps(facts, indent=2, allow_nan=False) + "\n")

    write_classifier(path, fitted.classify, fitted.variables, description, write_beside)
    shutil.rmtree(unfinished)
    return path, facts


def _refuse_another(folder: pathlib.Path, held: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    """Raises ValueError where a folder's request differs, and says in what."""
    before, now = (_flat({name: entries.get(name) for name in REQUESTED}) for entries in (held, request))
    if differences := [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]:
        raise ValueError(
            f"{folder} holds a classifier of other settings: {'; '.join(differences)}; choose another --out_dir"
        )


def _flat(entries: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in entries.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
