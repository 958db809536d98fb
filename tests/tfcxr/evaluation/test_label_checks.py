"""What labels sets hold: refused before training, or said, in every protocol."""

import dataclasses
import json

import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info, shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, encode_record
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier import TrainedClassifier
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.label_checks import LabelCounts, check_labels, check_patients
from tfcxr.evaluation.protocols import PROTOCOLS
from tfcxr.evaluation.protocols.ranking import RankingSettings
from tfcxr.evaluation.protocols.tstr import TSTRSettings

NAMES = ("NORMAL", "PNEUMONIA", "Mass")
NAN = float("nan")


def write_labels(folder, splits, is_single_label=True, is_synthetic=False, names=NAMES[:2], size=32, a_patient=1):
    """A data folder of noise with given label rows, float [images, labels] by split; one image a patient."""
    described = {}
    for split, rows in splits.items():
        rows = np.asarray(rows, np.float32)
        random = np.random.default_rng(len(described))
        records = [
            Record(random.integers(0, 255, (size, size)).astype(np.uint8), f"{split}-{i}", tuple(map(float, row)),
                   f"{folder.name}-{split}-{i // a_patient}")
            for i, row in enumerate(rows)
        ]  # fmt: skip
        shard = write_shard(folder / shard_name(split, 0, 1), [encode_record(record, "raw") for record in records])
        counts = {
            name: {
                "positive": int((column == 1).sum()),
                "negative": int((column == 0).sum()),
                "unknown": int(np.isnan(column).sum()),
            }
            for name, column in zip(names, rows.T, strict=True)
        }
        described[split] = SplitInfo(len(rows), len({record.patient_key for record in records}), counts, (shard,))
    total = sum(split.images for split in described.values())
    provenance = {"training_data": {"patient_keys_file": "training_patients.txt"}} if is_synthetic else {}
    info = DatasetInfo(
        "noise", tuple(names), is_single_label, size, 8, "raw", described, total, total, {}, {}, {},
        is_synthetic=is_synthetic, provenance=provenance, salt_fingerprint="tests",
    )  # fmt: skip
    write_dataset_info(folder, info)
    (folder / "training_patients.txt").write_text("somebody\n")
    return folder


def one_hot(counts, labels=2):
    """Rows of exclusive labels, `counts` of each."""
    return np.eye(labels)[np.repeat(np.arange(labels), counts)]


QUICK = {"max_epochs": 1, "batch_size": 8, "dense_units": (4,)}


def make_evaluation(tmp_path, real, synthetic, **changes):
    names = NAMES[: np.shape(real["train"])[1]]
    single = changes.pop("is_single_label", True)
    return Evaluation(
        **{
            "real_dir": write_labels(tmp_path / "real", real, single, names=names),
            "synthetic_dirs": {"a": write_labels(tmp_path / "synthetic", {"train": synthetic}, single, True, names)},
            "out_dir": tmp_path / "eval",
            "classifier": make_classifier_config("small_cnn", QUICK),
            "classifier_seeds": (0,),
        }
        | changes
    )


def run_tstr(evaluation, **settings):
    """The findings, plain."""
    settings = {"bootstrap_resamples": 20, "diversity_pairs": 8} | settings
    return strict_findings(PROTOCOLS["tstr"].run(evaluation, TSTRSettings(**settings)))


def run_distances(evaluation):
    protocol = PROTOCOLS["distances"]
    return strict_findings(protocol.run(evaluation, protocol.settings_class()))


def run_ranking(evaluation, **settings):
    return PROTOCOLS["ranking"].run(evaluation, RankingSettings(**settings))


def strict_findings(findings):
    """The part of report.json, which must hold none of NaN, Infinity, -Infinity, nor the page their words."""
    page = "".join(findings.parts)
    assert ">nan" not in page and ">inf" not in page
    report = findings.report()
    json.dumps(report, allow_nan=False)
    return report


BOTH, THREE = one_hot((10, 10)), one_hot((8, 8, 8), 3)


