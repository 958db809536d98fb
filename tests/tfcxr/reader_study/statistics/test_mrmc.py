"""Checked against published analyses of the data of Van Dyke et al. (1993).

`van_dyke_1993.txt` holds their ratings from 1 to 5, a line per modality and reader: cine MRI by five readers, then
spin-echo MRI by the same; 69 cases without and 45 with aortic dissection. The expected numbers are those that the
program OR-DBM MRMC 2.51 (Schartz, Hillis, Pesce & Berbaum; output kept by the R package RJafroc) and the manual of the
R package MRMCaov 0.3.0 (Smith, Hillis & Pesce 2023) print; tolerances are half a unit of their last digit or more.
"""

import pathlib

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from tfcxr.reader_study.statistics.area_estimates import on_logit_scale
from tfcxr.reader_study.statistics.auc_covariances import area_interval, delong, empirical_areas, jackknife
from tfcxr.reader_study.statistics.dbm import (
    average_area_by_pseudovalues,
    compare_modalities_by_pseudovalues,
    pseudovalues,
)
from tfcxr.reader_study.statistics.mrmc import (
    average_area,
    compare_modalities,
    covariance_components,
    mean_squares,
)

TRUTH = np.arange(114) >= 69
AREAS = [
    [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066],
    [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169],
]


@pytest.fixture(scope="module")
def ratings():
    lines = (pathlib.Path(__file__).parent / "van_dyke_1993.txt").read_text().split()
    return np.array([[int(digit) for digit in line] for line in lines], float).reshape(2, 5, 114)


def spread_over_cases(ratings, axis):
    """The same ratings, as if each index along `axis` had cases of its own; NaN elsewhere."""
    count = ratings.shape[axis]
    spread = np.full((*ratings.shape[:2], count, 114), np.nan)
    for index in range(count):
        own = (slice(None),) * axis + (index,)
        spread[(*own, slice(None), index) if axis == 0 else (slice(None), index, index)] = ratings[own]
    return spread.reshape(*ratings.shape[:2], -1), np.tile(TRUTH, count)


def test_areas_are_the_published_ones(ratings):
    values = empirical_areas(ratings, TRUTH).values
    np.testing.assert_allclose(values, AREAS, atol=5e-9)
    assert values[0, 0] == pytest.approx(roc_auc_score(TRUTH, ratings[0, 0]))
    squares = mean_squares(values)
    assert squares["mean_square_modalities"] == pytest.approx(0.00479617, abs=5e-9)
    assert squares["mean_square_readers"] == pytest.approx(0.00383620, abs=5e-9)
    assert squares["mean_square_interaction"] == pytest.approx(0.00055103, abs=5e-9)


PUBLISHED_COVARIANCES = {
    delong: (0.0007921325, 0.0003420090, 0.0003395265, 0.0002358497),
    jackknife: (0.0008022883, 0.0003466137, 0.0003440748, 0.0002390284),
}


@pytest.mark.parametrize("method", PUBLISHED_COVARIANCES)
def test_covariances_are_the_published_ones(ratings, method):
    components = covariance_components(method(empirical_areas(ratings, TRUTH)))
    np.testing.assert_allclose(list(components.values()), PUBLISHED_COVARIANCES[method], atol=5e-11)


def test_single_readers_jackknife_errors_are_the_published_ones(ratings):
    variances = np.diag(jackknife(empirical_areas(ratings, TRUTH)).reshape(10, 10))
    published = [0.0301255164, 0.0363753335, 0.0282594118, 0.0173388332, 0.0417201720]
    published += [0.0221416887, 0.0298151099, 0.0297673065, 0.0007213348, 0.0262023046]
    np.testing.assert_allclose(np.sqrt(variances), published, atol=5e-11)


PUBLISHED_COMPARISONS = {
    delong: (4.484854, 15.06611, 0.05123303, 0.0206825, -0.0878671960, 0.0002665519),
    jackknife: (4.456319, 15.26, 0.0517, 0.02075, -0.08796, 0.00036),
}


