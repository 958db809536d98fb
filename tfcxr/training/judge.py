"""The judge of a training's images that the user names: what it may judge, and how a run is resumed with it."""

import math
import os
from collections.abc import Mapping
from typing import Any

from absl import logging

from tfcxr import command_line
from tfcxr.data.schema import DatasetInfo
from tfcxr.training.arguments import TrainArguments
from tfcxr.training.run_folder import RunConfig
from tfcxr.training.samples import SampleWatcher
from tfcxr.training.samples.quality import Quality, open_quality
from tfcxr.training.training_data import TrainingData


def open_judge(
    arguments: TrainArguments, data: TrainingData, run: RunConfig, watcher_class: type[SampleWatcher]
) -> Quality | None:
    """The judge that the user names, which may be none.

    Raises:
      ValueError: its flags without it, a model that cannot be judged so, a network that the model learns from, no
        held-out images, or see `open_quality`.
    """
    if not arguments.quality_extractor:
        reason = "images are judged by a frozen network; give one as --quality_extractor=FILE.keras"
        command_line.refuse_flags(arguments, ["quality_images", "stop_when_flat"], reason)
        return None
    if not watcher_class.can_be_judged:
        raise ValueError(
            f"--quality_extractor judges images that are generated from noise, but {run.model} enlarges real ones and "
            "is measured by SSIM; leave it out"
        )
    splits = held_out_splits(arguments, data.info, "a model with --quality_extractor")
    quality = open_quality(
        arguments.quality_extractor,
        data.folder,
        data.splits,
        splits,
        run.label_names,
        data.labels,
        arguments.quality_images,
    )
    _refuse_critic(quality, run.settings)
    return quality


def resume_judged(run_dir: str | os.PathLike, state: Mapping[str, Any], quality: Quality | None) -> float:
    """Gives a judge the KIDs of the run so far; returns the smallest distance so far, infinite where it begins anew.

    Args:
      state: of the last checkpoint; empty where there is none.

    Raises:
      ValueError: it was begun with a `--quality_extractor`, and none or another measure is given.
    """
    best_distance = state.get("best_distance", math.inf)
    if "quality" not in state:
        if quality is None or best_distance == math.inf:
            return best_distance
        logging.warning("%s: the best checkpoint so far was not chosen by KID; from here on it is, anew", run_dir)
        return math.inf
    if quality is None:
        raise ValueError(f"{run_dir} chooses its best checkpoint by KID; resume it with the same --quality_extractor")
    before, now = state["quality"]["measure"], quality.measure
    if names := [name for name in before if before[name] != now.get(name)]:
        differences = "; ".join(f"{name} was {before[name]}, now {now.get(name)}" for name in names)
        raise ValueError(
            f"{run_dir} chooses its best checkpoint by another KID: {differences}; resume it with the same "
            "--quality_extractor, --quality_images and --validation_splits"
        )
    quality.kids = list(state["quality"]["kid"])
    return best_distance


def held_out_splits(arguments: TrainArguments, info: DatasetInfo, measured: str) -> str:
    """The splits of the images that `measured` is compared with, with commas between.

    Raises:
      ValueError: the data set has no such split.
    """
    if missing := [split for split in arguments.validation_splits if split not in info.splits]:
        raise ValueError(
            f"{measured} is measured on images that it is not trained on, but {info.name} has no split {missing[0]!r}; "
            f"choose one of {', '.join(info.splits)} as --validation_splits"
        )
    return ",".join(arguments.validation_splits)


def _refuse_critic(quality: Quality, settings: Mapping[str, Any]) -> None:
    """Refuses a judge that is the model's critic.

    Raises:
      ValueError: a setting of the model holds the SHA-256 of the judge's file.
    """
    for name, value in settings.items():
        if value == quality.measure["sha256"]:
            raise ValueError(
                f"--quality_extractor is the network that the model learns from ({name}): it would be content with "
                "images that only please itself; choose another network as the judge"
            )
