"""A DenseNet trained on a records folder's labels, and stored as `tfcxr.port` stores a ported one.

    trained = train_backbone(BackboneTrainingConfig(growth_rate=12), "records/64", seed=0)
    export_trained_backbone(trained, "saved_models/critic/1")
    backbone = load_backbone("saved_models/critic/1")        # frozen, float32

It serves where a published one is out of reach or knows other images, as Transfer-PGGAN's critic for one.
"""

import dataclasses
import json
import math
import os
import pathlib
from typing import Any, Literal

import keras
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
from tfcxr.config import check_range
from tfcxr.data.atomic import atomic_path, remove_temporary_files
from tfcxr.data.records import read_dataset_info
from tfcxr.evaluation.cohorts import load_cohort, split_off_validation
from tfcxr.evaluation.extractors.fitting import Fit, FittingConfig, fit_classifier, predict_logits, quick_momentum
from tfcxr.evaluation.scores import mean_auc


@dataclasses.dataclass(frozen=True)
class BackboneTrainingConfig(FittingConfig):
    """What is trained and how; the architecture's defaults are DenseNet-121's, the rest is ours to choose.

    Attributes:
      growth_rate: of `DenseNet`, as the next three; its images are grey, in the range "xrv".
    """

    growth_rate: int = 32
    block_config: tuple[int, ...] = DENSENET121_BLOCKS
    initial_filters: int = 64
    bottleneck_size: int = 4
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "growth_rate", "initial_filters", "bottleneck_size", minimum=1)
        if not self.block_config or min(self.block_config) < 1:
            raise ValueError(f"block_config needs a number of layers for each block, got {self.block_config}")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2 for batch statistics, got {self.batch_size}")


@dataclasses.dataclass(frozen=True)
class TrainedBackbone:
    """A DenseNet with the weights of its best epoch.

    Attributes:
      network: images in its own range -> logits; frozen.
      fit: how it was trained.
      macro_auc: on the validation images; NaN where no label has known positives and negatives.
      facts: labels, data, training settings and seed, plain JSON.
    """

    network: DenseNet
    fit: Fit
    macro_auc: float
    facts: dict[str, Any]


def train_backbone(
    config: BackboneTrainingConfig,
    data_dir: str | os.PathLike,
    split: str = "train",
    validation_split: str = "validation",
    seed: int = 0,
) -> TrainedBackbone:
    """Trains with a progress bar; the same arguments give the same weights on one thread.

    Args:
      data_dir: folder of records; images deeper than 8 bits are reduced to 8.
      validation_split: empty for whole patients of `split` (`validation_fraction`).
      seed: of the weights, the images' order and the patients that validate.

    Raises:
      FileNotFoundError: no data folder.
      ValueError: no such split, no label that could be learned or validated, fewer images than a batch, images too
        small for the network, or a loss that is not finite.
    """
    info = read_dataset_info(data_dir)
    names = info.label_names
    if not names:
        raise ValueError(f"{data_dir} has no labels, which a backbone is trained on; build it from labelled images")
    cohort = load_cohort(data_dir, info, [split], names)
    training = cohort.labelled
    if validation_split:
        validation = load_cohort(data_dir, info, [validation_split], names).labelled
    else:
        is_kept_back = split_off_validation(cohort.patient_keys, config.validation_fraction, seed)
        training, validation = training.where(~is_kept_back), training.where(is_kept_back)
    images = {"images": len(training.images), "validation_images": len(validation.images)}
    if images["images"] < config.batch_size or not images["validation_images"]:
        raise ValueError(
            f"expected at least one batch of {config.batch_size} training images and one validation image, got "
            f"{images['images']} and {images['validation_images']}; lower batch_size or change the splits"
        )
    network = DenseNet(
        config.growth_rate,
        config.block_config,
        config.initial_filters,
        config.bottleneck_size,
        classes=len(names),
        input_size=config.input_size,
        seed=seed,
    )
    steps = images["images"] // config.batch_size
    optimizer = keras.optimizers.Adam(config.rate(steps))
    optimizer.build(network.trainable_variables)
    for layer in network._flatten_layers():
        if hasattr(layer, "momentum"):
            layer.momentum = quick_momentum(layer.momentum, steps)
    fit = fit_classifier(
        network, optimizer, training, validation, info.is_single_label, config, seed, "DenseNet", network.from_signed
    )
    logits = predict_logits(network, validation.images, network.from_signed, config.input_size)
    auc = mean_auc(names, info.is_single_label, validation.labels, logits)
    network.trainable = False
    facts = {
        "data": {
            "name": info.name,
            "split": split,
            "notice": info.notice,
            "licence": info.source.get("licence", ""),
            "salt_fingerprint": info.salt_fingerprint,
            "fingerprint": cohort.facts["sha256"],
            **images,
        },
        "training": {**dataclasses.asdict(config), "seed": seed, "validation_split": validation_split},
        "seconds": round(fit.seconds, 1),
        "labels": list(names),
        "is_single_label": info.is_single_label,
    }
    return TrainedBackbone(network, fit, auc, facts)


def export_trained_backbone(trained: TrainedBackbone, path: str | os.PathLike) -> pathlib.Path:
    """Writes SavedModel, weights and description; the folder appears only when it is whole.

    Returns:
      `path`, which `load_backbone` reads.

    Raises:
      ValueError: something is there already.
      OSError: no space or permission.
    """
    path, network = pathlib.Path(path), trained.network
    if path.exists():
        raise ValueError(f"{path} exists already; choose another folder")
    architecture = trained.facts["training"] | {"classes": network.classes, "channels": network.channels}
    settings = {name: architecture[name] for name in ARCHITECTURE}
    settings |= {"value_range": VALUE_RANGES[network.value_range].text, "input_size": network.input_size}
    description = {
        "format": "trained_densenet",
        **trained.facts,
        "best_epoch": trained.fit.best_epoch,
        "validation_auc": None if math.isnan(trained.macro_auc) else trained.macro_auc,
        "parameters": network.count_params(),
        **describe_network(network),
        "settings": settings,
        "tfcxr_version": tfcxr.__version__,
        "tensorflow_version": tf.__version__,
    }
    remove_temporary_files(path.parent)
    with atomic_path(path) as folder:
        write_saved_model(network, folder)
        network.save_weights(folder / WEIGHTS_FILE)
        (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return path
