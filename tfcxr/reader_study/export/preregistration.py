"""The pre-registration of a study: its design and the analysis planned for it, as Markdown, with checksums.

Written before the first answer and deposited where its date is kept, it shows that neither was chosen by the results.
"""

import collections
import datetime
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tfcxr
from tfcxr.data.atomic import write_atomically
from tfcxr.reader_study.answers import AnswerStore
from tfcxr.reader_study.design_file import ANSWERS_FILE, KEY_FILE, Design, read_design, read_key

PREREGISTRATION_FILE = "preregistration.md"
TASKS = {
    "grid": "a grid: each image is called real or synthetic",
    "pair": "a pair of a real and a synthetic image: the real one is chosen",
    "single": "a single image: real or synthetic",
}
RATES = (
    "Correct rates: y_rc = rate + R_r + C_c + E_rc with random readers R and cases C; variance components by moments, "
    "Satterthwaite's degrees of freedom, a 95 % interval on the logit scale. Chance is .5."
)
FORMULAS = {
    "image": (
        RATES,
        "HYPE-infinity = (share of real images called synthetic + share of synthetic images called real) / 2 (Zhou et "
        "al. 2019).",
        "Agreement: Krippendorff's alpha = 1 - observed / expected disagreement; Cohen's kappa = (p_o - p_e) / "
        "(1 - p_e) between two readers, and of a reader with the repeats.",
    ),
    "pair": (RATES, "Of pairs, the case is the synthetic image."),
    "single": (
        "Confidence: area under the ROC curve of the grades -5 to 5 averaged over readers, interval by Obuchowski & "
        "Rockette with DeLong's covariances and Hillis' degrees of freedom.",
    ),
    "staircase": ("HYPE-time: the exposure at which a reader's answers settle (Zhou et al. 2019).",),
}


def write_preregistration(folder: pathlib.Path, out_dir: pathlib.Path) -> tuple[pathlib.Path, int]:
    """Writes preregistration.md.

    Returns:
      Its path, and how many rows of answers there were already; above 0, the text says so first.

    Raises:
      FileNotFoundError: no study in `folder`.
      ValueError: the file is in `out_dir` already, or a damaged or changed study.
    """
    path = out_dir / PREREGISTRATION_FILE
    if path.exists():
        raise ValueError(f"{path} exists, and a pre-registration is never overwritten; name another --out_dir")
    design = read_design(folder)
    read_key(folder, design)  # refuses one that was changed
    answers = 0
    if (folder / ANSWERS_FILE).is_file():
        with AnswerStore(folder, design) as store:
            answers = len(store.rows())
    key_sha256 = hashlib.sha256((folder / KEY_FILE).read_bytes()).hexdigest()
    now = datetime.datetime.now(datetime.timezone.utc)
    write_atomically(path, preregistration(design, key_sha256, answers, now))
    return path, answers


def preregistration(design: Design, key_sha256: str, answers: int, written: datetime.datetime) -> str:
    """The text.

    Args:
      design: of the study.
      key_sha256: of key.json, hexadecimal; it commits to the key without telling it.
      answers: rows that are stored already.
      written: time in UTC.
    """
    counted = [item for item in design.items.values() if not item.is_training and not item.repeat_of]
    kinds = [kind for kind in TASKS if any(item.kind == kind for item in counted)]
    plan = design.plan
    warning = (
        f"**Written after {answers} rows of answers had been stored: this is not a pre-registration.**"
        if answers
        else "No answer had been stored when this was written."
    )
    sections: list[tuple[str, Iterable[str]]] = [
        ("Hypotheses", _hypotheses(kinds)),
        ("Readers", _readers(design)),
        ("Items", _items(design)),
        ("Images", _images(plan)),
        ("Order and blinding", _order(plan)),
        ("Exclusion", _exclusion(design)),
        ("Outcomes", _outcomes(plan, kinds)),
        ("Formulas", _formulas(design, kinds)),
        ("Power", _power(plan.get("power"))),
        ("Stopping rule", [_stopping(plan)]),
        ("Settings", _settings(plan.get("settings"))),
        ("Seed and checksums", _checksums(design, key_sha256)),
    ]
    text = f"# Pre-registration: {design.title}\n\n{warning} {written:%Y-%m-%d %H:%M} UTC, tfcxr {tfcxr.__version__}.\n"
    for title, lines in sections:
        if lines := list(lines):
            text += f"\n## {title}\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"
    return text


def _hypotheses(kinds: Sequence[str]) -> Iterable[str]:
    if "grid" in kinds or "single" in kinds:
        yield "Readers call real images real more often than by chance (rate above .5)."
        yield "Readers call synthetic images synthetic more often than by chance (rate above .5)."
    if "pair" in kinds:
        yield "Readers find the real image of a pair more often than by chance (rate above .5)."
    yield "Null hypothesis of each: the rate is .5 or less, so readers cannot tell synthetic from real images."


def _readers(design: Design) -> Iterable[str]:
    groups = collections.Counter(reader.group for reader in design.readers.values())
    named = ", ".join(f"{count} {group}" for group, count in sorted(groups.items()) if group)
    yield f"{len(design.readers)} readers{f' ({named})' if named else ''}; each has a link of their own and no account."
    yield "Readers consent before the first image, to the text in design.json."


