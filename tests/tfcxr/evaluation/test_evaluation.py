"""`--labels` and folders of builds: what is compared of sets that have more than that."""

import dataclasses
import pathlib

import numpy as np
import pytest

from tfcxr.data.records import shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, encode_record
from tfcxr.evaluation import label_checks
from tfcxr.evaluation.cohorts import check_folders, load_cohorts
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.protocols import distances, ranking, tstr


def write_set(folder, names, rows, is_single_label, is_synthetic=False, size=32):
    """A data folder of noise whose splits train and test both hold one image per row, each of its own patient."""
    rows = np.asarray(rows, np.float32)
    counts = {
        name: {"positive": int((column == 1).sum()), "negative": int((column == 0).sum()), "unknown": 0}
        for name, column in zip(names, rows.T, strict=True)
    }
    splits = {}
    for split in ("train", "test"):
        random = np.random.default_rng(0)
        records = [
            Record(random.integers(0, 255, (size, size)).astype(np.uint8), f"{split}-{index}", tuple(row.tolist()),
                   f"{folder.name}-{split}-{index}")
            for index, row in enumerate(rows)
        ]  # fmt: skip
        shard = write_shard(folder / shard_name(split, 0, 1), [encode_record(record, "raw") for record in records])
        splits[split] = SplitInfo(len(rows), len(rows), counts, (shard,))
    provenance = {"training_data": {"patient_keys_file": "training_patients.txt"}} if is_synthetic else {}
    info = DatasetInfo(
        folder.name, tuple(names), is_single_label, size, 8, "raw", splits, 2 * len(rows), 2 * len(rows), {}, {}, {},
        is_synthetic=is_synthetic, provenance=provenance, salt_fingerprint="tests",
    )  # fmt: skip
    write_dataset_info(folder, info)
    (folder / "training_patients.txt").write_text("somebody\n")
    return folder


def evaluation(tmp_path, synthetic, real, **changes) -> Evaluation:
    classifier = make_classifier_config("small_cnn", {"max_epochs": 1, "batch_size": 8, "dense_units": (4,)})
    given = {"synthetic_dirs": {"a": synthetic}, "real_dir": real, "out_dir": tmp_path / "out"}
    return Evaluation(**given | {"classifier": classifier, "classifier_seeds": (0,)} | changes)


@pytest.fixture
def joint(tmp_path):
    """Sets of joint labels that share Effusion and Mass, in other places."""
    real = write_set(tmp_path / "real", ("Effusion", "Edema", "Mass"), np.tile([(1, 0, 0), (0, 1, 1)], (10, 1)), False)
    cohort = write_set(tmp_path / "cohort", ("Mass", "Hernia", "Effusion"), np.tile([(0, 1, 1), (1, 0, 0)], (9, 1)),
                       False, is_synthetic=True)  # fmt: skip
    return cohort, real


@pytest.fixture
def exclusive(tmp_path):
    """Real patients of three classes, 20 images of each in every split, and a cohort of two of them and another."""
    rows = np.eye(3)[np.tile(np.arange(3), 20)]
    real = write_set(tmp_path / "real", ("NORMAL", "PNEUMONIA", "COVID"), rows, True)
    cohort = write_set(tmp_path / "cohort", ("COVID", "NORMAL", "MASS"), rows, True, is_synthetic=True)
    return cohort, real


def test_joint_labels_are_chosen_in_the_order_asked_for_and_all_images_stay(tmp_path, joint):
    request = evaluation(tmp_path, *joint, labels=("Mass", "Effusion"))
    check_folders(request)
    cohorts = load_cohorts(request, request.label_names)
    assert cohorts.label_names == ("Mass", "Effusion")
    np.testing.assert_array_equal(cohorts.real.labels[:2], [(0, 1), (1, 0)])
    np.testing.assert_array_equal(cohorts.only_synthetic.labels[:2], [(0, 1), (1, 0)])
    assert len(cohorts.real.images) == 20 and len(cohorts.only_synthetic.images) == 36
    assert not any("left out" in notice for notice in cohorts.notices)


def test_images_of_other_classes_are_left_out_and_counted(tmp_path, exclusive):
    request = evaluation(tmp_path, *exclusive, labels=("NORMAL", "COVID"))
    check_folders(request)
    cohorts = load_cohorts(request, request.label_names)
    for cohort, images in ((cohorts.real, 40), (cohorts.only_synthetic, 80), (cohorts.tests["test"], 40)):
        assert len(cohort.images) == len(cohort.labels) == len(cohort.patient_keys) == images
        assert (cohort.labels.sum(1) == 1).all() and cohort.facts["label_names"] == ["NORMAL", "COVID"]
    left_out = [notice for notice in cohorts.notices if "left out" in notice]
    assert left_out == [
        f"40 images of test, train of {tmp_path}/cohort are left out: they are none of NORMAL, COVID",
        f"20 images of train of {tmp_path}/real are left out: they are none of NORMAL, COVID",
        f"20 images of test of {tmp_path}/real are left out: they are none of NORMAL, COVID",
    ]
    counts = label_checks.counts_of_splits(request.real_info, ["train"], request.label_names)
    assert counts.by_label == {"NORMAL": (20, 20), "COVID": (20, 20)}
    some = load_cohorts(request, request.label_names, images=8)
    assert len(some.real.images) == 8 and (some.real.labels.sum(1) == 1).all()
    with pytest.raises(ValueError, match="41 images were asked for, but train of .* holds 40 of NORMAL, COVID"):
        load_cohorts(request, request.label_names, images=41)


