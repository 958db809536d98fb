"""The frame of a report for people: one HTML file with its pictures inside, and the parts that protocols build it from.

It refers to nothing outside itself, so it can be mailed and kept. What comes from data is escaped by `text`.
"""

import base64
import html as escaping
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfcxr.evaluation.metrics import METRICS, metrics_of
from tfcxr.evaluation.metrics.metric import Metric
from tfcxr.evaluation.report.score import Score

PHANTOM = "PHANTOM, NOT PATIENTS"  # begins the notice of computed radiographs
ARROWS = {"higher": " &uarr;", "lower": " &darr;", "real": ""}  # to where a metric is better
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 1040px; margin: 2em auto; padding: 0 1.2em; }
h1 { font-size: 1.5em; margin-bottom: .2em } section { margin-top: 3em } h3 { margin-top: 1.6em }
h2 { margin-top: 2.2em; border-bottom: 1px solid #d8dee4 }
.verdict { font-size: 1.15em; background: #f1f6f8; border-left: 5px solid #1f6f8b; padding: .8em 1.1em; margin: 1em 0 }
.alarm { background: #fdecea; border-left: 5px solid #b3261e; padding: .8em 1.1em; margin: 1em 0 }
.note { background: #fff8e5; border-left: 5px solid #c99a2e; padding: .6em 1.1em; margin: 1em 0 }
.verdict h2 { margin: 0; border: 0; font-size: 1em }
.verdict p, .alarm p, .note p { margin: .3em 0 }
table { border-collapse: collapse; margin: .8em 0 } caption { text-align: left; color: #57636f; padding-bottom: .3em }
th, td { padding: .28em .8em; border-bottom: 1px solid #e4e8ec; text-align: right; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left } thead th { border-bottom: 2px solid #b9c2cb }
.interval { color: #57636f; font-size: .88em; display: block; white-space: nowrap } p .interval { display: inline }
.side { display: flex; flex-wrap: wrap; gap: 0 2.4em }
img { max-width: 100%; height: auto } code { font-size: .85em; overflow-wrap: anywhere }
.wide { overflow-x: auto }
.words th, .words td { text-align: left; vertical-align: top }
.small { color: #57636f; font-size: .92em } .small p { margin: .15em 0 }
.confusion { font-size: .82em; line-height: 1.25 } .confusion th, .confusion td { padding: .1em .6em }
"""


def page(
    title: str,
    verdicts: Mapping[str, Mapping[str, str]],
    shared_patients: Sequence[str],
    head: Sequence[str],
    notices: Sequence[str],
    sections: Iterable[str],
) -> str:
    """The whole file; all sentences are text.

    Args:
      title: of the page.
      verdicts: cohort -> title of a protocol -> sentence; the first of each cohort is bold.
      shared_patients: sentences on patients seen in training and testing alike.
      head: HTML of what is seen first: pictures and one table.
      notices: sentences that a reader must see.
      sections: HTML of the details.
    """
    body = [
        f"<h1>{text(title)}</h1>",
        _alarm(shared_patients),
        *(_verdict(name if len(verdicts) > 1 else "", sentences) for name, sentences in verdicts.items()),
        *head,
        _notes(notices),
        *sections,
    ]
    return frame(title, body)


def frame(title: str, body: Iterable[str]) -> str:
    """A file of HTML parts in the style of all our pages; the title is text."""
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{text(title)}</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def headline_table(scores: Iterable[tuple[str, Iterable[Score]]]) -> str:
    """One row per headline score and one column per cohort, beside what real images have; "" without any.

    Args:
      scores: pairs of a cohort's name and its scores.
    """
    by_row: dict[tuple[str, ...], dict[str, Score]] = {}
    for cohort, of_cohort in scores:
        for score in of_cohort:
            if score.is_headline:
                seen_by = f"by {score.extractor}" if score.extractor else ""
                where = ", ".join(filter(None, (score.subject, seen_by, score.split)))
                by_row.setdefault((score.metric, where, score.better), {})[cohort] = score
    if not by_row:
        return ""
    cohorts = list(dict.fromkeys(cohort for row in by_row.values() for cohort in row))
    rows = []
    for (metric, where, better), row in by_row.items():
        name = METRICS[metric].title if metric in METRICS else metric.replace("_", " ")
        of_real = number(next(iter(row.values())).of_real, ".3g")
        values = [_score_cell(row[cohort]) if cohort in row else "" for cohort in cohorts]
        rows.append([f"{text(name)}{ARROWS[better]} <span class=interval>{text(where)}</span>", of_real, *values])
    caption = "95 % intervals in brackets; an arrow points to where it is better"
    return table(["", "real images", *map(text, cohorts)], rows, caption)


def _score_cell(score: Score) -> str:
    if math.isfinite(score.low):
        return estimate({"mean": score.value, "interval": (score.low, score.high)}, ".3g")
    return number(score.value, ".3g")


def section(
    title: str, introduction: str, parts: Iterable[str], cohorts: Mapping[str, Mapping[str, Any] | None]
) -> str:
    """The part of one protocol; the introduction is HTML, and the cohorts are facts by role."""
    rows = [
        [
            *(text(value) for value in (role, cohort["name"], ", ".join(cohort["splits"]), cohort["images"])),
            text(cohort["patients"] or ""),
            f"<code>{text(cohort['sha256'])}</code>",
        ]
        for role, cohort in cohorts.items()
        if cohort
    ]
    header = ["role", "data set", "splits", "images", "patients", "SHA-256 over the shards' SHA-256s"]
    body = "".join(parts) + table(header, rows)
    return f"<section><h1>{text(title)}</h1><p class=small>{introduction}</p>{body}</section>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table of HTML cells; the caption is text."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption>{text(caption)}</caption>" if caption else ""
    return f"<div class=wide><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def settings_table(settings: Mapping[str, Any]) -> str:
    """One setting per row."""
    return table(["setting", "value"], [[text(key), f"<code>{text(value)}</code>"] for key, value in settings.items()])


def number(value: float | None, form: str = ".3f") -> str:
    """A value, or a dash where there is none."""
    return "&ndash;" if value is None or not math.isfinite(value) else format(value, form)


def estimate(summary: Mapping[str, Any] | None, form: str = ".3f") -> str:
    """The mean of {"mean", "interval"} with its interval behind, or a dash."""
    if not summary or number(summary["mean"]) == number(None):
        return number(None)
    low, high = summary["interval"]
    return f"{number(summary['mean'], form)} <span class=interval>[{number(low, form)}, {number(high, form)}]</span>"


def metric_header(metric: Metric) -> str:
    """A metric's title, with an arrow to where it is better."""
    return text(metric.title) + ARROWS[metric.better]


def sentences(lines: Iterable[str]) -> str:
    """A paragraph of each."""
    return "".join(f"<p>{text(line)}</p>" for line in lines)


def explained(metrics: Iterable[Metric], of_real: Mapping[str, str] | None = None) -> str:
    """A line under a table for each metric in it: what it means, and what real images score.

    Args:
      metrics: in the order of the columns.
      of_real: by a metric's name, HTML of its value of real images against real ones, where that is known.
    """
    lines = []
    for metric in metrics:
        value = (of_real or {}).get(metric.name)
        real = f" Real against real: {value}." if value else ""
        lines.append(f"<p><strong>{text(metric.title)}</strong>: {text(metric.meaning)}{real}</p>")
    return f"<div class=small>{''.join(lines)}</div>"


def metric_notes(kind: type[Metric]) -> str:
    """The notes of all metrics of a kind."""
    return text(" ".join(metric.note for metric in metrics_of(kind) if metric.note))


def picture(png: bytes, description: str) -> str:
    """A picture inside the page."""
    return f"<p><img alt='{text(description)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'></p>"


def text(value: Any) -> str:
    """`value` as HTML that shows it letter by letter."""
    return escaping.escape(str(value))


def _verdict(name: str, said: Mapping[str, str]) -> str:
    """The box of a cohort; its name is left out where there is only one."""
    name = f"<h2>{text(name)}</h2>" if name else ""
    first, *rest = (f"<span class=small>{text(title)}.</span> {text(sentence)}" for title, sentence in said.items())
    more = "".join(f"<p>{line}</p>" for line in rest)
    return f"<div class=verdict>{name}<p><strong>{first}</strong></p>{more}</div>"


def _alarm(shared_patients: Sequence[str]) -> str:
    if not shared_patients:
        return ""
    lines = "".join(f"<p>{text(sentence)}.</p>" for sentence in shared_patients)
    headline = "NOT patient-disjoint: these numbers are no estimate for new patients."
    return f"<div class=alarm><p><strong>{headline}</strong></p>{lines}</div>"


def _notes(notices: Sequence[str]) -> str:
    is_drawn = any(PHANTOM in notice for notice in notices)
    of_real = (
        [] if is_drawn else ["This report shows real radiographs. Share it only as the licence of the data allows"]
    )
    lines = [*of_real, *notices]
    sentences = "".join(f"<p>{text(_capitalised(line.removesuffix('.')))}.</p>" for line in lines)
    return f"<div class=note>{sentences}</div>"


def _capitalised(sentence: str) -> str:
    """With a capital where it begins with a word; names, flags and paths stay as they are."""
    return sentence[:1].upper() + sentence[1:] if sentence.split(" ")[0].isalpha() else sentence