@pytest.mark.parametrize("method", PUBLISHED_COMPARISONS)
def test_comparison_of_modalities_is_the_published_one(ratings, method):
    f, degrees, p_value, error, low, high = PUBLISHED_COMPARISONS[method]
    found = compare_modalities(ratings, TRUTH, method)
    assert found.numerator_degrees_of_freedom == 1
    assert found.f == pytest.approx(f, abs=1e-5)
    assert found.denominator_degrees_of_freedom == pytest.approx(degrees, abs=5e-3)
    assert found.p_value == pytest.approx(p_value, abs=5e-5)
    (difference,) = found.differences
    assert (difference.first, difference.second) == (0, 1)
    assert difference.difference == pytest.approx(-0.04380032, abs=5e-9)
    assert difference.standard_error == pytest.approx(error, abs=5e-6)
    assert difference.p_value == pytest.approx(p_value, abs=5e-5)
    assert (difference.low, difference.high) == pytest.approx((low, high), abs=5e-6)


PUBLISHED_AVERAGES = {
    (delong, 0): (0.8970370, 0.03307642, 12.59597, 0.8253461, 0.9687280),
    (delong, 1): (0.9408374, 0.02150464, 12.56530, 0.8942155, 0.9874592),
    (jackknife, 0): (0.8970370, 0.03317360, 12.74, 0.82522360, 0.96885048),
    (jackknife, 1): (0.9408374, 0.02156637, 12.71, 0.89413783, 0.98753689),
}


@pytest.mark.parametrize(("method", "modality"), PUBLISHED_AVERAGES)
def test_average_of_one_modality_is_the_published_one(ratings, method, modality):
    area, error, degrees, low, high = PUBLISHED_AVERAGES[method, modality]
    found = average_area(ratings[modality], TRUTH, method)
    assert (found.area, found.low, found.high) == pytest.approx((area, low, high), abs=1e-7)
    assert found.standard_error == pytest.approx(error, abs=1e-8)
    assert found.degrees_of_freedom == pytest.approx(degrees, abs=5e-3)
    assert found.p_value < 1e-6  # no reader is near chance


def test_pseudovalues_give_what_jackknife_covariances_give(ratings):
    found, expected = compare_modalities_by_pseudovalues(ratings, TRUTH), compare_modalities(ratings, TRUTH, jackknife)
    assert found.f == pytest.approx(expected.f, rel=1e-9)
    assert found.denominator_degrees_of_freedom == pytest.approx(expected.denominator_degrees_of_freedom, rel=1e-9)
    assert found.differences[0].low == pytest.approx(expected.differences[0].low, rel=1e-9)
    for modality in (0, 1):
        found = average_area_by_pseudovalues(ratings[modality], TRUTH)
        assert found.low == pytest.approx(average_area(ratings[modality], TRUTH, jackknife).low, rel=1e-9)


def test_components_of_pseudovalues_are_the_published_ones(ratings):
    """Var(T x C) = (MS(T x C) - MS(T x R x C)) / readers, and MS(T x R x C) itself."""
    squares = compare_modalities_by_pseudovalues(ratings, TRUTH).components
    of_cases = (squares["mean_square_modalities_cases"] - squares["mean_square_all"]) / 5
    assert of_cases == pytest.approx(0.01197530, abs=5e-9)
    assert squares["mean_square_all"] == pytest.approx(0.03997160, abs=5e-9)


def test_readers_with_cases_of_their_own(ratings):
    """Published for cases nested within readers: no covariance between readers, so 4 degrees of freedom."""
    spread, truth = spread_over_cases(ratings, 1)
    found = average_area(spread[0], truth)
    assert found.standard_error == pytest.approx(0.02482994, abs=5e-9)
    assert found.degrees_of_freedom == pytest.approx(4)
    assert (found.low, found.high) == pytest.approx((0.8280981, 0.9659760), abs=1e-7)
    comparison = compare_modalities(spread, truth, jackknife)
    assert comparison.components["covariance_1"] == pytest.approx(3.490676e-04, abs=5e-10)
    assert comparison.f == pytest.approx(8.704, abs=5e-5)
    assert comparison.p_value == pytest.approx(0.04195875, abs=5e-9)