@pytest.mark.parametrize(
    ("real", "synthetic", "changes", "message"),
    [
        (
            {"train": BOTH, "test": one_hot((12, 0))}, BOTH, {},
            r"--test_splits=test of .*real holds no PNEUMONIA \(NORMAL 12, PNEUMONIA 0\), so nothing can be tested",
        ),
        (
            {"train": BOTH, "test": BOTH, "later": one_hot((0, 3))}, BOTH, {"test_splits": ("test", "later")},
            "--test_splits=later of .*real holds no NORMAL",
        ),
        ({"train": one_hot((0, 20)), "test": BOTH}, BOTH, {}, "--train_splits=train of .* holds no NORMAL .* learned"),
        ({"train": BOTH, "test": BOTH}, one_hot((20, 0)), {}, "--synthetic_dir=.*synthetic holds no PNEUMONIA .* lear"),
        (
            {"train": BOTH, "test": BOTH, "validation": one_hot((0, 4))}, BOTH, {"validation_splits": ("validation",)},
            "--validation_splits=validation of .* holds no NORMAL .* validated",
        ),
        ({"train": BOTH, "test": BOTH * NAN}, BOTH, {}, "test of .*real holds no known label, so nothing can"),
        ({"train": BOTH * NAN, "test": BOTH}, BOTH, {}, "--train_splits=train of .* holds no known label"),
        ({"train": BOTH[:, :0], "test": BOTH[:, :0]}, BOTH[:, :0], {}, "--train_splits=train of .* has no labels"),
        (
            {"train": BOTH, "test": one_hot((1, 1))}, BOTH, {},
            r"holds a single patient with or without NORMAL \(1 with, 1 without\), PNEUMONIA .*needs 2 or more of both",
        ),
        (
            {"train": BOTH, "test": BOTH}, BOTH, {"images": 1},
            r"--train_splits=train of .* holds no \w+ \(.*\), so nothing can be learned",
        ),
        (
            {"train": [(1, NAN), (1, 0)] * 6, "test": [(1, 0), (0, 1)] * 6}, [(1, 0), (0, 1)] * 6,
            {"is_single_label": False}, "train of .* holds no image without NORMAL, PNEUMONIA .*NORMAL 12, PNEUMONIA 0",
        ),
    ],
)  # fmt: skip
def test_nothing_is_trained_where_nothing_can_be_said(tmp_path, trainings, real, synthetic, changes, message):
    images = changes.pop("images", 0)
    with pytest.raises(ValueError, match=message):
        run_tstr(make_evaluation(tmp_path, real, synthetic, **changes), images=images)
    assert trainings == [] and not (tmp_path / "eval").exists()


def test_the_description_alone_refuses(tmp_path, trainings):
    """Labels that `dataset_info.json` counts need no shard to be read."""
    request = make_evaluation(tmp_path, {"train": BOTH, "test": one_hot((12, 0))}, BOTH)
    for shard in request.real_dir.glob("*.tfrecord"):
        shard.unlink()
    with pytest.raises(ValueError, match="holds no PNEUMONIA"):
        run_tstr(request)


@pytest.mark.thorough
def test_an_arm_that_is_not_asked_for_needs_no_labels(tmp_path, trainings):
    request = make_evaluation(tmp_path, {"train": BOTH, "test": BOTH}, one_hot((20, 0)))
    report = run_tstr(request, arms=("real", "both"))
    assert len(trainings) == 2
    assert any("diversity needs two images on each side, which PNEUMONIA lacks" in n for n in report["notices"])


@pytest.mark.thorough
def test_a_class_that_is_missing_in_part_is_said_and_scored_by_the_others(tmp_path, trainings):
    real = {"train": THREE, "test": one_hot((6, 6, 0), 3)}
    findings = PROTOCOLS["tstr"].run(
        make_evaluation(tmp_path, real, one_hot((12, 12, 0), 3)), TSTRSettings(arms=("real", "synthetic"))
    )
    report = strict_findings(findings)
    said = " | ".join(report["notices"])
    assert "--test_splits=test of" in said and "holds no Mass, so nothing can be tested about it" in said
    assert "--synthetic_dir=" in said and "holds no Mass, so nothing can be learned about it" in said
    scores = report["tests"]["test"]["arms"]["real"]
    assert scores["labels_without_auc"] == ["Mass"] and 0 <= scores["auc"]["mean"] <= 1


@pytest.mark.thorough
def test_joint_labels_that_are_unknown_or_everywhere_are_said(tmp_path, trainings):
    rows = np.array([(1, 1, NAN), (0, 1, NAN)] * 10)
    other = np.array([(1, 1, 0), (0, 0, 1)] * 10)
    request = make_evaluation(tmp_path, {"train": other, "test": rows}, other, is_single_label=False)
    report = run_tstr(request, arms=("real",))
    assert any("holds no image without PNEUMONIA, known Mass, so nothing can be tested about them" in n
               for n in report["notices"])  # fmt: skip
    scores = report["tests"]["test"]["arms"]["real"]
    assert scores["at_half"]["accuracy"]["mean"] is not None, "over the labels that are known"
    assert scores["at_half"]["balanced_accuracy"]["mean"] is not None, "over the labels with both sides"


