"""Two cohorts and real images in one table, of predictions that are made by hand."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tfcxr.evaluation.protocols.tstr_cohorts import side_by_side
from tfcxr.evaluation.report.report import Findings

NAMES = ("Mass", "Hernia", "Edema", "Fibrosis")
POSITIVES = {"Mass": 40, "Hernia": 3, "Edema": 30, "Fibrosis": 20}


@pytest.fixture
def labels():
    """200 images of 100 patients; one patient has Hernia."""
    generator = np.random.default_rng(0)
    labels = (generator.random((200, 4)) < 0.3).astype(np.float32)
    labels[:, 1] = np.arange(200) < 2
    labels[:20, 0] = np.nan
    return labels


def findings_of(labels, skill, path, real_images=100, positives=POSITIVES, arms=("real", "synthetic")):
    """Findings of a cohort whose classifier has the skill; the predictions are kept at a path."""
    generator = np.random.default_rng(1)
    made = {
        arm: np.stack([generator.normal(size=labels.shape) + of_arm * np.nan_to_num(labels) for _ in range(2)])
        for arm, of_arm in (("real", 2.0), ("synthetic", skill))
    }
    np.savez(path, labels=labels, patients=np.arange(200) // 2, label_names=np.array(NAMES), **made)
    test = {"arms": dict.fromkeys(arms), "images": 200, "sha256": "ab"}
    real, synthetic = {"images": real_images, "positives": POSITIVES}, {"images": 90, "positives": positives}
    return Findings(
        title="", verdict=[], introduction="", parts=[],
        data={"tests": {"test": test}, "label_names": NAMES},
        cohorts={"synthetic": synthetic, "real": real},
    ), made  # fmt: skip


@pytest.fixture
def request_of(tmp_path):
    (tmp_path / "predictions").mkdir()
    return SimpleNamespace(out_dir=tmp_path, real_info=SimpleNamespace(is_single_label=False))


SETTINGS = SimpleNamespace(bootstrap_resamples=100)


def test_each_label_has_its_score_by_every_cohort_and_by_real_images(labels, request_of):
    folder = request_of.out_dir / "predictions"
    embedded, of_embedded = findings_of(labels, 0.2, folder / "embedded-test.npz")
    generated, of_generated = findings_of(labels, 1.5, folder / "generated-test.npz")
    found = side_by_side(request_of, SETTINGS, {"embedded": embedded, "generated": generated})
    table = found.data["tests"]["test"]
    assert list(table["labels"]) == ["Mass", "Edema", "Fibrosis"]
    assert table["not_scored"] == {"Hernia": "1 test patients with it, at least 2 are needed"}
    known = ~np.isnan(labels[:, 0])
    for name, made in (("embedded", of_embedded["synthetic"]), ("generated", of_generated["synthetic"])):
        expected = np.mean([roc_auc_score(labels[known, 0], of_seed[known, 0]) for of_seed in made])
        score = table["labels"]["Mass"]["scores"][name]
        assert score["mean"] == pytest.approx(expected) and score["interval"][0] < expected < score["interval"][1]
        by_label = [row["scores"][name]["mean"] for row in table["labels"].values()]
        assert table["mean"][name]["mean"] == pytest.approx(np.mean(by_label))
    low, high = table["gain"]["generated"]["interval"]
    assert 0 < low < table["gain"]["generated"]["mean"] < high and table["gain"]["embedded"]["mean"] == 0
    assert table["training_images"] == {"embedded": 90, "generated": 90, "real": 100}
    assert found.verdict[0].startswith("On real patients of test, mean AUC over 3 labels: embedded 0.")
    assert found.verdict[1] == "Not in the table: Hernia (1 test patients with it, at least 2 are needed)."
    page = "".join(found.parts)
    assert page.count("<tr>") == 1 + 3 + 2 and "mean less embedded" in page and "Hernia" not in page
    means = {score.subject: score for score in found.scores}
    assert means["generated"].of_real == table["mean"]["real"]["mean"] and means["generated"].metric == "common_auc"


def test_labels_that_a_cohort_cannot_teach_are_left_out_of_every_mean(labels, request_of):
    folder = request_of.out_dir / "predictions"
    first, _ = findings_of(labels, 1, folder / "a-test.npz", positives=POSITIVES | {"Edema": 0, "Mass": 90})
    second, _ = findings_of(labels, 1, folder / "b-test.npz", real_images=50)
    table = side_by_side(request_of, SETTINGS, {"a": first, "b": second}).data["tests"]["test"]
    assert list(table["labels"]) == ["Fibrosis"]
    assert table["not_scored"]["Edema"] == table["not_scored"]["Mass"] == "a cannot teach it"
    assert list(table["mean"]) == ["a", "b", "real, 100 images", "real, 50 images"], "real images of each number"


def test_nothing_is_said_where_no_label_is_left(labels, request_of):
    folder = request_of.out_dir / "predictions"
    nothing = dict.fromkeys(NAMES, 0)
    both = {name: findings_of(labels, 1, folder / f"{name}-test.npz", positives=nothing)[0] for name in "ab"}
    found = side_by_side(request_of, SETTINGS, both)
    assert found.verdict[0].startswith("Nothing can be said on real patients of test")
    assert found.scores == [] and dataclasses.asdict(found)["data"]["tests"]["test"]["labels"] == {}
