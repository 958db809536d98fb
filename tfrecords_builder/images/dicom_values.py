"""What each word of pixels in a DICOM file becomes: its tables, rescaling, window and inversion as one table.

The order is that of the standard (PS3.4, N.2): stored number -> modality table or rescale slope and intercept ->
value-of-interest table or window -> black and white exchanged for MONOCHROME1. All of it acts on single numbers, so it
is computed once for each of the at most 65,536 words that a picture has, and the pixels are looked up.

Black and white, where no window says what they are:
  tables      white is `true_white` of all entries, so that files of one table have one white.
  numbers     black is 0 and white `true_white` of the brightest pixel that is no padding.
  below zero  black is the power of two that holds the lowest pixel, such as -2048, and white `true_white` above it,
              unless that is no narrower than the stored bits, which then are the range. A single negative number
              among others that are not stands for no measurement and is black.
A slope and intercept change none of this: rescaled, the lowest number is black, or white for a falling slope.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfrecords_builder.images.dicom_file import first_number, named, text_of, whole_number
from tfrecords_builder.images.dicom_numbers import Reading
from tfrecords_builder.images.radiograph import ImageError, range_notices, true_white

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Notices = tuple[tuple[str, str], ...]
_ONE_GREY = 1 / 255  # of full range: what spans less is one grey


class _Shown(NamedTuple):
    """Greys of the words, float64 in [0, 1]; the white that keeps them apart; and notices."""

    greys: np.ndarray
    white: int
    notices: Notices = ()


def grey_table(dataset: "Dataset", reading: Reading, words: np.ndarray, window: str) -> tuple[np.ndarray, int, Notices]:
    """What the words of a picture become.

    Args:
      reading: how they hold numbers.
      words: those that the picture has, each once.
      window: see `dicom.decode_dicom`.

    Returns:
      uint8 or uint16, one for each of `words`; their white; and notices, see `Radiograph`.

    Raises:
      ImageError: "unreadable" for a rescaling, table or number that is none.
    """
    numbers = reading.numbers(words).astype(np.int64)
    padding, notices = _padding(dataset, reading, numbers, words)
    values, lowest = _rescaled(dataset, reading, numbers)
    shown = None
    if window == "file":
        shown, unusable = _as_the_file_shows(dataset, values, lowest, ~padding)
        notices += unusable
    if shown is None:
        padding = padding | _lone_negative(numbers, ~padding)
        shown = _whole_range(dataset, reading, numbers, ~padding)
    greys, white, found = shown
    if text_of(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        greys = 1.0 - greys
    greys = np.where(padding, 0.0, greys)
    if white <= 255:
        return np.rint(greys * 255).astype(np.uint8), 255, notices + found
    return np.rint(greys * white).astype(np.uint16), white, notices + found


def _rescaled(dataset: "Dataset", reading: Reading, numbers: np.ndarray) -> tuple[np.ndarray, float]:
    """Stored numbers -> values float64, in which windows count, and the lowest that the file can store."""
    if dataset.get("ModalityLUTSequence"):
        return _look_up(dataset, "ModalityLUTSequence", numbers, reading.lowest)[0].astype(np.float64), 0.0
    slope, intercept = _slope(dataset), first_number(dataset, "RescaleIntercept", 0)
    ends = reading.lowest * slope + intercept, reading.highest * slope + intercept
    if not 0 < abs(ends[1] - ends[0]) < math.inf:
        raise ImageError(
            "unreadable",
            f"{named('RescaleSlope')} and {named('RescaleIntercept')} expect finite numbers and a slope other than 0, "
            f"got {slope} and {intercept}",
        )
    return numbers * slope + intercept, min(ends)


def _slope(dataset: "Dataset") -> float:
    return first_number(dataset, "RescaleSlope", 1)


def _as_the_file_shows(
    dataset: "Dataset", values: np.ndarray, lowest: float, is_measured: np.ndarray
) -> tuple[_Shown | None, Notices]:
    """Values through the file's first table or else its first window; what cannot be used of them is noticed.

    A table or window that shows pixels of several values as one grey is far from the data, and not followed.
    """
    is_varied, notices = _is_varied(values[is_measured]), ()
    for name, show in (("VOILUTSequence", _through_table), ("WindowCenter", _through_window)):
        shown = show(dataset, values, lowest)
        if isinstance(shown, _Shown) and is_varied and np.ptp(shown.greys[is_measured]) < _ONE_GREY:
            shown = f"{named(name)} shows all pixels as one grey"
        if isinstance(shown, _Shown):
            return shown, notices
        if shown:
            notices += (("unusable_window", shown),)
    return None, notices


def _through_table(dataset: "Dataset", values: np.ndarray, lowest: float) -> _Shown | None:
    """None for a file without such a table."""
    if not dataset.get("VOILUTSequence"):
        return None
    rounded = np.rint(np.clip(values, -(2**31), 2**31)).astype(np.int64)
    entries, white, notices = _look_up(dataset, "VOILUTSequence", rounded, lowest)
    return _Shown(entries / white, white, notices)


def _through_window(dataset: "Dataset", values: np.ndarray, lowest: float) -> _Shown | str | None:
    """PS3.3, C.11.2.1.2 and C.11.2.1.3. None for a file without a window, a text for an impossible one."""
    center, width = first_number(dataset, "WindowCenter"), first_number(dataset, "WindowWidth")
    if center is None or width is None:
        return None
    function = (text_of(dataset, "VOILUTFunction") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return f"{named('VOILUTFunction')} is none of LINEAR, LINEAR_EXACT and SIGMOID"
    smallest = 1 if function == "LINEAR" else np.finfo(np.float32).tiny
    if not math.isfinite(center) or not smallest <= width < math.inf:
        return f"{named('WindowCenter')} and {named('WindowWidth')} are {center:g} and {width:g}"
    if function == "SIGMOID":
        return _Shown(1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700, 700))), 65535)
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    if not width:  # one step
        return _Shown((values > center).astype(np.float64), 65535)
    return _Shown(np.clip((values - center) / width + 0.5, 0.0, 1.0), 65535)


def _whole_range(dataset: "Dataset", reading: Reading, numbers: np.ndarray, is_measured: np.ndarray) -> _Shown:
    """Stored numbers, from black to white as those have them that are no padding."""
    if dataset.get("ModalityLUTSequence"):
        entries, white, notices = _look_up(dataset, "ModalityLUTSequence", numbers, reading.lowest)
        return _Shown(entries / white, white, notices)
    found = numbers[is_measured]
    lowest, highest = (int(found.min()), int(found.max())) if found.size else (0, 0)
    bits = whole_number(dataset, "BitsStored", reading.bits)
    stored = reading._replace(bits=min(bits, reading.bits))
    if not stored.lowest <= lowest <= highest <= stored.highest:  # then the stream has more bits than the header says
        stored = reading
    black, white = _range(lowest, highest, stored)
    greys = np.clip((numbers - black) / (white - black), 0.0, 1.0)
    if _slope(dataset) < 0:
        greys = 1.0 - greys
    if not reading.is_signed:
        return _Shown(greys, white, range_notices(white, 2**bits - 1, named("BitsStored")))
    declared = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    notices = ()
    if (black, white) != declared:
        detail = f"black is {black}, white is {white}, {named('BitsStored')} declares {declared[0]} to {declared[1]}"
        notices = (("white_not_as_declared", detail),)
    return _Shown(greys, white - black, notices)


def _range(lowest: int, highest: int, stored: Reading) -> tuple[int, int]:
    """Black and white of pixels between `lowest` and `highest`, as the top of this file says."""
    if lowest >= 0:
        return 0, true_white(highest, stored.highest)
    black = -(1 << (-lowest - 1).bit_length())
    width = true_white(highest - black, 2**stored.bits - 1)
    return (black, black + width) if width < 2**stored.bits - 1 else (stored.lowest, stored.highest)


def _look_up(dataset: "Dataset", keyword: str, values: np.ndarray, lowest: float) -> tuple[np.ndarray, int, Notices]:
    """Values through the first table of a sequence (PS3.3, C.11.1.1).

    Args:
      lowest: value that the file can store; below zero, the table's first value may be so too.

    Returns:
      Entries for the values, int64; the white of all entries; and notices.
    """
    name = named(keyword)
    try:
        item = dataset.get(keyword)[0]
        count, first, bits = (int(number) for number in item.LUTDescriptor)
        data = item.LUTData
    except Exception:  # noqa: BLE001 (pydicom's errors over missing and damaged elements are of many types)
        raise ImageError("unreadable", f"{name} lacks {named('LUTData')} or three numbers that describe it") from None
    count = count or 65536
    if isinstance(data, bytes):
        order = "<" if item.original_encoding[1] else ">"
        data = np.frombuffer(data, np.uint8 if len(data) in (count, count + 1) and count > 1 else f"{order}u2")
    entries = np.atleast_1d(np.asarray(data, np.int64))[:count] & 0xFFFF
    if len(entries) < count or not 8 <= bits <= 16:
        raise ImageError(
            "unreadable", f"{name} holds {len(entries)} entries of {bits} bits, expected {count} of 8 to 16"
        )
    if first > 32767 and lowest < 0:
        first -= 65536
    white = true_white(int(entries.max()), 2**bits - 1)
    notices = range_notices(white, 2**bits - 1, f"{named('LUTDescriptor')} of {name}")
    return entries[np.clip(values - first, 0, count - 1)], white, notices


def _padding(
    dataset: "Dataset", reading: Reading, numbers: np.ndarray, words: np.ndarray
) -> tuple[np.ndarray, Notices]:
    """Which words stand for no measurement: bool like `words`; and notices."""
    if first_number(dataset, "PixelPaddingValue") is None:
        return np.zeros(words.shape, bool), ()
    value = whole_number(dataset, "PixelPaddingValue")
    ends = value, whole_number(dataset, "PixelPaddingRangeLimit", value)
    # Some files give a negative number as an unsigned one of 16 bits, or the other way round.
    low = -32768 if reading.is_signed else 0
    lowest, highest = sorted((end - low) % 65536 + low for end in ends)
    padding = (numbers >= lowest) & (numbers <= highest)
    if lowest < reading.lowest or highest > reading.highest:  # which no number can be, though a whole word can
        whole = Reading(16, 15, reading.is_signed).numbers(words)
        padding |= (whole >= lowest) & (whole <= highest)
    if padding.all() and _is_varied(numbers):
        detail = f"{named('PixelPaddingValue')} would make every pixel padding"
        return np.zeros(words.shape, bool), (("unusable_padding", detail),)
    return padding, ()


def _lone_negative(numbers: np.ndarray, is_measured: np.ndarray) -> np.ndarray:
    """Which words hold the only negative number among others that are not: bool like `numbers`."""
    is_negative = is_measured & (numbers < 0)
    is_lone = is_negative.any() and not is_negative[is_measured].all() and not _is_varied(numbers[is_negative])
    return is_negative if is_lone else np.zeros(numbers.shape, bool)


def _is_varied(values: np.ndarray) -> bool:
    return values.size > 1 and bool(values.min() < values.max())