@pytest.mark.thorough
def test_what_is_kept_back_for_validation_is_looked_at_before_training(tmp_path, trainings):
    rows = one_hot((18, 2))
    report = run_tstr(make_evaluation(tmp_path, {"train": rows, "test": BOTH}, rows), arms=("real",))
    assert any(
        "the trainings real (seed 0) keep back to validate on holds no PNEUMONIA" in n for n in report["notices"]
    )
    data = {"train": one_hot((3, 1)), "test": BOTH}
    few = make_evaluation(tmp_path / "few", data, BOTH, classifier_seeds=tuple(range(20)))
    trainings.clear()
    with pytest.raises(ValueError, match=r"what arm real, seed \d+, trains on holds no PNEUMONIA .* learned"):
        run_tstr(few)
    assert trainings == []


@pytest.mark.thorough
def test_labels_known_to_one_side_only_are_said(tmp_path, trainings):
    real = np.array([(1, 0, 1), (0, 1, 0)] * 10)
    synthetic = np.array([(1, 0, NAN), (0, 1, NAN)] * 10)
    request = make_evaluation(tmp_path, {"train": real, "test": real}, synthetic, is_single_label=False)
    report = run_tstr(request, arms=("real",))
    assert "Mass is known for none of the synthetic images" in report["notices"]


def test_names_that_differ_in_case_are_told_apart(tmp_path, trainings):
    request = make_evaluation(tmp_path, {"train": BOTH, "test": BOTH}, BOTH)
    lower = write_labels(tmp_path / "lower", {"train": BOTH}, True, True, names=("normal", "pneumonia"))
    with pytest.raises(ValueError, match="labels differ: .* names are matched letter by letter, upper and lower case"):
        run_tstr(dataclasses.replace(request, synthetic_dirs={"a": lower}))


def test_images_too_small_for_ms_ssim_are_refused_before_training(tmp_path, trainings):
    request = make_evaluation(tmp_path, {"train": BOTH, "test": BOTH}, BOTH)
    tiny = {
        "real_dir": write_labels(tmp_path / "tiny" / "real", {"train": BOTH, "test": BOTH}, size=8),
        "synthetic_dirs": {"a": write_labels(tmp_path / "tiny" / "synthetic", {"train": BOTH}, True, True, size=8)},
    }
    with pytest.raises(ValueError, match="multi-scale SSIM needs images of at least 11 pixels, got 8"):
        run_tstr(dataclasses.replace(request, **tiny))
    assert trainings == []


def test_a_folder_that_is_no_cohort_is_named(tmp_path, trainings):
    request = make_evaluation(tmp_path, {"train": BOTH, "test": BOTH}, BOTH)
    (tmp_path / "models" / "1").mkdir(parents=True)
    (tmp_path / "models" / "1" / "saved_model.pb").write_bytes(b"")
    for folder in (tmp_path / "models", tmp_path / "models" / "1"):
        for run in (run_tstr, run_distances):
            with pytest.raises(ValueError, match="holds an exported model, not a cohort; generate one with .*generate"):
                run(dataclasses.replace(request, synthetic_dirs={"a": folder}))


def test_distances_say_what_the_extractor_cannot_be_judged_by(tmp_path, trainings):
    one_class = {"train": BOTH, "test": one_hot((18, 0))}
    report = run_distances(make_evaluation(tmp_path, one_class, BOTH))
    assert report["extractors"]["trained"]["auc"]["test"] is None
    assert any("holds no PNEUMONIA" in notice for notice in report["notices"])
    assert any("the extractor knows the labels of test cannot be told" in sentence for sentence in report["verdict"])
    with pytest.raises(ValueError, match="--train_splits=train of .* holds no PNEUMONIA .* learned"):
        run_distances(make_evaluation(tmp_path / "b", {"train": one_hot((20, 0)), "test": BOTH}, BOTH))


def test_halves_that_one_patient_fills_are_refused_before_training(tmp_path, trainings, monkeypatch):
    request = make_evaluation(tmp_path, {"train": BOTH, "test": BOTH}, BOTH)
    test = request.real_dir / shard_name("test", 0, 1)
    patients = ["a"] * 17 + ["b", "c", "d"]
    records = [Record(np.zeros((32, 32), np.uint8), f"i{i}", (1.0, 0.0), name) for i, name in enumerate(patients)]
    shard = write_shard(test, [encode_record(record, "raw") for record in records])
    info = read_dataset_info(request.real_dir)
    split = dataclasses.replace(info.splits["test"], patients=4, shards=(shard,))
    write_dataset_info(request.real_dir, dataclasses.replace(info, splits=info.splits | {"test": split}))
    with pytest.raises(
        ValueError, match=r"needs halves of 8 images .* has halves of 1: its 20 images .* of few of its 4"
    ):
        run_distances(request)
    assert trainings == []


