"""Designs a reader study from real and synthetic cohorts: pictures, orders, links, and its power.

    python -m tfcxr.reader_study design --real_dir=records/256 --synthetic_dir=cohorts/cgan/256 --out_dir=runs/readers

By default the study of Segal et al. 2021: six grids of six images, each real with probability .5, and 20 pairs, at 260
px, without a time limit. --dry_run prints the plan and its power and writes nothing. tfcxr/reader_study/README.md says
how the images are blinded.
"""

import dataclasses
import pathlib
import re
from typing import TYPE_CHECKING

from absl import logging

from tfcxr.command_line import Arguments, flag

if TYPE_CHECKING:
    from tfcxr.reader_study.design.design import DesignSettings

KIND_FLAGS = {"grid": "grids", "pair": "pairs", "single": "singles"}
FIRST_EXPOSURE_SECONDS = 0.5  # of HYPE-time, Zhou et al. 2019


@dataclasses.dataclass(frozen=True, kw_only=True)
class DesignArguments(Arguments):
    """Arguments of `design`.

    Attributes:
      real_dir: data folder of radiographs of patients; repeatable.
      synthetic_dir: data folder of generated images; repeatable.
      out_dir: new folder for the study.
      splits: of the real folders; where left out those that no generator was trained on: held_out and test, or else
        validation. Of synthetic folders all splits are used.
      grids: grids of six images ("which are synthetic?") per block.
      pairs: pairs of a real and a synthetic image ("which is real?") per block.
      singles: single images ("is it real?", confidence, diagnosis, marks) per block.
      readers: how many, such as 8, or by group, such as consultant=3,registrar=5.
      training: examples of each kind, shown first and with their solution; they do not count.
      repeats: items that each reader sees a second time, for the agreement with oneself: a share such as .2, or a
        number such as 5.
      blocks: findings, one block each, such as Effusion,Mass; all images of a block have its finding.
      exposure_seconds: how long single images stay visible; no limit where left out.
      staircase: the exposure of single images follows the reader's answers (HYPE-time); it starts at
        --exposure_seconds, .5 where left out.
      display_size: width and height of the pictures, pixels.
      jpeg_quality: all pictures go through JPEG once, at this quality; best that of the files that the real images came
        from, where they were JPEG of the stored size.
      crop: share of the width that is cut off at each side, against letters at the border.
      mask_corners: blacken all four corners, against letters there.
      percentile_window: map each image to its own window, where cohorts differ in brightness.
      title: shown on every page.
      consent_file: text that readers agree to; a general one where left out.
      diagnoses: choices of the diagnosis question of single images.
      expected_rate: true rate of correct answers, for the power.
      reader_spread: standard deviation between readers, probit scale, for the power.
      case_spread: standard deviation between cases, probit scale, for the power.
      seed: of all that is drawn but the links.
      dry_run: print the plan and its power, write nothing.
    """

    real_dir: tuple[str, ...] = flag(is_repeated=True)
    synthetic_dir: tuple[str, ...] = flag(is_repeated=True)
    out_dir: str
    splits: tuple[str, ...] = ()
    grids: int = flag(6, minimum=0)
    pairs: int = flag(20, minimum=0)
    singles: int = flag(0, minimum=0)
    readers: str = "8"
    training: int = flag(1, minimum=0)
    repeats: str = "0"
    blocks: tuple[str, ...] = ()
    exposure_seconds: float | None = flag(None, minimum=0.01, maximum=600)
    staircase: bool = False
    display_size: int = flag(260, minimum=16, maximum=4096)
    jpeg_quality: int = flag(90, minimum=1, maximum=100)
    crop: float = flag(0.0, minimum=0, maximum=0.25)
    mask_corners: bool = False
    percentile_window: bool = False
    title: str = "Real or synthetic?"
    consent_file: str | None = None
    diagnoses: tuple[str, ...] = ()
    expected_rate: float = flag(0.6, minimum=0.5, maximum=0.999)
    reader_spread: float = flag(0.3, minimum=0, maximum=3)
    case_spread: float = flag(0.5, minimum=0, maximum=3)
    seed: int = flag(0, minimum=0)
    dry_run: bool = False