def test_modalities_with_cases_of_their_own(ratings):
    """Published for cases nested within modalities."""
    comparison = compare_modalities(*spread_over_cases(ratings, 0), jackknife)
    assert comparison.components["variance"] == pytest.approx(8.058382e-04, abs=5e-10)
    assert comparison.components["covariance_2"] == pytest.approx(3.455973e-04, abs=5e-10)
    assert comparison.components["covariance_3"] == pytest.approx(0, abs=1e-20)
    assert comparison.f == pytest.approx(2.104491, abs=5e-7)
    assert comparison.denominator_degrees_of_freedom == pytest.approx(68.42325, abs=5e-6)
    assert comparison.p_value == pytest.approx(0.1514363, abs=5e-8)


def test_a_few_missing_ratings_change_little(ratings):
    partial = ratings[0].copy()
    partial[[0, 1, 2, 3], [3, 60, 80, 110]] = np.nan
    whole, found = average_area(ratings[0], TRUTH), average_area(partial, TRUTH)
    assert found.area == pytest.approx(whole.area, abs=0.01)
    assert found.standard_error == pytest.approx(whole.standard_error, rel=0.1)


def test_area_by_hand():
    """Six pairs: 2 > 1, 2 = 2, 3 > 1, 3 > 2, 1 = 1, 1 < 2 give 1 + .5 + 1 + 1 + .5 + 0 = 4 of 6."""
    areas = empirical_areas(np.array([[[1, 2, 2, 3, 1]]], float), np.array([0, 0, 1, 1, 1]))
    assert areas.values.item() == pytest.approx(4 / 6)
    np.testing.assert_allclose(areas.placements[0, 0], [2.5 / 3, 1.5 / 3, 0.75, 1, 0.25])
    # Variances of (.8333, .5) and (.75, 1, .25), each divided by their number.
    expected = np.var([2.5 / 3, 0.5], ddof=1) / 2 + np.var([0.75, 1, 0.25], ddof=1) / 3
    assert delong(areas).item() == pytest.approx(expected)


def test_readers_who_agree_in_everything_leave_the_uncertainty_of_the_cases(ratings):
    same = np.repeat(ratings[:1, 0], 3, axis=0)
    found, variance = average_area(same, TRUTH), delong(empirical_areas(ratings[:1, :1], TRUTH)).item()
    assert found.degrees_of_freedom == np.inf
    assert found.standard_error == pytest.approx(np.sqrt(variance))


def test_modalities_without_any_difference(ratings):
    found = compare_modalities(np.stack([ratings[0], ratings[0]]), TRUTH)
    assert (found.f, found.p_value, found.differences[0].difference) == (0, 1, 0)


def test_perfect_reader_is_not_certain():
    low, high = area_interval(1.0, 0.0, 10, 10)
    assert high == 1
    assert 0.7 < low < 0.9
    # At its ends the score interval is as far from the area as its own standard error times 1.96.
    spread = 1 + 9 * ((1 - low) / (2 - low) + low / (1 + low))
    assert 1 - low == pytest.approx(1.959964 * np.sqrt(low * (1 - low) * spread / 100), abs=1e-4)
    assert area_interval(0.0, 0.0, 10, 10) == pytest.approx((0, 1 - low), abs=1e-4)


def test_perfect_readers_are_not_certain():
    truth = np.arange(4) >= 2
    found = average_area(np.stack([truth, 2.0 * truth]), truth)
    assert found.area == 1
    assert (found.low, found.high) == pytest.approx(area_interval(1.0, 0.0, 2, 2))
    # Variance at .5 with two cases of either truth: .25 x (1 + 1 x (1/3 + 1/3)) / 4, so z is .5 / .3227 = 1.549.
    assert found.p_value == pytest.approx(0.1213, abs=1e-4)


def test_interval_of_a_reader_by_hand():
    """log(.8 / .2) = 1.386294, and its standard error is .05 / (.8 x .2) = .3125."""
    ends = [1 / (1 + np.exp(-(1.386294 + sign * 1.959964 * 0.3125))) for sign in (-1, 1)]
    assert area_interval(0.8, 0.0025, 10, 10) == pytest.approx(ends, abs=1e-6)