def _items(design: Design) -> Iterable[str]:
    for kind, task in TASKS.items():
        items = [item for item in design.items.values() if item.kind == kind and not item.is_training]
        counted = [item for item in items if not item.repeat_of]
        if counted:
            images = f" ({sum(len(item.images) for item in counted)} images)" if kind == "grid" else ""
            repeats = len(items) - len(counted)
            again = f"; shown again for agreement within readers: {repeats}" if repeats else ""
            yield f"{len(counted)} x {task}{images}{_exposure(counted)}{again}."
    if training := [item for item in design.items.values() if item.is_training]:
        yield f"Training examples, shown first with their solution: {len(training)}."
    if blocks := sorted({item.block for item in design.items.values()} - {""}):
        yield f"Blocks by finding: {', '.join(blocks)}."
    if design.diagnoses:
        yield f"Findings offered for single images: {', '.join(design.diagnoses)}."
    yield f"Images are shown at {design.display_size} x {design.display_size} pixels."


def _exposure(items: Sequence[Any]) -> str:
    if any(item.is_staircase for item in items):
        return ", for a time that follows the reader's own answers (staircase)"
    times = sorted({item.exposure_seconds for item in items if item.exposure_seconds is not None})
    return f", visible for {', '.join(f'{time:g}' for time in times)} s" if times else ", without a time limit"


def _images(plan: Mapping[str, Any]) -> Iterable[str]:
    for cohort in plan.get("cohorts", ()):
        kind = "Synthetic" if cohort.get("is_synthetic") else "Real"
        facts = {name: value for name, value in cohort.items() if name not in ("is_synthetic", "name") and value}
        yield f"{kind}: {cohort.get('name', 'unnamed')}; {_text(facts)}."


def _order(plan: Mapping[str, Any]) -> Iterable[str]:
    yield from (_sentence(line) for line in plan.get("order", ()))
    yield from (_sentence(line) for line in plan.get("blinding", ()))
    yield "What readers receive names images by random keys; which are synthetic stands in a file that is not served."
    yield "The analyses are those of the tfcxr version named above."


def _exclusion(design: Design) -> Iterable[str]:
    yield "Training examples do not count."
    if any(item.repeat_of for item in design.items.values()):
        yield "Repeats count for agreement within readers alone."
    yield "The final answer to an item counts and cannot be changed. Items without one are missing, not replaced."
    yield "Answers whose response time is unknown count, but not in analyses of time. No reader is left out by results."


def _outcomes(plan: Mapping[str, Any], kinds: Sequence[str]) -> Iterable[str]:
    if planned := plan.get("analysis"):
        yield from (planned,) if isinstance(planned, str) else planned
        return
    if "grid" in kinds or "single" in kinds:
        yield "Primary: rates of real images called real and synthetic ones called synthetic, one-sided, level .05."
    if "pair" in kinds:
        yield "Primary: rate of pairs in which the real image is found, one-sided, level .05."
    secondary = ["HYPE-infinity"] if "grid" in kinds or "single" in kinds else []
    secondary += ["confidence"] if "single" in kinds else []
    secondary += ["agreement", "findings", "groups of readers", "time", "learning"]
    yield f"Secondary, not tested: {', '.join(secondary)}."


def _formulas(design: Design, kinds: Sequence[str]) -> Iterable[str]:
    asked = ["image"] if {"grid", "single"} & set(kinds) else []
    asked += [name for name in ("pair", "single") if name in kinds]
    asked += ["staircase"] if any(item.is_staircase for item in design.items.values()) else []
    yield from dict.fromkeys(line for name in asked for line in FORMULAS[name])
    yield "One-sided t-test of the readers' rates against .5, for comparison with Segal et al. 2021."


def _power(power: Any) -> Iterable[str]:
    if not isinstance(power, Mapping):
        if power:
            yield _text(power)
        return
    yield from (f"{name}: {_text(value)}" for name, value in power.items() if name != "kinds")
    for kind, found in power.get("kinds", {}).items():
        yield f"{kind}: {_text({name: value for name, value in found.items() if name != 'table'})}"


def _stopping(plan: Mapping[str, Any]) -> str:
    default = "The study ends when every reader has answered every item. Correct rates are not looked at before."
    return str(plan.get("stopping_rule", default))


def _settings(settings: Any) -> Iterable[str]:
    if isinstance(settings, Mapping):
        yield from (f"{name}: {_text(value)}" for name, value in settings.items())


def _checksums(design: Design, key_sha256: str) -> Iterable[str]:
    yield f"Seed of all that was drawn: {design.seed}"
    yield f"Design (SHA-256 of its canonical JSON, as in design.json): {design.checksum}"
    yield f"Key (SHA-256 of key.json): {key_sha256}"
    sums = json.dumps(design.image_sha256, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(sums.encode()).hexdigest()
    yield f"{len(design.image_sha256)} images (SHA-256 of their sorted JSON list of checksums): {digest}"


def _sentence(line: str) -> str:
    return line[:1].upper() + line[1:].rstrip(".") + "."


def _text(value: Any) -> str:
    """A setting for people: nested values in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return "none" if value is None or value == "" else str(value)
