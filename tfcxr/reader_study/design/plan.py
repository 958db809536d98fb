"""What is planned: settings, cohorts, order, blinding, analysis and power, as the design stores and prints them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcxr.reader_study.design.candidates import Cohort
from tfcxr.reader_study.design.design import GRID_IMAGES, DesignSettings, DrawnStudy
from tfcxr.reader_study.design.pictures import CORNER_SHARE, WINDOW_PERCENTILES
from tfcxr.reader_study.design.power import Skill, power_lines, power_plan

if TYPE_CHECKING:
    from tfcxr.reader_study.commands.design import DesignArguments

NOT_STORED = ("real_dir", "synthetic_dir", "out_dir", "consent_file", "dry_run")  # paths of this machine


def study_plan(
    arguments: "DesignArguments", settings: DesignSettings, drawn: DrawnStudy, cohorts: Sequence[Cohort]
) -> dict[str, Any]:
    """The plan of a study, for `Design.plan`.

    Args:
      arguments: of the command.
      settings: what was drawn by.
      drawn: the study.
      cohorts: all that images were drawn from.

    Returns:
      "settings": flag -> value; "cohorts": where images come from; "items": kind -> how many each reader sees,
      without examples and repeats; "tests": primary outcome -> cases that each reader judges for it; "left_out_copies";
      "order", "blinding" and "analysis": sentences; "power": see `power_plan`.
    """
    blocks = max(1, len(settings.blocks))
    items = {kind: count * blocks for kind, count in settings.items.items() if count}
    tests = _tests(items, settings)
    skill = Skill(arguments.expected_rate, arguments.reader_spread, arguments.case_spread)
    stored = {name: value for name, value in dataclasses.asdict(arguments).items() if name not in NOT_STORED}
    return {
        "settings": {name: list(value) if isinstance(value, tuple) else value for name, value in stored.items()},
        "cohorts": [_cohort(cohort) for cohort in cohorts],
        "items": items,
        "tests": tests,
        "left_out_copies": drawn.left_out,
        "order": _order(settings),
        "blinding": _blinding(arguments),
        "analysis": _analysis(settings),
        "power": power_plan(skill, settings.readers, tests, settings.seed),
    }


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """The plan, for the designer."""
    items = _counted(plan["items"])
    blocks = plan["settings"]["blocks"]
    in_blocks = f" in blocks of {', '.join(blocks)}" if blocks else ""
    lines = [f"{items}{in_blocks} for each of {plan['power']['readers']} readers"]
    for cohort in plan["cohorts"]:
        lines.append(
            f"{'synthetic' if cohort['is_synthetic'] else 'real'}: {cohort['name']}, {cohort['images']} images in "
            f"{', '.join(cohort['splits'])} ({cohort['image_size']} px, {cohort['bits']} bits)"
        )
        if cohort["notice"]:
            lines.append(f"notice of {cohort['name']}: {cohort['notice']}")
    if plan["left_out_copies"]:
        lines.append(f"left out: {plan['left_out_copies']} images whose pixels are those of another one")
    for title in ("order", "blinding"):
        lines += [f"{title}: {sentence}" for sentence in plan[title]]
    return lines + power_lines(plan["power"])


def _counted(counts: Mapping[str, int]) -> str:
    names = {"grid": "grid", "pair": "pair", "single": "single image"}
    return ", ".join(f"{count} {names[kind]}{'' if count == 1 else 's'}" for kind, count in counts.items())


def _tests(items: Mapping[str, int], settings: DesignSettings) -> dict[str, int]:
    """Primary outcome -> cases; about half of the images of grids and single images are of either side."""
    is_timed = settings.exposure_seconds is not None
    images = GRID_IMAGES * items.get("grid", 0) + (0 if is_timed else items.get("single", 0))
    tests = {
        "real called real, and synthetic called synthetic": images // 2,
        "pairs right": items.get("pair", 0),
        "timed images right": items.get("single", 0) if is_timed and not settings.is_staircase else 0,
    }
    return {name: cases for name, cases in tests.items() if cases}


def _cohort(cohort: Cohort) -> dict[str, Any]:
    info = cohort.info
    return {
        "name": info.name,
        "is_synthetic": info.is_synthetic,
        "splits": list(cohort.splits),
        "images": len(cohort.candidates),
        "image_size": info.image_size,
        "bits": info.bits,
        "shards_sha256": info.shards_sha256,
        "notice": info.notice,
        "generator": {
            name: info.provenance[name] for name in ("saved_model", "weights_sha256") if name in info.provenance
        },
    }


def _order(settings: DesignSettings) -> list[str]:
    sentences = [
        "all readers see the same items, in groups of their kind; readers come in twos that go through them in "
        "opposite order, so the mean position of every item over readers is "
        + ("the same" if settings.readers % 2 == 0 else "nearly the same")
    ]
    kinds = [kind for kind, count in settings.items.items() if count]
    if settings.training:
        sentences.append(
            "examples with their solution come first: " + _counted(dict.fromkeys(kinds, settings.training))
        )
    if settings.repeats:
        sentences.append(
            f"each reader sees {_counted(settings.repeats)} again at the end, drawn from the first half of that "
            "reader's items of the kind"
        )
    if settings.is_staircase:
        sentences.append(
            f"single images are shown for {settings.exposure_seconds:g} s at first, then for as long as the reader's "
            "answers say"
        )
    elif settings.exposure_seconds is not None:
        sentences.append(f"single images are shown for {settings.exposure_seconds:g} s")
    return sentences


def _blinding(arguments: "DesignArguments") -> list[str]:
    window = (
        f"each image is mapped to its own window, percentiles {WINDOW_PERCENTILES[0]:g} to {WINDOW_PERCENTILES[1]:g}"
        if arguments.percentile_window
        else "brightness is left as it is"
    )
    sentences = [
        f"real and synthetic images go through the same steps: {window}, JPEG at quality {arguments.jpeg_quality}, one "
        f"resize to {arguments.display_size} px, PNG files of one length with random names, one time and nothing but "
        "pixels"
    ]
    if arguments.crop:
        sentences.append(f"{arguments.crop:.1%} of the width is cut off at each side")
    if arguments.mask_corners:
        sentences.append(f"squares of {CORNER_SHARE:.0%} of the width are black in all corners")
    return sentences


def _analysis(settings: DesignSettings) -> list[str]:
    asked = [kind for kind, count in settings.items.items() if count]
    sentences = []
    if "grid" in asked or "single" in asked:
        sentences.append(
            "Primary: the share of real images called real and of synthetic images called synthetic, each against "
            "chance (.5), one-sided at the 5 % level, with readers and cases as crossed random effects."
        )
    if "pair" in asked:
        sentences.append(
            "Primary: the share of pairs in which the real image was found, against chance (.5), one-sided at the 5 % "
            "level, with readers and cases as crossed random effects."
        )
    sentences.append(
        "For comparison with Segal et al. 2021: the one-sided t-test of the readers' rates against chance, and "
        "HYPE-infinity with its formula."
    )
    if settings.is_staircase:
        sentences.append("HYPE-time: the exposure that readers need (Zhou et al. 2019).")
    if "single" in asked:
        sentences.append("Secondary: the ROC of confidence over readers and cases (Obuchowski and Rockette 1995).")
    sentences.append(
        "Secondary: agreement between readers (Krippendorff's alpha)"
        + (" and of readers with themselves, on the items shown twice" if settings.repeats else "")
        + "; rates by finding, group of readers, response time and position in the study. They are explored, not "
        "tested."
    )
    sentences.append(
        "Examples do not count. The first showing of an item alone counts for rates. No answer and no reader is left "
        "out after the fact; items that a reader did not reach are missing."
    )
    return sentences
