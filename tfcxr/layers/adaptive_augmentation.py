"""Adaptive discriminator augmentation for small data sets of grey radiographs (Karras et al. 2020, "Training
generative adversarial networks with limited data", section 3 and appendix B).

The discriminator sees augmented images only, real and fake alike, and gradients pass through to the generator. Each
transform of each image is applied with one probability p, which `next_probability` raises while the discriminator
overfits.

Augmentations may leak into the generated images (section 2.2): if every image is turned by a random quarter, upright
images score no better than turned ones. If enough images stay as they are, only upright ones fit. The paper sees no
leaks while p stays below about .8; a p that settles above means too few images, not a better setting.

`RADIOGRAPH_SAFE`, the default, keeps left and right, up and down, and proportions along one axis, such as heart to
chest width, but for the tilt. Part of the chest may leave the view, so a labelled finding near the border (a
costophrenic angle, an apex) may be cut off, and mirrored tissue fills the border. Not in the default:
- "horizontal_flip" puts the heart on the right (dextrocardia) and "quarter_turn" lays the patient down: a leak would
  show another anatomy.
- "noise" and "cutout" are harmless to anatomy, but the paper gains little by them (section 2.3) and leaves them out.

Differs from the paper: one rotation of at most 10 degrees, after anisotropic scaling, rather than two of up to 180: a
leak of it is a patient standing slightly askew. Resampling is bilinear, without wavelet filters around it: cheaper and
a little softer, for real and fake alike. No filtering in frequency bands, no hue or saturation, which grey lacks, and
no inversion, which makes lungs white.
"""

import difflib
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

RADIOGRAPH_SAFE = (
    "translation",
    "isotropic_scaling",
    "anisotropic_scaling",
    "rotation",
    "fractional_translation",
    "brightness",
    "contrast",
)
AUGMENTATION_NAMES = (*RADIOGRAPH_SAFE, "noise", "cutout", "horizontal_flip", "quarter_turn")
MAXIMUM_ROTATION = 10.0  # degrees either way

# Which columns of the random numbers each transform takes its own from; UNIFORM_COLUMNS come after one column for each
# of AUGMENTATION_NAMES that says whether it is applied.
NORMAL_COLUMNS = {
    "isotropic_scaling": (0,),
    "anisotropic_scaling": (1,),
    "fractional_translation": (2, 3),
    "brightness": (4,),
    "contrast": (5,),
    "noise": (6,),
}
UNIFORM_COLUMNS = {
    "translation": (11, 12),
    "rotation": (13,),
    "noise": (14, 15),
    "cutout": (16, 17),
    "horizontal_flip": (18,),
    "quarter_turn": (19,),
}
NORMALS_PER_IMAGE = 7
UNIFORMS_PER_IMAGE = 20

_NOT_GEOMETRIC = {"brightness", "contrast", "noise", "cutout"}


