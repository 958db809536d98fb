"""Which images a training step takes: every epoch takes all in an order of its own, known from seed and step alone."""

import functools

import numpy as np


class ShuffledOrder:
    """Endless batches of equal size.

    Images that do not fill an epoch's last batch are left out of that epoch; the next one draws anew. The order is
    that of random 64-bit numbers by Philox (Salmon et al. 2011), so that it is the same with every version of NumPy.
    An epoch's order takes 8 bytes per image.

    Args:
      images: how many there are, at least `batch_size`.
      seed: any whole number.
    """

    def __init__(self, images: int, batch_size: int, seed: int) -> None:
        self._images, self._batch_size, self._seed = images, batch_size, seed
        self._of_epoch = functools.lru_cache(2)(self._shuffled)  # a step's neighbours may be of the epoch before

    def batch(self, step: int) -> np.ndarray:
        """The images of the batch that `step`, from 0, takes, int64 [batch_size], each below `images`."""
        epoch, step_of_epoch = divmod(step, self._images // self._batch_size)
        first = step_of_epoch * self._batch_size
        return self._of_epoch(epoch)[first : first + self._batch_size]

    def _shuffled(self, epoch: int) -> np.ndarray:
        numbers = np.random.Philox(np.random.SeedSequence([self._seed % 2**64, epoch])).random_raw(self._images)
        return np.argsort(numbers, kind="stable")
