"""Enlarging images window by window, without seams, so that memory is bounded by the window whatever their size.

A pixel of a convolutional network's output depends on inputs within its reach, so that pixels at least the reach inside
a window come out as in the whole image. Windows overlap by twice the reach, and each gives the pixels that it alone
sees in full. At the image's border a window ends with the image, so that the network pads there as it would pad the
whole image.
"""

from collections.abc import Callable

import tensorflow as tf


def enlarge_by_tiles(
    enlarge: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, scale: int, reach: int, tile_size: int
) -> tf.Tensor:
    """Enlarges whole images in windows; equal to `enlarge` of the whole but for the rounding of floats.

    Args:
      enlarge: float [rows, height, width, channels] -> float [rows, height * scale, width * scale, channels], of any
        size.
      images: float [rows, height, width, channels]; the size may be unknown while tracing. A window is of all rows.
      scale: enlargement.
      reach: pixels of `images` to each side that a pixel of the output depends on, at most.
      tile_size: height and width of the largest window, in pixels of `images`.

    Returns:
      float [rows, height * scale, width * scale, channels].

    Raises:
      ValueError: windows too small for the reach.
    """
    if tile_size <= 2 * reach:
        raise ValueError(f"tile_size must be above {2 * reach}, twice the network's reach, got {tile_size}")
    rows, columns = (_Windows(tf.shape(images)[axis], reach, tile_size) for axis in (1, 2))

    def tile(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        top, left = rows.start(row), columns.start(column)
        output = enlarge(images[:, top : top + rows.size, left : left + columns.size])
        kept_rows = slice((rows.first(row) - top) * scale, (rows.first(row + 1) - top) * scale)
        kept_columns = slice((columns.first(column) - left) * scale, (columns.first(column + 1) - left) * scale)
        return tf.transpose(output[:, kept_rows, kept_columns], [2, 0, 1, 3])  # columns, images, rows, channels

    def strip(row: tf.Tensor) -> tf.Tensor:
        return tf.transpose(_concatenate(columns.count, lambda column: tile(row, column), images), [2, 1, 0, 3])

    return tf.transpose(_concatenate(rows.count, strip, images), [1, 0, 2, 3])


class _Windows:
    """Equal windows along one axis: how many, their size, where one starts, and the first pixel that is its own."""

    def __init__(self, length: tf.Tensor, reach: int, tile_size: int) -> None:
        own = tile_size - 2 * reach
        self.count = tf.maximum(-(-(length - 2 * reach) // own), 1)
        self._stride = -(-(length - 2 * reach) // self.count)  # windows as small as their number allows
        self.size = self._stride + 2 * reach
        self._length = length
        self._reach = reach

    def start(self, index: tf.Tensor) -> tf.Tensor:
        return tf.minimum(index * self._stride, self._length - self.size)

    def first(self, index: tf.Tensor) -> tf.Tensor:
        inner = tf.where(index == 0, 0, self.start(index) + self._reach)
        return tf.where(index == self.count, self._length, inner)


def _concatenate(count: tf.Tensor, make: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """The outputs of make(0) to make(count - 1), one after the other along the first axis; one at a time."""
    shape = [None, images.shape[0], None, images.shape[-1]]
    pieces = tf.TensorArray(images.dtype, size=count, infer_shape=False, element_shape=shape)
    _, pieces = tf.while_loop(
        lambda index, _: index < count,
        lambda index, written: (index + 1, written.write(index, make(index))),
        (tf.constant(0), pieces),
        parallel_iterations=1,
    )
    return pieces.concat()
