"""A DenseNet trained on a records folder's labels, and stored as `tfcxr.port` stores a ported one.

    trained = train_backbone(BackboneTrainingConfig(growth_rate=12), "records/64", seed=0)
    export_trained_backbone(trained, "saved_models/critic/1")
    backbone = load_backbone("saved_models/critic/1")        # frozen, float32

It serves where a published one is out of reach or knows other images: as Transfer-PGGAN's critic, as a feature
extractor. Training ends when the validation images' loss gets no better, and the best epoch's weights are kept.
"""

import dataclasses
import functools
import json
import math
import os
import pathlib
import time
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import tfcxr
from tfcxr.backbones.base import VALUE_RANGES
from tfcxr.backbones.densenet import DENSENET121_BLOCKS, DenseNet
from tfcxr.backbones.stored_backbone import (
    ARCHITECTURE,
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    describe_network,
    write_saved_model,
)
from tfcxr.data.atomic import atomic_path, remove_temporary_files
from tfcxr.data.pipeline import ImageSet, load_images
from tfcxr.losses.classification import label_loss
from tfcxr.training.label_fitting import (
    FittingRules,
    Judge,
    LabelledImages,
    fit_labels,
    judge_images,
    label_probability,
)
from tfcxr.training.run_folder import describe_data

FORMAT = "trained_densenet"


