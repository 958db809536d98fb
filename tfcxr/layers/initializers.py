"""Weight initializers of the networks, and a seed of its own for each weight."""

from collections.abc import Callable, Iterator
from typing import Literal

import keras
import numpy as np

InitializerName = Literal["uniform", "glorot", "he", "normal"]


def initializer_seeds(seed: int) -> Iterator[int]:
    """Yields seeds without end, a different one for each weight; the same `seed` yields the same ones."""
    generator = np.random.default_rng(seed)
    while True:
        yield int(generator.integers(2**31))


def kernel_initializers(name: InitializerName, seed: int) -> Callable[..., keras.initializers.Initializer]:
    """A function that makes a network's initializers by `kernel_initializer`, each with a seed of its own."""
    seeds = initializer_seeds(seed)
    return lambda **options: kernel_initializer(name, next(seeds), **options)


def kernel_initializer(
    name: InitializerName, seed: int, is_before_relu: bool = True, transposed_stride: int = 0
) -> keras.initializers.Initializer:
    """The initializer of a kernel by name.

    Args:
      name: "uniform" within 1 / sqrt(inputs), PyTorch's default; "glorot", Keras's default; "he" (He et al. 2015); or
        "normal" N(0, .02) (Radford, Metz, Chintala 2016).
      seed: of the weights.
      is_before_relu: "he" doubles the variance for the half that a ReLU cuts off (He et al. 2015, equation 10).
      transposed_stride: of a transposed convolution, 0 for other layers. Keras takes the outputs of one for its inputs;
        here its inputs count, of which one in stride**2 reaches a pixel.
    """
    if name == "glorot":
        return keras.initializers.GlorotUniform(seed=seed)
    if name == "normal":
        return keras.initializers.RandomNormal(0.0, 0.02, seed=seed)
    if name == "uniform":  # a third of 1 / inputs is the variance of U(-1 / sqrt(inputs), 1 / sqrt(inputs))
        scale, distribution = 1.0 / 3.0, "uniform"
    else:
        scale, distribution = 2.0 if is_before_relu else 1.0, "truncated_normal"
    scale, mode = (scale * transposed_stride**2, "fan_out") if transposed_stride else (scale, "fan_in")
    return keras.initializers.VarianceScaling(scale, mode, distribution, seed=seed)
