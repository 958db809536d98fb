"""The section of a model card that says what an evaluation found of a cohort which the model generated."""

import re
from collections.abc import Mapping
from typing import Any

from tfcxr.registry import nearest_name
from tfcxr.serving.model_card import LIMITS_HEADING, ModelDescription, markdown_table, one_line

BEGIN, END = "<!-- evaluation: begin -->", "<!-- evaluation: end -->"
MEMORIZATION = "memorization"
NOT_DISJOINT = "> NOT patient-disjoint: the generator or a classifier was trained on patients of the test set.\n\n"
NOT_TESTED = (
    "Not tested: the report holds no memorization result of this cohort. `python -m tfcxr.evaluate "
    "--protocols=memorization` gives one."
)


def evaluation_section(
    report: Mapping[str, Any], sha256: str, description: ModelDescription, cohort: str | None = None
) -> str:
    """The section as Markdown: verdict, headline scores and memorization, without a date or a path.

    Args:
      report: content of report.json.
      sha256: of that file.
      description: of the model.
      cohort: name in the report; the only one that the model generated where None.

    Raises:
      ValueError: the report does not hold the cohort, the model did not generate it, or it generated several.
    """
    name, facts = _own_cohort(report, description, cohort)
    of_protocols = {protocol: found[name] for protocol, found in report["protocols"].items() if name in found}
    verdicts = [findings["verdict"][0] for protocol, findings in of_protocols.items() if protocol != MEMORIZATION]
    memorized = of_protocols.get(MEMORIZATION, {"verdict": [NOT_TESTED]})["verdict"]
    is_disjoint = all(findings["is_patient_disjoint"] for findings in of_protocols.values())
    scores = [_row(row) for row in report["scores"] if row["cohort"] == name and row["is_headline"]]
    provenance, software = facts["provenance"], report["software"]
    generated = [
        f"{fact.replace('_', ' ')} {provenance[fact]}"
        for fact in ("seed", "truncation", "acceptance_rate")
        if fact in provenance
    ]
    rows = [
        ("cohort", ", ".join([name, *generated])),
        ("real images", _real_sets(of_protocols)),
        ("SHA-256 of report.json", sha256),
        ("evaluated with", ", ".join(f"{package} {version}" for package, version in software.items())),
    ]
    header = ("protocol", "score", "of", "value", "95 % interval", "of real images", "images", "better")
    return "\n".join(
        [
            f"{BEGIN}\n## Evaluation\n",
            (NOT_DISJOINT if not is_disjoint else "") + "\n".join(f"- {_text(verdict)}" for verdict in verdicts),
            f"\n{markdown_table(header, scores)}\n" if scores else "",
            "### Memorization\n",
            *(f"- {_text(sentence)}" for sentence in memorized),
            f"\n### What was evaluated\n\n{markdown_table(('', ''), rows)}\n{END}\n",
        ]
    )


def put_section(card: str, section: str) -> str:
    """A model card with the section before its limits, in the place of an earlier one."""
    card = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}\n*", "", card, flags=re.DOTALL)
    head, heading, tail = card.partition(LIMITS_HEADING)
    return f"{head.rstrip()}\n\n{section}\n{heading}{tail}"


def _own_cohort(
    report: Mapping[str, Any], description: ModelDescription, cohort: str | None
) -> tuple[str, Mapping[str, Any]]:
    """Name and facts of the cohort that the section is about."""
    found = _cohorts(report)
    if cohort is not None and cohort not in found:
        raise ValueError(f"the report holds no cohort {cohort!r}; {nearest_name(cohort, found)}")
    weights = {name: facts.get("provenance", {}).get("weights_sha256") for name, facts in found.items()}
    asked = [cohort] if cohort is not None else list(found)
    own = [name for name in asked if weights[name] == description.weights_sha256]
    if not own:
        others = ", ".join(f"{name} has {(weights[name] or 'none')[:12]}" for name in asked)
        raise ValueError(
            f"{description.version_name} generated no cohort of this report: SHA-256 of its weights begins with "
            f"{description.weights_sha256[:12]}, but {others or 'there is no cohort'}; give the model that generated "
            "the cohort, or evaluate one of this model"
        )
    if len(own) > 1:
        raise ValueError(f"{description.version_name} generated {', '.join(own)}; choose one with --cohort")
    return own[0], found[own[0]]


def _cohorts(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Facts of the synthetic cohorts by name; empty where no protocol states them."""
    cohorts: dict[str, Mapping[str, Any]] = {}
    for by_cohort in report["protocols"].values():
        for cohort, findings in by_cohort.items():
            if cohort in report["cohorts"]:
                cohorts[cohort] = findings["cohorts"].get("synthetic") or cohorts.get(cohort, {})
            else:  # a protocol that compares all
                cohorts |= {
                    name: facts for name, facts in findings["cohorts"].items() if facts and name in report["cohorts"]
                }
    return cohorts


def _real_sets(of_protocols: Mapping[str, Mapping[str, Any]]) -> str:
    """Such as "chest_xray_pneumonia, splits train, test"."""
    splits: dict[str, dict[str, None]] = {}  # an ordered set for each data set
    for findings in of_protocols.values():
        for role, facts in findings["cohorts"].items():
            if role != "synthetic" and facts is not None:
                splits.setdefault(facts["name"], {}).update(dict.fromkeys(facts["splits"]))
    return "; ".join(f"{name}, splits {', '.join(of_set)}" for name, of_set in splits.items())


def _row(score: Mapping[str, Any]) -> tuple[Any, ...]:
    measured = [score[field] for field in ("subject", "label", "group", "extractor", "split") if score[field]]
    value, low, high, of_real = (_number(score[field]) for field in ("value", "low", "high", "of_real"))
    better = "as real images" if score["better"] == "real" else score["better"]
    interval = f"{low} to {high}" if low and high else ""
    return score["protocol"], score["metric"], ", ".join(measured), value, interval, of_real, score["images"], better


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _text(sentence: str) -> str:
    """On one line, without markup of the page."""
    return one_line(sentence).replace("<", "&lt;")