def adaptive_augment(
    images: tf.Tensor,
    probability: tf.Tensor,
    normal: tf.Tensor,
    uniform: tf.Tensor,
    names: tuple[str, ...] = RADIOGRAPH_SAFE,
) -> tf.Tensor:
    """Applies each named transform to each image with the given probability, independently.

    The order is the paper's, whatever the order of `names`; n is N(0, 1):
      horizontal_flip: half of the images.
      quarter_turn: by 0 to 3 quarters.
      translation: whole pixels, up to an eighth of the size either way.
      isotropic_scaling: by the factor 2^(.2 n).
      anisotropic_scaling: width times, height over the factor 2^(.2 n).
      rotation: up to `MAXIMUM_ROTATION` degrees either way.
      fractional_translation: by n eighths of the size.
      brightness: adds .2 n.
      contrast: multiplies by 2^(n/2).
      noise: of standard deviation .1 |n|.
      cutout: a window of half the size becomes 0.
    All before brightness are one resampling. Images continue beyond their borders as mirror images, as in the paper:
    black would mark every moved image, and repeated borders would draw streaks.

    Args:
      images: float [batch, height, width, channels] in [-1, 1], static shape, sides of at least two pixels.
      probability: float32 scalar in [0, 1]; at 0 the images come back bit for bit.
      normal: float32 [batch, NORMALS_PER_IMAGE], N(0, 1). `normal` and `uniform` are the only randomness, and an image
        depends on its own row alone.
      uniform: float32 [batch, UNIFORMS_PER_IMAGE] in [0, 1).
      names: of `AUGMENTATION_NAMES`.

    Returns:
      Images of the same shape and dtype, computed in float32; values may leave [-1, 1]. Differentiable any number of
      times in `images`.

    Raises:
      ValueError: an unknown name, or random numbers of another shape.
    """
    _check(images, normal, uniform, names)
    draws = _Draws(probability, normal, uniform)
    augmented = tf.cast(images, tf.float32)
    batch, height, width, channels = images.shape
    if set(names) - _NOT_GEOMETRIC:
        augmented = _resample(augmented, _source_map(draws, names, height, width))
    if "brightness" in names:
        augmented += _per_image(draws.pick("brightness", 0.2 * draws.normals("brightness")[0], 0.0))
    if "contrast" in names:
        augmented *= _per_image(draws.pick("contrast", tf.pow(2.0, 0.5 * draws.normals("contrast")[0]), 1.0))
    if "noise" in names:
        deviation = draws.pick("noise", 0.1 * tf.abs(draws.normals("noise")[0]), 0.0)
        noise = _pixel_noise(draws.uniforms("noise"), height * width * channels)
        augmented += _per_image(deviation) * tf.reshape(noise, [batch, height, width, channels])
    if "cutout" in names:
        augmented = tf.where(_cutout_window(draws, height, width), 0.0, augmented)
    return tf.cast(augmented, images.dtype)


def next_probability(
    probability: tf.Tensor,
    mean_sign: tf.Tensor,
    images_seen: tf.Tensor | int,
    target: float = 0.6,
    speed_kimg: float = 500.0,
) -> tf.Tensor:
    """The next augmentation probability: higher while the discriminator overfits, else lower (section 3.1).

    Args:
      probability: float32 scalar in [0, 1], the one in use.
      mean_sign: float32 scalar in [-1, 1], the mean sign of the realism logits of augmented real images since the last
        call (r_t, equation 1): near 0 without overfitting, 1 once every real image is memorized.
      images_seen: real images since the last call; the paper calls every four batches.
      target: mean sign to hold.
      speed_kimg: thousands of real images in which the probability can go from 0 to 1.

    Returns:
      float32 scalar in [0, 1]. Differs from the paper: clipped at 1 too, so that it comes back without delay.
    """
    step = tf.cast(images_seen, tf.float32) / (1000.0 * speed_kimg)
    return tf.clip_by_value(probability + tf.sign(mean_sign - target) * step, 0.0, 1.0)


