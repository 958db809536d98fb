"""Penalties on the discriminator's gradients and values, and how to apply a penalty in some steps only."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def r1_penalty(realism: Callable[[tf.Tensor], tf.Tensor], real_images: tf.Tensor) -> tf.Tensor:
    """R1: half the mean squared norm of the gradient at real images (Mescheder, Geiger, Nowozin 2018, equation 9).

    Args:
      realism: maps float32 [batch, height, width, channels] in [-1, 1] to realism logits [batch, 1].
      real_images: such images.

    Returns:
      float32 scalar, to be multiplied by gamma.
    """
    gradient = _image_gradient(realism, real_images)
    return 0.5 * tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]))


def gradient_penalty(
    critic: Callable[[tf.Tensor], tf.Tensor], real: tf.Tensor, fake: tf.Tensor, uniform: tf.Tensor
) -> tf.Tensor:
    """WGAN-GP's two-sided penalty: how far the critic's slope between real and fake images is from 1.

    Gulrajani et al. 2017, equation 3 and algorithm 1. No gradient flows into the images, so none reaches the generator
    that made `fake`. The norm is computed in float32 also where the critic computes in bfloat16.

    Args:
      critic: maps float32 [batch, height, width, channels] in [-1, 1] to realism logits [batch, 1], each row from its
        own image alone (so without batch normalization; section 4 there).
      real, fake: such images.
      uniform: float32 [batch, 1] in [0, 1), the share of the real image in each interpolate.

    Returns:
      float32 scalar, the mean of (norm - 1)^2 over the rows, to be multiplied by lambda (10 there).
    """
    share = tf.reshape(uniform, [-1, 1, 1, 1])
    interpolates = tf.stop_gradient(share * real + (1.0 - share) * fake)
    gradient = _image_gradient(critic, interpolates)
    # The square root's slope at 0 is infinite and would turn a dead critic's weights into NaN.
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]) + 1e-12)
    return tf.reduce_mean(tf.square(norm - 1.0))


def drift_penalty(real_logits: tf.Tensor) -> tf.Tensor:
    """Mean square of the real images' logits, which keeps them near 0 (Karras et al. 2018, appendix A.1).

    Args:
      real_logits: float32 [batch, 1].

    Returns:
      float32 scalar, to be multiplied by epsilon (.001 there).
    """
    return tf.reduce_mean(tf.square(tf.cast(real_logits, tf.float32)))


def path_length_penalty(
    synthesis: Callable[[tf.Tensor], tf.Tensor],
    styles: tf.Tensor,
    normal: tf.Tensor,
    mean_length: tf.Tensor,
    decay: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Path length regularization: how far a step in style space is from changing all images by as much.

    Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.2, equation 4. Differs from
    the authors' program: lengths are compared with the mean before this step, so that replicas need not wait for each
    other.

    Args:
      synthesis: maps styles to images float32 [batch, size, size, channels].
      styles: float32 [batch, layers, style_size].
      normal: float32 N(0, 1) [batch, size, size, channels], the direction in which an image's change is measured.
      mean_length: float32 scalar, the running mean.
      decay: how far it moves.

    Returns:
      (the mean of (length - mean_length)^2 over the rows, the new running mean, into which no gradient flows), both
      float32 scalars.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(styles)
        images = synthesis(styles)
        projection = tf.reduce_sum(images * (normal / normal.shape[1]))
    gradient = tape.gradient(projection, styles)  # float32 [batch, layers, style_size]
    squares = tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=2), axis=1)
    length = tf.sqrt(squares + 1e-12)
    new_mean = mean_length + decay * (tf.reduce_mean(length) - mean_length)
    return tf.reduce_mean(tf.square(length - mean_length)), tf.stop_gradient(new_mean)


def lazy_gradients(
    applies: tf.Tensor | bool,
    penalty: Callable[[], Any],
    variables: Sequence[Any],
    scale: float | tf.Tensor = 1.0,
    idle_value: Any = 0.0,
    name: str = "lazy",
) -> tuple[Any, list[tf.Tensor]]:
    """A penalty's value and gradients in the steps in which it is due, `idle_value` and zeros in the others.

    Lazy regularization (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B):
    with `scale = weight * interval` the gradients, added to the main loss's, pull as hard on average as with `weight`
    in each step. Differs from the paper: Adam's settings are left as they are. Only gradients are computed within the
    condition, no weight moves there (optimizer steps under tf.distribute may not run inside of `tf.cond`).

    Args:
      applies: bool scalar, see `is_due`. A Python bool decides while tracing, and leaves no condition in the graph.
      penalty: computes a float32 scalar from the variables. It may return a tuple (penalty, ...), whose other tensors
        are handed on, such as a running mean that must survive the condition. It must change no variable.
      variables: Keras or TensorFlow variables, float32.
      scale: multiplies the gradients, not the value.
      idle_value: the value where the penalty is not due, of the same structure, dtypes and shapes as `penalty`
        returns; (0.0, old_mean) hands the old mean on.
      name: of the operation; the benchmark counts its work once per `<name>_interval`, a setting.

    Returns:
      (what `penalty` returned, unscaled, or `idle_value`; float32 gradients, one for each variable, zeros for
      variables that the penalty does not depend on).
    """

    def due() -> tuple[Any, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            value = penalty()
            target = value[0] if isinstance(value, tuple) else value
        gradients = tape.gradient(target, variables)
        pairs = zip(gradients, variables, strict=True)
        return value, [tf.zeros(v.shape) if g is None else scale * g for g, v in pairs]

    def idle() -> tuple[Any, list[tf.Tensor]]:
        value = tf.nest.map_structure(tf.convert_to_tensor, idle_value)
        return value, [tf.zeros(variable.shape) for variable in variables]

    if isinstance(applies, bool):
        return due() if applies else idle()
    return tf.cond(applies, due, idle, name=name)


def is_due(step: tf.Tensor, interval: int, weight: float = 1.0) -> tf.Tensor | bool:
    """Whether a penalty is applied in a step: every `interval` steps, a Python False where its weight is 0."""
    if not weight or interval == 1:
        return bool(weight)
    return step % interval == 0


def add_gradients(gradients: list[tf.Tensor], others: list[tf.Tensor | None]) -> list[tf.Tensor]:
    """The sums; a penalty has no gradient (None) for variables that it does not depend on."""
    return [one if other is None else one + other for one, other in zip(gradients, others, strict=True)]


def _image_gradient(realism: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """Each image's own gradient of its realism logit, float32 [batch, height, width, channels]."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        total = tf.reduce_sum(realism(images))
    return tf.cast(tape.gradient(total, images), tf.float32)
