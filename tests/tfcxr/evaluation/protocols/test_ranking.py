import dataclasses
import json

import pytest

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.protocols import ranking
from tfcxr.evaluation.protocols.ranking import REAL, RankingSettings


@pytest.fixture(scope="module")
def evaluation(disc_records, synthetic_records, noise_cohort, tmp_path_factory) -> Evaluation:
    return Evaluation(
        synthetic_dirs={"noise": noise_cohort, "copies": synthetic_records},
        real_dir=disc_records,
        out_dir=tmp_path_factory.mktemp("ranking"),
        classifier=make_classifier_config("small_cnn", {"max_epochs": 2, "batch_size": 16, "dense_units": (8,)}),
    )


@pytest.fixture(scope="module")
def findings(evaluation):
    return ranking.run(evaluation, RankingSettings(draws=5))


def test_copies_of_real_images_are_nearer_than_noise_and_the_test_says_so(findings):
    report = findings.report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    (ranked,) = report["extractors"].values()
    names = [row["cohort"] for row in ranked["table"]]
    assert names.index("copies") < names.index("noise") and set(names) == {"copies", "noise", REAL}
    assert report["images_per_draw"] == 14, "a fifth of the 70 images of noise"
    for distance in ("frechet", "kernel"):
        (test,) = ranked["tests"][distance]
        assert (test["first"], test["second"], test["is_different"]) == ("noise", "copies", True)
        assert test["difference"] > 0
    by_name = {row["cohort"]: row for row in ranked["table"]}
    assert by_name[REAL]["ms_ssim_ratio"] == 1.0 and by_name[REAL]["draws"] == 3
    assert by_name["noise"]["ms_ssim_ratio"] > by_name["copies"]["ms_ssim_ratio"]
    roles = {"noise", "copies", "test: test", "real", "extractor training"}
    assert {role for role, facts in report["cohorts"].items() if facts} == roles


def test_verdict_and_page_show_every_cohort_and_pair(findings):
    conclusion, *cohorts, pairs = findings.verdict
    assert conclusion.startswith(
        "Nothing can be said of which cohort is nearest to real patients of test: 14 images per"
    )
    assert len(cohorts) == 3 and cohorts[-1].startswith("3. noise: Frechet distance ")
    assert "Frechet 1 of 1 (1 by each pair's own p), kernel 1 of 1" in pairs
    page = "".join(findings.parts)
    assert page.index("<td>copies</td>") < page.index("<td>noise</td>")
    assert page.count("adjusted by Holm for all pairs") == 2 and page.count("*</td>") == 4, "and of each pair alone"
    assert "14 images per draw" in findings.introduction


def test_every_extractor_ranks(evaluation, tmp_path):
    by_pixels = dataclasses.replace(evaluation, extractors=("trained", "pixels"))
    found = ranking.run(by_pixels, RankingSettings(draws=5))
    assert list(found.report()["extractors"]) == ["trained", "pixels"]
    assert sum(sentence.startswith(("By trained: ", "By pixels: ")) for sentence in found.verdict) == 2
    frechet = {(s.extractor, s.subject): s for s in found.scores if s.metric == "frechet"}
    assert len(frechet) == 4
    for name in ("trained", "pixels"):
        copies, noise = frechet[name, "copies"], frechet[name, "noise"]
        assert copies.low < copies.value < copies.high < noise.low and copies.of_real < noise.value
        assert copies.passport == noise.passport and copies.images == 14


@pytest.mark.thorough
def test_seen_patients_are_refused_or_mark_the_report(
    evaluation, findings, noise_cohort, copy_as_synthetic, disc_records, tmp_path
):
    seen = copy_as_synthetic(tmp_path / "seen" / "32", training_patients=("patient-test-0",))
    cohorts = {"seen": seen, "noise": noise_cohort}
    shared = dataclasses.replace(evaluation, synthetic_dirs=cohorts)
    with pytest.raises(ValueError, match="1 of the 8 patients of split 'test' are also in the generator's training"):
        ranking.run(shared, RankingSettings(draws=5))
    allowed = dataclasses.replace(shared, allow_shared_patients=True)
    assert len(ranking.run(allowed, RankingSettings(draws=5)).shared_patients) == 1
    by_extractor = RankingSettings(draws=5, extractor_data_dir=str(disc_records), extractor_splits=("train", "test"))
    with pytest.raises(ValueError, match="8 of the 8 patients of split 'test' are also in the extractor's training"):
        ranking.run(evaluation, by_extractor)


def test_what_cannot_be_ranked_is_refused(evaluation, noise_cohort, copy_records, tmp_path):
    salted = copy_records(tmp_path / "salted", salt_fingerprint="other")
    cases = (
        ({"real_dir": noise_cohort}, {}, "--real_dir=.* holds synthetic images"),
        ({}, {"extractor_data_dir": str(noise_cohort)}, "noise.* holds synthetic images .*, expected real patients"),
        ({}, {"extractor_data_dir": str(salted)}, "the extractor's training set .* different salts"),
        ({}, {"draws": 60}, "60 draws need 4 images each or more, the smallest cohort or split 'test' gives 1"),
        ({"synthetic_dirs": {"noise": noise_cohort}}, {}, "a ranking needs two cohorts or more, got 1"),
        ({"test_splits": ("test", "validation")}, {}, "a ranking takes one test split of one data set, got test, va"),
    )
    for changes, settings, message in cases:
        with pytest.raises(ValueError, match=message):
            ranking.run(dataclasses.replace(evaluation, **changes), RankingSettings(**settings))
    with pytest.raises(ValueError, match="a t-test needs two draws or more, got ranking.draws=1"):
        RankingSettings(draws=1)
