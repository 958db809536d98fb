"""A network that tells whether two radiographs are of one patient (Packhaeuser et al. 2022).

    network = find_or_train_network(evaluation, real, config)
    embeddings = network.embed(images)             # float32 [images, 64]
    network.logits(embeddings, other_embeddings)   # positive where it takes both for one patient

Both images go through one trunk of `CLASSIFIERS`; a linear layer on the absolute difference of their embeddings gives
the logit. A step sees two images of each of its patients: they are the pairs of one patient, all other combinations are
pairs of two. Both kinds weigh the same in the cross-entropy. The weights kept are those of the best AUC on training
patients that were kept back.

Differs from the paper: the trunk starts from random weights, not from a ResNet-50 of ImageNet.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfcxr.config import check_range, to_plain
from tfcxr.data.pipeline import from_pixels
from tfcxr.data.stored_images import Images, read_batches
from tfcxr.evaluation import kept
from tfcxr.evaluation.cohorts import Cohort, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier import build_classifier
from tfcxr.evaluation.extractors.classifier_config import ClassifierConfig
from tfcxr.evaluation.extractors.fitting import prediction_batch
from tfcxr.evaluation.extractors.initial_weights import global_pooling
from tfcxr.evaluation.metrics.classification import roc_auc
from tfcxr.optimizers import FusedAdam

VERSION = 1  # raise it when a change makes kept networks wrong
EMBEDDING = 64  # numbers per image
GRID = 4  # places to each side that the trunk's features are averaged to: where things lie tells patients apart
CHECKS = 10  # of a training
KEPT_BACK = 0.2  # of the training patients with several images
PAIRS_PER_PATIENT = 10  # at most, so that no patient with many images outweighs the others
OTHERS_PER_PAIR = 10  # pairs of two patients for each pair of one


@dataclasses.dataclass(frozen=True)
class PatientNetworkConfig:
    """How the network is trained.

    Attributes:
      steps: of Adam.
      patients: per step, two images of each; fewer where there are fewer.
      learning_rate: falls to 0 along a cosine.
      augmentation: small turns, shifts and exposure changes of the training images (`tfcxr.data.augment`).
    """

    steps: int = 1000
    patients: int = 32
    learning_rate: float = 1e-3
    augmentation: bool = True

    def __post_init__(self) -> None:
        check_range(self, "steps", minimum=1)
        check_range(self, "patients", minimum=2)
        check_range(self, "learning_rate", above=0)


@dataclasses.dataclass(frozen=True)
class PatientNetwork:
    """The trained network.

    Attributes:
      trunk: float32 images [batch, size, size, 1] in [-1, 1] -> embeddings float32 [batch, 64].
      head: absolute differences of embeddings [..., 64] -> logits [..., 1].
      facts: ready for JSON; "weights_sha256" among them.
    """

    trunk: keras.Model
    head: keras.layers.Dense
    facts: dict[str, Any]

    def embed(self, images: Images) -> np.ndarray:
        """Embeddings float32 [images, 64] of uint8 images [images, size, size, 1]."""
        return _embed(self.trunk, images)

    def logits(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Logits float32 of pairs of embeddings [..., 64]; positive: of one patient."""
        kernel, bias = self.head.get_weights()
        return (np.abs(first - second) @ kernel + bias)[..., 0]


def find_or_train_network(evaluation: Evaluation, real: Cohort, config: PatientNetworkConfig) -> PatientNetwork:
    """The network of the real training images: kept in the folder of extractors, or trained now.

    Its trunk and seed are those of the evaluation's classifier.

    Raises:
      ValueError: images too small for the trunk, fewer than three patients with several images, or a loss that is not
        finite.
    """
    classifier, seed, size = evaluation.classifier, evaluation.classifier_seeds[0], real.images.shape[1]
    depends_on = {
        "version": VERSION,
        "seed": seed,
        "training": to_plain(config),
        "classifier": to_plain(classifier),
        "real": {name: real.identity[name] for name in ("sha256", "splits", "images")},
        "software": kept.software_versions(),
    }
    key = kept.key_of(depends_on)
    folder = evaluation.extractor_dir or evaluation.out_dir / "extractor"
    path = folder / f"patients-{classifier.architecture}-{key[:16]}.json"
    trunk, head = _build(classifier, size, seed)
    if found := kept.find(path, key):
        facts, arrays = found
        weights = [arrays[f"arr_{index}"] for index in range(len(arrays))]
        trunk.set_weights(weights[:-2])
        head.set_weights(weights[-2:])
        return PatientNetwork(trunk, head, facts)
    facts = {**depends_on, **_train(trunk, head, real, config, seed)}
    weights = [*trunk.get_weights(), *head.get_weights()]
    facts["weights_sha256"] = hashlib.sha256(b"".join(np.ascontiguousarray(array) for array in weights)).hexdigest()
    facts = kept.keep(path, key, facts, {f"arr_{index}": array for index, array in enumerate(weights)})
    return PatientNetwork(trunk, head, facts)


