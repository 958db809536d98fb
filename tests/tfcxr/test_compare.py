"""Reports side by side: what compares is tested on the same patients, what does not is refused by its field."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest

from tfcxr import command_line
from tfcxr.compare import CompareArguments, compare
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.report.report import Answer, Findings, write_report
from tfcxr.evaluation.report.score import Score

AUC = Score(
    metric="auc", value=0.8, low=0.7, high=0.9, images=60, better="higher", subject="synthetic", split="test",
    passport={"real": "ab", "classifier": {"dropout": 0.4}}, is_headline=True,
)  # fmt: skip
FRECHET = Score(
    metric="frechet",
    value=3.0,
    images=60,
    better="lower",
    extractor="xception",
    passport={"extractor": {"sha256": "1"}},
)


def write(folder, scores, cohorts=("a",), skill=None):
    """A report with predictions whose scores of the positives are `skill` above those of the negatives."""
    folder.mkdir(exist_ok=True)
    data = {"is_single_label": True}
    findings = Findings(title="T", verdict=["V."], data=data, introduction="", parts=[], scores=scores)
    answers = [Answer(protocol="tstr", cohort=cohort, findings=findings) for cohort in cohorts]
    if len(cohorts) > 1:
        answers.append(Answer(protocol="ranking", cohort=", ".join(cohorts), findings=findings))
    write_report(Evaluation(dict.fromkeys(cohorts, folder), folder, folder), answers)
    if skill is not None:
        random = np.random.default_rng(0)
        labels = np.eye(2, dtype=np.float32)[np.arange(60) % 2]
        (folder / "predictions").mkdir(exist_ok=True)
        probability = (labels * skill + random.random((2, 60, 2))).astype(np.float32)
        arrays = {"labels": labels, "patients": np.arange(60) // 2, "synthetic": probability}
        np.savez(folder / "predictions" / f"{cohorts[0]}-test.npz", **arrays)
    return folder


def arguments(*folders, **changes):
    return CompareArguments(reports=tuple(map(str, folders)), **changes)


def test_the_difference_is_tested_on_the_same_patients(tmp_path, capsys):
    weak, strong = (
        write(tmp_path / name, [AUC, FRECHET], skill=skill) for name, skill in (("weak", 0.1), ("strong", 2))
    )
    rows = compare(arguments(weak, strong, csv=str(tmp_path / "table.csv")))
    tested, distance = rows
    assert tested["difference"] > 0.3 and tested["low"] > 0.2 and tested["p"] < 0.005
    assert distance["difference"] is None and distance["refusal"] == ""
    printed = capsys.readouterr().out
    assert "strong against weak" in printed and "tstr auc synthetic test  0.8 (0.7 to 0.9)" in printed
    kept = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [row["score"] for row in kept] == ["tstr auc synthetic test", "tstr frechet xception"]
    same = compare(arguments(weak, f"again={weak}", headlines=True))
    assert [(row["difference"], row["p"]) for row in same] == [(0.0, 1.0)]


def test_predictions_of_other_patients_are_not_paired(tmp_path):
    folders = [write(tmp_path / name, [AUC], skill=1) for name in ("one", "two")]
    path = tmp_path / "two" / "predictions" / "a-test.npz"
    arrays = dict(np.load(path))
    np.savez(path, **(arrays | {"patients": np.arange(60)}))
    assert compare(arguments(*folders))[0]["difference"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"passport": {"real": "cd", "classifier": {"dropout": 0.4}}}, "real is ab and cd"),
        ({"passport": {"real": "ab", "classifier": {"dropout": 0.2}}}, "classifier.dropout is 0.4 and 0.2"),
        ({"passport": {"real": "ab"}}, "classifier is .* and unknown"),
        ({"images": 50}, "images is 60 and 50"),
    ],
)
def test_scores_of_other_passports_are_refused_by_the_field(tmp_path, capsys, changes, message):
    one = write(tmp_path / "one", [AUC, FRECHET])
    two = write(tmp_path / "two", [dataclasses.replace(AUC, **changes), FRECHET])
    with pytest.raises(SystemExit) as ended:
        command_line.run(compare, ["compare", str(one), str(two), f"--csv={tmp_path / 'table.csv'}"])
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert "error: 1 of 2 scores do not compare; the first is tstr auc synthetic test of two: " in printed.err
    assert "not comparable: " in printed.out
    refusals = [row["refusal"] for row in csv.DictReader((tmp_path / "table.csv").open())]
    assert refusals[1] == "" and re.search(message, refusals[0])


def test_the_cohorts_of_one_report_compare(tmp_path, capsys):
    rows = compare(arguments(write(tmp_path / "both", [AUC], cohorts=("a", "b"))))
    assert [(row["first"], row["second"]) for row in rows] == [("both/a", "both/b")]


def test_what_is_no_report_is_refused(tmp_path):
    good = write(tmp_path / "good", [AUC])
    old, other, broken = (tmp_path / name for name in ("old.json", "other.json", "broken.json"))
    old.write_text(json.dumps(json.loads((good / "report.json").read_text()) | {"version": 0}))
    other.write_text("{}")
    broken.write_text("{")
    unlike = write(tmp_path / "unlike", [FRECHET])
    for reports, message in (
        ((good, tmp_path / "none"), "report .*none does not exist; python -m tfcxr.evaluate writes one"),
        ((good, old), "old.json is a report of version 0, expected 1; evaluate again with --overwrite"),
        ((good, other), "other.json is no report of python -m tfcxr.evaluate"),
        ((good, broken), "broken.json is no report of python -m tfcxr.evaluate: "),
        ((good, good), "two reports are called 'good'; give each as NAME=PATH"),
        ((good,), "expected two reports or more, or one of several cohorts, got good"),
        ((good, unlike), "good and unlike share no score"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            compare(arguments(*reports))
