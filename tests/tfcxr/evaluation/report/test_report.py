import csv
import dataclasses
import html
import html.parser
import io
import json
import pathlib
import re

import jsonschema
import numpy as np
import pytest
from PIL import Image

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.kept import find, keep, plain_json
from tfcxr.evaluation.metrics import METRICS
from tfcxr.evaluation.metrics.classification import AUC, BALANCED_ACCURACY, PRECISION, patient_resamples
from tfcxr.evaluation.report import plots
from tfcxr.evaluation.report import report as report_module
from tfcxr.evaluation.report.html import estimate, number, picture, table
from tfcxr.evaluation.report.plots import curves_plot, roc_plot, sample_grid
from tfcxr.evaluation.report.report import Answer, Findings, prepare_folder, write_report
from tfcxr.evaluation.report.score import Score
from tfcxr.evaluation.report.score_tables import arm_table, label_tables, threshold_tables
from tfcxr.evaluation.scores import score_arm, shares_of_real


def write(tmp_path, *names) -> tuple[str, dict]:
    """The page, and the content of report.json."""
    answers = [Answer(protocol=name, cohort="a", findings=FINDINGS) for name in names]
    report = write_report(Evaluation({"a": tmp_path}, tmp_path, tmp_path), answers)
    return (tmp_path / "report.html").read_text(), report


VOID_TAGS = ("meta", "img")
COHORT = {"name": "discs", "splits": ["train"], "images": 48, "patients": 24, "sha256": "ab" * 32}
FINDINGS = Findings(
    title="First <protocol>",
    verdict=["First <b>sentence</b>.", "Second."],
    shared_patients=["3 of the 60 patients"],
    notices=["a phantom, not patients"],
    data={"value": float("nan")},
    introduction="<em>an introduction</em>",
    cohorts={"real": COHORT, "none": None},
    parts=[table(["a"], [["1"]], "<script>alert(1)</script>"), picture(b"png", "a<b & 'c'")],
)


