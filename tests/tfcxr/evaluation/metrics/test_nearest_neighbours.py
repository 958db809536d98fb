"""Nearest neighbours, whole and in blocks."""

import numpy as np
import pytest

from tfcxr.evaluation.metrics import nearest_neighbours
from tfcxr.evaluation.metrics.nearest_neighbours import nearest, radii


@pytest.fixture(params=[2**24, 30], ids=["whole", "blocks"])
def sets(request, monkeypatch):
    monkeypatch.setattr(nearest_neighbours, "BLOCK_VALUES", request.param)
    generator = np.random.default_rng(0)
    return generator.normal(5, 1, (17, 4)).astype(np.float32), generator.normal(5, 1, (11, 4)).astype(np.float32)


def all_distances(first, second):
    return np.linalg.norm(first[:, None].astype(np.float64) - second[None], axis=2)


def test_the_nearest_of_another_set(sets):
    found, expected = nearest(*sets), all_distances(*sets)
    np.testing.assert_allclose(found.distance, expected.min(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(found.index, expected.argmin(axis=1))


def test_copies_are_at_exactly_zero(sets):
    rows, others = sets
    assert (nearest(others[[3, 7]], np.concatenate([rows, others])).distance == 0).all()


def test_radius_is_the_distance_to_the_kth_neighbour(sets):
    rows, _ = sets
    expected = np.sort(all_distances(rows, rows), axis=1)[:, [3, 1]].T ** 2
    np.testing.assert_allclose(radii(rows, 3, 1), expected, rtol=1e-4)
