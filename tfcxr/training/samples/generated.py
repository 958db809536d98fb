"""Pictures of a generator while it trains: a labelled grid, diversity within each class, distance to real images."""

import numpy as np
import tensorflow as tf
from absl import logging

from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.evaluation.metrics.image_diversity import MS_SSIM, mean_pairwise_ms_ssim
from tfcxr.evaluation.metrics.sliced_wasserstein import SLICED_WASSERSTEIN, sliced_wasserstein_distance
from tfcxr.layers.channels import with_channels
from tfcxr.models.base import GAN
from tfcxr.training.samples.real_images import UNLABELLED
from tfcxr.training.samples.watcher import Sample, SampleWatcher

COLLAPSE_RATIO = 0.5  # of the real images' diversity, below which a warning is given
SHOWN_PER_LABEL = 12
SEEDS_PER_LABEL = 1_000_000  # between the first seeds of two labels


class GeneratedSamples(SampleWatcher):
    """Generates from fixed seeds for each label, beside real images of the same label.

    Logs the mean pairwise MS-SSIM within each label beside that of the real images, and warns when the generator has
    collapsed. Logs the sliced Wasserstein distance to the real images, by which the best checkpoint is chosen, beside
    that between two halves of them; halves are fewer images, so that a perfect generator's distance would be smaller.
    While a model grows, real images are reduced to its current resolution.

    With a `quality`, logs KID and coverage as well, always against real images of full resolution, and the best
    checkpoint is that of the smallest KID; at full resolution, how far the discriminator overfits.
    """

    metrics = (SLICED_WASSERSTEIN, MS_SSIM)

    def prepare(self, model: GAN, label_names: tuple[str, ...], real_images: dict[str, np.ndarray]) -> None:
        self._label_names = label_names or (UNLABELLED,)
        self._label_count = len(label_names)
        self._stored_images = real_images
        self._size = 0
        self._follow_growth(model)
        if self.quality:
            self.quality.prepare(self.folder.parent)

    def sample(self, step: int) -> Sample:
        self._follow_growth(self.model)
        images = {name: self._generate_label(index) for index, name in enumerate(self._label_names)}
        distance, diversity = self._distance(images), self._diversity(step, images)
        values = diversity | {"sliced_wasserstein": distance, "sliced_wasserstein_real": self._real_distance}
        rows = [(f"{name}, step {step}", generated[:SHOWN_PER_LABEL]) for name, generated in images.items()]
        similarity = np.mean([diversity[f"ms_ssim/{name}"] for name in self._real_similarity])
        text = f"sliced_wasserstein {distance:.1f} (real {self._real_distance:.1f}), ms_ssim {similarity:.3f} "
        text += f"(real {np.mean(list(self._real_similarity.values())):.3f})"
        if self.quality:
            is_grown = self.model.current_size == self.model.config.image_size and not self.model.stage.is_fading
            realism = self._realism if is_grown else None
            values |= self.quality.score(self._images_of, realism, counts=is_grown and not self.is_early(step))
            return Sample(rows, values, f"{self.quality.text(values)}, {text}", values["kid"])
        return Sample(rows, values, text, distance)

    @property
    def best_text(self) -> str:
        if self.quality:
            return self.quality.best_text
        count = sum(len(images) for images in self._real_images.values())
        return (
            f"the smallest sliced_wasserstein between generated and {count} real training images (between two halves "
            f"of the real ones: {self._real_distance:.1f})"
        )

    def _follow_growth(self, model: GAN) -> None:
        """Compiles generation for the model's current size, and reduces the real images to it."""
        if self._size == model.current_size and not model.stage.is_fading:
            return
        self._generate = tf.function(lambda seed, label: to_pixels(model.generate(seed, label)))
        self._realism = tf.function(lambda image, label: _realism(model, image, label), reduce_retracing=True)
        if self._size != model.current_size:
            self._size = model.current_size
            self._real_images = {name: _reduced(images, self._size) for name, images in self._stored_images.items()}
            self._real_similarity = {name: _similarity(images) for name, images in self._real_images.items()}
            self._real_distance = _distance_between_halves(self._real_images)

    def _generate_label(self, index: int) -> np.ndarray:
        count = max([2, *(len(images) for images in self._real_images.values())])
        label = tf.one_hot(tf.fill([count], index), len(self._label_names))[:, : self._label_count]
        seed = tf.range(count, dtype=tf.int64) + index * SEEDS_PER_LABEL
        return self._images_of(seed, label)

    def _images_of(self, seed: tf.Tensor, label: tf.Tensor) -> np.ndarray:
        """uint8 [images, size, size, 1] of seeds int64 [images] and labels float32 [images, labels]."""
        generated = self._generate(seed, label).numpy()
        return np.round(generated.mean(axis=-1, keepdims=True)).astype(np.uint8)  # three equal channels are one

    def _diversity(self, step: int, images: dict[str, np.ndarray]) -> dict[str, float]:
        values: dict[str, float] = {}
        collapsed = []
        for name, real_similarity in self._real_similarity.items():
            similarity = _similarity(images[name])
            values |= {f"ms_ssim/{name}": similarity, f"ms_ssim_real/{name}": real_similarity}
            if 1.0 - similarity < COLLAPSE_RATIO * (1.0 - real_similarity):
                collapsed.append(f"{name} ({similarity:.3f}, real {real_similarity:.3f})")
        if collapsed and not self.is_early(step):
            logging.warning(
                "step %d: nearly one picture per class, by mean pairwise MS-SSIM, for %s", step, ", ".join(collapsed)
            )
        return values

    def _distance(self, images: dict[str, np.ndarray]) -> float:
        scored = [name for name in self._label_names if name in self._real_images]
        counts = {name: min(len(images[name]), len(self._real_images[name])) for name in scored}
        generated = np.concatenate([images[name][: counts[name]] for name in scored])
        real = np.concatenate([self._real_images[name][: counts[name]] for name in scored])
        return sliced_wasserstein_distance(generated, real)


def _realism(model: GAN, image: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """What the discriminator says, float32 [images], of uint8 [images, size, size, 1]."""
    logits, _ = model.score(with_channels(from_pixels(image), model.config.channels), label)
    return tf.cast(logits[:, 0], tf.float32)


def _similarity(images: np.ndarray) -> float:
    return mean_pairwise_ms_ssim(images, pairs=len(images), resamples=1).mean


def _distance_between_halves(images: dict[str, np.ndarray]) -> float:
    counts = {name: len(of_label) // 2 for name, of_label in images.items()}
    first = np.concatenate([of_label[: counts[name]] for name, of_label in images.items()])
    second = np.concatenate([of_label[counts[name] : 2 * counts[name]] for name, of_label in images.items()])
    return sliced_wasserstein_distance(first, second)


def _reduced(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 [images, height, width, 1] averaged down to `size` px and enlarged again by repeated pixels."""
    if images.shape[1] == size:
        return images
    count, factor = len(images), images.shape[1] // size
    means = images.reshape(count, size, factor, size, factor, 1).mean(axis=(2, 4))
    return np.round(means).astype(np.uint8).repeat(factor, axis=1).repeat(factor, axis=2)