@pytest.mark.thorough
def test_every_protocol_evaluates_the_chosen_labels_alone(tmp_path, exclusive, trainings):
    request = evaluation(tmp_path, *exclusive, labels=("COVID", "NORMAL"))
    report = tstr.run(request, tstr.TSTRSettings(bootstrap_resamples=5, diversity_pairs=5)).report()
    assert report["label_names"] == ["COVID", "NORMAL"] and report["images_per_side"] == 40
    assert list(report["tests"]["test"]["arms"]["real"]["auc_by_label"]) == ["NORMAL"]
    assert [item["training_images"] + item["validation_images"] for item in report["trainings"]] == [40, 40, 80, 40]
    found = distances.run(request, distances.DistanceSettings()).report()
    assert (
        found["label_names"] == ["COVID", "NORMAL"]
        and found["extractors"]["trained"]["comparisons"][1]["score"]["images"] == 40
    )
    ranked = dataclasses.replace(request, synthetic_dirs={"a": exclusive[0], "b": exclusive[0]})
    findings = ranking.run(ranked, ranking.RankingSettings(draws=2))
    assert findings.data["extractors"]["trained"]["passport"]["label_names"] == ["COVID", "NORMAL"]
    assert findings.data["images_per_draw"] == 40, "the test images, without those of PNEUMONIA"


def test_sets_of_other_labels_are_told_what_both_have(tmp_path, joint, exclusive):
    with pytest.raises(ValueError, match="labels differ: .*; to evaluate what both have: --labels=NORMAL,COVID$"):
        check_folders(evaluation(tmp_path, *exclusive))


def test_joint_sets_are_told_what_both_have(tmp_path, joint):
    with pytest.raises(ValueError, match="labels differ: .*; to evaluate what both have: --labels=Effusion,Mass$"):
        check_folders(evaluation(tmp_path, *joint))


def test_labels_that_cannot_be_chosen_are_refused(tmp_path, exclusive):
    for labels, message in (
        (
            ("NORMAL", "COVIT"),
            "--labels=NORMAL,COVIT does not fit .*real: .* has no label 'COVIT'; did you mean 'COVID'",
        ),
        (("NORMAL", "PNEUMONIA"), "does not fit .*cohort: cohort has no label 'PNEUMONIA'"),
        (("NORMAL", "NORMAL"), "label 'NORMAL' is named twice"),
        (("NORMAL",), "--labels=NORMAL leaves a single one of the exclusive classes .* two or more of NORMAL, PNEUM"),
    ):
        with pytest.raises(ValueError, match=message):
            check_folders(evaluation(tmp_path, *exclusive, labels=labels))


def test_a_folder_of_builds_is_taken_at_the_size_that_all_have(tmp_path):
    rows = np.eye(2)[np.tile(np.arange(2), 4)]
    for size in (32, 64):
        write_set(tmp_path / "records" / str(size), ("A", "B"), rows, True, size=size)
    cohort = write_set(tmp_path / "cohorts" / "64", ("A", "B"), rows, True, is_synthetic=True, size=64)
    for synthetic in (cohort, cohort.parent):
        found = evaluation(
            tmp_path, synthetic, tmp_path / "records", test_dirs={"": tmp_path / "records"}
        ).at_one_size()
        assert found.real_dir == found.test_dirs[""] == tmp_path / "records" / "64" and found.synthetic_dir == cohort
    as_named = evaluation(tmp_path, cohort, tmp_path / "records" / "32")
    assert as_named.at_one_size() is as_named, "nothing to choose: the sizes are compared later"
    missing = evaluation(tmp_path, pathlib.Path("nowhere"), tmp_path / "records" / "32")
    assert missing.at_one_size() is missing
    with pytest.raises(
        ValueError, match="one size in common, got .*cohorts 64 px; .*32 32 px; name data folders of one"
    ):
        evaluation(tmp_path, cohort.parent, tmp_path / "records" / "32").at_one_size()
    write_set(tmp_path / "cohorts" / "32", ("A", "B"), rows, True, is_synthetic=True)
    with pytest.raises(ValueError, match="exactly one size in common, got .*cohorts 32, 64 px; .*records 32, 64 px"):
        evaluation(tmp_path, cohort.parent, tmp_path / "records").at_one_size()
