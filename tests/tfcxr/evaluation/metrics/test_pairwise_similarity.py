import numpy as np
import pytest
from scipy import stats
from skimage.metrics import structural_similarity

from tfcxr.data.stored_images import open_images
from tfcxr.evaluation.metrics.pairwise_similarity import similarity_to_real
from tfcxr.evaluation.metrics.structural_similarity import SimilarityMeasure

MEASURE = SimilarityMeasure(255)
SIZE = 24


def patients(count, seed=0, images_each=1, noise=15.0, size=SIZE):
    """uint8 images of one anatomy: strength and detail of the patient, grain of the image."""
    random = np.random.default_rng(seed)
    anatomy = np.cumsum(np.random.default_rng(9).normal(0, 9, (1, size, size, 1)), axis=1)
    strength = random.uniform(0.3, 1.5, (count, 1, 1, 1)) * anatomy + 128
    detail = strength + random.normal(0, noise, (count, size, size, 1))
    images = np.repeat(detail, images_each, axis=0)
    images = images + random.normal(0, 5, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8), np.repeat(np.arange(count), images_each)


def by_scikit_image(one, other):
    return structural_similarity(
        one[..., 0],
        other[..., 0],
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


def compared(synthetic, real, pairing, **changes):
    return similarity_to_real(synthetic, real, pairing=pairing, **{"measure": MEASURE} | changes).to_real


def within(images):
    """Mean over all pairs of different images of one set."""
    count = len(images)
    return (count * compared(images, images, "all").mean - 1) / (count - 1)


def test_means_equal_scikit_image():
    first, second = patients(7)[0], patients(5, seed=1)[0]
    table = np.array([[by_scikit_image(one, other) for other in second] for one in first])
    result = compared(first, second, "all")
    assert result.mean == pytest.approx(table.mean(), abs=1e-9)
    result = compared(first[:5], second, "in_order")
    assert result.mean == pytest.approx(np.trace(table[:5]) / 5, abs=1e-9)


def test_random_pairs_use_each_image_as_seldom_as_possible():
    # flat images of n * 20 grey levels: of two, only luminance is left, which tells who met whom
    flat = np.broadcast_to(np.arange(1, 13)[:, None, None, None] * 20, (12, SIZE, SIZE, 1)).astype(np.uint8)
    black = np.zeros([24, SIZE, SIZE, 1], np.uint8)
    c1 = 2.55**2
    alone = c1 / ((np.arange(1, 13) * 20.0) ** 2 + c1)
    for seed in range(3):
        assert compared(black, flat, "random", seed=seed).mean == pytest.approx(alone.mean())
    some = {compared(black[:4], flat, "random", seed=seed).mean for seed in range(3)}
    assert len(some) == 3, "another seed, other partners"
    assert compared(black[:4], flat, "random", seed=1).mean in some


def test_equal_shifted_and_constant_sets():
    images = patients(10)[0]
    assert compared(images, images, "in_order").mean == pytest.approx(1)
    smooth = patients(10, noise=1)[0]
    shifted = [compared(smooth, np.roll(smooth, step, axis=1), "in_order").mean for step in (0, 1, 3)]
    assert shifted[0] > shifted[1] > shifted[2]
    constant = np.full_like(images, 80)
    result = compared(constant, constant, "all")
    assert (result.mean, result.low, result.high) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("pairing", ["random", "in_order", "all"])
def test_stored_images_equal_arrays(pairing, disc_records):
    stored, first = open_images(disc_records, ["train"]), patients(48, seed=1, size=32)[0]
    assert compared(stored, first, pairing, seed=4) == compared(stored[:], first, pairing, seed=4)
    sides = similarity_to_real(first, stored, pairing=pairing, measure=MEASURE, real_groups=np.arange(48) // 2)
    assert sides == similarity_to_real(
        first, stored[:], pairing=pairing, measure=MEASURE, real_groups=np.arange(48) // 2
    )


def test_no_more_than_chunks_are_held(monkeypatch):
    largest = []
    prepare = SimilarityMeasure.prepare
    monkeypatch.setattr(
        SimilarityMeasure, "prepare", lambda self, images: largest.append(len(images)) or prepare(self, images)
    )
    images = patients(300)[0]
    for pairing in ("random", "in_order", "all"):
        compared(images[:200], images[100:], pairing)
    assert max(largest) == MEASURE.chunk_images((SIZE, SIZE, 1)) < 200


@pytest.mark.thorough
@pytest.mark.parametrize("pairing", ["random", "all"])
def test_intervals_cover_the_mean_and_narrow_with_images(pairing):
    many = [patients(240, seed=seed)[0] for seed in (100, 101)]
    truth = compared(*many, "all").mean
    of_one_set = within(many[1])
    hits, widths, ratio_hits = [], [], []
    for seed in range(60):
        result = similarity_to_real(
            patients(24, seed=seed)[0],
            patients(24, seed=1000 + seed)[0],
            pairing=pairing,
            measure=MEASURE,
            seed=seed,
        )
        hits.append(result.to_real.low <= truth <= result.to_real.high)
        widths.append(result.to_real.high - result.to_real.low)
        ratio_hits.append(result.ratio_low <= truth / of_one_set <= result.ratio_high)
    # 95 % of 60 are 57; fewer than 50 would come once in 1,000 such tests
    assert min(sum(hits), sum(ratio_hits)) >= 50
    wide = compared(many[0], many[1], pairing)
    assert wide.high - wide.low < 0.5 * np.mean(widths)


def test_the_interval_of_single_partners_is_students():
    first, second = patients(6)[0], patients(6, seed=1)[0]
    values = MEASURE.of_rows(first, second)
    result = compared(first, second, "in_order")
    reach = stats.t.ppf(0.975, 5) * np.std(values, ddof=1) / np.sqrt(6)
    assert (result.mean - result.low, result.high - result.mean) == pytest.approx((reach, reach))


def test_images_of_one_patient_count_as_one():
    first, second = patients(24)[0], patients(24, seed=1)[0]
    once = compared(first, second, "in_order")
    copied = [np.repeat(images, 5, axis=0) for images in (first, second)]
    groups = np.repeat(np.arange(24), 5)
    naive = compared(*copied, "in_order")
    grouped = compared(*copied, "in_order", synthetic_groups=groups, real_groups=groups)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)
    # a side's patients alone make it wider too
    one_side, neither = (compared(*copied, "all", real_groups=known) for known in (groups, None))
    assert one_side.high - one_side.low > 1.2 * (neither.high - neither.low)


@pytest.mark.parametrize("pairing", ["random", "in_order", "all"])
def test_real_images_against_each_other_have_the_ratio_one(pairing):
    synthetic, real = patients(80, seed=5)[0], patients(40, seed=6, images_each=2)
    result = similarity_to_real(
        synthetic,
        real[0],
        pairing=pairing,
        measure=MEASURE,
        real_groups=real[1],
    )
    assert result.to_real == compared(synthetic, real[0], pairing, real_groups=real[1])
    assert result.ratio == pytest.approx(result.to_real.mean / result.real_to_real.mean)
    assert result.ratio_low < 1 < result.ratio_high
    assert 0.9 < result.ratio < 1.1


def test_halves_share_no_patient():
    images, groups = patients(20, images_each=4, noise=60)
    copies = np.repeat(images[::4], 4, axis=0)  # images of one patient are equal: a shared patient would score 1
    result = similarity_to_real(
        images,
        copies,
        pairing="all",
        measure=MEASURE,
        real_groups=groups,
    )
    assert abs(result.real_to_real.mean - within(copies[::4])) < 0.03
    assert within(copies) > within(copies[::4]) + 0.02


def test_an_average_of_real_images_scores_above_them():
    real = patients(60, noise=40)[0]
    average = np.broadcast_to(real.mean(0).astype(np.uint8), real.shape)
    result = similarity_to_real(
        average, real, pairing="random", measure=MEASURE
    )  # fmt: skip
    assert result.ratio_low > 1


def test_several_scales():
    first, second = patients(6)[0], patients(6, seed=1)[0]
    measure = SimilarityMeasure(255, scales=2)
    result = compared(first, second, "in_order", measure=measure)
    assert result.mean == pytest.approx(measure.of_rows(first, second).mean())
    assert result.mean != pytest.approx(compared(first, second, "in_order").mean, abs=0.01)
    with pytest.raises(ValueError, match="at least 176 pixels .* ask for fewer scales"):
        compared(first, second, "all", measure=SimilarityMeasure(255, scales=5))


def test_ratio_without_similarity_is_no_number():
    ramp = np.broadcast_to(np.linspace(0, 255, SIZE)[:, None], (4, SIZE, SIZE, 1))
    real = np.where(np.arange(4)[:, None, None, None] % 2 == 0, ramp, 255 - ramp)
    for seed in range(20):
        result = similarity_to_real(
            real, real, pairing="in_order",
            measure=SimilarityMeasure(255), seed=seed,
        )  # fmt: skip
        if result.real_to_real.mean < 0:
            assert np.isnan([result.ratio, result.ratio_low, result.ratio_high]).all()
            break
    else:
        pytest.fail("no division put opposite images together")


IMAGES = patients(6)[0]
BROKEN = np.where(np.arange(6)[:, None, None, None] == 3, np.nan, IMAGES.astype(np.float32))


@pytest.mark.parametrize(
    ("first", "second", "pairing", "changes", "message"),
    [
        (IMAGES, IMAGES, "nearest", {}, "unknown pairing 'nearest'; valid names: random, in_order, all"),
        (IMAGES, IMAGES[:5], "in_order", {}, "in_order needs as many images on each side, got 6 and 5"),
        (IMAGES, IMAGES[:1], "random", {}, "the real set needs images of 4 patients or more, got 1"),
        (IMAGES, IMAGES[:0], "random", {}, "the real set needs images of 4 patients or more, got 0"),
        (
            IMAGES,
            IMAGES,
            "all",
            {"synthetic_groups": np.zeros(6)},
            "synthetic set needs images of 2 patients or more, got 1",
        ),
        (
            IMAGES,
            IMAGES,
            "all",
            {"synthetic_groups": np.zeros(5)},
            r"one group for each of the 6 images .* got shape \(5,\)",
        ),
        (IMAGES, IMAGES[:, :20], "random", {}, r"images of one shape, got \(24, 24, 1\) and \(20, 24, 1\)"),
        (IMAGES, IMAGES[:, :20], "in_order", {}, r"images of one shape, got \(24, 24, 1\) and \(20, 24, 1\)"),
        (IMAGES, IMAGES[:, :20], "all", {}, r"images of one shape, got \(24, 24, 1\) and \(20, 24, 1\)"),
        (
            IMAGES[..., 0],
            IMAGES,
            "all",
            {},
            r"expected images \[N, H, W, C\] as the synthetic set",
        ),
        (BROKEN, IMAGES, "all", {}, "image 3 of the synthetic set has values that are not finite"),
        (IMAGES[:, :9], IMAGES[:, :9], "all", {}, r"at least 11 pixels to each side, got \(9, 24\)"),
    ],
)
def test_wrong_input_is_refused(first, second, pairing, changes, message):
    with pytest.raises(ValueError, match=message):
        compared(first, second, pairing, **changes)


def test_a_real_set_of_few_patients_is_refused():
    with pytest.raises(ValueError, match="the real set needs images of 4 patients or more, got 3"):
        similarity_to_real(IMAGES, IMAGES, pairing="all", measure=MEASURE, real_groups=np.array([0, 0, 1, 1, 2, 2]))
