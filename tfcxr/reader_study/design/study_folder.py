"""Writes a drawn study to its folder, whole or not at all, and checks it for leaks."""

import csv
import dataclasses
import io
import json
import pathlib
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcxr.data.atomic import atomic_path, write_atomically
from tfcxr.reader_study.design.candidates import Cohort
from tfcxr.reader_study.design.design import DesignSettings, DrawnStudy, study_design
from tfcxr.reader_study.design.image_features import JPEG_BLOCK
from tfcxr.reader_study.design.leaks import FOLDS, check_study
from tfcxr.reader_study.design.pictures import PictureSettings, display_pixels, write_pictures
from tfcxr.reader_study.design_file import IMAGES_FOLDER, LINKS_FILE, write_study

if TYPE_CHECKING:
    from tfcxr.reader_study.commands.design import DesignArguments

LEAKS_FILE = "leaks.json"
TOKEN_BYTES = 24


def write_drawn_study(
    arguments: "DesignArguments",
    settings: DesignSettings,
    drawn: DrawnStudy,
    cohorts: Sequence[Cohort],
    plan: dict[str, Any],
    consent: str,
) -> list[str]:
    """Writes all files of a study: pictures, design, key, links, and what the check for leaks found.

    Args:
      arguments: of the command.
      settings: what was drawn by.
      drawn: the study.
      cohorts: all that images were drawn from.
      plan: see `study_plan`.
      consent: text that readers agree to.

    Returns:
      what the check for leaks found, in words.

    Raises:
      ValueError: a damaged record.
    """
    picture_settings = PictureSettings(
        arguments.display_size,
        arguments.jpeg_quality,
        arguments.crop,
        arguments.mask_corners,
        arguments.percentile_window,
    )
    by_folder = {cohort.data_dir: cohort for cohort in cohorts}

    def picture_of(image: str) -> np.ndarray:
        candidate = drawn.images[image]
        return display_pixels(by_folder[candidate.shard.parent].image(candidate), picture_settings)

    with atomic_path(arguments.out_dir) as folder:
        folder.mkdir()
        checksums = write_pictures(folder / IMAGES_FOLDER, drawn.images, picture_of)
        tokens = {reader: secrets.token_urlsafe(TOKEN_BYTES) for reader in drawn.orders}
        _write_links(folder / LINKS_FILE, tokens, drawn.groups)
        design, key = study_design(
            drawn,
            settings,
            tokens,
            checksums,
            title=arguments.title,
            consent=consent,
            diagnoses=arguments.diagnoses,
            display_size=arguments.display_size,
            plan=plan,
        )
        write_study(folder, design, key)
        synthetic = sum(drawn.is_synthetic.values())
        if min(synthetic, len(key) - synthetic) < FOLDS:
            return ["too few images to check the study for leaks"]
        stored_pixels = cohorts[0].info.image_size
        pitch = JPEG_BLOCK * arguments.display_size / (stored_pixels - 2 * round(arguments.crop * stored_pixels))
        report = check_study(folder, design, key, pitch)
        _write_secret(folder / LEAKS_FILE, _leaks_text(dataclasses.asdict(report)))
        return report.sentences


def _write_links(path: pathlib.Path, tokens: Mapping[str, str], groups: Mapping[str, str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("reader", "group", "path"))
    writer.writerows((reader, groups[reader], f"/r/{token}") for reader, token in tokens.items())
    _write_secret(path, text.getvalue())


def _write_secret(path: pathlib.Path, text: str) -> None:
    path.touch(mode=0o600)
    write_atomically(path, text)
    path.chmod(0o600)


def _leaks_text(report: Mapping[str, Any]) -> str:
    plain = {
        name: [
            {field: None if isinstance(value, float) and np.isnan(value) else value for field, value in leak.items()}
            for leak in leaks
        ]
        for name, leaks in report.items()
    }
    return json.dumps(plain, indent=1) + "\n"
