"""Only an extractor that is trained on the real images needs their labels."""

import dataclasses

import pytest

from tfcxr.data.records import read_dataset_info
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.protocols import distances, distortions, memorization, ranking, similarity
from tfcxr.evaluation.protocols.distances import DistanceSettings
from tfcxr.evaluation.protocols.distortions import DistortionSettings
from tfcxr.evaluation.protocols.memorization import MemorizationSettings
from tfcxr.evaluation.protocols.ranking import RankingSettings
from tfcxr.evaluation.protocols.similarity import SimilaritySettings

PROTOCOLS = [
    (distances, DistanceSettings(images=16)),
    (distortions, DistortionSettings(images=8)),
    (memorization, MemorizationSettings(false_alarms=0.1)),
    (ranking, RankingSettings(draws=5)),
    (similarity, SimilaritySettings()),
]
NEEDS_LABELS = "so nothing can be learned.* or give --extractor=pixels or a network's file, which need no labels"


def _evaluation(real_dir, cohorts, out_dir, extractors):
    return Evaluation(synthetic_dirs=cohorts, real_dir=real_dir, out_dir=out_dir, extractors=extractors)


def _cohorts(protocol, noise_cohort, synthetic_records):
    """A ranking takes two, the others one."""
    return {"noise": noise_cohort} | ({"discs": synthetic_records} if protocol is ranking else {})


@pytest.mark.parametrize(("protocol", "settings"), PROTOCOLS, ids=[of.__name__.split(".")[-1] for of, _ in PROTOCOLS])
def test_unlabelled_patients_are_compared_by_pixels(
    protocol, settings, write_records, noise_cohort, synthetic_records, tmp_path
):
    real = tmp_path / "real" / "32"
    write_records(real, {"train": 48, "test": 40}, is_labelled=False)
    cohorts = _cohorts(protocol, noise_cohort, synthetic_records)
    assert protocol.run(_evaluation(real, cohorts, tmp_path, ("pixels",)), settings).verdict
    if protocol is not similarity:  # which has no extractor
        with pytest.raises(ValueError, match=NEEDS_LABELS):
            protocol.run(_evaluation(real, cohorts, tmp_path, ("pixels", "trained")), settings)


@pytest.mark.parametrize(("protocol", "settings"), [PROTOCOLS[0], PROTOCOLS[3]], ids=["distances", "ranking"])
def test_patients_of_one_class_are_compared_by_pixels(
    protocol, settings, disc_records, copy_records, noise_cohort, synthetic_records, tmp_path
):
    """A set built with --only_labels=NORMAL, as chetty2023's, has the names of all classes and images of one."""
    info = read_dataset_info(disc_records)
    first, second = info.label_names
    counts = {
        first: {"positive": 48, "negative": 0, "unknown": 0},
        second: {"positive": 0, "negative": 48, "unknown": 0},
    }
    train = dataclasses.replace(info.splits["train"], labels=counts)
    real = copy_records(tmp_path / "real" / "32", splits={**info.splits, "train": train})
    cohorts = _cohorts(protocol, noise_cohort, synthetic_records)
    assert protocol.run(_evaluation(real, cohorts, tmp_path, ("pixels",)), settings).verdict
    with pytest.raises(ValueError, match=NEEDS_LABELS):
        protocol.run(_evaluation(real, cohorts, tmp_path, ("trained",)), settings)
