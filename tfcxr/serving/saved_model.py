"""A trained GAN -> `saved_models/<name>/<version>/`, a SavedModel that loads where tfcxr is not installed.

| signature         | inputs                                   | outputs                              |
| ----------------- | ---------------------------------------- | ------------------------------------ |
| `serving_default` | `seed` int64 [B], `label` float32 [B,L], | `image` uint8 [B,H,W,C]              |
|                   | `truncation` float32 [], optional        |                                      |
| `png`             | the same                                 | `png_bytes` string [B]               |
| `latent`          | `z` float32 [B,Z], `label` float32 [B,L] | `image` float32 [B,H,W,C] in [-1, 1] |
| `score`           | `image` uint8 [B,H,W,C],                 | `realism` float32 [B],               |
|                   | `label` where the critic is told it      | `label_probability` float32 [B,L]    |

A model without labels has neither `label` nor `label_probability`; the latter is there only for a discriminator that
names labels (ACGAN). `realism` is the sigmoid of what the discriminator says: for a loss that trains probabilities
("log") the probability of being real, for others (hinge, Wasserstein) a rank only.

`truncation` is 1 where it is left out: servers read that from the signature's `defaults`, and in Python
`loaded.draw(seed, label)` knows it too. Only `loaded.signatures["serving_default"]` in Python asks for all three
(TensorFlow 2.21 does not read `defaults` there).

The same seed and label give the same picture, alone or in any batch: kernels round differently for different batch
sizes (measured at 64 px on a CPU: with layer normalization a third of the pictures had a pixel off by one grey level
in a batch of 2 or more, with batch normalization one in 25 at some sizes), so rows are always computed in chunks of
one size, the last chunk filled up. So computed, the pictures were equal in every pixel. Another kind of processor or
number of threads may round differently: there a pixel can be off by one grey level.

A score is one picture's own, but for a discriminator with minibatch stddev: that one compares the pictures of a
request in groups of 8, a group that is not full with copies from the request's beginning.

Beside `saved_model.pb` stand `model.json` (see `ModelDescription`), `README.md` (the model card) and, for a model
trained from a run folder, `training_patients.txt` (a salted patient key a line), by which an evaluation refuses to
test on patients the model has seen. Warm-up requests are not written: their protocol buffers are not in TensorFlow.
"""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import tfcxr
from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.models.base import GAN, AdversarialModel, latents_from_seeds
from tfcxr.serving.model_card import PATIENTS_FILE, ModelDescription, card_text
from tfcxr.serving.super_resolution import ServedSuperResolution, super_resolution_card
from tfcxr.serving.version_folder import Untracked, encode_pngs, free_version, signature, weights_sha256, write_version
from tfcxr.training.run_folder import RunConfig

CHUNK_PIXELS = 8 * 64 * 64  # rows of a chunk x image pixels: larger chunks make a single picture slower
MAX_CHUNK_ROWS = 8
STDDEV_ROWS = 8  # images scored at once where the discriminator compares them (minibatch stddev)


