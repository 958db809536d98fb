"""The part of the page of train on synthetic, test on real."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.evaluation import diversity
from tfcxr.evaluation.cohorts import Cohorts
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.metric import ClassDiversity, LabelScore
from tfcxr.evaluation.protocols.tstr_arms import images_of_arm
from tfcxr.evaluation.report import html, plots, score_tables
from tfcxr.evaluation.scores import score_labels
from tfcxr.evaluation.trainings import Training

DIVERSITY_TEXT = """A generator that makes one picture per class can still train a fair classifier. Here two images of
one class are compared. Ratios near 1 mean that synthetic images vary as real ones do; a ratio far below 1 means
collapse."""
INTERVAL_TEXT = """The test patients were resampled with replacement {resamples} times, with all their images, and with
the same draws for every arm and seed. In each resample a score is the mean over the classifier's seeds; the interval is
the middle 95 % of these means. It covers which patients were tested, not the classifier's random start (that is the
range over seeds) nor the choice of training images. A share compares both arms on the same resampled patients."""
SHARED_VALIDATION_TEXT = """Every arm stopped, and chose its threshold, on the same real validation patients, so the
synthetic arm saw them too."""
OWN_VALIDATION_TEXT = """Each arm kept back a share of its own training images (real ones by patient) to stop and to
choose its threshold."""
GAN_TEST_TEXT = """The classifiers trained on real images, on synthetic ones: {auc}, with the interval over images. Near
their score on real patients, labels look as they do in patients; below it, images do not show what they are labelled
with; above it, labels are easier to see than in patients. A generator that copies one clear picture scores high."""


def page_parts(report: dict[str, Any], cohorts: Cohorts, trainings: Mapping[str, Sequence[Training]]) -> list[str]:
    """HTML, of the plain content of report.json."""
    names = report["label_names"]
    grids = [
        f"<h3>{side}</h3>"
        + html.picture(plots.sample_grid(cohort.images, cohort.labels, names), f"{side.lower()} images")
        for side, cohort in (("Synthetic", cohorts.only_synthetic), ("Real", cohorts.real))
    ]
    validation = OWN_VALIDATION_TEXT if cohorts.validation is None else SHARED_VALIDATION_TEXT
    intervals = INTERVAL_TEXT.format(resamples=report["bootstrap"]["resamples"])
    return [
        *([score_tables.tables_of_test_sets(report["tests"])] if len(report["tests"]) > 1 else []),
        *(_test_part(report, split, test.labels, trainings) for split, test in cohorts.tests.items()),
        _gan_test_part(report["gan_test"]),
        f"<h2>Diversity within a class</h2><p>{DIVERSITY_TEXT}</p>",
        diversity.diversity_table(report["diversity"]),
        "<h2>Training curves</h2>",
        "<p class=small>Solid: validation loss. Dashed: training loss. Dot: the epoch that was kept.</p>",
        html.picture(plots.curves_plot(report["trainings"]), "training curves"),
        "<h2>Training images</h2>",
        *grids,
        f"<h2>How it was done</h2><p><strong>Intervals.</strong> {intervals} {html.metric_notes(LabelScore)} "
        f"{html.metric_notes(ClassDiversity)}</p>",
        f"<p><strong>Thresholds.</strong> {validation} No threshold was chosen on test images. Tables of classes and "
        f"confusion are means over seeds, in whole images. <strong>Time.</strong> {report['seconds']:.0f} seconds of "
        "training.</p>",
    ]


def _test_part(
    report: dict[str, Any], split: str, labels: np.ndarray, trainings: Mapping[str, Sequence[Training]]
) -> str:
    test, names, is_single_label = report["tests"][split], report["label_names"], report["is_single_label"]
    arms, columns, headline = test["arms"], score_labels(names, is_single_label), metrics_of(LabelScore)[0]
    title = headline.title if len(columns) == 1 else f"mean {headline.title}"  # it stands in the first label's panel
    legends = {arm: f"{arm} ({title} {html.number(scores[headline.name]['mean'])})" for arm, scores in arms.items()}
    probabilities = {arm: [item.predictions[split] for item in trainings[arm]] for arm in arms}
    positives = ", ".join(f"{count} {html.text(name)}" for name, count in test["positives"].items())
    images = {arm: images_of_arm(arm, report["images_per_side"], report["synthetic_images"]) for arm in arms}
    scored_label = names[columns[0]] if len(columns) == 1 else ""
    return (
        f"<h2>Real patients of {html.text(split)}</h2><p class=small>{test['images']} images of {test['patients']} "
        f"patients of {html.text(test['name'])}; {positives}.</p>"
        + score_tables.arm_table(arms, test["shares_of_real"], images, scored_label)
        + (score_tables.label_tables(arms, [names[column] for column in columns]) if len(columns) > 1 else "")
        + html.picture(plots.roc_plot(names, columns, labels, probabilities, legends), "ROC curves")
        + score_tables.threshold_tables(arms, names, is_single_label)
        + score_tables.group_table(test["groups"])
    )


def _gan_test_part(gan_test: Mapping[str, Any] | None) -> str:
    if not gan_test:
        return ""
    metric = metrics_of(LabelScore)[0]
    by_label = gan_test[f"{metric.name}_by_label"]
    rows = [[html.text(name), html.estimate(summary, metric.format)] for name, summary in by_label.items()]
    value = f"{html.text(metric.title)} {html.estimate(gan_test[metric.name], metric.format)}"
    table = html.table(["label", html.metric_header(metric)], rows) if len(rows) > 1 else ""
    return f"<h2>GAN-test</h2><p>{GAN_TEST_TEXT.format(auc=value)}</p>{table}"
