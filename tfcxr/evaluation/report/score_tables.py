"""Tables of a classifier's scores by arm: what `score_arm` gave, one column per metric."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.metric import ConfusionScore, LabelScore
from tfcxr.evaluation.report.html import estimate, explained, metric_header, number, table, text
from tfcxr.evaluation.report.plots import ARM_COLOURS
from tfcxr.evaluation.scores import THRESHOLD_RULES

GROUP_TEXT = (
    "missed more: the share of findings that the classifier misses at its threshold, in the group less in all other "
    "patients (underdiagnosis gap). Intervals of small groups are wide: a difference between groups, or between arms, "
    "is one only where intervals say so."
)
RULE_SUFFIXES = {"at_half": "", "at_youden": ", Youden"}


def arm_table(
    arms: Mapping[str, Any], shares: Mapping[str, Mapping[str, Any]], images: Mapping[str, int], scored_label: str
) -> str:
    """All scores of a test set, one arm per row, and what they mean.

    Args:
      arms: by arm, `ArmScores.summary`.
      shares: by arm, what `shares_of_real` gave.
      images: by arm, how many it was trained on.
      scored_label: the only scored label, or "" where scores are means over labels.
    """
    rules = _rules(arms)
    label_scores = metrics_of(LabelScore)
    has_seeds = any(len(scores[metric.name]["by_seed"]) > 1 for scores in arms.values() for metric in label_scores)
    confusion_scores = [metric for metric in metrics_of(ConfusionScore) if not metric.is_per_class]
    header = ["trained on", "images"]
    for metric in label_scores:
        header += [
            metric_header(metric),
            *(["over seeds"] if has_seeds else []),
            *(["share of real"] if shares else []),
        ]
    header += [f"{text(metric.title)}{RULE_SUFFIXES[rule]}" for rule in rules for metric in confusion_scores]
    rows = []
    for arm, scores in arms.items():
        row = [arm_name(arm), str(images[arm])]
        for metric in label_scores:
            row.append(estimate(scores[metric.name], metric.format))
            if has_seeds:
                row.append(_span(scores[metric.name]["by_seed"], metric.format))
            if shares:
                row.append(estimate(shares[arm][metric.name]) if arm in shares else "")
        row += [estimate(scores[rule][metric.name], metric.format) for rule in rules for metric in confusion_scores]
        rows.append(row)
    means = ", ".join(metric.title for metric in label_scores)
    whose = f"{means} of {scored_label}" if scored_label else f"{means}: means over labels"
    of_real = {metric.name: estimate(arms["real"][metric.name]) for metric in label_scores if "real" in arms}
    meanings = explained([*label_scores, *confusion_scores], of_real)
    notes = [_share_note(metric) for metric in label_scores] if shares else []
    return table(header, rows, f"{whose}; 95 % intervals in brackets") + meanings + "".join(notes)


def label_tables(arms: Mapping[str, Any], label_names: Sequence[str]) -> str:
    """Each `LabelScore` by label, one arm per column."""
    tables = []
    for metric in metrics_of(LabelScore):
        rows = [
            [text(name), *(estimate(arms[arm][f"{metric.name}_by_label"][name], metric.format) for arm in arms)]
            for name in label_names
        ]
        tables.append(table([metric_header(metric), *map(arm_name, arms)], rows))
    return "".join(tables)


def threshold_tables(arms: Mapping[str, Any], label_names: Sequence[str], is_single_label: bool) -> str:
    """Scores per class and confusion matrices, for each threshold rule."""
    parts = []
    for rule in _rules(arms):
        parts += [f"<h3>Classes at {THRESHOLD_RULES[rule]}</h3>", _class_table(arms, rule)]
        parts.append(_confusion_tables(arms, rule, label_names, is_single_label))
    parts.append(explained(metric for metric in metrics_of(ConfusionScore) if metric.is_per_class))
    return "".join(parts)


def tables_of_test_sets(tests: Mapping[str, Mapping[str, Any]]) -> str:
    """All test sets side by side: means over classes, accuracy and the like, at each threshold rule.

    Args:
      tests: by test set, what `score_test` gave.
    """
    confusion_scores, parts = metrics_of(ConfusionScore), ["<h2>All test sets</h2>"]
    by_class = [metric for metric in confusion_scores if metric.is_per_class and metric.over_classes == "mean"]
    of_all = [metric for metric in confusion_scores if not metric.is_per_class]
    header = [
        "test set",
        "data set",
        "images",
        "trained on",
        *(f"macro {metric_header(metric)}" for metric in by_class),
    ]
    header += [metric_header(metric) for metric in (*of_all, *metrics_of(LabelScore))]
    for rule in _rules(next(iter(tests.values()))["arms"]):
        rows = [
            [
                *(text(value) for value in (name, test["name"], test["images"])),
                arm_name(arm),
                *(estimate(scores[rule]["macro"][metric.name], metric.format) for metric in by_class),
                *(estimate(scores[rule][metric.name], metric.format) for metric in of_all),
                *(estimate(scores[metric.name], metric.format) for metric in metrics_of(LabelScore)),
            ]
            for name, test in tests.items()
            for arm, scores in test["arms"].items()
        ]
        parts.append(table(header, rows, f"{THRESHOLD_RULES[rule]}; 95 % intervals in brackets"))
    return "".join(parts)


def group_table(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """The first `LabelScore` and the underdiagnosis gap of each group of patients, a column per arm; "" without groups.

    Args:
      groups: by group, such as "sex=F", what `score_test` gave.
    """
    if not groups:
        return ""
    metric, arms = metrics_of(LabelScore)[0], list(next(iter(groups.values()))["arms"])
    header = ["group", "images", "patients", *(f"{metric_header(metric)} {arm_name(arm)}" for arm in arms)]
    header += [f"missed more &darr; {arm_name(arm)}" for arm in arms]
    rows = [
        [
            text(group),
            *(str(found[name]) for name in ("images", "patients")),
            *(estimate(found["arms"][arm][metric.name], metric.format) for arm in arms),
            *(estimate(found["underdiagnosis"][arm], "+.3f") for arm in arms),
        ]
        for group, found in groups.items()
    ]
    return f"<h3>By group of patients</h3>{table(header, rows)}<p class=small>{text(GROUP_TEXT)}</p>"


def arm_name(arm: str) -> str:
    """An arm in its colour."""
    return f"<span style='color:{ARM_COLOURS[arm]};font-weight:600'>{text(arm)}</span>"


def _rules(arms: Mapping[str, Any]) -> list[str]:
    return [rule for rule in THRESHOLD_RULES if all(rule in scores for scores in arms.values())]


def _share_note(metric: LabelScore) -> str:
    above = f"{metric.title} - {metric.chance:g}" if metric.chance else metric.title
    return (
        f"<p class=small><strong>share of real</strong>: ({text(above)}) of the row / ({text(above)}) of the row real, "
        "on the same resampled patients: 0 is chance, 1 as much as real images teach. A dash where the row real is not "
        f"clearly above chance (its interval begins below {metric.clear_from:g}).</p>"
    )


def _class_table(arms: Mapping[str, Any], rule: str) -> str:
    """One class per row, then all; a column per metric and arm, or one where all arms have the same values."""
    classes = [row["label"] for row in next(iter(arms.values()))[rule]["per_class"]]
    header, columns = ["class"], [[*map(text, classes), "macro mean; sum of support"]]
    for metric in metrics_of(ConfusionScore):
        if metric.is_per_class:
            of_arms = {arm: _class_cells(metric, scores[rule]) for arm, scores in arms.items()}
            if len(arms) > 1 and len(set(map(tuple, of_arms.values()))) == 1:
                header.append(text(metric.title))
                columns.append(next(iter(of_arms.values())))
            else:
                header += [f"{text(metric.title)} {arm_name(arm)}" for arm in arms]
                columns += of_arms.values()
    return table(header, zip(*columns, strict=True))


def _class_cells(metric: ConfusionScore, scores: Mapping[str, Any]) -> list[str]:
    """Of each class and of all: a sum alone, or a value with its interval."""
    rows = scores["per_class"]
    if metric.over_classes == "sum":
        return [
            number(value, metric.format)
            for value in (*(row[metric.name] for row in rows), scores["macro"][metric.name]["mean"])
        ]
    classes = ({"mean": row[metric.name], "interval": row["intervals"][metric.name]} for row in rows)
    return [estimate(summary, metric.format) for summary in (*classes, scores["macro"][metric.name])]


def _confusion_tables(arms: Mapping[str, Any], rule: str, label_names: Sequence[str], is_single_label: bool) -> str:
    """One small table per arm: exclusive labels against each other, or two rows for each of joint labels."""
    tables = []
    for arm, scores in arms.items():
        confusion = scores[rule]["confusion"]
        if is_single_label:
            classes, rows = list(label_names), dict(zip(label_names, confusion["labels"], strict=True))
        else:
            classes = ["yes", "no"]
            rows = {
                f"{name}: {answer}": matrix[index][::-1]
                for name, matrix in confusion.items()
                for answer, index in (("yes", 1), ("no", 0))
            }
        body = "".join(f"<tr><td>{text(true)}</td>{_tinted(arm, counts)}</tr>" for true, counts in rows.items())
        head = "".join(f"<th>{text(predicted)}</th>" for predicted in classes)
        tables.append(
            f"<table class=confusion><caption>{arm_name(arm)}: true in rows, predicted above</caption>"
            f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
        )
    return f"<div class=side>{''.join(tables)}</div>"


def _tinted(arm: str, counts: Sequence[float]) -> str:
    """Cells of images, whole numbers, the darker the more of their row."""
    total = sum(counts) or 1.0
    return "".join(f"<td style='background:{_tint(arm, count / total)}'>{count:.0f}</td>" for count in counts)


def _tint(arm: str, share: float) -> str:
    red, green, blue = (int(ARM_COLOURS[arm][index : index + 2], 16) for index in (1, 3, 5))
    return f"rgba({red},{green},{blue},{0.55 * share:.2f})"


def _span(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return f"{number(min(known), form)} to {number(max(known), form)}" if known else number(None)