def draw_pairs(patient_keys: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of images of one patient, and for each of them ten of two patients.

    Args:
      patient_keys: [images], of two patients or more.

    Returns:
      positions int64 [pairs] of the first and of the second images, and bool [pairs], whether they are of one patient.
    """
    random = np.random.default_rng(seed)
    same = []
    for rows in images_by_patient(patient_keys):
        pairs = np.stack(np.triu_indices(len(rows), 1), axis=1)
        same.append(rows[random.permutation(pairs)[:PAIRS_PER_PATIENT]])
    first, second = np.concatenate(same).T
    repeated = np.repeat(first, OTHERS_PER_PAIR)
    others = random.integers(0, len(patient_keys), len(repeated))
    while (is_same := patient_keys[others] == patient_keys[repeated]).any():
        others[is_same] = random.integers(0, len(patient_keys), is_same.sum())
    is_pair = np.arange(len(first) + len(repeated)) < len(first)
    return np.concatenate([first, repeated]), np.concatenate([second, others]), is_pair


def images_by_patient(patient_keys: np.ndarray) -> list[np.ndarray]:
    """Positions of the images of each patient with two or more."""
    _, number, counts = np.unique(patient_keys, return_inverse=True, return_counts=True)
    rows = np.split(np.argsort(number, kind="stable"), np.cumsum(counts)[:-1])
    return [of_patient for of_patient in rows if len(of_patient) > 1]


def _build(classifier: ClassifierConfig, size: int, seed: int) -> tuple[keras.Model, keras.layers.Dense]:
    """The trunk and the head, with weights that follow from the seed."""
    model = build_classifier(classifier, size, 1, False, seed)
    features = global_pooling(model).input
    coarse = keras.layers.AveragePooling2D(max(1, features.shape[1] // GRID))(features)
    initializer = keras.initializers.GlorotUniform(seed)
    embed = keras.layers.Dense(EMBEDDING, kernel_initializer=initializer, dtype="float32")
    embedding = embed(keras.layers.Flatten()(coarse))
    head = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(-1 / EMBEDDING), dtype="float32")
    head.build([None, EMBEDDING])
    return keras.Model(model.input, embedding), head


def _train(
    trunk: keras.Model, head: keras.layers.Dense, real: Cohort, config: PatientNetworkConfig, seed: int
) -> dict[str, Any]:
    """Trains with a progress bar and leaves the best weights; returns what the training was like."""
    several = np.sort(np.concatenate(images_by_patient(real.patient_keys)))
    is_kept_back = split_off_validation(real.patient_keys[several], KEPT_BACK, seed)
    training, validation = several[~is_kept_back], several[is_kept_back]
    by_patient = [training[rows] for rows in images_by_patient(real.patient_keys[training])]
    if len(by_patient) < 2 or len(np.unique(real.patient_keys[validation])) < 2:
        raise ValueError(
            f"a network that tells patients apart needs more patients with several images than the {len(by_patient)} "
            "there are; give more training images"
        )
    optimizer = FusedAdam(keras.optimizers.schedules.CosineDecay(config.learning_rate, config.steps))
    variables = [*trunk.trainable_variables, *head.trainable_variables]
    optimizer.build(variables)

    @tf.function(jit_compile=False)
    def step(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            first, second = tf.split(trunk(images, training=True), 2)
            logits = head(tf.abs(first[:, None] - second[None]))[..., 0]  # [patients, patients]
            same = tf.linalg.diag_part(logits)
            other = tf.reduce_sum(tf.nn.softplus(logits)) - tf.reduce_sum(tf.nn.softplus(same))
            count = tf.cast(tf.size(logits) - tf.size(same), tf.float32)
            loss = tf.reduce_mean(tf.nn.softplus(-same)) / 2 + other / count / 2
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    first, second, is_same = draw_pairs(real.patient_keys[validation], seed)
    validation_images = real.images[validation]
    best, weights, curve = -1.0, None, []
    interval = max(1, config.steps // CHECKS)
    bar = tqdm(total=config.steps, desc="patient network", unit="step", leave=False)
    batches = _batches(real, by_patient, config, seed)
    for number, images in zip(range(1, config.steps + 1), batches, strict=False):
        loss = step(images)
        bar.update()
        if number % interval and number != config.steps:
            continue
        if not np.isfinite(loss):
            raise ValueError(f"patient network: the loss is {loss} at step {number}; lower learning_rate")
        embeddings = _embed(trunk, validation_images)
        difference = np.abs(embeddings[first] - embeddings[second])
        curve.append(float(roc_auc(is_same, head(difference).numpy()[:, 0])[0]))
        bar.set_postfix(loss=f"{loss:.3f}", validation_auc=f"{curve[-1]:.3f}")
        if curve[-1] > best:
            best, weights = curve[-1], (trunk.get_weights(), head.get_weights())
    bar.close()
    trunk.set_weights(weights[0])
    head.set_weights(weights[1])
    return {"validation_auc": curve, "training_patients": len(by_patient)}


def _batches(real: Cohort, by_patient: list[np.ndarray], config: PatientNetworkConfig, seed: int) -> tf.data.Dataset:
    """Endless float32 images [2 * patients, size, size, 1]: one image of each patient, then another one of each."""
    random, patients = np.random.default_rng(seed), min(config.patients, len(by_patient))

    def draw() -> Iterator[np.ndarray]:
        while True:
            chosen = random.choice(len(by_patient), patients, replace=False)
            yield np.stack([random.permutation(by_patient[patient])[:2] for patient in chosen]).T.ravel()

    def read(chosen: tf.Tensor) -> tf.Tensor:
        pixels = tf.numpy_function(real.images.__getitem__, [chosen], tf.uint8)
        return from_pixels(tf.ensure_shape(pixels, [2 * patients, *real.images.shape[1:]]))

    spec = tf.TensorSpec([2 * patients], tf.int64)
    batches = tf.data.Dataset.from_generator(draw, output_signature=spec).map(read)
    if config.augmentation:
        from tfcxr.data.augment import make_augmentation  # here, because importing keras-cv takes seconds

        batches = batches.map(make_augmentation(seed))
    return batches.prefetch(2)


def _embed(trunk: keras.Model, images: Images) -> np.ndarray:
    batches = read_batches(images, prediction_batch(images.shape[1]))
    return np.concatenate([trunk(from_pixels(tf.constant(batch)), training=False) for batch in batches])
