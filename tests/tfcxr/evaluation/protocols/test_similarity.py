"""Mean similarity of a cohort to real patients, beside theirs to each other."""

import dataclasses

import numpy as np
import pytest

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.metrics.pairwise_similarity import similarity_to_real
from tfcxr.evaluation.metrics.structural_similarity import SimilarityMeasure
from tfcxr.evaluation.protocols.similarity import SIMILARITY, SimilaritySettings, _sentence, run


@pytest.fixture
def evaluation(disc_records, synthetic_records, tmp_path):
    return Evaluation(synthetic_dirs={"acgan": synthetic_records}, real_dir=disc_records, out_dir=tmp_path)


def test_copies_are_as_similar_as_real_images_and_noise_is_not(evaluation, noise_cohort):
    findings = run(evaluation, SimilaritySettings())
    report = findings.report()["splits"]["test"]
    assert report["images"] == 16 and set(report["measures"]) == {"ssim", "ms_ssim"}
    ssim = report["measures"]["ssim"]
    assert ssim["ratio"]["interval"][0] < 1 < ssim["ratio"]["interval"][1] + 0.2
    assert "(pairing random, 16 images per side, 32 px)" in findings.verdict[0]
    noise = run(dataclasses.replace(evaluation, synthetic_dirs={"noise": noise_cohort}), SimilaritySettings())
    assert noise.report()["splits"]["test"]["measures"]["ssim"]["to_real"]["mean"] < ssim["to_real"]["mean"] / 3
    assert noise.verdict[0].startswith("Synthetic images are less similar to real images than these are to each other")


def test_scores_carry_pairing_n_and_the_value_of_real_images(evaluation):
    findings = run(evaluation, SimilaritySettings(images=12, pairing="all", is_multiscale=False))
    (score,) = findings.scores
    of_report = findings.report()["splits"]["test"]["measures"]["ssim"]
    assert (score.metric, score.split, score.images, score.better) == ("ssim_to_real", "test", 12, "real")
    assert [score.value, score.of_real] == [of_report["to_real"]["mean"], of_report["real_to_real"]["mean"]]
    assert score.passport["pairing"] == "all" and len(score.passport["real"]) == 64
    assert "real to real, other patients" in "".join(findings.parts)


def test_the_published_measure_is_ssim_alone_at_224_px(evaluation):
    findings = run(evaluation, SimilaritySettings(images=8, preset="li2025"))
    found = findings.report()["splits"]["test"]
    assert (
        found["image_size"] == 224
        and list(found["measures"]) == ["ssim"]
        and "8 images per side, 224 px" in str(findings.verdict)
    )
    assert findings.scores[0].passport["image_size"] == 224
    as_stored = run(evaluation, SimilaritySettings(images=8)).report()["splits"]["test"]["measures"]["ssim"]
    enlarged = found["measures"]["ssim"]
    assert enlarged["to_real"]["mean"] > as_stored["to_real"]["mean"], "enlarged images are smooth"


def test_a_blurred_average_is_not_praised():
    random = np.random.default_rng(0)
    shared, own = random.integers(0, 100, (1, 16, 16, 1)), random.integers(0, 100, (40, 16, 16, 1))
    real = (shared + own).astype(np.uint8)
    average = np.repeat(real.mean(axis=0, keepdims=True).astype(np.uint8), 40, axis=0)
    result = similarity_to_real(average, real, pairing="random", measure=SimilarityMeasure(255.0))
    summary = {
        "to_real": {"mean": result.to_real.mean},
        "real_to_real": {"mean": result.real_to_real.mean},
        "ratio": {"interval": [result.ratio_low, result.ratio_high]},
    }
    said = _sentence("test", {"images": 40, "image_size": 16, "measures": {"ssim": summary}}, SimilaritySettings())
    assert "more similar to real images than these are to each other, as blurred or average images are" in said


def test_what_cannot_be_compared_is_refused(evaluation):
    with pytest.raises(ValueError, match="needs 17 images on each side, but the test split test holds 16"):
        run(evaluation, SimilaritySettings(images=17))
    with pytest.raises(ValueError, match="similarity.images must be 0, or 8 or more, got 3"):
        SimilaritySettings(images=3)
    with pytest.raises(ValueError, match="preset must be one of as_stored, li2025, got li"):
        SimilaritySettings(preset="li")
    with pytest.raises(ValueError, match="pairing must be one of random, in_order, all, got nearest"):
        SIMILARITY.make_settings({"pairing": "nearest"})
