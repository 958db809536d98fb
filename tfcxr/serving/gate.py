"""Keeps, of an image's candidates, the first that the discriminator finds real enough and that is no copy.

The threshold on realism is that of Woloszyn 2025 (.9), or what held-out real images score
(`tfcxr.serving.gate_calibration`); copies are told by `tfcxr.serving.copy_check`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from absl import logging

from tfcxr.config import make_config
from tfcxr.serving.copy_check import CopyCheck
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.min_realism import MinRealism
from tfcxr.training.run_folder import model_class

TRY_STRIDE = 2**22  # between the seeds of an image's candidates; images of a gated cohort, at most
MAX_TRIES = 2**10  # times TRY_STRIDE are the seeds that a cohort has
REFUSED = -1.0  # the realism of what may not be kept


@dataclasses.dataclass(frozen=True)
class Gate:
    """Which candidate of an image is kept: the first of realism `min_realism` or more that is no copy.

    The candidates of an image whose own seed is s have the seeds s, s + 2**22, s + 2 * 2**22 and so on. A cohort has
    its images at seed * 2**32 + i, so no two images of any gated cohorts share a candidate.

    Attributes:
      min_realism: in [0, 1], or label -> threshold for exclusive labels, in the model's order; None asks no
        discriminator.
      max_tries: candidates per image, at most 1,024.
      copies: refuses copies of training images; None compares with none.
      calibration: how `min_realism` was chosen, plain JSON; None where the user did.
    """

    min_realism: MinRealism | None = 0.9
    max_tries: int = 100
    copies: CopyCheck | None = None
    calibration: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        limits = self.min_realism.values() if isinstance(self.min_realism, Mapping) else [self.min_realism]
        if any(limit is not None and not 0 <= limit <= 1 for limit in limits):
            raise ValueError(f"min_realism must be in [0, 1], got {self.min_realism}")
        if not 1 <= self.max_tries <= MAX_TRIES:
            raise ValueError(f"max_tries must be from 1 to {MAX_TRIES}, got {self.max_tries}")

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON: `max_tries`; and `min_realism`, `copies` (the facts of the check) and `calibration`, if any."""
        realism = {} if self.min_realism is None else {"min_realism": self.min_realism}
        copies = {} if self.copies is None else {"copies": self.copies.facts}
        calibration = {} if self.calibration is None else {"calibration": dict(self.calibration)}
        return {**realism, "max_tries": self.max_tries, **copies, **calibration}

    def limit(self, label: tf.Tensor) -> tf.Tensor:
        """The realism that an image of each label float32 [B,L] has to reach: float32 [B]."""
        if isinstance(self.min_realism, Mapping):
            return tf.gather(
                tf.constant(list(self.min_realism.values())), tf.argmax(label[:, : len(self.min_realism)], axis=1)
            )
        return tf.fill([tf.shape(label)[0]], self.min_realism or 0.0)

    def choose(
        self,
        candidates: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
        seed: tf.Tensor,
        label: tf.Tensor,
        image_shape: list[int],
        chunk_rows: int,
    ) -> dict[str, tf.Tensor]:
        """The candidate of each row that is kept: the first that passes, or else the most real one, in graph mode.

        A copy is never kept: a row with nothing but copies stays black.

        Each round generates candidates of the rows that have none yet. Fewer rows than a chunk, which is computed whole
        all the same, leave room for several candidates of each.

        Args:
          candidates: seeds int64 [N] and the rows int32 [N] that they are for -> images uint8 [N,*image_shape],
            realism float32 [N].
          seed: int64 [B].
          label: float32 [B,L].
          image_shape: height, width, channels.
          chunk_rows: candidates that are computed at once.

        Returns:
          `image` uint8 [B,*image_shape]; `realism` float32 [B]; `is_accepted` bool [B]; `tries` int32 [B]; `seed` int64
          [B] of the candidate; `is_nan` bool [B], whether any candidate's realism was NaN, which counts as 0. With
          `copies` also `copies_refused` int32 [B], of its tries, and `copy_ratio` float32 [B] of the candidate.
        """
        rows, limit = tf.shape(seed)[0], self.limit(label)
        start = {
            "image": tf.zeros([rows, *image_shape], tf.uint8),
            "realism": tf.fill([rows], REFUSED),
            "tries": tf.zeros([rows], tf.int32),
            "seed": seed,
            "is_nan": tf.zeros([rows], tf.bool),
        }
        if self.copies is not None:
            start |= {"copies_refused": tf.zeros([rows], tf.int32), "copy_ratio": tf.zeros([rows])}

        def is_unfinished(tried: tf.Tensor, searching: tf.Tensor, found: dict[str, tf.Tensor]) -> tf.Tensor:
            return (tried < self.max_tries) & (tf.size(searching) > 0)

        def search(tried: tf.Tensor, searching: tf.Tensor, found: dict[str, tf.Tensor]) -> tuple:
            count = tf.size(searching)
            ahead = tf.clip_by_value(chunk_rows // count, 1, self.max_tries - tried)
            offsets = tf.cast(tried + tf.range(ahead), tf.int64) * TRY_STRIDE
            seeds = tf.reshape(tf.gather(seed, searching)[:, tf.newaxis] + offsets, [-1])  # [count * ahead]
            images, realism = candidates(seeds, tf.repeat(searching, ahead))
            is_nan = tf.math.is_nan(realism)
            realism = tf.where(is_nan, tf.zeros_like(realism), realism)
            if self.copies is not None:
                copy_ratio = self.copies.copy_ratio(images)
                is_copy = copy_ratio > self.copies.max_copy_ratio
                realism = tf.where(is_copy, REFUSED, realism)
            realism = tf.reshape(realism, [count, ahead])
            passes = realism >= tf.gather(limit, searching)[:, tf.newaxis]
            is_accepted = tf.reduce_any(passes, axis=1)
            first = tf.argmax(tf.cast(passes, tf.int32), axis=1, output_type=tf.int32)
            best = tf.argmax(realism, axis=1, output_type=tf.int32)
            index = tf.range(count) * ahead + tf.where(is_accepted, first, best)
            candidate = {
                "image": tf.gather(images, index),
                "realism": tf.gather(tf.reshape(realism, [-1]), index),
                "seed": tf.gather(seeds, index),
            }
            if self.copies is not None:
                candidate["copy_ratio"] = tf.gather(copy_ratio, index)
            is_better = is_accepted | (candidate["realism"] > tf.gather(found["realism"], searching))
            better = tf.boolean_mask(searching, is_better)[:, tf.newaxis]
            changed = {name: (better, tf.boolean_mask(value, is_better)) for name, value in candidate.items()}
            tries = tf.where(is_accepted, first + 1, ahead)
            changed["tries"] = searching[:, tf.newaxis], tried + tries
            if self.copies is not None:
                refused = tf.reshape(is_copy, [count, ahead]) & (tf.range(ahead) < tries[:, tf.newaxis])
                refused = tf.reduce_sum(tf.cast(refused, tf.int32), axis=1)
                sums = tf.gather(found["copies_refused"], searching) + refused
                changed["copies_refused"] = searching[:, tf.newaxis], sums
            with_nan = tf.gather(found["is_nan"], searching) | tf.reduce_any(tf.reshape(is_nan, [count, ahead]), axis=1)
            changed["is_nan"] = searching[:, tf.newaxis], with_nan
            found = {name: tf.tensor_scatter_nd_update(found[name], *change) for name, change in changed.items()}
            return tried + ahead, tf.boolean_mask(searching, ~is_accepted), found

        shapes = {name: tf.TensorShape([None, *value.shape[1:]]) for name, value in start.items()}
        invariants = (tf.TensorShape([]), tf.TensorShape([None]), shapes)
        state = (tf.constant(0), tf.range(rows), start)
        found = tf.while_loop(is_unfinished, search, state, invariants, parallel_iterations=1)[2]
        found |= {"is_accepted": found["realism"] >= limit}
        return found if self.copies is None else found | {"realism": tf.maximum(found["realism"], 0.0)}


class GatedGenerator(tf.Module):
    """An exported generator behind a gate.

    Attributes:
      generator: the exported model.
      gate: what passes.
    """

    def __init__(self, generator: LoadedModel, gate: Gate) -> None:
        """Checks that the discriminator can score a single image, where the gate asks it.

        Raises:
          ValueError: the model has no discriminator, one that compares the images of a request with each other, or
            other labels than the gate has thresholds for.
        """
        super().__init__()
        if gate.min_realism is not None:
            check_discriminator(generator, gate)
        if isinstance(gate.min_realism, Mapping) and [*gate.min_realism] != [*generator.description.label_names]:
            raise ValueError(
                f"the gate has thresholds for {', '.join(gate.min_realism)}, expected the labels of {generator.path} "
                f"in their order: {', '.join(generator.description.label_names)}"
            )
        self.generator, self.gate = generator, gate
        if gate.copies is not None:
            self._copies = gate.copies  # tracked: exported with the gate
        self._saved_model = generator.saved_model  # tracked: a cascade is exported with its weights

    def __call__(self, seed: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor) -> dict[str, tf.Tensor]:
        """What `Gate.choose` returns, for seeds int64 [B], labels float32 [B,L] and truncation float32 [] or [B]."""
        description = self.generator.description
        image_shape = [description.image_size, description.image_size, description.channels]

        def candidates(seeds: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            labels = tf.gather(label, rows)
            of_rows = tf.gather(truncation, rows) if truncation.shape.rank else truncation
            images = self.generator.outputs("generate", seed=seeds, label=labels, truncation=of_rows)["image"]
            images = tf.ensure_shape(images, [None, *image_shape])
            if self.gate.min_realism is None:
                return images, tf.ones([tf.shape(seeds)[0]])
            return images, self.generator.outputs("score", image=images, label=labels)["realism"]

        return self.gate.choose(candidates, seed, label, image_shape, description.chunk_rows)


def check_discriminator(model: LoadedModel, gate: Gate | None = None) -> None:
    """Refuses a discriminator that gives no image a score of its own.

    Warns where it only ranks images and a plain number is the gate's threshold.

    Raises:
      ValueError: see `GatedGenerator`.
    """
    if not model.has("score"):
        raise ValueError(
            f"{model.path} has no discriminator (no signature 'score'), so a gate cannot tell which images look real; "
            "generate without min_realism, or export a model that has one"
        )
    config_class = model_class(model.description.model).config_class
    config = make_config(config_class, config_class.current_settings(model.description.settings))
    if config.compares_images:
        raise ValueError(
            f"the discriminator of {model.path} compares the images of a request with each other (minibatch_stddev), "
            "so no image has a score of its own; generate without min_realism, or train a model without "
            "minibatch_stddev"
        )
    if gate and not gate.calibration and not config.realism_is_probability:
        logging.warning(
            "the loss of %s (%s) does not train probabilities: its realism ranks images, so min_realism %s means "
            "nothing outside this model; --min_realism=quantile:.1 chooses it by real images",
            model.path,
            model.description.model,
            gate.min_realism,
        )
