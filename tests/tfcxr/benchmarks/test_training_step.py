"""Random batches; that a step is timed is tested by the command."""

import pytest
import tensorflow as tf

from tfcxr.benchmarks.training_step import random_batch
from tfcxr.models.acgan import ACGANConfig


@pytest.mark.parametrize("is_single_label", [True, False])
def test_random_batches_look_like_the_pipelines(is_single_label):
    batch = random_batch(ACGANConfig(image_size=32, label_count=3, is_single_label=is_single_label), 6)
    assert batch["image"].shape == (6, 32, 32, 1) and batch["label"].shape == batch["label_mask"].shape == (6, 3)
    assert (tf.reduce_sum(batch["label"], axis=1).numpy() == 1).all() == is_single_label
