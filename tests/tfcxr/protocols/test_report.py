import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from tfcxr.metrics.classification import patient_resamples
from tfcxr.protocols.plots import curves_plot, roc_plot, sample_grid
from tfcxr.protocols.report import ReportPictures, render_html
from tfcxr.protocols.report_data import plain_json
from tfcxr.protocols.scores import ratio_summary, score_arm

VOID_TAGS = ("meta", "img")


def make_report(label_names: tuple[str, ...], is_single_label: bool) -> tuple[dict, ReportPictures]:
    """A report on random predictions, with a third of the joint labels unknown."""
    generator = np.random.default_rng(0)
    count = len(label_names)
    labels = np.eye(count, dtype=np.float32)[np.arange(60) % count]
    if not is_single_label:
        labels[generator.random(labels.shape) < 0.3] = np.nan
    probability = generator.random((60, count)).astype(np.float32)
    resamples = patient_resamples(np.arange(60), 20, 0)
    thresholds = None if is_single_label and count > 2 else [0.5] * (1 if is_single_label else count)
    scores = score_arm(label_names, is_single_label, labels, [probability], [thresholds], resamples)
    cohort = {
        "name": "<script>alert(1)</script>",
        "splits": ["test"],
        "images": 60,
        "patients": 60,
        "sha256": "ab" * 32,
    }
    distance = [1.0, 0.9, 1.1]
    measured = ("synthetic_ms_ssim", "real_ms_ssim", "synthetic_feature_distance", "real_feature_distance")
    diversity = [
        {"label": name, "diversity_ratio": 0.5, "feature_distance_ratio": None, "test_feature_distance": None}
        | dict.fromkeys(measured, distance)
        for name in label_names
    ]
    arms = ("real", "synthetic")
    training = {"seed": 0, "curves": {"loss": [0.7, 0.5], "validation_loss": [0.6, 0.65]}, "best_epoch": 1}
    report = {
        "verdict": ["First <b>sentence</b>.", "Second."],
        "is_patient_disjoint": False,
        "shared_patients": ["3 of the 60 patients"],
        "notices": ["a phantom, not patients"],
        "label_names": label_names,
        "is_single_label": is_single_label,
        "images_a_side": 48,
        "tests": {
            "test": cohort
            | {
                "positives": dict.fromkeys(label_names, 20),
                "arms": dict.fromkeys(arms, scores.summary),
                "auc_ratio_to_real": {"synthetic": ratio_summary(scores, scores)},
            }
        },
        "diversity": diversity,
        "trainings": [{"arm": arm} | training for arm in arms],
        "passport": {
            "classifier": {"architecture": "vgg16"},
            "classifier_seeds": [0],
            "cohorts": {"synthetic": cohort, "real": cohort, "validation": None},
            "bootstrap": {"resamples": 20},
            "software": {"keras": "3"},
        },
        "seconds": {"training": 1.0, "this_run": 1.0},
    }
    images = generator.integers(0, 255, (60, 32, 32, 1)).astype(np.uint8)
    predictions = {arm: {"test": [probability]} for arm in arms}
    return plain_json(report), ReportPictures(images, labels, images, labels, {"test": labels}, predictions)


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


@pytest.mark.parametrize(
    ("label_names", "is_single_label"), [(("NORMAL", "PNEUMONIA"), True), (("a", "b", "c"), True), (("a", "b"), False)]
)
def test_the_page_is_whole_and_refers_to_nothing_outside(label_names, is_single_label):
    page = render_html(*make_report(label_names, is_single_label))
    balance = TagBalance()
    balance.feed(page)
    assert balance.open == []
    assert len(balance.addresses) == 4  # ROC curves, training curves and two grids of images
    assert all(address.startswith("data:image/png;base64,") for address in balance.addresses)
    text = re.sub(r"base64,[^']+", "", page)
    assert not re.search(r"https?:|url\(|@import|<script|<link", text)
    for expected in ("real radiographs", "NOT patient-disjoint", "a phantom, not patients", "First &lt;b&gt;sentence"):
        assert expected in text
    assert ("threshold by Youden" in text) == (len(label_names) == 2)
    assert all(name in text for name in label_names)


def test_texts_from_data_are_escaped():
    page = render_html(*make_report(("NORMAL", "a<b & 'c'"), True))
    assert "<script>" not in page and "&lt;script&gt;alert(1)" in page
    assert "a&lt;b &amp; &#x27;c&#x27;" in page and "First &lt;b&gt;sentence" in page


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
