"""A tiny ACGAN of 32 px and its export, for what reads SavedModels."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.stored_classifier import write_classifier
from tfcxr.config import to_plain
from tfcxr.models.acgan import ACGAN, ACGANConfig
from tfcxr.models.vanilla_gan import VanillaGAN, VanillaGANConfig
from tfcxr.serving.model_card import read_description
from tfcxr.serving.saved_model import export_model
from tfcxr.training.run_folder import RunConfig

TINY = {"image_size": 32, "generator_filters": 32, "discriminator_filters": 8, "latent_size": 8, "r1_gamma": 0.0}
DATA = {
    "name": "discs",
    "split": "train",
    "notice": "Discs, not radiographs.",
    "licence": "made by the tests",
    "salt_fingerprint": "tests",
    "fingerprint": "0123",
}


LEAST_CONTRAST = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => (value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [.2126, .7152, .0722][index], 0);
  const behind = (element) => {
    for (let found = element; found; found = found.parentElement) {
      const color = channels(getComputedStyle(found).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  let least = [21, ""];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (!text || !element.checkVisibility() || element.disabled) continue;
    const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < least[0]) least = [contrast, text];
  }
  return least;
}"""


@pytest.fixture(scope="session")
def make_tiny_gan() -> Callable[..., tuple[ACGAN, RunConfig]]:
    """A function that makes an ACGAN of given settings, and its run; weights are large so that pictures vary."""

    def make(label_names: tuple[str, ...] = ("NORMAL", "PNEUMONIA"), **settings) -> tuple[ACGAN, RunConfig]:
        config = ACGANConfig(**(TINY | {"label_count": len(label_names)} | settings))
        model = ACGAN(config, seed=3)
        for variable in model.sampling_generator.variables:
            if variable.name == "kernel":
                spread = 2.0 / np.sqrt(np.prod(variable.shape[:-1]))
                variable.assign(variable * (spread / np.std(variable)))
        run = RunConfig("acgan", to_plain(config), label_names, seed=3, batch_size=4, steps=7, data=DATA)
        return model, run

    return make


@pytest.fixture(scope="session")
def tiny_export(make_tiny_gan: Callable, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """`.../tiny/1`, exported from a run folder with two training patients. Do not change it."""
    run_dir = tmp_path_factory.mktemp("run")
    (run_dir / "training_patients.txt").write_text("patient-a\npatient-b\n")
    model, run = make_tiny_gan()
    return export_model(model, run, tmp_path_factory.mktemp("saved_models") / "tiny", {"step": 7}, run_dir=run_dir)


@pytest.fixture(scope="session")
def one_hot() -> Callable[[np.ndarray], np.ndarray]:
    """float32 rows of two exclusive labels."""
    return lambda index: np.eye(2, dtype=np.float32)[np.asarray(index)]


@pytest.fixture(scope="session")
def tiny_enlarger(tiny_export: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """`.../enlarger/1`, a super-resolution model that repeats each pixel, and its patients. Do not change it.

    Its function has the name that exports once had.
    """

    class Enlarger(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.uint8, "image")], autograph=False)
        def enhance(self, image):
            return {"image": tf.repeat(tf.repeat(image, 2, axis=1), 2, axis=2)}

    path = tmp_path_factory.mktemp("enlargers") / "enlarger" / "1"
    enlarger = Enlarger()
    tf.saved_model.save(enlarger, str(path), signatures={"serving_default": enlarger.enhance})
    small = read_description(tiny_export)
    data = small.data | {"name": "large discs", "notice": "Large discs."}
    description = dataclasses.replace(
        small, model="srgan", name="enlarger", kind="super_resolution", scale=2, label_names=(), image_size=64,
        weights_sha256="e" * 64, steps=9, settings={"scale": 2}, data=data,
    )  # fmt: skip
    (path / "model.json").write_text(description.to_json())
    (path / "training_patients.txt").write_text("patient-b\npatient-c\n")
    return path


@pytest.fixture(scope="session")
def unlabelled_export(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """`.../unlabelled/1`, a vanilla GAN of 32 px without labels, whose pictures vary. Do not change it."""
    config = VanillaGANConfig(image_size=32, latent_size=8, generator_units=(16,), discriminator_units=(8,))
    model = VanillaGAN(config, seed=3)
    for variable in model.sampling_generator.trainable_variables:
        if variable.name == "kernel":
            variable.assign(variable * (1.0 / np.std(variable) / np.sqrt(variable.shape[0])))
    run = RunConfig("vanilla_gan", to_plain(config), (), 3, 4, 7, DATA)
    run_dir = tmp_path_factory.mktemp("run")
    (run_dir / "training_patients.txt").write_text("patient-a\n")
    return export_model(model, run, tmp_path_factory.mktemp("models") / "unlabelled", {"step": 7}, run_dir=run_dir)


@pytest.fixture(scope="session")
def make_classifier() -> Callable[..., pathlib.Path]:
    """A function that writes a classifier of how much brighter each quarter of an image is than the whole of it.

    Its classes are those quarters, from the top left on, as many as there are labels.
    """

    def make(
        path: pathlib.Path,
        thresholds: dict[str, float | None] | None = None,
        is_single_label: bool = False,
        image_size: int = 32,
    ) -> pathlib.Path:
        thresholds = thresholds or {"NORMAL": 0.6, "PNEUMONIA": 0.6, "Mass": 0.6, "Edema": None}

        def classify(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            halves = tf.reduce_mean(tf.reshape(image, [-1, 2, image_size // 2, 2, image_size // 2]), axis=[2, 4])
            quarters = tf.reshape(halves, [-1, 4])
            logits = 40.0 * (quarters - tf.reduce_mean(quarters, axis=1, keepdims=True))
            return quarters, logits[:, : len(thresholds)]

        description = {
            "labels": list(thresholds),
            "is_single_label": is_single_label,
            "image_size": image_size,
            "thresholds": thresholds,
            "validation_auc": dict.fromkeys(thresholds, 0.9),
        }
        write_classifier(path, classify, (), description)
        (path / "training_patients.txt").write_text("patient-b\n")
        return path

    return make


@pytest.fixture(scope="session")
def tiny_classifier(make_classifier: Callable, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A classifier of four quarters of 32-px images, the last without a threshold. Do not change it."""
    return make_classifier(tmp_path_factory.mktemp("classifiers") / "quarters" / "1")


@pytest.fixture
def least_contrast():
    """A script for a page: least contrast of all shown texts with what is behind them, and the text that has it."""
    return LEAST_CONTRAST
