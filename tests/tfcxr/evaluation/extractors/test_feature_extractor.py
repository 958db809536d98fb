import dataclasses

import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfcxr.evaluation.cohorts import load_cohort
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.extractors.feature_extractor import find_or_train_extractor


@pytest.mark.thorough
def test_an_extractor_is_kept_until_something_it_depends_on_changes(disc_records, trainings, tmp_path, caplog):
    info = read_dataset_info(disc_records)
    real, validation = (load_cohort(disc_records, info, [split], info.label_names) for split in ("train", "validation"))
    config = make_classifier_config("small_cnn", {"dense_units": (8,)})
    evaluation = Evaluation({"a": disc_records}, disc_records, tmp_path, config, extractor_dir=tmp_path)

    def request(evaluation=evaluation, validation=None):
        return find_or_train_extractor(evaluation, real, validation, info.label_names, True)

    first = request()
    assert trainings == [(38, 10, 0)]
    assert request().facts == first.facts and len(trainings) == 1
    with caplog.at_level("INFO", logger="absl"):
        other = request(dataclasses.replace(evaluation, classifier_seeds=(5,)))
    assert "holds no extractor of these data and settings (1 of others): training one" in caplog.text
    assert other.facts["weights_sha256"] != first.facts["weights_sha256"]
    request(validation=validation)
    slower = dataclasses.replace(config, learning_rate=1e-4)
    request(dataclasses.replace(evaluation, classifier=slower))
    assert trainings == [(38, 10, 0), (38, 10, 5), (48, 16, 0), (38, 10, 0)]
    again = request()  # the first one is still there
    assert len(trainings) == 4
    images = real.images[:5]
    np.testing.assert_array_equal(again.features(images), first.features(images))
    facts = next(path for path in tmp_path.glob("*.json") if first.facts["key"][:16] in path.name)
    with np.load(facts.with_suffix(".npz")) as arrays:
        damaged = [array + 1 for array in arrays.values()]
    np.savez(facts.with_suffix(".npz"), *damaged)
    assert request().facts == first.facts and len(trainings) == 5
    facts.unlink()  # killed between its two files
    assert request().facts == first.facts and len(trainings) == 6
