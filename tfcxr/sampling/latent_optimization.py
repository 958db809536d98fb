"""Latent class optimisation: gradient steps on z until a classifier finds the classes that an image shall show.

    objective = LatentObjective(differentiable_generator(model), classifier.logits, is_single_label=False, chunk_rows=8)
    for result in optimize_latents(objective, lambda: next(starts, None), OptimizationSettings()):
        result.z  # or, after `max_steps`, the last z, with `is_reached` False

Segal, Rubin, Rubin and Pantanowitz 2021, Algorithm 1. Hundreds of latents are optimised at once. One that reaches its
thresholds leaves the batch and the next one enters, so none waits for the slowest. Shortfalls fall fast for some thirty
steps and then hardly: one that would not arrive at its present pace is given up at once. Rows are computed in chunks of
one size: nothing is retraced, memory does not grow with the batch, and a latent ends at the same z in any batch.

Differs from the paper: several classes can be asked for at once, through the sum of their shortfalls, and classes can
be kept below their thresholds. Its learning rate and number of steps are not published.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.sampling.differentiable_generator import Generate
from tfcxr.serving.cascade import LUMA

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # of Adam
PACE_STEPS = 20  # by which it is told whether a latent will arrive


@dataclasses.dataclass(frozen=True)
class OptimizationSettings:
    """How latents are optimised.

    Attributes:
      learning_rate: of Adam.
      max_steps: gradient steps after which a latent is given up, and earlier where it would not arrive until then.
      batch_size: latents optimised at once.
    """

    learning_rate: float = 0.05
    max_steps: int = 200
    batch_size: int = 256

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"the learning rate must be above 0, got {self.learning_rate}")
        if self.max_steps < 1 or self.batch_size < 1:
            raise ValueError(f"expected at least 1 step and 1 latent, got {self.max_steps} and {self.batch_size}")


@dataclasses.dataclass(frozen=True)
class LatentStart:
    """A latent that waits to be optimised.

    Attributes:
      subject: what it is optimised for, by which the result is recognised.
      z: float32 [latent].
      label: float32 [labels], the condition of a conditional generator, else empty.
      thresholds: float32 [classes], log odds.
      directions: float32 [classes], 1 where the class shall reach its threshold, -1 where it shall not exceed it, 0
        where it is free.
    """

    subject: Any
    z: np.ndarray
    label: np.ndarray
    thresholds: np.ndarray
    directions: np.ndarray


class Tried:
    """What the shortfalls of a latent say.

    Attributes:
      shortfalls: by step from 0, how far the classes are from their thresholds, summed over classes, in log odds.
    """

    shortfalls: list[float]

    @property
    def is_reached(self) -> bool:
        """Whether every class is on its side of its threshold."""
        return self.shortfalls[-1] == 0

    @property
    def steps(self) -> int:
        """Gradient steps so far."""
        return len(self.shortfalls) - 1


@dataclasses.dataclass
class OptimizedLatent(Tried):
    """A latent during its optimisation and after it.

    Attributes:
      start: where it began.
      z: float32 [latent].
      mean: float32 [latent], Adam's mean of the gradient.
      square: float32 [latent], Adam's mean of the squared gradient.
      shortfalls: see `Tried`.
      first_log_odds: float32 [classes] at the start.
      log_odds: float32 [classes] at `z`.
    """

    start: LatentStart
    z: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    shortfalls: list[float] = dataclasses.field(default_factory=list)
    first_log_odds: np.ndarray | None = None
    log_odds: np.ndarray | None = None

    def is_hopeless(self, max_steps: int) -> bool:
        """Whether it would not arrive within `max_steps` at the pace of the last `PACE_STEPS`."""
        if self.steps >= max_steps or self.steps < PACE_STEPS:
            return self.steps >= max_steps
        least = min(self.shortfalls[-PACE_STEPS:])
        pace = (min(self.shortfalls[:-PACE_STEPS]) - least) / PACE_STEPS
        return least > pace * (max_steps - self.steps)

    def step(self, gradient: np.ndarray, learning_rate: float) -> None:
        """One step of Adam (Kingma, Ba 2015)."""
        number = len(self.shortfalls)  # from 1
        self.mean = BETA_1 * self.mean + (1 - BETA_1) * gradient
        self.square = BETA_2 * self.square + (1 - BETA_2) * np.square(gradient)
        mean, square = self.mean / (1 - BETA_1**number), self.square / (1 - BETA_2**number)
        self.z = self.z - learning_rate * mean / (np.sqrt(square) + EPSILON)


class LatentObjective:
    """What a classifier says of a generator's images, and the gradient of that with respect to z.

    Attributes:
      chunk_rows: latents computed at once; fewer take as long.
    """

    def __init__(
        self, generate: Generate, logits: Callable[[tf.Tensor], tf.Tensor], is_single_label: bool, chunk_rows: int
    ) -> None:
        """Both functions are traced once.

        Args:
          generate: z and label -> images in [-1, 1], see `differentiable_generator`.
          logits: float32 [batch, classes] of images float32 [batch, size, size, 1] in [-1, 1].
          is_single_label: whether classes exclude each other (softmax).
          chunk_rows: latents computed at once.
        """
        self._generate, self._logits = generate, logits
        self._is_single_label, self.chunk_rows = is_single_label, chunk_rows
        rows = tf.TensorSpec([None, None])
        self.gradient = tf.function(self._gradient_in_chunks, input_signature=[rows] * 4, autograph=False)
        self.render = tf.function(self._render, input_signature=[rows, rows], autograph=False)

    def _gradient_in_chunks(self, *inputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Of z, label, thresholds and directions: what `_gradient` gives, for any number of rows."""
        return self._in_chunks(self._gradient, inputs, (tf.float32,) * 3)

    def _gradient(
        self, z: tf.Tensor, label: tf.Tensor, thresholds: tf.Tensor, directions: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """The shortfall's gradient [batch, latent], the shortfall [batch] and the log odds [batch, classes]."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            log_odds = self._log_odds(_grey(self._generate(z, label)))
            shortfall = tf.reduce_sum(tf.nn.relu(directions * (thresholds - log_odds)), axis=1)
        return tape.gradient(shortfall, z), shortfall, log_odds

    def _render(self, z: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Images uint8 [batch, size, size] and the log odds [batch, classes] of just these pixels."""

        def of_chunk(z: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            pixels = to_pixels(_grey(self._generate(z, label)))
            return pixels[..., 0], self._log_odds(from_pixels(pixels))

        return self._in_chunks(of_chunk, (z, label), (tf.uint8, tf.float32))

    def _log_odds(self, image: tf.Tensor) -> tf.Tensor:
        """log(p / (1 - p)) of each class."""
        logits = self._logits(image)
        if not self._is_single_label:
            return logits
        others = tf.linalg.diag(tf.fill([tf.shape(logits)[1]], -math.inf))
        return logits - tf.reduce_logsumexp(logits[:, tf.newaxis] + others, axis=2)

    def _in_chunks(
        self, function: Callable[..., tuple[tf.Tensor, ...]], inputs: tuple[tf.Tensor, ...], dtypes: tuple
    ) -> tuple[tf.Tensor, ...]:
        """A function of `chunk_rows` rows over any number of rows; the last chunk is filled up with zeros."""
        rows, chunk = tf.shape(inputs[0])[0], self.chunk_rows
        chunks = (rows + chunk - 1) // chunk

        def in_chunks(tensor: tf.Tensor) -> tf.Tensor:
            padded = tf.pad(tensor, [[0, -rows % chunk], [0, 0]])
            return tf.reshape(padded, [chunks, chunk, tf.shape(tensor)[1]])

        outputs = tf.map_fn(
            lambda of_chunk: function(*of_chunk),
            tuple(map(in_chunks, inputs)),
            fn_output_signature=dtypes,
            parallel_iterations=1,
        )
        return tuple(tf.reshape(output, tf.concat([[-1], tf.shape(output)[2:]], 0))[:rows] for output in outputs)


def optimize_latents(
    objective: LatentObjective,
    next_start: Callable[[], LatentStart | None],
    settings: OptimizationSettings,
    spare_start: Callable[[], LatentStart | None] = lambda: None,
    is_wanted: Callable[[LatentStart], bool] = lambda start: True,
) -> Iterator[OptimizedLatent]:
    """Optimises latents in order of their starts and gives each as soon as it is finished or given up.

    Args:
      next_start: what shall be optimised next, None where there is nothing; asked whenever a place in the batch is
        free, so that it may give a failed latent another start.
      spare_start: what may be optimised beside them, in rows of the last chunk that would be empty otherwise.
      is_wanted: whether a start still matters; one that does not leaves the batch without a result.

    Raises:
      ValueError: a class score is NaN or infinite.
    """
    batch: list[OptimizedLatent] = []
    while True:
        batch = [row for row in batch if is_wanted(row.start)]
        while len(batch) < settings.batch_size and (start := next_start()) is not None:
            batch.append(_begin(start))
        while len(batch) % objective.chunk_rows and (start := spare_start()) is not None:
            batch.append(_begin(start))
        if not batch:
            return
        z = np.stack([row.z for row in batch])
        given = [
            np.stack([getattr(row.start, name) for row in batch]) for name in ("label", "thresholds", "directions")
        ]
        gradient, shortfall, log_odds = (output.numpy() for output in objective.gradient(z, *given))
        if not np.isfinite(log_odds).all():
            raise ValueError(
                "a class score of a generated image is NaN or infinite: the generator or the classifier left its "
                "numeric range; export another checkpoint or train the classifier again"
            )
        unfinished = []
        for index, row in enumerate(batch):
            row.shortfalls.append(float(shortfall[index]))
            row.log_odds = log_odds[index]
            if row.first_log_odds is None:
                row.first_log_odds = log_odds[index]
            if row.is_reached or row.is_hopeless(settings.max_steps):
                yield row
            else:
                row.step(gradient[index], settings.learning_rate)
                unfinished.append(row)
        batch = unfinished


def _begin(start: LatentStart) -> OptimizedLatent:
    return OptimizedLatent(start, start.z, np.zeros_like(start.z), np.zeros_like(start.z))


def truncated_normal(random: np.random.Generator, size: int, bound: float) -> np.ndarray:
    """float32 [size] of a standard normal; values beyond `bound` are sampled again, not clipped."""
    z = random.standard_normal(size)
    while (beyond := np.abs(z) > bound).any():
        z[beyond] = random.standard_normal(beyond.sum())
    return z.astype(np.float32)


def log_odds_of(probability: float) -> float:
    """log(p / (1 - p)); finite also for thresholds of 0 and 1, which a perfect validation can have."""
    probability = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(probability / (1 - probability))


def _grey(image: tf.Tensor) -> tf.Tensor:
    """One channel [batch, size, size, 1], three by luma."""
    return image if image.shape[-1] == 1 else tf.tensordot(image, tf.constant(LUMA, tf.float32), 1)[..., tf.newaxis]