@dataclasses.dataclass(frozen=True)
class BackboneTrainingConfig:
    """What is trained and how; the architecture's defaults are DenseNet-121's, the rest is ours to choose.

    Attributes:
      growth_rate, block_config, initial_filters, bottleneck_size, input_size: of `DenseNet`; its images are grey, in
        the range "xrv".
      validation_fraction: of the training split's patients, where there is no validation split.
      schedule: "cosine" lets the rate fall to 0 at `max_epochs`.
      max_epochs, patience: training ends after `max_epochs`, or `patience` epochs after the best validation loss.
    """

    growth_rate: int = 32
    block_config: tuple[int, ...] = DENSENET121_BLOCKS
    initial_filters: int = 64
    bottleneck_size: int = 4
    input_size: int = 0
    validation_fraction: float = 0.1
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    batch_size: int = 32
    max_epochs: int = 20
    patience: int = 4

    def __post_init__(self) -> None:
        for name in ("growth_rate", "initial_filters", "bottleneck_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"BackboneTrainingConfig.{name} must be at least 1, got {getattr(self, name)}")
        if not self.block_config or min(self.block_config) < 1:
            raise ValueError(f"block_config needs a number of layers for each block, got {self.block_config}")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2 for batch statistics, got {self.batch_size}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1, got {self.validation_fraction}")
        if self.schedule not in ("cosine", "constant"):
            raise ValueError(f"schedule must be cosine or constant, got {self.schedule!r}")


@dataclasses.dataclass(frozen=True)
class TrainedBackbone:
    """A frozen DenseNet with the weights of its best epoch.

    Attributes:
      network: images in its own range -> logits. labels: names of its classes. is_single_label: softmax, else a sigmoid
        each.
      curves: "loss", "validation_loss" and "validation_auc", one value an epoch. best_epoch: counted from 1.
      macro_auc: on the validation images at the best epoch; NaN where no label has known positives and negatives.
      facts: data, training settings, seed and time, plain JSON.
      judge: images in [-1, 1] -> (logits, features), as `label_fitting` takes it.
    """

    network: DenseNet
    labels: tuple[str, ...]
    is_single_label: bool
    curves: dict[str, list[float]]
    best_epoch: int
    macro_auc: float
    facts: dict[str, Any]
    judge: Judge

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Judges uint8 or uint16 images [images, size, size, 1].

        Returns:
          probabilities float32 [images, labels], and what the classifier reads, float32 [images, features].
        """
        logits, features = judge_images(self.judge, images)
        return label_probability(logits, self.is_single_label), features


def train_backbone(
    config: BackboneTrainingConfig,
    data_dir: str | os.PathLike,
    split: str = "train",
    validation_split: str = "validation",
    seed: int = 0,
) -> TrainedBackbone:
    """Trains with a progress bar; the same arguments give the same weights on one thread.

    Args:
      data_dir: folder of records. validation_split: empty for some patients of `split` (`validation_fraction`).
      seed: of the weights, the images' order and the patients that validate.

    Raises:
      FileNotFoundError: no data folder. ValueError: no such split, no labels or no known one, fewer images than a
        batch, images too small for the network, or a loss that is not finite.
    """
    started = time.monotonic()
    images, validation = _training_images(data_dir, split, validation_split, config.validation_fraction, seed)
    info = images.info
    _check(config, images, validation, data_dir)
    network = DenseNet(
        config.growth_rate,
        config.block_config,
        config.initial_filters,
        config.bottleneck_size,
        classes=len(info.label_names),
        input_size=config.input_size,
        seed=seed,
    )
    steps = len(images.images) // config.batch_size
    optimizer = keras.optimizers.Adam(_learning_rate(config, steps))
    optimizer.build(network.trainable_variables)
    # a short training's running statistics arrive within its first epoch, which validation judges by them
    for layer in network._flatten_layers():
        if hasattr(layer, "momentum"):
            layer.momentum = min(layer.momentum, 0.1 ** (1 / steps))
    judge = tf.function(functools.partial(_judge, network), autograph=False)
    curves, best_epoch, auc = fit_labels(
        "DenseNet",
        functools.partial(_train_step, network, optimizer, info.is_single_label),
        judge,
        network.variables,
        LabelledImages(images.images, images.labels),
        LabelledImages(validation.images, validation.labels),
        info.is_single_label,
        FittingRules(config.batch_size, config.max_epochs, config.patience, seed),
    )
    network.trainable = False
    facts = {
        "data": describe_data(info, split)
        | {"images": len(images.images), "validation_images": len(validation.images)},
        "training": {**dataclasses.asdict(config), "seed": seed, "validation_split": validation_split},
        "seconds": round(time.monotonic() - started, 1),
    }
    return TrainedBackbone(network, info.label_names, info.is_single_label, curves, best_epoch, auc, facts, judge)


def export_trained_backbone(trained: TrainedBackbone, path: str | os.PathLike) -> pathlib.Path:
    """Writes SavedModel, weights and description; the folder appears only when it is whole.

    Returns:
      `path`, which `load_backbone` reads.

    Raises:
      ValueError: something is there already. OSError: no space or permission.
    """
    path, network = pathlib.Path(path), trained.network
    if path.exists():
        raise ValueError(f"{path} exists already; choose another folder")
    remove_temporary_files(path.parent)
    with atomic_path(path) as folder:
        write_saved_model(network, folder)
        network.save_weights(folder / WEIGHTS_FILE)
        text = json.dumps(_description(trained), indent=2) + "\n"
        (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    return path


def _training_images(
    data_dir: str | os.PathLike, split: str, validation_split: str, fraction: float, seed: int
) -> tuple[ImageSet, ImageSet]:
    images = load_images(data_dir, split)
    if validation_split:
        return images, load_images(data_dir, validation_split)
    patients = np.unique(images.patient_keys)
    chosen = np.random.default_rng(seed).permutation(patients)[: math.ceil(fraction * len(patients))]
    is_chosen = np.isin(images.patient_keys, chosen)
    return _rows(images, ~is_chosen), _rows(images, is_chosen)


def _rows(images: ImageSet, chosen: np.ndarray) -> ImageSet:
    columns = ("images", "labels", "keys", "patient_keys")
    return dataclasses.replace(images, **{name: getattr(images, name)[chosen] for name in columns})


def _check(config: BackboneTrainingConfig, images: ImageSet, validation: ImageSet, data_dir: str | os.PathLike) -> None:
    if not images.info.label_names:
        raise ValueError(f"{data_dir} has no labels, which a backbone is trained on; build it from labelled images")
    if len(images.images) < config.batch_size or not len(validation.images):
        raise ValueError(
            f"expected at least one batch of {config.batch_size} training images and one validation image, got "
            f"{len(images.images)} and {len(validation.images)}; lower batch_size or change the splits"
        )
    for name, labels in (("training", images.labels), ("validation", validation.labels)):
        if np.isnan(labels).all():
            raise ValueError(f"no label of the {name} images in {data_dir} is known, so nothing can be learned")


def _learning_rate(config: BackboneTrainingConfig, steps: int) -> float | keras.optimizers.schedules.CosineDecay:
    if config.schedule == "constant":
        return config.learning_rate
    return keras.optimizers.schedules.CosineDecay(config.learning_rate, config.max_epochs * steps)


def _train_step(
    network: DenseNet,
    optimizer: keras.optimizers.Optimizer,
    is_single_label: bool,
    image: tf.Tensor,
    label: tf.Tensor,
) -> tf.Tensor:
    with tf.GradientTape() as tape:
        loss = label_loss(network(network.from_signed(image), training=True), label, is_single_label)
    weights = network.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
    return loss


def _judge(network: DenseNet, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    features = network.pooled(network.from_signed(image))
    return network.classify(features), features


def _description(trained: TrainedBackbone) -> dict[str, Any]:
    network, training = trained.network, trained.facts["training"]
    architecture = training | {"classes": network.classes, "channels": network.channels}
    settings = {name: architecture[name] for name in ARCHITECTURE}
    settings |= {"value_range": VALUE_RANGES[network.value_range].text, "input_size": network.input_size}
    auc = trained.macro_auc
    return {
        "format": FORMAT,
        **trained.facts,
        "best_epoch": trained.best_epoch,
        "validation_auc": None if math.isnan(auc) else auc,
        "parameters": network.count_params(),
        **describe_network(network),
        "labels": list(trained.labels),
        "is_single_label": trained.is_single_label,
        "settings": settings,
        "tfcxr_version": tfcxr.__version__,
        "tensorflow_version": tf.__version__,
    }
