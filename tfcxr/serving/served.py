"""What is exported of a model: its weights, and a function for each signature of its kind."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import tensorflow as tf

from tfcxr.data.pipeline import to_pixels
from tfcxr.models.base import GAN, AdversarialModel, full_label, latents_from_seeds
from tfcxr.serving.signatures import signatures_of

CHUNK_PIXELS = 4 * 64 * 64  # rows of a chunk x image pixels: larger chunks make a single picture slower
MAX_CHUNK_ROWS = 4  # of 8, oneDNN's matrix product with AVX2 rounds the last two otherwise


class Served(tf.Module):
    """Base of what is exported; has an attribute for each function of `SIGNATURES` of its kind.

    Attributes:
      label_names: order of the `label` input, empty for a model without labels.
      condition_names: further columns of `label`, which a request may leave out, see `tfcxr.data.conditions`.
      chunk_rows: images that are computed at once, whatever the size of a request.
      latent_size: length of z, 0 for a model without.
      scale: how many times as high and wide it makes images.
    """

    kind: Literal["generator", "super_resolution", "cascade"]
    label_names: Sequence[str] = ()
    condition_names: Sequence[str] = ()
    chunk_rows = 1
    latent_size = 0
    scale = 1

    def __init__(self, model: AdversarialModel | None = None, variables: Sequence[Any] = ()) -> None:
        """`model` must compute in float32; its functions are traced here, and `variables` are saved with them."""
        super().__init__(name="tfcxr")
        self._weights = [variable.value for variable in variables]
        self._frozen = [] if model is None else model.frozen_parts()
        self._model = _Untracked(model)
        for name, signature in signatures_of(self.kind).items():
            setattr(self, name, signature.function(self))

    @property
    def model(self) -> Any:
        """The model that is exported."""
        return self._model.model

    def signatures(self) -> dict[str, Callable]:
        """Signature name -> function."""
        return {signature.name: getattr(self, name) for name, signature in signatures_of(self.kind).items()}

    @property
    def truncation_shape(self) -> tf.TensorShape:
        """Of the `truncation` input: of any rank, since it is one number for all images, or one per image."""
        return tf.TensorShape(None)

    @property
    def label_specs(self) -> list[tf.TensorSpec]:
        """The `label` input, or nothing for a model without labels."""
        columns = None if self.condition_names else len(self.label_names)
        return [tf.TensorSpec([None, columns], tf.float32, "label")] if self.label_names else []

    def checked_label(self, inputs: dict[str, tf.Tensor], beside: str) -> tf.Tensor:
        """The label float32 [B,L], zeros where it is no input.

        The graph checks what a loaded signature lets through: columns, NaN, and rows other than those of `beside`.
        """
        count, names = len(self.label_names), ", ".join(self.label_names)
        expected_rows = tf.shape(inputs[beside])[0]
        if "label" not in inputs:
            return tf.zeros([expected_rows, count])
        label = inputs["label"]
        rows, columns = tf.shape(label)[0], tf.shape(label)[1]
        is_whole, expected, width = columns == count, f"{count} columns ({names})", count + len(self.condition_names)
        if self.condition_names:
            is_whole |= columns == width
            expected += f" or {width} (with {', '.join(self.condition_names)})"
        checks = [
            (is_whole, [f"label needs {expected}, got", columns]),
            (rows == expected_rows, [f"label needs a row for each {beside},", expected_rows, "rows, got", rows]),
            (tf.reduce_all(tf.math.is_finite(label)), [f"label ({names}) holds NaN or infinity; give 0 or 1 instead"]),
        ]
        with tf.control_dependencies([tf.debugging.Assert(holds, message) for holds, message in checks]):
            return full_label(label, width) if self.condition_names else tf.identity(label)

    def checked_truncation(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """The truncation float32 [B] of `inputs` with seeds [B]; its graph checks that it is finite, [] or [B].

        It stays [] where `truncation_shape` is.
        """
        truncation, rows = inputs["truncation"], tf.shape(inputs["seed"])[0]
        fits = (tf.rank(truncation) < 2) & tf.reduce_all(tf.shape(truncation) == rows)
        message = ["truncation needs one value for all images or one per seed,", rows, "values, got the shape"]
        is_finite = tf.reduce_all(tf.math.is_finite(truncation))
        checks = [
            tf.debugging.Assert(fits, [*message, tf.shape(truncation)]),
            tf.debugging.Assert(is_finite, ["truncation holds NaN or infinity; give 0 to 1 instead"]),
        ]
        with tf.control_dependencies(checks):
            truncation = tf.identity(truncation)
        if truncation.shape.rank == 0:
            return truncation
        return tf.ensure_shape(tf.broadcast_to(truncation, [rows]), [None])


class ServedGenerator(Served):
    """A GAN's generator and discriminator.

    The same seed and label give the same picture, alone or in any batch: kernels round differently for different batch
    sizes (measured at 64 px on a CPU: with layer normalization a third of the pictures had a pixel off by one grey
    level in a batch of 2 or more, with batch normalization one in 25 at some sizes), so rows are always computed in
    chunks of one size, the last chunk filled up. So computed, the pictures were equal in every pixel. Another kind of
    processor or number of threads may round differently: there a pixel can be off by one grey level.
    """

    kind = "generator"

    def __init__(self, model: GAN, label_names: Sequence[str], chunk_rows: int | None = None) -> None:
        """`chunk_rows` is chosen by image size where None.

        Raises:
          ValueError: another number of label names than the model has labels, or chunks without rows.
        """
        config = model.config
        if len(label_names) != config.label_count:
            raise ValueError(f"the model has {config.label_count} labels, got {len(label_names)} names: {label_names}")
        if chunk_rows is not None and chunk_rows < 1:
            raise ValueError(f"chunk_rows must be at least 1, got {chunk_rows}")
        self.label_names, self.condition_names = list(label_names), config.condition_columns
        self.chunk_rows = chunk_rows or default_chunk_rows(config.image_size)
        self.latent_size = config.latent_size
        super().__init__(model, served_variables(model))

    def images(self, seed: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor) -> dict[str, tf.Tensor]:
        """`image` uint8 [B,H,W,C] of int64 seeds [B], labels [B,L] and truncation [] or [B]."""
        z = latents_from_seeds(seed, self.latent_size)
        return {"image": self.generate_in_chunks(z, label, truncation, to_pixels, tf.uint8)}

    def generate_in_chunks(
        self,
        z: tf.Tensor,
        label: tf.Tensor,
        truncation: tf.Tensor | float,
        finish: Callable[[tf.Tensor], tf.Tensor],
        dtype: tf.DType,
    ) -> tf.Tensor:
        """Images of z [B,Z], label [B,L] and truncation [] or [B], of which `finish` makes `dtype` [B,H,W,C]."""
        config, chunk = self.model.config, self.chunk_rows
        rows = tf.shape(z)[0]
        count, filling = (rows + chunk - 1) // chunk, [[0, -rows % chunk], [0, 0]]
        truncation = tf.broadcast_to(tf.reshape(truncation, [-1, 1]), [rows, 1])
        chunks = [
            tf.reshape(tf.pad(values, filling), [count, chunk, width])
            for values, width in ((z, self.latent_size), (label, config.label_width), (truncation, 1))
        ]
        image_shape = [config.image_size, config.image_size, config.channels]
        images = tf.map_fn(
            lambda inputs: finish(self.model.generate_from_latent(*inputs)),
            chunks,
            fn_output_signature=tf.TensorSpec([chunk, *image_shape], dtype),
            parallel_iterations=1,
        )
        return tf.reshape(images, [-1, *image_shape])[:rows]


class ServedSuperResolution(Served):
    """The generator of a super-resolution model, which enlarges two images at a time."""

    kind = "super_resolution"
    chunk_rows = 2

    def __init__(self, model: AdversarialModel, label_names: Sequence[str] = (), chunk_rows: int | None = None) -> None:
        """It reads no labels and has chunks of its own, whatever is given."""
        self.scale = model.config.scale
        super().__init__(model, model.sampling_generator.variables)


SERVED: dict[str, Callable[..., Served]] = {served.kind: served for served in (ServedGenerator, ServedSuperResolution)}


def default_chunk_rows(image_size: int) -> int:
    """Images computed at once: a single picture shall not wait long for the rest of its chunk.

    At least 2: TensorFlow's oneDNN computes a batch of one by other kernels, which for large networks take longer than
    the usual ones for two images.
    """
    return max(2, min(MAX_CHUNK_ROWS, CHUNK_PIXELS // image_size**2))


def served_variables(model: AdversarialModel) -> list[Any]:
    """The weights that are exported and hashed, in order."""
    return [*model.sampling_generator.variables, *model.discriminator.variables, *model.sampling_state()]


class _Untracked:
    """Keeps a model out of the SavedModel's objects: its weights and the traced functions are all that is saved."""

    def __init__(self, model: Any) -> None:
        self.model = model
