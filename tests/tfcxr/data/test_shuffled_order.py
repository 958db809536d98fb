import numpy as np
import pytest

from tfcxr.data.shuffled_order import ShuffledOrder


def test_an_epoch_has_each_image_once_and_the_next_one_another_order():
    order = ShuffledOrder(10, 5, seed=3)
    epochs = [np.concatenate([order.batch(step), order.batch(step + 1)]) for step in (0, 2)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert epochs[0].tolist() != epochs[1].tolist()


def test_the_last_images_that_fill_no_batch_are_others_in_each_epoch():
    order = ShuffledOrder(10, 4, seed=0)
    left_out = {frozenset(range(10)) - {*order.batch(step), *order.batch(step + 1)} for step in range(0, 40, 2)}
    assert all(len(images) == 2 for images in left_out) and len(left_out) > 5


@pytest.mark.parametrize("seed", [-1, 0, 2**70])
def test_any_seed_has_an_order_of_its_own(seed):
    assert ShuffledOrder(50, 50, seed).batch(0).tolist() != ShuffledOrder(50, 50, 1).batch(0).tolist()
    assert ShuffledOrder(50, 50, seed).batch(7).tolist() == ShuffledOrder(50, 50, seed).batch(7).tolist()


def test_the_order_is_that_of_earlier_versions():
    assert ShuffledOrder(8, 4, seed=5).batch(0).tolist() == [3, 6, 2, 4]
    assert ShuffledOrder(8, 4, seed=-1).batch(0).tolist() == [6, 4, 7, 0]
    assert ShuffledOrder(8, 4, seed=5).batch(1001).tolist() == [6, 1, 4, 3]


def test_places_are_equally_likely():
    counts = np.zeros([6, 6], int)
    for epoch in range(3000):
        counts[np.arange(6), ShuffledOrder(6, 6, seed=1).batch(epoch)] += 1
    assert ((counts - 500) ** 2 / 500).sum() < 60  # chi squared of 25 degrees of freedom: 60 has p = 1e-4