def _check(images: tf.Tensor, normal: tf.Tensor, uniform: tf.Tensor, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in AUGMENTATION_NAMES:
            close = difflib.get_close_matches(name, AUGMENTATION_NAMES, n=1, cutoff=0.5)
            offer = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(f"unknown augmentation {name!r}; {offer}valid names: {', '.join(AUGMENTATION_NAMES)}")
    for kind, numbers, count in (("normal", normal, NORMALS_PER_IMAGE), ("uniform", uniform, UNIFORMS_PER_IMAGE)):
        if tuple(numbers.shape) != (images.shape[0], count):
            raise ValueError(
                f"{kind} must be of shape {(images.shape[0], count)}, a row for each image, got {tuple(numbers.shape)}"
            )


class _Draws(NamedTuple):
    """The random numbers by transform, each float32 [batch]."""

    probability: tf.Tensor
    normal: tf.Tensor
    uniform: tf.Tensor

    def normals(self, name: str) -> list[tf.Tensor]:
        return [self.normal[:, column] for column in NORMAL_COLUMNS[name]]

    def uniforms(self, name: str) -> list[tf.Tensor]:
        return [self.uniform[:, column] for column in UNIFORM_COLUMNS[name]]

    def pick(self, name: str, value: tf.Tensor, neutral: float) -> tf.Tensor:
        """`value` where the transform is applied to the image, else what changes nothing."""
        return tf.where(self.uniform[:, AUGMENTATION_NAMES.index(name)] < self.probability, value, neutral)


def _per_image(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, [-1, 1, 1, 1])


def _source_map(draws: _Draws, names: tuple[str, ...], height: int, width: int) -> tf.Tensor:
    """Where each image's pixels come from: float32 [batch, 3, 3], maps (x, y, 1) counted from the image's middle.

    Each transform adds its inverse on the right, so that the last one applied is the first one undone.
    """
    source = tf.eye(3, batch_shape=[draws.normal.shape[0]])
    if "horizontal_flip" in names:
        side = tf.where(draws.uniforms("horizontal_flip")[0] < 0.5, -1.0, 1.0)
        source = _compose(source, _matrix(draws.pick("horizontal_flip", side, 1.0), 0.0, 0.0, 1.0))
    if "quarter_turn" in names:
        angle = tf.floor(draws.uniforms("quarter_turn")[0] * 4.0) * (math.pi / 2)
        # Rounded to exact zeros and ones, so that pixels meet pixels.
        source = _compose(source, _rotation(draws, "quarter_turn", tf.round(tf.cos(angle)), tf.round(tf.sin(angle))))
    if "translation" in names:
        across, down = draws.uniforms("translation")
        across, down = tf.round((across - 0.5) * (width / 4)), tf.round((down - 0.5) * (height / 4))
        source = _compose(source, _shift(draws, "translation", across, down))
    if "isotropic_scaling" in names:
        factor = tf.pow(2.0, -0.2 * draws.normals("isotropic_scaling")[0])
        factor = draws.pick("isotropic_scaling", factor, 1.0)
        source = _compose(source, _matrix(factor, 0.0, 0.0, factor))
    if "anisotropic_scaling" in names:
        factor = tf.pow(2.0, -0.2 * draws.normals("anisotropic_scaling")[0])
        factor = draws.pick("anisotropic_scaling", factor, 1.0)
        source = _compose(source, _matrix(factor, 0.0, 0.0, 1.0 / factor))
    if "rotation" in names:
        angle = (2.0 * draws.uniforms("rotation")[0] - 1.0) * (MAXIMUM_ROTATION * math.pi / 180)
        source = _compose(source, _rotation(draws, "rotation", tf.cos(angle), tf.sin(angle)))
    if "fractional_translation" in names:
        across, down = draws.normals("fractional_translation")
        source = _compose(source, _shift(draws, "fractional_translation", across * (width / 8), down * (height / 8)))
    return source


def _shift(draws: _Draws, name: str, across: tf.Tensor, down: tf.Tensor) -> tf.Tensor:
    """Inverse of a shift to the right and down, in pixels."""
    return _matrix(1.0, 0.0, 0.0, 1.0, -draws.pick(name, across, 0.0), -draws.pick(name, down, 0.0))


def _rotation(draws: _Draws, name: str, cosine: tf.Tensor, sine: tf.Tensor) -> tf.Tensor:
    """Inverse of a clockwise turn, as seen with y downwards."""
    cosine, sine = draws.pick(name, cosine, 1.0), draws.pick(name, sine, 0.0)
    return _matrix(cosine, sine, -sine, cosine)


def _matrix(xx, xy, yx, yy, x=0.0, y=0.0) -> tf.Tensor:
    """float32 [batch, 3, 3] of float32 [batch] tensors, at least one, and plain numbers."""
    entries = (xx, xy, x, yx, yy, y, 0.0, 0.0, 1.0)
    like = next(entry for entry in entries if tf.is_tensor(entry))
    columns = [entry if tf.is_tensor(entry) else tf.fill(like.shape, entry) for entry in entries]
    return tf.reshape(tf.stack(columns, axis=1), [-1, 3, 3])


def _compose(outer: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
    """Matrix product, written out because a GPU's `matmul` may round to TF32, which is too coarse for coordinates."""
    return tf.reduce_sum(outer[:, :, :, None] * inner[:, None, :, :], axis=2)


def _resample(images: tf.Tensor, source: tf.Tensor) -> tf.Tensor:
    """Takes each pixel from where `source` says, bilinear between pixels, mirrored at the borders.

    Four gathers rather than `ImageProjectiveTransformV3`, whose gradient transforms back instead of being the adjoint:
    wrong for scaling, rotation and mirrored borders.
    """
    batch, height, width, channels = images.shape
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    x = tf.range(width, dtype=tf.float32)[None, None, :] - middle_x
    y = tf.range(height, dtype=tf.float32)[None, :, None] - middle_y
    entry = lambda row, column: source[:, row, column, None, None]  # noqa: E731
    source_x = entry(0, 0) * x + (entry(0, 1) * y + (entry(0, 2) + middle_x))
    source_y = entry(1, 0) * x + (entry(1, 1) * y + (entry(1, 2) + middle_y))
    left, part_x = _neighbor(source_x, width)
    top, part_y = _neighbor(source_y, height)
    flat = tf.reshape(images, [batch, height * width, channels])
    index = tf.reshape(top * width + left, [batch, height * width])
    corner = lambda offset: tf.reshape(tf.gather(flat, index + offset, batch_dims=1), images.shape)  # noqa: E731
    # Weights of exactly 0 and 1 keep an unmoved image bit for bit.
    upper = corner(0) * (1.0 - part_x) + corner(1) * part_x
    lower = corner(width) * (1.0 - part_x) + corner(width + 1) * part_x
    return upper * (1.0 - part_y) + lower * part_y


def _neighbor(position: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The pixel before a position [batch, height, width], int32, and how far it is to the next, [.., 1] in [0, 1].

    Positions outside are mirrored in the outermost pixels, as often as it takes.
    """
    period = 2.0 * (size - 1)
    mirrored = tf.abs(position - period * tf.round(position / period))
    before = tf.clip_by_value(tf.floor(mirrored), 0.0, size - 2.0)
    return tf.cast(before, tf.int32), (mirrored - before)[..., None]


def _pixel_noise(seeds: list[tf.Tensor], count: int) -> tf.Tensor:
    """Standard normal float32 [batch, count], each row of its own two seeds, [batch] in [0, 1).

    A hash of the position, so that a row is the same in any batch and on any replica: TensorFlow's generators take one
    seed for all rows. uint32, because GPU kernels of int32 arithmetic run on the host.
    """
    words = tf.constant(np.arange(count, dtype=np.uint32)[None, :])
    for seed in seeds:
        words = _mix_bits(tf.bitwise.bitwise_xor(words, tf.cast(seed * 2.0**24, tf.uint32)[:, None]))
    sixteen = tf.constant(16, tf.uint32)
    high = tf.cast(tf.bitwise.right_shift(words, sixteen), tf.float32)
    low = tf.cast(tf.bitwise.bitwise_and(words, tf.constant(0xFFFF, tf.uint32)), tf.float32)
    # Box and Muller 1958; the half keeps the logarithm finite.
    return tf.sqrt(-2.0 * tf.math.log((high + 0.5) / 65536.0)) * tf.cos(low * (2.0 * math.pi / 65536.0))


def _mix_bits(words: tf.Tensor) -> tf.Tensor:
    """Scrambles uint32 words (the last steps of Appleby's MurmurHash3)."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        words = tf.bitwise.bitwise_xor(words, tf.bitwise.right_shift(words, tf.constant(shift, tf.uint32)))
        words *= tf.constant(factor, tf.uint32)
    return words


def _cutout_window(draws: _Draws, height: int, width: int) -> tf.Tensor:
    """bool [batch, height, width, 1], true in a window of half the size around a random middle."""
    middle_x, middle_y = (value[:, None] for value in draws.uniforms("cutout"))
    reach = draws.pick("cutout", 0.25 * tf.ones_like(draws.uniform[:, 0]), 0.0)[:, None]
    is_near_x = tf.abs((tf.range(width, dtype=tf.float32) + 0.5) / width - middle_x) < reach
    is_near_y = tf.abs((tf.range(height, dtype=tf.float32) + 0.5) / height - middle_y) < reach
    return tf.logical_and(is_near_y[:, :, None], is_near_x[:, None, :])[..., None]