def design(arguments: DesignArguments) -> pathlib.Path | None:
    """Draws a study, writes it, checks it for leaks and prints what was found.

    Returns:
      the study's folder; None for a dry run.

    Raises:
      FileNotFoundError: no such data folder or consent file.
      ValueError: a folder that holds something already, cohorts that could be told apart or have too few images, or
        settings that do not go together.
    """
    from tfcxr.reader_study.design.candidates import check_alike, read_cohort, unseen_candidates
    from tfcxr.reader_study.design.design import draw_study
    from tfcxr.reader_study.design.plan import plan_lines, study_plan
    from tfcxr.reader_study.design.study_folder import write_drawn_study

    settings = _settings(arguments)
    out_dir = pathlib.Path(arguments.out_dir)
    _check_free(out_dir)
    consent = _consent(arguments.consent_file)
    logging.info("listing the images")
    real = [read_cohort(folder, arguments.splits, is_synthetic=False) for folder in arguments.real_dir]
    synthetic = [read_cohort(folder, is_synthetic=True) for folder in arguments.synthetic_dir]
    check_alike([*real, *synthetic])
    generated = [candidate for cohort in synthetic for candidate in cohort.candidates]
    of_patients = [
        candidate
        for cohort in real
        for candidate in unseen_candidates(cohort, synthetic, keeps_seen=bool(arguments.splits))
    ]
    drawn = draw_study(settings, of_patients, generated)
    plan = study_plan(arguments, settings, drawn, [*real, *synthetic])
    print(*plan_lines(plan), sep="\n")
    if arguments.dry_run:
        print("dry run: nothing was written")
        return None
    print(*write_drawn_study(arguments, settings, drawn, [*real, *synthetic], plan, consent), sep="\n")
    print(
        f"wrote {out_dir}; links.csv has each reader's link, key.json says which images are synthetic: keep both secret"
    )
    print(f"next: python -m tfcxr.reader_study serve --study_dir={out_dir}")
    return out_dir


def reader_groups(text: str) -> tuple[tuple[str, int], ...]:
    """Group and number of readers by a text such as "8" or "consultant=3,registrar=5".

    Raises:
      ValueError: another form, no reader, or a group named twice.
    """
    groups: list[tuple[str, int]] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(?:([^=,]+?)\s*=\s*)?([1-9]\d{0,3})\s*", part)
        if not match or (not match[1] and "," in text):
            raise ValueError(
                f"--readers={text} is no number of readers; write a number such as 8, or groups such as "
                "consultant=3,registrar=5"
            )
        groups.append((match[1] or "", int(match[2])))
    names = [name for name, _ in groups]
    if len(set(names)) < len(names):
        raise ValueError(f"--readers={text} names a group twice; add both numbers")
    return tuple(groups)


def repeat_counts(text: str, items: dict[str, int]) -> dict[str, int]:
    """How many items of each kind are seen twice, by a share such as "0.2" or a number such as "5".

    Args:
      text: the flag.
      items: kind -> items in all blocks.

    Raises:
      ValueError: no number, or more than half of the items.
    """
    total = sum(items.values())
    match = re.fullmatch(r"\d+|\d*\.\d+", text.strip())
    wanted = 0 if not match else round(float(text) * total) if "." in text else int(text)
    if not match or wanted > total // 2:
        raise ValueError(
            f"--repeats={text} must be a share from 0 to .5, or a number up to half of the {total} items: what is "
            "repeated must be far from its first showing"
        )
    shares = {kind: wanted * count / max(total, 1) for kind, count in items.items()}
    counts = {kind: int(share) for kind, share in shares.items()}
    for kind in sorted(shares, key=lambda kind: counts[kind] - shares[kind])[: wanted - sum(counts.values())]:
        counts[kind] += 1
    return counts


def _settings(arguments: DesignArguments) -> "DesignSettings":
    from tfcxr.reader_study.design.design import KINDS, DesignSettings

    items: dict[str, int] = {kind: getattr(arguments, KIND_FLAGS[kind]) for kind in KINDS}
    if not any(items.values()):
        raise ValueError("the study has no items; set one of --grids, --pairs and --singles")
    if (arguments.staircase or arguments.exposure_seconds is not None) and not items["single"]:
        raise ValueError(
            "--exposure_seconds and --staircase are of single images; ask for some with --singles, such as --singles=60"
        )
    if len(set(arguments.blocks)) < len(arguments.blocks):
        raise ValueError(f"--blocks={','.join(arguments.blocks)} names a finding twice")
    exposure = arguments.exposure_seconds
    if arguments.staircase and exposure is None:
        exposure = FIRST_EXPOSURE_SECONDS
    blocks = max(1, len(arguments.blocks))
    # A staircase shows an image at another exposure the second time, so that answers do not compare.
    repeatable = {
        kind: count * blocks for kind, count in items.items() if not (kind == "single" and arguments.staircase)
    }
    return DesignSettings(
        items=items,
        training=arguments.training,
        repeats={kind: count for kind, count in repeat_counts(arguments.repeats, repeatable).items() if count},
        blocks=arguments.blocks,
        groups=reader_groups(arguments.readers),
        exposure_seconds=exposure,
        is_staircase=arguments.staircase,
        seed=arguments.seed,
    )


def _check_free(out_dir: pathlib.Path) -> None:
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise ValueError(
            f"{out_dir} is not empty; a study is never written over another one: name a new folder with --out_dir"
        )


def _consent(path: str | None) -> str:
    from tfcxr.reader_study.design.consent_text import CONSENT

    if path is None:
        return CONSENT
    file = pathlib.Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"--consent_file={file} does not exist; leave it out for a general text")
    try:
        text = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"--consent_file={file} is no UTF-8 text; save it as plain text") from error
    if not text:
        raise ValueError(f"--consent_file={file} is empty; readers must know what they agree to")
    return text
