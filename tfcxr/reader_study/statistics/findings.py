"""What do readers see: are they right on some findings and wrong on others, and which images fooled whom?"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import Analysis, Estimate, Table
from tfcxr.reader_study.statistics.crossed_effects import rate_of_readings

MOST = 12
NO_LABEL = "none named"
KINDS = {False: "real", True: "synthetic"}
Rates = Mapping[str, Mapping[str, Estimate]]


def findings(readings: Sequence[Reading]) -> Analysis | None:
    """Correct rates by finding, diagnoses against labels, the images that fooled most readers, and comments.

    An image with two findings counts under both. Of a pair, the findings are those of the synthetic image, and being
    fooled is taking it for the real one. Repeats count in the comments alone. None without readings.
    """
    first = [reading for reading in readings if not reading.repeat_of]
    if not first:
        return None
    by_finding = {label: _correct(_with_label(first, label)) for label in _labels(first)}
    by_block = {
        block: _correct([r for r in first if r.block == block]) for block in sorted({r.block for r in first} - {""})
    }
    by_group = {
        label: {
            group or "no group": rate.estimate
            for group in sorted({reading.group for reading in first})
            if (rate := rate_of_readings([r for r in _with_label(first, label) if r.group == group], _is_correct))
        }
        for label in by_finding
    }
    diagnoses, fooling, comments = _diagnoses(first), most_fooling(first), _comments(readings)
    numbers = {
        "correct_by_finding": by_finding,
        "correct_by_block": by_block,
        "correct_by_finding_and_group": by_group,
        "diagnoses": diagnoses,
        "most_fooling": fooling,
        "comments": comments,
    }
    tables = [
        _rate_table("Correct rates by finding of the image.", "finding", by_finding),
        _rate_table("Correct rates by block of the study.", "block", by_block),
        _rate_table(
            "Correct rates by finding and reader group, real and synthetic images together.", "finding", by_group
        ),
        _rate_table(
            "Diagnoses named, against the labels: share named where the label says so (sensitivity), and not named "
            "where it does not (specificity).",
            "finding",
            diagnoses,
        ),
    ]
    if len({reading.group for reading in first}) < 2:
        del tables[2]
    tables = [table for table in tables if table.rows] + _case_tables(fooling, comments)
    return Analysis("Findings, images and comments", _sentences(by_finding, fooling, comments), tuple(tables), numbers)


def most_fooling(readings: Sequence[Reading], most: int = MOST) -> list[dict[str, Any]]:
    """The cases misjudged by the largest share of their readers; then those by more readers; never those by nobody.

    Being chosen for their errors, their shares would be lower in a new study.

    Returns:
      per case and kind of question: "case", "kind", "is_synthetic", "labels", "wrong" and "answers" (numbers of
      readings), "share", and "fooled" and "not_fooled" (reader keys).
    """
    judged: dict[tuple[str, bool], list[Reading]] = {}
    for reading in readings:
        judged.setdefault((reading.case, reading.kind == "pair"), []).append(reading)
    found: list[dict[str, Any]] = []
    for of_case in judged.values():
        wrong = [reading for reading in of_case if not reading.is_correct]
        if wrong:
            found.append(
                {
                    "case": of_case[0].case,
                    "kind": of_case[0].kind,
                    "is_synthetic": of_case[0].is_synthetic,
                    "labels": list(of_case[0].labels),
                    "wrong": len(wrong),
                    "answers": len(of_case),
                    "share": len(wrong) / len(of_case),
                    "fooled": sorted({reading.reader for reading in wrong}),
                    "not_fooled": sorted({reading.reader for reading in of_case if reading.is_correct}),
                }
            )
    return sorted(found, key=lambda case: (-case["share"], -case["wrong"], case["case"], case["kind"]))[:most]


def _is_correct(reading: Reading) -> bool:
    return reading.is_correct


def _labels(readings: Sequence[Reading]) -> list[str]:
    named = {label for reading in readings for label in reading.labels}
    return sorted(named) + ([NO_LABEL] if any(not reading.labels for reading in readings) else [])


def _with_label(readings: Sequence[Reading], label: str) -> list[Reading]:
    return [reading for reading in readings if (label in reading.labels if label != NO_LABEL else not reading.labels)]


def _correct(readings: Sequence[Reading]) -> dict[str, Estimate]:
    parts = {
        "real": [r for r in readings if r.kind != "pair" and not r.is_synthetic],
        "synthetic": [r for r in readings if r.kind != "pair" and r.is_synthetic],
        "pairs": [r for r in readings if r.kind == "pair"],
    }
    return {name: rate.estimate for name, part in parts.items() if (rate := rate_of_readings(part, _is_correct))}


def _diagnoses(readings: Sequence[Reading]) -> dict[str, dict[str, Estimate]]:
    """Sensitivity and specificity per finding, on real and on synthetic images.

    Only single images have the diagnosis question. A finding counts if images have it as a label and somebody named it
    at least once: a name that nobody chose may not have been on the list.
    """
    single = [reading for reading in readings if reading.kind == "single"]
    named = {diagnosis for reading in single for diagnosis in reading.diagnoses}
    table: dict[str, dict[str, Estimate]] = {}
    for finding in sorted(named & {label for reading in single for label in reading.labels}):
        for is_synthetic, kind in KINDS.items():
            of_kind = [reading for reading in single if reading.is_synthetic == is_synthetic]
            for measure, has_label in (("sensitivity", True), ("specificity", False)):
                part = [reading for reading in of_kind if (finding in reading.labels) == has_label]
                rate = rate_of_readings(part, functools.partial(_names_rightly, finding))
                if rate:
                    table.setdefault(finding, {})[f"{measure}, {kind}"] = rate.estimate
    return table


def _names_rightly(finding: str, reading: Reading) -> bool:
    return (finding in reading.diagnoses) == (finding in reading.labels)


def _comments(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """One entry per answer with a comment: a grid's comment belongs to all its images."""
    answers: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        if reading.comment.strip():
            answers.setdefault((reading.reader, reading.item), []).append(reading)
    return [
        {
            "reader": reader,
            "group": of_answer[0].group,
            "item": item,
            "kind": of_answer[0].kind,
            "cases": [reading.case for reading in of_answer],
            "is_synthetic": [reading.is_synthetic for reading in of_answer],
            "is_correct": [reading.is_correct for reading in of_answer],
            "comment": of_answer[0].comment.strip(),
        }
        for (reader, item), of_answer in answers.items()
    ]


