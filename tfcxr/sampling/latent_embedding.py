"""A trained PGGAN and its latent regressor: what the generator makes of a real image's z.

    embedder = open_embedder("runs/pggan", "runs/pggan/latent_regressor")
    images = embedder.reconstruct(real_images, labels)

The regressor is trained once and kept in its folder: `regressor.json` and one checkpoint.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tfcxr.config import make_config
from tfcxr.data.atomic import write_atomically
from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.serving.served import served_variables
from tfcxr.serving.version_folder import weights_sha256
from tfcxr.training.checkpoints import Checkpoints, restore
from tfcxr.training.latent_regression import LatentRegressionConfig, make_latent_regressor, train_latent_regressor
from tfcxr.training.run_folder import RunConfig, load_model

REGRESSOR_FILE = "regressor.json"
BATCH = 64


class LatentEmbedder:
    """A GAN with its regressor, both in float32.

    Attributes:
      run_dir: of the GAN.
      run: configuration of the GAN.
      step: of the GAN's training.
      model_sha256: of the GAN's weights, the same as of its export.
      regressor_sha256: of the regressor's weights.
      settings: of the regressor.
      curve: "step", "loss" and "cosine" of the regressor on held-out pairs, during its training.
    """

    def __init__(
        self, run_dir: pathlib.Path, run: RunConfig, step: int, model: Any, network: Any, facts: dict[str, Any]
    ) -> None:
        """`network` maps images in [-1, 1] to z; `facts` are those of its `regressor.json`."""
        self.run_dir, self.run, self.step = run_dir, run, step
        self.model_sha256: str = facts["model_sha256"]
        self.settings: dict[str, Any] = facts["settings"]
        self.curve: list[dict[str, float]] = facts["curve"]
        self.regressor_sha256 = weights_sha256(list(network.checkpoint_variables().values()))
        size = model.config.image_size
        pixels = tf.TensorSpec([None, size, size, 1], tf.float32)
        label = tf.TensorSpec([None, model.config.label_count], tf.float32)
        reconstruct = lambda image, label: to_pixels(model.generate_from_latent(network(image), label))  # noqa: E731
        self._reconstruct = tf.function(reconstruct, input_signature=[pixels, label], autograph=False)

    @property
    def name(self) -> str:
        """Of the run."""
        return self.run_dir.resolve().name

    @property
    def cosine(self) -> float:
        """Mean cosine between true and found z of held-out generated images."""
        return self.curve[-1]["cosine"]

    def reconstruct(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """What the generator makes of the images' z: uint8 [images, size, size, channels].

        `labels` are float32 [images, labels of the model], 1 where present and else 0.
        """
        parts = (slice(at, at + BATCH) for at in range(0, len(images), BATCH))
        return np.concatenate([self._reconstruct(from_pixels(tf.constant(images[at])), labels[at]) for at in parts])


def open_embedder(
    run_dir: str | os.PathLike,
    regressor_dir: str | os.PathLike,
    settings: dict[str, Any] | None = None,
    checkpoint: str = "last",
    labels: np.ndarray | None = None,
) -> LatentEmbedder:
    """Loads the regressor in its folder, or trains one and keeps it there.

    Args:
      settings: of `LatentRegressionConfig`; a kept regressor must have the same where they are given.
      checkpoint: of the run, "last", "best" or the number of a step.
      labels: float32 [rows, labels], from which a conditional model's training pairs have theirs.

    Raises:
      FileNotFoundError: no run folder, or one without a checkpoint.
      ValueError: a run that is no PGGAN, an unknown setting, or a kept regressor that is of other weights, has other
        settings or is damaged.
    """
    run_dir, regressor_dir = pathlib.Path(run_dir), pathlib.Path(regressor_dir)
    given = settings or {}
    config = make_config(LatentRegressionConfig, given)
    model, run, state = load_model(run_dir, checkpoint)
    make_latent_regressor(model, config)  # refuses a model that is no PGGAN
    model_sha256 = weights_sha256(served_variables(model))
    path = regressor_dir / REGRESSOR_FILE
    if path.is_file():
        facts = _read_facts(path, run_dir, model_sha256, given)
        network = make_latent_regressor(model, make_config(LatentRegressionConfig, facts["settings"]))
        weights = regressor_dir / facts["weights_file"]
        if not weights.is_file():
            raise ValueError(f"{regressor_dir} is damaged: {weights} is missing; remove it, and it is trained again")
        restore(weights, network.checkpoint_variables())
        logging.info("using the regressor in %s, cosine %.3f", regressor_dir, facts["curve"][-1]["cosine"])
    else:
        network, curve = train_latent_regressor(model, config, labels)
        weights = Checkpoints(regressor_dir).save(config.steps, network.checkpoint_variables(), {})
        facts = {
            "model_sha256": model_sha256,
            "weights_file": weights.relative_to(regressor_dir).as_posix(),
            "settings": dataclasses.asdict(config),
            "curve": curve,
        }
        write_atomically(path, json.dumps(facts, indent=2, allow_nan=False) + "\n")  # last: what has it is whole
    return LatentEmbedder(run_dir, run, state["step"], model, network, facts)


def _read_facts(path: pathlib.Path, run_dir: pathlib.Path, model_sha256: str, given: dict[str, Any]) -> dict[str, Any]:
    """Reads `regressor.json`; refuses a regressor for other weights or with other settings than asked for."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        kept, _, _ = facts["settings"], facts["curve"][-1]["cosine"], facts["weights_file"]
        is_same_model = facts["model_sha256"] == model_sha256
    except (json.JSONDecodeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path} does not describe a regressor: {error}; remove {path.parent}") from error
    if not is_same_model:
        raise ValueError(
            f"{path.parent} holds a regressor for other weights than those in {run_dir}; remove it, or choose another "
            "--regressor_dir"
        )
    if differing := [name for name, value in given.items() if kept.get(name) != value]:
        described = ", ".join(f"{name} {kept.get(name)!r}, not {given[name]!r}" for name in differing)
        raise ValueError(
            f"{path.parent} holds a regressor with {described}; leave the setting out to use it, or choose another "
            "--regressor_dir"
        )
    return facts
