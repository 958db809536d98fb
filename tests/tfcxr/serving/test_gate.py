"""The gate: which candidate is kept, whatever the chunks; candidates that score NaN; discriminators that cannot."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import make_config, to_plain
from tfcxr.models import MODELS
from tfcxr.serving.gate import TRY_STRIDE, Gate, check_discriminator
from tfcxr.serving.loaded_model import LoadedModel

FIRST_SEED = 7 * 2**32


def realism_of(seeds, labels):
    """float32 [N] in [0, 1), at random of each seed and label."""
    pairs = zip(seeds.tolist(), labels.argmax(axis=1).tolist(), strict=True)
    return np.array([np.random.default_rng(pair).random() for pair in pairs], np.float32)


def choose(gate, seeds, labels, chunk_rows, realism_of=realism_of):
    """What a gate keeps of images that show their seed's number of tries, and the rows of each round."""
    rounds = []

    def of_a_round(seeds, labels):
        rounds.append(len(seeds))
        return realism_of(seeds, labels)

    def candidates(seeds, rows):
        tries = tf.cast((seeds - FIRST_SEED) // TRY_STRIDE, tf.uint8)
        of_rows = tf.gather(tf.constant(labels, tf.float32), rows)
        realism = tf.ensure_shape(tf.numpy_function(of_a_round, [seeds, of_rows], tf.float32), [None])
        return tf.reshape(tries, [-1, 1, 1, 1]) + tf.zeros([1, 2, 2, 1], tf.uint8), realism

    found = tf.function(gate.choose, autograph=False)(
        candidates, tf.constant(seeds, tf.int64), tf.constant(labels, tf.float32), [2, 2, 1], chunk_rows
    )
    return {name: output.numpy() for name, output in found.items()}, rounds


@pytest.fixture
def rows(one_hot):
    return FIRST_SEED + np.arange(41), one_hot(np.arange(41) % 2)


@pytest.mark.parametrize("chunk_rows", [1, 8, 100])
def test_the_first_candidate_of_each_image_that_passes_is_kept(rows, chunk_rows):
    seeds, labels = rows
    found, rounds = choose(Gate(0.8, 50), seeds, labels, chunk_rows)
    for row, (seed, label) in enumerate(zip(seeds, labels, strict=True)):
        realism = realism_of(seed + TRY_STRIDE * np.arange(50), np.tile(label, (50, 1)))
        first = np.flatnonzero(realism >= np.float32(0.8))[0]
        assert found["is_accepted"][row] and found["tries"][row] == first + 1
        assert found["seed"][row] == seed + TRY_STRIDE * first and (found["image"][row] == first).all()
        assert found["realism"][row] == realism[first]
    assert not found["is_nan"].any()
    assert max(rounds) <= max(41, chunk_rows)
    if chunk_rows == 1:
        assert sum(rounds) == found["tries"].sum(), "no candidate in vain"
    if chunk_rows == 100:
        assert len(rounds) < 6 < found["tries"].max(), "several candidates of a row fill a chunk"


def test_the_first_try_is_the_ungated_image(rows):
    found, rounds = choose(Gate(0.0, 1), *rows, 8)
    np.testing.assert_array_equal(found["seed"], rows[0])
    assert rounds == [41]


def test_candidates_are_never_shared():
    """The seeds at the edges of what two cohorts of neighbouring seeds can try."""
    edges = itertools.product((7, 8), (0, 1, TRY_STRIDE - 1), (0, 1, 2, 1022, 1023))
    seeds = [cohort * 2**32 + image + attempt * TRY_STRIDE for cohort, image, attempt in edges]
    assert len(set(seeds)) == len(seeds) and min(seeds) >= 7 * 2**32 and max(seeds) < 9 * 2**32


def test_where_nothing_passes_the_best_is_given_and_the_search_ends(rows):
    seeds, labels = rows
    found, rounds = choose(Gate(1.0, 12), seeds, labels, 8)
    for row, (seed, label) in enumerate(zip(seeds, labels, strict=True)):
        realism = realism_of(seed + TRY_STRIDE * np.arange(12), np.tile(label, (12, 1)))
        assert (found["realism"][row], found["tries"][row]) == (realism.max(), 12)
        assert found["seed"][row] == seed + TRY_STRIDE * realism.argmax()
    assert not found["is_accepted"].any() and rounds == [41] * 12


def test_a_score_that_is_nan_counts_as_0_and_is_told(rows):
    def with_nan(seeds, labels):
        return np.where(seeds < FIRST_SEED + 3, np.float32(np.nan), np.float32(1.0))

    found, _ = choose(Gate(), *rows, 8, with_nan)
    np.testing.assert_array_equal(np.flatnonzero(found["is_nan"]), [0, 1, 2])
    np.testing.assert_array_equal(found["tries"], [2] * 3 + [1] * 38)


class EveryOtherTry:
    """Calls the candidates of even tries copies, by the images of `choose`."""

    max_copy_ratio = 2.0

    def copy_ratio(self, images):
        return tf.where(images[:, 0, 0, 0] % 2 == 0, 5.0, 1.5)


@pytest.mark.parametrize("chunk_rows", [1, 100])
def test_a_copy_is_passed_over_and_counted(rows, chunk_rows):
    seeds, labels = rows
    found, _ = choose(Gate(0.8, 200, EveryOtherTry()), seeds, labels, chunk_rows)
    for row, (seed, label) in enumerate(zip(seeds, labels, strict=True)):
        passes = realism_of(seed + TRY_STRIDE * np.arange(200), np.tile(label, (200, 1))) >= np.float32(0.8)
        passes[::2] = False
        first = np.flatnonzero(passes)[0]
        assert found["is_accepted"][row] and (found["image"][row] == first).all()
        assert (found["tries"][row], found["copies_refused"][row]) == (first + 1, first // 2 + 1)
    assert set(found["copy_ratio"]) == {1.5}


def test_nothing_but_copies_leaves_the_image_black(rows):
    gate = Gate(None, 5, EveryOtherTry())
    found, _ = choose(gate, rows[0], rows[1], 8, lambda seeds, labels: np.ones(len(seeds), np.float32))
    assert found["is_accepted"].all() and (found["image"] == 1).all()
    gate.copies.copy_ratio = lambda images: tf.fill([tf.shape(images)[0]], 3.0)
    found, _ = choose(gate, rows[0], rows[1], 8, lambda seeds, labels: np.ones(len(seeds), np.float32))
    assert not found["is_accepted"].any() and not found["image"].any() and not found["realism"].any()
    assert set(found["copies_refused"]) == set(found["tries"]) == {5}


def test_a_gate_is_checked():
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"min_realism must be in \[0, 1\], got"):
            Gate(value)
    for tries in (0, 1025):
        with pytest.raises(ValueError, match=f"max_tries must be from 1 to 1024, got {tries}"):
            Gate(0.9, tries)


def test_a_discriminator_that_cannot_score_one_image(tiny_export, tiny_enlarger, caplog):
    message = "enlarger/1 has no discriminator .no signature 'score'.*generate without min_realism"
    with pytest.raises(ValueError, match=message):
        check_discriminator(LoadedModel(tiny_enlarger), Gate())
    model = LoadedModel(tiny_export)
    check_discriminator(model, Gate())
    assert not caplog.records
    settings = model.description.settings | {"minibatch_stddev": True}
    model.description = dataclasses.replace(model.description, settings=settings)
    with pytest.raises(ValueError, match="compares the images of a request with each other"):
        check_discriminator(model, Gate())


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "settings", "is_probability"),
    [
        ("acgan", {"adversarial_loss": "least_squares"}, True),
        ("cgan", {"adversarial_loss": "minimax"}, True),
        ("cgan", {"adversarial_loss": "hinge"}, False),
        ("vanilla_gan", {}, True),
        ("wgan_gp", {}, False),
        ("stylegan2", {}, True),
        ("pggan", {}, False),
        ("transfer_pggan", {"pretrained": "elsewhere"}, False),
    ],
)
def test_a_discriminator_that_only_ranks_is_said(tiny_export, caplog, name, settings, is_probability):
    model = LoadedModel(tiny_export)
    settings = to_plain(make_config(MODELS[name].config_class, settings))
    model.description = dataclasses.replace(model.description, model=name, settings=settings)
    check_discriminator(model, Gate())
    assert ("does not train probabilities" in caplog.text) is not is_probability
