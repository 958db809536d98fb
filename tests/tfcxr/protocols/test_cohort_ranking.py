import dataclasses
import json

import pytest

from tfcxr.protocols import cohort_ranking
from tfcxr.protocols.classifier import make_classifier_config
from tfcxr.protocols.cohort_ranking import REAL, RankingSettings, table_text


@pytest.fixture(scope="module")
def settings(disc_records, synthetic_records, noise_cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranking")
    return RankingSettings(
        cohorts={"noise": noise_cohort, "copies": synthetic_records},
        real_dir=disc_records,
        extractor_data_dir=disc_records,
        extractor_dir=folder / "extractor",
        out_dir=folder,
        classifier=make_classifier_config("small_cnn", {"max_epochs": 2, "batch_size": 16, "dense_units": (8,)}),
        test_split="test",
        draws=5,
    )


@pytest.fixture(scope="module")
def report(settings):
    return cohort_ranking.run(settings)


def test_copies_of_real_images_are_nearer_than_noise_and_the_test_says_so(report, settings):
    names = [row["cohort"] for row in report["table"]]
    assert names.index("copies") < names.index("noise") and set(names) == {"copies", "noise", REAL}
    assert report["images_a_draw"] == 14, "a fifth of the 70 images of noise"
    (test,) = report["tests"]["frechet"]
    assert (test["first"], test["second"], test["is_different"]) == ("noise", "copies", True) and test["difference"] > 0
    assert json.loads((settings.out_dir / "ranking.json").read_text())["table"] == report["table"]
    by_name = {row["cohort"]: row for row in report["table"]}
    assert by_name[REAL]["diversity_ratio"] == 1.0 and by_name[REAL]["draws"] == 3
    assert by_name["noise"]["diversity_ratio"] > by_name["copies"]["diversity_ratio"]


def test_the_tables_show_every_cohort_and_pair(report):
    text = table_text(report)
    assert text.index("| copies |") < text.index("| noise |")
    assert "14 images a draw" in text and "*" in text.split("adjusted by Holm")[1]
    assert table_text(report, "kernel") != text


def test_seen_patients_and_swapped_data_are_refused(settings, noise_cohort, copy_as_synthetic, disc_records, tmp_path):
    seen = copy_as_synthetic(tmp_path / "seen" / "32", training_patients=("patient-test-0",))
    for changes, message in (
        ({"test_split": "train"}, "24 patients of split 'train' .* are in the extractor's training data"),
        ({"real_dir": noise_cohort}, "holds synthetic images .*, expected real patients"),
        ({"cohorts": {"real": disc_records, "noise": noise_cohort}}, "cohort real in .* holds real images"),
        ({"cohorts": {"seen": seen, "noise": noise_cohort}}, "seen: 1 of the 8 patients of split 'test' are also in"),
        ({"draws": 60}, "60 draws need 4 images each or more, the smallest cohort or split 'test' gives 1"),
    ):
        with pytest.raises(ValueError, match=message):
            cohort_ranking.run(dataclasses.replace(settings, **changes))


def test_too_little_to_compare_is_refused(settings):
    with pytest.raises(ValueError, match="a ranking needs two cohorts or more, got 1"):
        dataclasses.replace(settings, cohorts={"one": settings.real_dir})
    with pytest.raises(ValueError, match="a t-test needs two draws or more, got 1"):
        dataclasses.replace(settings, draws=1)