def test_features_that_are_all_equal_have_no_ratio(tmp_path, trainings, monkeypatch):
    monkeypatch.setattr(TrainedClassifier, "predict", lambda classifier, images: (
        np.full([len(images), 2], 0.5, np.float32), np.ones([len(images), 3], np.float32)))  # fmt: skip
    report = run_distances(make_evaluation(tmp_path, {"train": BOTH, "test": BOTH}, BOTH))
    assert report["extractors"]["trained"]["comparisons"][0]["floor"]["frechet"]["mean"] == 0


def ranking(tmp_path, real=None):
    cohorts = {name: write_labels(tmp_path / name, {"train": BOTH}, True, True) for name in "ab"}
    return Evaluation(
        synthetic_dirs=cohorts,
        real_dir=real or write_labels(tmp_path / "real", {"train": BOTH, "test": BOTH}),
        out_dir=tmp_path / "out",
        classifier=make_classifier_config("small_cnn", QUICK),
    )


def test_a_ranking_refuses_labels_and_numbers_before_it_trains(tmp_path, trainings):
    request = ranking(tmp_path)
    one_class = write_labels(tmp_path / "one_class", {"train": one_hot((20, 0))})
    with pytest.raises(ValueError, match="split train of .*one_class holds no PNEUMONIA .* learned"):
        run_ranking(request, draws=2, extractor_data_dir=str(one_class))
    labelled = str(write_labels(tmp_path / "x", {"train": BOTH}))
    with pytest.raises(ValueError, match="7 draws need 4 images each or more, .* gives 2"):
        run_ranking(request, draws=7, extractor_data_dir=labelled)
    swapped = dataclasses.replace(request, synthetic_dirs={"a": request.synthetic_dirs["a"], "b": request.real_dir})
    with pytest.raises(ValueError, match="--synthetic_dir=.*real holds real images"):
        run_ranking(swapped, draws=2, extractor_data_dir=labelled)
    assert trainings == []


def test_a_ranking_against_equal_training_images_has_no_ratio(tmp_path, trainings):
    real = write_labels(tmp_path / "real", {"train": BOTH, "test": BOTH})
    records = [Record(np.full((32, 32), 9, np.uint8), f"i{i}", (1.0, 0.0), f"p{i}") for i in range(5)]
    shard = write_shard(real / shard_name("train", 0, 1), [encode_record(record, "raw") for record in records])
    info = read_dataset_info(real)
    split = dataclasses.replace(info.splits["train"], images=5, patients=5, shards=(shard,))
    write_dataset_info(real, dataclasses.replace(info, splits=info.splits | {"train": split}))
    labelled = str(write_labels(tmp_path / "x", {"train": BOTH}))
    findings = run_ranking(ranking(tmp_path, real), draws=2, extractor_data_dir=labelled)
    assert {row["ms_ssim_ratio"] for row in strict_findings(findings)["extractors"]["trained"]["table"]} == {None}
    said = " | ".join(findings.notices)
    assert "are all the same, so that diversity has no ratio" in said and "there is no floor" in said


def test_sentences_of_checks():
    counts = LabelCounts({"A": (3, 2), "B": (0, 5), "C": (0, 0), "D": (5, 0)}, is_single_label=False)
    (sentence,) = check_labels("the set", counts, "tested")
    assert sentence == "the set holds no B, known C, image without D, so nothing can be tested about them"
    (exclusive,) = check_labels("the set", LabelCounts(counts.by_label, is_single_label=True), "tested")
    assert "holds no B, known C, so" in exclusive, "an exclusive label that all have leaves the others absent"
    assert (counts + counts).by_label == {"A": (6, 4), "B": (0, 10), "C": (0, 0), "D": (10, 0)}
    many = LabelCounts({f"label {i}": (0, 4) for i in range(9)}, is_single_label=False)
    with pytest.raises(ValueError, match="holds no label 0, label 1, label 2, label 3, label 4 and 4 more"):
        check_labels("the set", many, "tested")
    labels = np.array([(1, 1), (0, 1), (0, 0), (0, 0)], float)
    patients = np.array(["a", "b", "c", "d"])
    (sentence,) = check_patients("the set", labels, patients, ("A", "B"))
    assert sentence.startswith("the set holds a single patient with or without A (1 with, 3 without): such scores")
    assert check_patients("the set", labels[:, 1:], patients, ("B",)) == []