def test_logit_scale_by_hand(ratings):
    plain = average_area(ratings[0], TRUTH)
    found = on_logit_scale(plain)
    assert (found.area, found.standard_error) == (plain.area, plain.standard_error)
    # log(.897037 / .102963) is 2.16473, and its standard error .0330764 / (.897037 x .102963) = .358119.
    margin = stats.t.ppf(0.975, plain.degrees_with_cases) * 0.358119
    ends = [1 / (1 + np.exp(-end)) for end in (2.16473 - margin, 2.16473 + margin)]
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-6)
    assert found.p_value == pytest.approx(2 * stats.t.sf(2.16473 / 0.358119, plain.degrees_with_cases), rel=1e-3)


def test_uncertain_covariance_leaves_fewer_degrees_of_freedom():
    """Two readers alike in all: MS(R) is 0, and what is left are the degrees of freedom of the cases."""
    truth = np.array([0, 0, 1, 1, 1])
    found = average_area(np.array([[1, 2, 2, 3, 1]] * 2, float), truth)
    first, second = np.var([2.5 / 3, 0.5], ddof=1) / 2, np.var([0.75, 1, 0.25], ddof=1) / 3
    assert found.degrees_of_freedom == np.inf
    assert found.degrees_with_cases == pytest.approx((first + second) ** 2 / (first**2 / 1 + second**2 / 2))


def test_logit_scale_leaves_perfect_readers_as_they_are():
    truth = np.arange(4) >= 2
    found = average_area(np.stack([truth, 2.0 * truth]), truth)
    assert on_logit_scale(found) == found


@pytest.mark.thorough
@pytest.mark.parametrize(("readers", "cases"), [(3, 20), (5, 40), (8, 24), (8, 100)])
@pytest.mark.parametrize("skill", [0.5, 2.0])
def test_intervals_cover_the_true_area(skill, readers, cases):
    """95 % of 500 simulated studies with ten levels of confidence, give or take three binomial standard errors."""
    random, truth, studies = np.random.default_rng(1), np.arange(cases) >= cases // 2, 500
    found = []
    for _ in range(studies):
        latent = random.normal(skill, 0.3, (readers, 1)) * truth + random.normal(size=cases) * np.sqrt(0.4)
        latent += random.normal(size=(readers, cases)) * np.sqrt(0.6)
        ratings = np.digitize(latent - skill / 2, np.linspace(-2, 2, 9)).astype(float)
        plain = average_area(ratings, truth)
        logit = on_logit_scale(plain)
        found.append((plain.area, plain.low, plain.high, logit.low, logit.high))
    area, *ends = np.transpose(found)
    plain, logit = (((low <= area.mean()) & (area.mean() <= high)).mean() for low, high in (ends[:2], ends[2:]))
    print(
        f"skill {skill}, {readers} readers, {cases} cases: AUC {area.mean():.3f}, plain {plain:.3f}, logit {logit:.3f}"
    )
    assert 0.92 <= logit <= 0.98


WRONG = {
    "expected ratings": (np.ones((5, 114)), TRUTH),
    "and truth .cases., got .1, 5, 114. and .113.": (np.ones((1, 5, 114)), TRUTH[1:]),
    "truth must be 0 or 1": (np.ones((1, 5, 114)), np.arange(114)),
    "reader 0 rated 3 cases of truth 0 and 0 of truth 1": (np.ones((1, 5, 3)), np.zeros(3)),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_ratings_are_refused(message):
    with pytest.raises(ValueError, match=message):
        empirical_areas(*WRONG[message])


def test_too_few_readers_or_modalities_are_refused(ratings):
    for analyse in (average_area, average_area_by_pseudovalues):
        with pytest.raises(ValueError, match="one reader says nothing of how readers differ"):
            analyse(ratings[0, :1], TRUTH)
    with pytest.raises(ValueError, match="a comparison needs two or more modalities"):
        compare_modalities(ratings[:1], TRUTH)
    with pytest.raises(ValueError, match="one reader says nothing"):
        compare_modalities(ratings[:, :1], TRUTH)
    with pytest.raises(ValueError, match="expected two or more modalities and readers, got 1 and 5"):
        compare_modalities_by_pseudovalues(ratings[:1], TRUTH)


def test_pseudovalues_need_every_rating(ratings):
    partial = ratings.copy()
    partial[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="1 ratings are missing"):
        pseudovalues(partial, TRUTH)
