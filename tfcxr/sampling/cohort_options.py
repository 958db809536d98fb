"""How a cohort is generated."""

import dataclasses
import math

from tfcxr.data.seeds import SEEDS_PER_COHORT


@dataclasses.dataclass(frozen=True)
class CohortOptions:
    """How a cohort is generated.

    Attributes:
      seed: of the cohort, from 0.
      truncation: below 1 images are less varied, above 1 more, see the model's `generate_from_latent`.
      batch_size: images generated at once.
      shard_images: images per shard, at most.
      workers: processes that generate; changes no image.
    """

    seed: int = 0
    truncation: float = 1.0
    batch_size: int = 64
    shard_images: int = 2000
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31 - 1:
            raise ValueError(f"the cohort's seed must be from 0 to 2**31 - 2, got {self.seed}")
        if not (math.isfinite(self.truncation) and self.truncation > 0):
            raise ValueError(f"truncation must be above 0, got {self.truncation}")
        if self.batch_size < 1 or self.shard_images < 1:
            raise ValueError(f"batches and shards need an image each, got {self.batch_size} and {self.shard_images}")
        if self.workers < 1:
            raise ValueError(f"a cohort needs a worker, got {self.workers}")

    @property
    def first_seed(self) -> int:
        """The seed of image 0."""
        return self.seed * SEEDS_PER_COHORT
