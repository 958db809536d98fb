"""What each number that a DICOM file can store becomes: its tables, rescaling, window and inversion as one table.

The order is that of the standard (PS3.4, N.2): stored number -> modality table or rescale slope and intercept ->
value-of-interest table or window -> black and white exchanged for MONOCHROME1. All of it acts on single numbers, so it
is computed once for each of the at most 65,536 that can be stored, and the pixels are looked up.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from tfrecords_builder.radiograph import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def grey_table(
    dataset: "Dataset", bits: int, is_signed: bool, window: str
) -> tuple[np.ndarray, int, tuple[tuple[str, str], ...]]:
    """What the stored numbers become.

    Args:
      bits: of a stored number. is_signed: whether it is a two's complement.
      window: see `dicom_io.decode_dicom`.

    Returns:
      uint8 or uint16 [2**bits], indexed by the stored bits; its white; and notices, see `Radiograph`.

    Raises:
      ImageError: "unreadable" for a rescaling or table that is none.
    """
    numbers = np.arange(2**bits)
    if is_signed:
        numbers[numbers >= 2 ** (bits - 1)] -= 2**bits
    values, low, high, white = _rescaled(dataset, numbers)
    shown, notices = None, ()
    if window == "file" and dataset.get("VOILUTSequence"):
        entries, white = _look_up(dataset.VOILUTSequence[0], np.rint(values).astype(np.int64), dataset)
        shown = entries / white
    elif window == "file" and None not in (_first(dataset, "WindowWidth"), _first(dataset, "WindowCenter")):
        shown = _windowed(dataset, values)
        if shown is None:
            notices = (("unusable_window", ""),)
        else:
            white = 65535
    if shown is None:
        shown = (values - low) / (high - low)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1.0 - shown
    shown[_is_padding(dataset, numbers)] = 0.0
    if white <= 255:
        return np.rint(shown * 255).astype(np.uint8), 255, notices
    return np.rint(shown * white).astype(np.uint16), white, notices


def _rescaled(dataset: "Dataset", numbers: np.ndarray) -> tuple[np.ndarray, float, float, int]:
    """Stored numbers -> values float64, the lowest and highest value there can be, and the white that keeps them."""
    if dataset.get("ModalityLUTSequence"):
        entries, white = _look_up(dataset.ModalityLUTSequence[0], numbers, dataset)
        return entries.astype(np.float64), 0.0, float(white), white
    slope, intercept = float(_first(dataset, "RescaleSlope", 1)), float(_first(dataset, "RescaleIntercept", 0))
    values = numbers * slope + intercept
    low, high = float(values.min()), float(values.max())
    if not 0 < high - low < math.inf:
        raise ImageError("unreadable", f"a rescale slope of {slope} and intercept of {intercept}")
    return values, low, high, len(numbers) - 1


def _windowed(dataset: "Dataset", values: np.ndarray) -> np.ndarray | None:
    """Values through the first window (PS3.3, C.11.2.1.2 and C.11.2.1.3) -> [0, 1]; None for an impossible window."""
    center, width = float(_first(dataset, "WindowCenter")), float(_first(dataset, "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    is_linear = function == "LINEAR"
    if not math.isfinite(center) or not math.isfinite(width) or width < (1 if is_linear else np.finfo(np.float32).tiny):
        return None
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700, 700)))
    if is_linear:
        center, width = center - 0.5, width - 1.0
    elif function != "LINEAR_EXACT":
        return None
    if not width:  # one step
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _look_up(item: "Dataset", values: np.ndarray, dataset: "Dataset") -> tuple[np.ndarray, int]:
    """Values through a table of the file (PS3.3, C.11.1.1) -> its entries, and their white."""
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count or 65536
    data = item.LUTData
    if isinstance(data, bytes):
        is_little_endian = dataset.original_encoding[1]
        data = np.frombuffer(
            data, np.uint8 if bits == 8 and len(data) == count else "<u2" if is_little_endian else ">u2"
        )
    entries = np.atleast_1d(np.asarray(data, np.int64))[:count]
    if len(entries) < count or not 8 <= bits <= 16:
        raise ImageError("unreadable", f"a look-up table of {len(entries)} entries of {bits} bits, expected {count}")
    if first > 32767 and values.min() < 0:
        first -= 65536
    white = 2**bits - 1
    return np.minimum(entries[np.clip(values - first, 0, count - 1)], white), white


def _is_padding(dataset: "Dataset", numbers: np.ndarray) -> np.ndarray:
    """Which stored numbers stand for no measurement: bool like `numbers`."""
    value = _first(dataset, "PixelPaddingValue")
    if value is None:
        return np.zeros(numbers.shape, bool)
    limit = _first(dataset, "PixelPaddingRangeLimit", value)
    # Some files give a negative number as an unsigned one, or the other way round.
    ends = [numbers[int(end) & (len(numbers) - 1)] for end in (value, limit)]
    return (numbers >= min(ends)) & (numbers <= max(ends))


def _first(dataset: "Dataset", name: str, default: float | None = None) -> float | None:
    """The only or first value of a tag; `default` where it is absent or empty."""
    value = dataset.get(name)
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        return default if value in (None, "", b"") else value
    return value[0] if len(value) else default
