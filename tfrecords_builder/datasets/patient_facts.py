"""Age, sex and view as data sets write them -> the values that a record holds."""

import math
import re
from collections.abc import Sequence

from tfcxr.registry import nearest_name

OLDEST = 120.0  # years; published tables hold ages such as 411, which are slips of the pen

_AGE = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*([YMWD]?)")
_YEAR = re.compile(r"((?:18|19|20)[0-9]{2})(?:[0-9]{4}|-[0-9]{2}-[0-9]{2}.*)?(?:[.,]0*)?$")  # a year or a date
_ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+")
_UNITS_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_SEXES = {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}
_SPELLINGS = {
    "PA": ["PA"],
    "AP": ["AP", "AP SUPINE", "AP HORIZONTAL", "AP SEMI ERECT", "AP ERECT", "SUPINE AP", "ERECT AP", "PORTABLE AP",
           "AP PORTABLE"],
    "LATERAL": ["LATERAL", "L", "LL", "RL", "LLAT", "LEFT LATERAL", "RIGHT LATERAL", "LAT"],
}  # fmt: skip
_VIEWS = {spelling: view for view, spellings in _SPELLINGS.items() for spelling in spellings}


def parse_age(text: str) -> float:
    """Years of "58", "58.0", "58,5", "058Y", "011M", "008W" or "003D"; NaN for anything else, and above 120 years."""
    years = written_age(text)
    return math.nan if years > OLDEST else years


def written_age(text: str) -> float:
    """As `parse_age`, but an impossible age is given as it is written, so that it can be counted."""
    match = _AGE.fullmatch(text.strip().upper())
    return float(match.group(1).replace(",", ".")) / _UNITS_PER_YEAR[match.group(2)] if match else math.nan


def parse_sex(text: str) -> str:
    """ "F" for F or female, "M" for M or male, in large or small letters; "" for anything else."""
    return _SEXES.get(text.strip().upper(), "")


def parse_view(text: str) -> str:
    """ "PA", "AP" or "LATERAL" for the usual spellings, such as "AP Supine", "ap_erect" or "LL"; "" for others.

    "Frontal" says neither PA nor AP, and oblique views are none of the three: both give "".
    """
    return _VIEWS.get(" ".join(re.split(r"[\s_\-]+", text.strip().upper())), "")


def age_in_year(birth_year: str, study_date: str) -> float | None:
    """Years from "1930.0" to the year of "20140915"; NaN where one is no such text, None for an impossible age."""
    birth, study = _YEAR.match(birth_year.strip()), _YEAR.match(study_date.strip())
    if not birth or not study:
        return math.nan
    years = float(study.group(1)) - float(birth.group(1))
    return years if 0 <= years <= OLDEST else None


def is_rounded_number(text: str) -> bool:
    """Whether an identifier is written as 8.4E+35, as spreadsheet programs write long numbers: its end is lost."""
    return bool(_ROUNDED.fullmatch(text.strip()))


def chosen_views(text: str, views: Sequence[str], dataset: str) -> list[str]:
    """Those of a data set's `views` that a comma list names in any case, as the data set spells them.

    Raises:
      ValueError: another name; the nearest is offered.
    """
    spelling = {view.lower(): view for view in views}
    names = [name.strip() for name in text.split(",")]
    if wrong := [name for name in names if name.lower() not in spelling]:
        raise ValueError(f"{dataset} has no view {wrong[0]!r}; {nearest_name(wrong[0], views)}")
    return [spelling[name.lower()] for name in names]
