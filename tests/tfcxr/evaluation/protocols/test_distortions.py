"""A distance that sees a distortion rises with it; one that does not is named."""

import numpy as np
import pytest

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.image_distortions import CHETTY2023, DISTORTIONS
from tfcxr.evaluation.protocols import distortions
from tfcxr.evaluation.protocols.distortions import DistortionSettings, run


@pytest.fixture
def evaluation(disc_records, synthetic_records, tmp_path):
    return Evaluation(
        synthetic_dirs={"acgan": synthetic_records}, real_dir=disc_records, out_dir=tmp_path, extractors=("pixels",)
    )


def test_pixels_see_noise_and_blocks(evaluation):
    findings = run(evaluation, DistortionSettings())
    found = findings.report()["extractors"]["pixels"]
    assert set(found) == set(DISTORTIONS)
    for kind in ("noise, grey levels", "black block, share", "salt and pepper, share"):
        values = found[kind]["frechet"]["values"]
        assert values[-1] > 2 * values[0] and found[kind]["frechet"]["spearman"]["correlation"] > 0.8
    assert findings.report()["passports"]["pixels"]["input_size"] == 32
    assert "by pixels" in findings.verdict[0]
    scores = {(score.metric, score.subject): score for score in findings.scores}
    assert {metric for metric, _ in scores} == {"pearson", "spearman"} and len(scores) == 2 * 2 * len(DISTORTIONS)
    of_noise = scores["spearman", "frechet: noise, grey levels"]
    assert of_noise.value == found["noise, grey levels"]["frechet"]["spearman"]["correlation"]
    assert of_noise.images == 8 and of_noise.passport["strengths"] == [0, 3, 6, 12, 25, 50]


def test_a_distortion_that_changes_nothing_is_named(evaluation, monkeypatch):
    monkeypatch.setattr(distortions, "DISTORTIONS", {"nothing, at all": (lambda image, *_: image, (0, 1, 2))})
    findings = run(evaluation, DistortionSettings(images=8))
    assert findings.verdict == ["The Frechet distance by pixels does not rise with nothing: it cannot judge that."]
    answer = findings.report()["extractors"]["pixels"]["nothing, at all"]["frechet"]
    assert answer["pearson"] == {"correlation": 0.0, "p": 1.0}


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_strength_0_is_the_image_itself_and_strong_ones_are_bytes(kind):
    distort, strengths = DISTORTIONS[kind]
    image = np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)
    np.testing.assert_array_equal(distort(image, strengths[0], np.random.default_rng(0)), image)
    strong = distort(image, strengths[-1], np.random.default_rng(0))
    assert strong.dtype == np.uint8 and strong.shape == image.shape and (strong != image).mean() > 0.3


def test_more_images_than_there_are(evaluation):
    with pytest.raises(ValueError, match="distortions.images=60 were asked for, but halves of test that share no"):
        run(evaluation, DistortionSettings(images=60))


@pytest.mark.parametrize("images", [1, 8])
def test_the_validation_of_medfid_on_one_image_and_on_a_set(evaluation, images):
    findings = run(evaluation, DistortionSettings(images=images, preset="chetty2023"))
    found = findings.report()["extractors"]["pixels"]
    assert set(found) == set(CHETTY2023)
    blur = found["blur, kernel in px"]["frechet"]
    assert blur["strengths"][-1] == 49 and blur["values"][0] == pytest.approx(0, abs=1e-6), "the same images"
    assert found["noise of deviation .1, mean of [0, 1]"]["frechet"]["pearson"]["correlation"] > 0.8
    assert findings.verdict[0].startswith("Pearson's correlation of the Frechet distance by pixels with the strength: ")
    assert set(found["black block, share"]) >= ({"frechet"} if images == 1 else {"frechet", "kernel"})
    assert ("the same, clean" in findings.introduction) and "(p" in findings.verdict[0]
    assert findings.verdict[0].count("published 0.") == 4 and "published 0.438)" in findings.verdict[0]
    page = "".join(findings.parts)
    assert "<td>0.816</td><td>0.837</td>" in page and "<td>0.438</td><td>-0.312</td>" in page, "beside ours"


def test_the_distance_of_one_image_is_the_squared_distance_of_its_features():
    first, second = np.float32([[1, 2, 2]]), np.float32([[0, 0, 0]])
    assert distortions.SINGLE.distance(first, second, 0) == 9


def test_settings_without_a_distance_are_refused():
    with pytest.raises(ValueError, match="images must be 0, or 8 or more, got 1; .*preset=chetty2023 takes 1"):
        DistortionSettings(images=1)
    with pytest.raises(ValueError, match="preset must be one of sets, chetty2023, got medfid"):
        DistortionSettings(preset="medfid")