class ServedModel(tf.Module):
    """The functions that are exported; `loaded` of `tf.saved_model.load` has them under the same names.

    Attributes:
      draw, draw_png, draw_latent, score: the signatures of the module's table, as `tf.function`.
      chunk_rows: images that are computed at once, at every request.
    """

    def __init__(self, model: GAN, label_names: Sequence[str], chunk_rows: int | None = None) -> None:
        """`model` must compute in float32; `chunk_rows` is chosen by image size where None.

        Raises:
          ValueError: another number of label names than the model has labels, or chunks without rows.
        """
        super().__init__(name="tfcxr")
        config = model.config
        if len(label_names) != config.label_count:
            raise ValueError(f"the model has {config.label_count} labels, got {len(label_names)} names: {label_names}")
        if chunk_rows is not None and chunk_rows < 1:
            raise ValueError(f"chunk_rows must be at least 1, got {chunk_rows}")
        self.chunk_rows = chunk_rows or default_chunk_rows(config.image_size)
        self._config = config
        self._label_names = list(label_names)
        self._weights = [variable.value for variable in served_variables(model)]
        self._model = Untracked(model)
        self.draw = self._drawing_function("image", lambda images: images)
        self.draw_png = self._drawing_function("png_bytes", encode_pngs)
        self.draw_latent = self._latent_function()
        self.score = self._score_function()

    def signatures(self) -> dict[str, Callable]:
        """Signature name -> function."""
        return {
            "serving_default": self.draw,
            "png": self.draw_png,
            "latent": self.draw_latent,
            "score": self.score,
        }

    def _drawing_function(self, output: str, finish: Callable[[tf.Tensor], tf.Tensor]) -> Callable:
        one = tf.constant(1.0)
        seed_spec = tf.TensorSpec([None], tf.int64, "seed")
        truncation_spec = tf.TensorSpec([], tf.float32, "truncation")

        def images(seed: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor) -> dict[str, tf.Tensor]:
            z = latents_from_seeds(seed, self._config.latent_size)
            label = self._checked(label, seed, "seed")
            return {output: finish(self._generate(z, label, truncation, to_pixels, tf.uint8))}

        def labelled(seed, label, truncation=one):
            return images(seed, label, truncation)

        def unlabelled(seed, truncation=one):
            return images(seed, tf.zeros([tf.shape(seed)[0], 0]), truncation)

        if self._label_names:
            return signature(labelled, [seed_spec, self._label_spec(), truncation_spec])
        return signature(unlabelled, [seed_spec, truncation_spec])

    def _latent_function(self) -> Callable:
        z_spec = tf.TensorSpec([None, self._config.latent_size], tf.float32, "z")

        def images(z: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"image": self._generate(z, self._checked(label, z, "z"), 1.0, lambda image: image, tf.float32)}

        def labelled(z, label):
            return images(z, label)

        def unlabelled(z):
            return images(z, tf.zeros([tf.shape(z)[0], 0]))

        if self._label_names:
            return signature(labelled, [z_spec, self._label_spec()])
        return signature(unlabelled, [z_spec])

    def _score_function(self) -> Callable:
        config = self._config
        image_spec = tf.TensorSpec([None, config.image_size, config.image_size, config.channels], tf.uint8, "image")

        def told(image, label):
            return self._score(image, self._checked(label, image, "image"))

        def untold(image):
            return self._score(image, tf.zeros([tf.shape(image)[0], config.label_count]))

        if self._model.model.discriminator_reads_label and self._label_names:
            return signature(told, [image_spec, self._label_spec()])
        return signature(untold, [image_spec])

    def _generate(
        self,
        z: tf.Tensor,
        label: tf.Tensor,
        truncation: tf.Tensor | float,
        finish: Callable[[tf.Tensor], tf.Tensor],
        dtype: tf.DType,
    ) -> tf.Tensor:
        """Images of z [B,Z] and label [B,L] as `dtype` [B,H,W,C], computed in chunks of `chunk_rows` rows."""
        config, chunk = self._config, self.chunk_rows
        rows = tf.shape(z)[0]
        filling = [[0, -rows % chunk], [0, 0]]
        chunks = (
            tf.reshape(tf.pad(z, filling), [-1, chunk, config.latent_size]),
            tf.reshape(tf.pad(label, filling), [(rows + chunk - 1) // chunk, chunk, config.label_count]),
        )
        image_shape = [config.image_size, config.image_size, config.channels]
        images = tf.map_fn(
            lambda inputs: finish(self._model.model.generate_from_latent(*inputs, truncation)),
            chunks,
            fn_output_signature=tf.TensorSpec([chunk, *image_shape], dtype),
            parallel_iterations=1,
        )
        return tf.reshape(images, [-1, *image_shape])[:rows]

    def _score(self, image: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores in chunks filled up with the request's own images."""
        score_rows = STDDEV_ROWS if self._config.compares_images else self.chunk_rows
        rows, image_shape = tf.shape(image)[0], image.shape[1:]
        chunks = (rows + score_rows - 1) // score_rows
        filling = tf.range(chunks * score_rows) % rows
        filled = tf.reshape(tf.gather(image, filling), [chunks, score_rows, *image_shape])
        labels = tf.reshape(tf.gather(label, filling), [chunks, score_rows, self._config.label_count])

        def judge(inputs: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
            realism, named = self._model.model.score(from_pixels(inputs[0]), inputs[1])
            scores = {"realism": tf.sigmoid(tf.cast(realism, tf.float32)[:, 0])}
            if named is not None:
                probability = tf.nn.softmax if self._config.is_single_label else tf.sigmoid
                scores["label_probability"] = probability(tf.cast(named, tf.float32))
            return scores

        outputs = {"realism": tf.TensorSpec([score_rows])}
        if self._model.model.discriminator_predicts_labels:
            outputs["label_probability"] = tf.TensorSpec([score_rows, self._config.label_count])
        scores = tf.map_fn(judge, (filled, labels), fn_output_signature=outputs, parallel_iterations=1)
        return {name: tf.reshape(score, [-1, *score.shape[2:]])[:rows] for name, score in scores.items()}

    def _label_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, self._config.label_count], tf.float32, "label")

    def _checked(self, label: tf.Tensor, other: tf.Tensor, other_name: str) -> tf.Tensor:
        """`label` after a check in the graph of what a loaded signature lets through: width, rows, NaN."""
        count, names = self._config.label_count, ", ".join(self._label_names)
        columns, rows, expected_rows = tf.shape(label)[1], tf.shape(label)[0], tf.shape(other)[0]
        checks = [
            (columns == count, [f"label needs {count} columns ({names}), got", columns]),
            (rows == expected_rows, [f"label needs a row for each {other_name},", expected_rows, "rows, got", rows]),
            (tf.reduce_all(tf.math.is_finite(label)), [f"label ({names}) holds NaN or infinity; give 0 or 1 instead"]),
        ]
        with tf.control_dependencies([tf.debugging.Assert(holds, message) for holds, message in checks]):
            return tf.identity(label)


def export_model(
    model: AdversarialModel,
    run: RunConfig,
    out_dir: str | os.PathLike,
    state: dict[str, Any],
    version: int | None = None,
    run_dir: str | os.PathLike | None = None,
    chunk_rows: int | None = None,
) -> pathlib.Path:
    """Writes a SavedModel with its model card; the version's folder appears only when it is whole.

    Args:
      model: the trained model, of any precision and strategy; call this outside the strategy's scope. One that
        enlarges images is exported as `serving.super_resolution` says.
      run: what it was trained with.
      out_dir: `saved_models/<name>`.
      state: with "step", the steps that it was trained.
      version: a number from 1; the next free one where None.
      run_dir: the run folder, whose `training_patients.txt` is copied where there is one.
      chunk_rows: images computed at once; by image size where None (8 up to 64 px, 1 from 256 px). More is faster
        on a GPU and slower for single pictures. Enlarging has one row at a time.

    Returns:
      `out_dir/<version>`.

    Raises:
      ValueError: the version exists already or is below 1, or label names that do not fit the model.
      OSError: no space or permission.
    """
    out_dir = pathlib.Path(out_dir)
    version = free_version(out_dir, version)
    model = _float32_copy(model)
    if isinstance(model, GAN):
        served, card, facts = ServedModel(model, run.label_names, chunk_rows), card_text, {}
    else:
        served, card = ServedSuperResolution(model), super_resolution_card
        facts = {"kind": "super_resolution", "scale": model.config.scale}
    description = ModelDescription(
        model=run.model,
        name=out_dir.resolve().name,
        version=version,
        label_names=run.label_names,
        is_single_label=model.config.is_single_label,
        image_size=model.config.image_size,
        channels=model.config.channels,
        latent_size=model.config.latent_size if isinstance(model, GAN) else 0,
        steps=int(state["step"]),
        batch_size=run.batch_size,
        seed=run.seed,
        settings=run.settings,
        data=run.data,
        weights_sha256=weights_sha256(served_variables(model)),
        chunk_rows=served.chunk_rows,
        tfcxr_version=tfcxr.__version__,
        tensorflow_version=tf.__version__,
        **facts,
    )
    patients = pathlib.Path(run_dir) / PATIENTS_FILE if run_dir is not None else None
    keys = patients.read_text(encoding="utf-8") if patients is not None and patients.is_file() else None
    return write_version(out_dir, served, description, card(description), keys)


def default_chunk_rows(image_size: int) -> int:
    """Images computed at once: a single picture shall not wait long for the rest of its chunk."""
    return max(1, min(MAX_CHUNK_ROWS, CHUNK_PIXELS // image_size**2))


def served_variables(model: AdversarialModel) -> list[Any]:
    """The weights that are exported and hashed, in order."""
    return [*model.sampling_generator.variables, *model.discriminator.variables, *model.sampling_state()]


def _float32_copy(model: AdversarialModel) -> AdversarialModel:
    """The same weights in a model that computes in float32, in plain variables of one device."""
    copy = type(model)(model.config.for_inference(), seed=model.seed)
    for target, source in zip(served_variables(copy), served_variables(model), strict=True):
        target.assign(np.asarray(source))
    for name, variable in model.state.items():
        copy.state[name].assign(np.asarray(variable))
    return copy
