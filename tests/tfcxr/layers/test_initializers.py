import itertools

import numpy as np
import pytest

from tfcxr.layers.initializers import initializer_seeds, kernel_initializer, kernel_initializers


def test_seeds_are_golden_and_differ():
    """Checkpoints do not depend on them, but a model's first weights do; numbers by numpy's generator, written down."""
    assert list(itertools.islice(initializer_seeds(0), 3)) == [1826701615, 1367864807, 1097657232]
    assert len(set(itertools.islice(initializer_seeds(1), 100))) == 100


@pytest.mark.parametrize(
    ("name", "options", "deviation", "largest"),
    [
        ("uniform", {}, np.sqrt(1 / 3 / 400), 1 / 20),
        ("glorot", {}, np.sqrt(2 / 1000), np.sqrt(6 / 1000)),
        ("he", {}, np.sqrt(2 / 400), np.inf),
        ("he", {"is_before_relu": False}, np.sqrt(1 / 400), np.inf),
        ("normal", {}, 0.02, np.inf),
    ],
)
def test_spread_is_as_named(name, options, deviation, largest):
    kernel = np.asarray(kernel_initializer(name, 3, **options)([400, 600]))
    assert kernel.std() == pytest.approx(deviation, rel=0.02)
    assert abs(kernel.mean()) < 0.02 * deviation
    assert np.abs(kernel).max() <= largest


def test_transposed_kernels_count_their_inputs():
    """[height, width, outputs, inputs] with stride 2: 3 x 3 x 50 weights reach four pixels."""
    kernel = np.asarray(kernel_initializer("he", 3, transposed_stride=2)([3, 3, 20, 50]))
    assert kernel.std() == pytest.approx(np.sqrt(2 * 4 / (9 * 50)), rel=0.03)


def test_each_kernel_has_a_seed_of_its_own():
    draw = kernel_initializers("normal", 5)
    first, second = (np.asarray(draw()([8, 8])) for _ in range(2))
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, kernel_initializer("normal", next(initializer_seeds(5)))([8, 8]))