def _rate_table(caption: str, heading: str, split: Rates) -> Table:
    columns = list(dict.fromkeys(name for cells in split.values() for name in cells))
    rows = tuple((name, *(cells.get(column) for column in columns)) for name, cells in split.items())
    return Table(caption, (heading, *columns), rows)


def _case_tables(fooling: Sequence[dict[str, Any]], comments: Sequence[dict[str, Any]]) -> list[Table]:
    tables = []
    if fooling:
        rows: list[tuple[str | int | None, ...]] = [
            (
                case["case"],
                "pair" if case["kind"] == "pair" else KINDS[case["is_synthetic"]],
                ", ".join(case["labels"]),
                f"{case['wrong']} of {case['answers']}",
                ", ".join(case["fooled"]),
            )
            for case in fooling
        ]
        columns = ("case", "truth", "findings", "misjudged", "by")
        tables.append(Table("Images that most readers misjudged.", columns, tuple(rows)))
    if comments:
        told = [
            (
                c["reader"],
                c["kind"],
                ", ".join(c["cases"]),
                f"{sum(c['is_correct'])} of {len(c['cases'])}",
                c["comment"],
            )
            for c in comments
        ]
        columns = ("reader", "question", "cases", "right", "comment")
        tables.append(Table("Comments, with how many of their images were judged right.", columns, tuple(told)))
    return tables


def _sentences(
    by_finding: Rates, fooling: Sequence[dict[str, Any]], comments: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    sentences = []
    recognised = {name: cells["synthetic"].value for name, cells in by_finding.items() if "synthetic" in cells}
    if len(recognised) > 1:
        easiest, hardest = max(recognised, key=recognised.__getitem__), min(recognised, key=recognised.__getitem__)
        sentences.append(
            f"Synthetic images were recognised most often with {easiest} ({100 * recognised[easiest]:.0f} %) and least "
            f"often with {hardest} ({100 * recognised[hardest]:.0f} %); few images "
            f"per finding make such differences uncertain."
        )
    everybody = [case for case in fooling if case["share"] == 1 and case["answers"] > 1]
    if everybody:
        verb = "image was" if len(everybody) == 1 else "images were"
        sentences.append(f"{len(everybody)} {verb} misjudged by every reader.")
    elif not fooling:
        sentences.append("No image was misjudged.")
    if comments:
        sentences.append(f"{len(comments)} answers came with a comment.")
    return tuple(sentences)
