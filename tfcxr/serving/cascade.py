"""A generator, its critic as a gate and a super-resolution model -> one SavedModel that loads without tfcxr.

    seed, label -> candidates -> the first that the critic rates at min_realism -> enlarged

| signature         | inputs                                   | outputs                                  |
| ----------------- | ---------------------------------------- | ---------------------------------------- |
| `serving_default` | `seed` int64 [B], `label` float32 [B,L], | `image` uint8 [B,H,W,1], `realism`       |
|                   | `truncation` float32 [], optional        | float32 [B], `is_accepted` bool [B],     |
|                   |                                          | `tries` int32 [B], `seed` int64 [B]      |
| `png`             | the same                                 | `png_bytes` string [B], the rest as above |

`seed` comes back as that of the candidate in the picture. Where none of `max_tries` candidates passes, `is_accepted`
is false and the picture is the best of them. Pictures, tries and seeds are those that `tfcxr.generate` draws from the
two models with the same `--min_realism` and `--max_tries` (woloszyn2025 has a threshold of .9).
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import tensorflow as tf

from tfcxr.serving.cascade_parts import LUMA, TRY_STRIDE, CascadeParts, RealismGate, check_critic
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.model_card import ModelDescription, card_text
from tfcxr.serving.version_folder import encode_pngs, free_version, signature, write_version


class ServedCascade(tf.Module):
    """The functions that are exported.

    Attributes:
      draw, draw_png: the signatures of the module's table, as `tf.function`.
    """

    def __init__(self, parts: CascadeParts, gate: RealismGate) -> None:
        super().__init__(name="tfcxr_cascade")
        description = parts.generator.description
        self._gate = gate
        self._size, self._channels = description.image_size, description.channels
        self._large_size = parts.image_size
        self._chunk_rows = description.chunk_rows
        self._label_count = len(description.label_names)
        self._critic_needs_label = parts.generator.discriminator_reads_label
        self._generator = tf.saved_model.load(str(parts.generator.path))
        self._super_resolution = tf.saved_model.load(str(parts.super_resolution.path))
        self.draw = self._drawing_function("image", lambda images: images)
        self.draw_png = self._drawing_function("png_bytes", encode_pngs)

    def signatures(self) -> dict[str, Callable]:
        """Signature name -> function."""
        return {"serving_default": self.draw, "png": self.draw_png}

    def _drawing_function(self, output: str, finish: Callable[[tf.Tensor], tf.Tensor]) -> Callable:
        one = tf.constant(1.0)
        seed_spec = tf.TensorSpec([None], tf.int64, "seed")
        label_spec = tf.TensorSpec([None, self._label_count], tf.float32, "label")
        truncation_spec = tf.TensorSpec([], tf.float32, "truncation")

        def images(seed: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor) -> dict[str, tf.Tensor]:
            found = self._search(seed, label, truncation)
            large = self._super_resolution.enhance(_to_grey(found.pop("image")))["image"]
            large = tf.ensure_shape(large, [None, self._large_size, self._large_size, 1])
            is_accepted = found["realism"] >= self._gate.min_realism
            return {output: finish(large), **found, "is_accepted": is_accepted}

        def labelled(seed, label, truncation=one):
            message = ["label needs a row for each seed,", tf.shape(seed)[0], "rows, got", tf.shape(label)[0]]
            with tf.control_dependencies([tf.debugging.Assert(tf.shape(seed)[0] == tf.shape(label)[0], message)]):
                label = tf.identity(label)
            return images(seed, label, truncation)

        def unlabelled(seed, truncation=one):
            return images(seed, tf.zeros([tf.shape(seed)[0], 0]), truncation)

        if self._label_count:
            return signature(labelled, [seed_spec, label_spec, truncation_spec])
        return signature(unlabelled, [seed_spec, truncation_spec])

    def _search(self, seed: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor) -> dict[str, tf.Tensor]:
        """The first candidate of each row that passes, or the best of them, before it is enlarged.

        Each round draws candidates of the rows that have none yet. Few rows leave room in a chunk, which is computed
        whole all the same: then a round draws several candidates of each.
        """
        rows, image_shape = tf.shape(seed)[0], [self._size, self._size, self._channels]
        max_tries = self._gate.max_tries
        found = {
            "image": tf.zeros([rows, *image_shape], tf.uint8),
            "realism": tf.fill([rows], -1.0),
            "tries": tf.zeros([rows], tf.int32),
            "seed": seed,
        }

        def is_unfinished(tried: tf.Tensor, searching: tf.Tensor, found: dict[str, tf.Tensor]) -> tf.Tensor:
            return (tried < max_tries) & (tf.size(searching) > 0)

        def search(tried: tf.Tensor, searching: tf.Tensor, found: dict[str, tf.Tensor]) -> tuple:
            count = tf.size(searching)
            ahead = tf.clip_by_value(self._chunk_rows // count, 1, max_tries - tried)
            offsets = tf.cast(tried + tf.range(ahead), tf.int64) * TRY_STRIDE
            seeds = tf.reshape(tf.gather(seed, searching)[:, tf.newaxis] + offsets, [-1])  # [count * ahead]
            labels = tf.repeat(tf.gather(label, searching), ahead, axis=0)
            images = self._draw_candidates(seeds, labels, truncation)
            realism = tf.reshape(self._score(images, labels), [count, ahead])
            passes = realism >= self._gate.min_realism
            is_accepted = tf.reduce_any(passes, axis=1)
            first = tf.argmax(tf.cast(passes, tf.int32), axis=1, output_type=tf.int32)
            best = tf.argmax(realism, axis=1, output_type=tf.int32)
            choice = tf.where(is_accepted, first, best)
            index = tf.range(count) * ahead + choice
            candidate = {
                "image": tf.gather(images, index),
                "realism": tf.gather(tf.reshape(realism, [-1]), index),
                "seed": tf.gather(seeds, index),
            }
            is_better = is_accepted | (candidate["realism"] > tf.gather(found["realism"], searching))
            target = tf.boolean_mask(searching, is_better)[:, tf.newaxis]
            found = found | {
                name: tf.tensor_scatter_nd_update(found[name], target, tf.boolean_mask(value, is_better))
                for name, value in candidate.items()
            }
            tries = tried + tf.where(is_accepted, first + 1, ahead)
            found["tries"] = tf.tensor_scatter_nd_update(found["tries"], searching[:, tf.newaxis], tries)
            return tried + ahead, tf.boolean_mask(searching, ~is_accepted), found

        shapes = {"image": tf.TensorShape([None, *image_shape])}
        shapes |= {name: tf.TensorShape([None]) for name in ("realism", "tries", "seed")}
        state = (tf.constant(0), tf.range(rows), found)
        invariants = (tf.TensorShape([]), tf.TensorShape([None]), shapes)
        return tf.while_loop(is_unfinished, search, state, invariants, parallel_iterations=1)[2]

    def _draw_candidates(self, seeds: tf.Tensor, labels: tf.Tensor, truncation: tf.Tensor) -> tf.Tensor:
        labels = [labels] if self._label_count else []
        images = self._generator.draw(seeds, *labels, truncation)["image"]
        return tf.ensure_shape(images, [None, self._size, self._size, self._channels])

    def _score(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        labels = [labels] if self._critic_needs_label else []
        realism = self._generator.score(images, *labels)["realism"]
        return tf.where(tf.math.is_nan(realism), tf.zeros_like(realism), realism)


def export_cascade(
    generator_path: str | os.PathLike,
    super_resolution_path: str | os.PathLike,
    out_dir: str | os.PathLike,
    min_realism: float = 0.9,
    max_tries: int = 100,
    version: int | None = None,
) -> pathlib.Path:
    """Writes a generator, its gate and a super-resolution model as one SavedModel with its model card.

    Args:
      generator_path, super_resolution_path: exported versions, or the folders of their versions for the newest.
      out_dir: `saved_models/<name>`. version: a number from 1; the next free one where None.

    Returns:
      `out_dir/<version>`, which appears only when it is whole.

    Raises:
      FileNotFoundError: a path without an exported model.
      ValueError: models that do not fit each other, a critic that cannot judge one image, min_realism or max_tries out
        of range, or a version that exists.
      OSError: no space or permission.
    """
    gate, out_dir = RealismGate(min_realism, max_tries), pathlib.Path(out_dir)
    version = free_version(out_dir, version)
    parts = CascadeParts(LoadedModel(generator_path), LoadedModel(super_resolution_path))
    check_critic(parts.generator, gate)
    description = parts.describe(out_dir.resolve().name, version, dataclasses.asdict(gate))
    served = ServedCascade(parts, gate)
    return write_version(out_dir, served, description, cascade_card(description), parts.training_patients())


def cascade_card(description: ModelDescription) -> str:
    """The model card of a cascade: that of a generator with another use and with both models' settings."""
    d = description
    settings = {name: d.settings[name] for name in ("min_realism", "max_tries")}
    for part in ("generator", "super_resolution"):
        facts = d.settings[part]
        settings |= {f"{part}.{name}": facts[name] for name in ("saved_model", "model", "steps", "weights_sha256")}
        settings |= {f"{part}.{name}": value for name, value in facts["settings"].items()}
    head, _, rest = card_text(dataclasses.replace(d, settings=settings)).partition("## Use\n")
    limits = rest.partition("## Limits\n")[2]
    label = f", tf.constant([{[float(index == 0) for index in range(len(d.label_names))]}])" if d.label_names else ""
    small = d.image_size // d.scale
    return f"""{head}## Use

```python
import tensorflow as tf

model = tf.saved_model.load("saved_models/{d.name}/{d.version}")
drawn = model.draw(tf.constant([7], tf.int64){label})
image = drawn["image"]  # uint8 {[1, d.image_size, d.image_size, 1]}
```

A generator draws candidates of {small} pixels. The first that its critic rates at {settings["min_realism"]:g} or more
is enlarged {d.scale} times. `realism` is that rating, `tries` the candidates it took, and `seed` the seed of the one in
the picture. After {settings["max_tries"]} candidates the best is taken, and `is_accepted` is false. A rating is a
training signal, not a calibrated probability. A seed and a label give the same picture, alone or in any batch.
`truncation`, a third input that may be left out, scales the noise: below 1 pictures vary less. `draw_png` gives PNG
files. A server offers both as the signatures `serving_default` and `png`.

## Limits

- What was added in enlarging is what such edges usually look like, not what was seen: it is no evidence of anything.
{limits.lstrip()}"""


def _to_grey(images: tf.Tensor) -> tf.Tensor:
    """uint8 [B,H,W,1] of uint8 [B,H,W,1|3], as cohorts become grey."""
    if images.shape[-1] == 1:
        return images
    grey = tf.tensordot(tf.cast(images, tf.float32), tf.constant(LUMA, tf.float32), 1)[..., tf.newaxis]
    return tf.saturate_cast(tf.round(grey), tf.uint8)
