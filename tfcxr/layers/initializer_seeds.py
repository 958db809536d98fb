"""Seeds for weight initializers."""

from collections.abc import Iterator

import numpy as np


def initializer_seeds(seed: int) -> Iterator[int]:
    """Yields seeds without end, a different one for each weight; the same `seed` yields the same row."""
    generator = np.random.default_rng(seed)
    while True:
        yield int(generator.integers(2**31))