class TagBalance(html.parser.HTMLParser):
    """Raises on a closing tag that does not fit, and collects every address that the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "action", "data")]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_refers_to_nothing_outside(tmp_path):
    page, _ = write(tmp_path, "first", "second")
    balance = TagBalance()
    balance.feed(page)
    assert balance.open == []
    assert len(balance.addresses) == 2 and all(a.startswith("data:image/png;base64,") for a in balance.addresses)
    assert not re.search(r"https?:|url\(|@import|<script|<link", page)
    assert page.count("<h1>First &lt;protocol&gt;</h1>") == 2 and page.count("<em>an introduction</em>") == 2
    assert page.count("A phantom, not patients.") == 1 and page.count("3 of the 60 patients.") == 1
    assert page.count("ab" * 32) == 2 and "<code>vgg16</code>" in page
    assert "NOT patient-disjoint: these numbers" in page and "real radiographs" in page


def test_texts_from_data_are_escaped(tmp_path):
    page, _ = write(tmp_path, "first")
    assert "<script>" not in page and "&lt;script&gt;alert(1)" in page
    assert "a&lt;b &amp; &#x27;c&#x27;" in page and "First &lt;b&gt;sentence" in page


def test_the_report_holds_each_protocol(tmp_path):
    _, report = write(tmp_path, "first")
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["classifier"]["architecture"] == "vgg16" and report["classifier_seeds"] == [0, 1, 2]
    assert set(report["software"]) == {"tensorflow", "keras", "numpy"}
    assert report["verdict"] == ["First <b>sentence</b>.", "Second."] and report["is_patient_disjoint"] is False
    assert report["protocols"]["first"]["a"] == {
        "cohorts": FINDINGS.cohorts,
        "verdict": ["First <b>sentence</b>.", "Second."],
        "is_patient_disjoint": False,
        "shared_patients": ["3 of the 60 patients"],
        "notices": ["a phantom, not patients"],
        "value": None,
        "seconds": 0.0,
    }


def test_a_report_is_replaced_only_when_asked(tmp_path):
    prepare_folder(tmp_path, overwrite=False)
    write(tmp_path, "first")
    with pytest.raises(ValueError, match="already holds a report; choose another --out_dir or set --overwrite"):
        prepare_folder(tmp_path, overwrite=False)
    prepare_folder(tmp_path, overwrite=True)


@pytest.mark.parametrize(
    ("label_names", "is_single_label"), [(("NORMAL", "PNEUMONIA"), True), (("a", "b", "c"), True), (("a", "b"), False)]
)
def test_score_tables_show_every_label_and_rule(label_names, is_single_label):
    """Of random predictions, with a third of the joint labels unknown."""
    generator = np.random.default_rng(0)
    count = len(label_names)
    labels = np.eye(count, dtype=np.float32)[np.arange(60) % count]
    if not is_single_label:
        labels[generator.random(labels.shape) < 0.3] = np.nan
    probability = generator.random((60, count)).astype(np.float32)
    thresholds = None if is_single_label and count > 2 else [0.5] * (1 if is_single_label else count)
    resamples = patient_resamples(np.arange(60), 20, 0)
    scores = score_arm(label_names, is_single_label, labels, [probability], [thresholds], resamples)
    arms = plain_json(dict.fromkeys(("real", "synthetic"), scores.summary))
    shares = plain_json({"synthetic": shares_of_real(scores, scores)})
    of_arms = arm_table(arms, shares, {"real": 48, "synthetic": 48}, "")
    assert "<td>&ndash;</td>" in of_arms and "(AUC - 0.5) of the row" in of_arms, "random: no share"
    for metric in (AUC, BALANCED_ACCURACY):
        assert of_arms.count(html.escape(metric.meaning)) == 1
    assert f"Real against real: {estimate(arms['real']['auc'])}." in of_arms
    assert "AUC &uarr;" in of_arms and "<td>48</td>" in of_arms
    assert "over seeds" not in of_arms, "there is one"
    of_thresholds = threshold_tables(arms, label_names, is_single_label)
    assert of_thresholds.count("<th>support</th>") == of_thresholds.count("<h3>"), "once, the same for all arms"
    balance = TagBalance()
    balance.feed(of_arms + of_thresholds)
    assert balance.open == []
    has_youden = thresholds is not None
    assert ("threshold by Youden" in of_thresholds) == ("accuracy, Youden" in of_arms) == has_youden
    assert all(name in of_thresholds for name in label_names)
    assert of_thresholds.count(html.escape(PRECISION.meaning)) == 1
    counts = re.findall(r"background:rgba[^>]*>([^<]*)<", of_thresholds)
    assert counts and all(count.isdecimal() for count in counts)
    if not is_single_label:
        assert "<td>a: yes</td>" in of_thresholds and "<td>a: no</td>" in of_thresholds
        assert of_thresholds.count("<table class=confusion>") == 2 * 2, "one per arm and rule, whatever the labels"
        assert all(f"<td>{name}</td>" in label_tables(arms, label_names) for name in label_names)


def test_every_metric_says_what_it_is_and_which_way_is_better():
    ways = {"higher": ("higher is better",), "lower": ("lower is better",), "real": ("real",)}
    for metric in METRICS.values():
        assert metric.meaning[0].isupper() and metric.meaning.endswith(".") and metric.meaning.count(". ") == 0
        assert all(way in metric.meaning for way in ways[metric.better]), metric.name
    assert "sliced_wasserstein" in METRICS, "what trainings log"


def test_the_head_of_the_page_has_one_sentence_per_protocol_and_one_bold_per_cohort(tmp_path):
    other = dataclasses.replace(FINDINGS, title="Other", verdict=["Another.", "More."])
    answers = [
        Answer(protocol=name, cohort=cohort, findings=findings)
        for cohort in ("a", "b")
        for name, findings in (("first", FINDINGS), ("other", other))
    ]
    folders = dict.fromkeys("ab", tmp_path)
    report = write_report(Evaluation(folders, tmp_path, tmp_path), answers, ["ranking of a, b: too few"])
    page = (tmp_path / "report.html").read_text()
    head, details = page.split("<section>", 1)
    said = ("First &lt;protocol&gt;", "First &lt;b&gt;sentence&lt;/b&gt;."), ("Other", "Another.")
    first, other = (f"<span class=small>{title}.</span> {sentence}" for title, sentence in said)
    bold = f"<p><strong>{first}</strong></p><p>{other}</p>"
    assert head.count(bold) == 2 and "Second." not in head and details.count("<p>Second.</p>") == 2
    assert "<h2>a</h2>" in head and "<h1>Other: b</h1>" in details
    assert "Not answered. ranking of a, b: too few." in head and report["unanswered"] == ["ranking of a, b: too few"]
    assert list(report["protocols"]["other"]) == ["a", "b"]


def test_scores_stand_in_the_table_in_the_report_and_in_a_table_for_programs(tmp_path):
    score = Score(metric="frechet", value=3.25, low=3, high=3.5, of_real=1.5, images=48, better="lower")
    shown = dataclasses.replace(
        score, extractor="pixels", split="test", passport={"real": "ab", "k": 5}, is_headline=True
    )
    nothing = Score(metric="my_share", value=float("nan"), images=0, better="real", is_headline=True)
    findings = dataclasses.replace(FINDINGS, scores=[score, shown, nothing])
    answers = [Answer(protocol="first", cohort=cohort, findings=findings) for cohort in ("a", "b,<b>")]
    report = write_report(Evaluation({"a": tmp_path}, tmp_path, tmp_path), answers)
    head = (tmp_path / "report.html").read_text().split("<section>", 1)[0]
    row = "Frechet &darr; <span class=interval>by pixels, test</span></td><td>1.5</td>"
    assert head.count(row + "<td>3.25 <span class=interval>[3, 3.5]</span>") == 1, "one row for both cohorts"
    assert "<th>b,&lt;b&gt;</th>" in head and "<td>my share <span" in head
    rows = list(csv.DictReader(io.StringIO((tmp_path / "scores.csv").read_text())))
    assert [row["cohort"] for row in rows] == ["a"] * 3 + ["b,<b>"] * 3
    assert rows[1] | {"passport": ""} == {
        **dict.fromkeys(("subject", "label", "group", "passport"), ""),
        **{"cohort": "a", "protocol": "first", "metric": "frechet", "better": "lower", "extractor": "pixels"},
        **{"value": "3.25", "low": "3", "high": "3.5", "of_real": "1.5", "images": "48", "split": "test"},
    }
    assert rows[2]["value"] == rows[2]["low"] == "", "no NaN"
    assert report["passports"][rows[1]["passport"]] == {"real": "ab", "k": 5}
    assert rows[0]["passport"] != rows[1]["passport"] == rows[4]["passport"]


def test_the_report_keeps_to_its_schema(tmp_path):
    schema = json.loads(pathlib.Path(report_module.__file__).with_name("report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    _, report = write(tmp_path, "first")
    jsonschema.validate(report, schema)
    for changes in ({"version": 0}, {"scores": [{"metric": "frechet"}]}, {"verdict": "good"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(report | changes, schema)


def test_notices_begin_as_sentences_do_and_end_once(tmp_path):
    notices = ("some sides have few images", "phantom: no patients.", "--test_splits=test holds no Mass")
    findings = dataclasses.replace(FINDINGS, notices=notices)
    answer = Answer(protocol="a", cohort="a", findings=findings)
    write_report(Evaluation({"a": tmp_path}, tmp_path, tmp_path), [answer])
    page = (tmp_path / "report.html").read_text()
    for shown in ("Some sides have few images.", "phantom: no patients.", "--test_splits=test holds no Mass."):
        assert f"<p>{shown}</p>" in page


def test_values_without_a_number_are_dashes():
    assert number(None) == number(float("nan")) == "&ndash;" and number(0.12345, ".2g") == "0.12"
    assert estimate(None) == estimate({"mean": None, "interval": [None, None]}) == "&ndash;"
    shown = estimate({"mean": 0.5, "interval": [0.25, None]}, ".2f")
    assert shown == "0.50 <span class=interval>[0.25, &ndash;]</span>"


def test_plain_json_has_no_value_that_json_lacks():
    value = {"a": np.float32(0.5), "b": (np.int64(2), float("nan")), "c": np.array([1.0, np.inf]), 3: None}
    assert plain_json(value) == {"a": 0.5, "b": [2, None], "c": [1.0, None], "3": None}
    json.dumps(plain_json(value), allow_nan=False)


def test_pictures_are_png_files_with_something_drawn():
    generator = np.random.default_rng(0)
    labels = np.eye(2, dtype=np.float32)[np.arange(10) % 2]
    images = generator.integers(0, 255, (10, 16, 16, 1)).astype(np.uint8)
    training = {"arm": "real", "curves": {"loss": [1.0], "validation_loss": [1.0]}, "best_epoch": 1}
    only_one_class = np.ones([10, 2], np.float32)
    for png in (
        sample_grid(images, labels, ("a", "b")),
        curves_plot([training]),
        roc_plot(("a", "b"), [0, 1], labels, {"real": [generator.random((10, 2))]}, {"real": "real"}),
        roc_plot(("a", "b"), [1], only_one_class, {"real": [generator.random((10, 2))]}, {"real": "real"}),
    ):
        picture = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        assert min(picture.shape) > 100
    assert np.asarray(Image.open(io.BytesIO(sample_grid(images, labels, ("a", "b")))).convert("L")).std() > 20


def test_curves_of_every_arm_are_inside_their_panels(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "png_of", lambda figure: drawn.append(figure) or b"")
    losses = {"real": [0.5, 0.4], "synthetic": [9.0, 0.4], "both": [0.5, 0.3]}
    curves_plot([
        {"arm": arm, "curves": {"loss": loss, "validation_loss": loss}, "best_epoch": 2} for arm, loss in losses.items()
    ])  # fmt: skip
    assert all(panel.get_ylim()[0] == 0 and panel.get_ylim()[1] > 9 for panel in drawn[0].axes)


def test_a_kept_result_is_found_under_its_key_alone(tmp_path):
    path, arrays = tmp_path / "a.json", {"rows": np.arange(3.0)}
    facts = keep(path, "key", {"loss": float("nan"), "sizes": (1, 2)}, arrays)
    assert facts == {"key": "key", "loss": None, "sizes": [1, 2]}
    found, found_arrays = find(path, "key")
    assert found == facts and found_arrays["rows"].tolist() == [0, 1, 2]
    assert find(path, "other") is None
    path.unlink()  # as if killed between its two files
    assert find(path, "key") is None
