"""The one way into a DICOM file, for its pixels and for its facts alike, so that both forgive the same oddities.

Read are files with and without preamble, with and without meta header, in each byte order, with implicit and explicit
types, and deflated ones. Elements are read up to the pixels: what stands behind the picture can do no harm.
Only the elements that a caller names are kept, and no text of the file reaches a message or a warning.
"""

import contextlib
import dataclasses
import io
import logging
import math
import os
import pathlib
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from tfrecords_builder.images.radiograph import ImageError, decoder_errors

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DEFLATED = "1.2.840.10008.1.2.1.99"
FIRST_BYTES = 140  # enough for `is_dicom`
_IMPLICIT, _EXPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
META_START = b"\x02\0\0\0UL\x04\0"  # a file that lacks the preamble begins with its first element
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # floats, doubles, whole numbers
_FIRST_ELEMENTS = (0x0000, 0x0001, 0x0005, 0x0008, 0x0012, 0x0016, 0x0018)  # of group 8, where a data set begins
_FIRST_TAG = 0x00010000  # lower ones are of commands, which are in no file, or zeros
_UNDEFINED = 0xFFFFFFFF
_MAX_INFLATED_BYTES = 1 << 28
_LOGGERS = ("pydicom", "pylibjpeg", "libjpeg", "openjpeg")
_NUMBER = re.compile(r"[-+0-9.,eE \\]{0,40}")  # what may be shown of a value that should be a number


class Place(NamedTuple):
    """Where an element is, whose value is not read.

    Attributes:
      tag: of the element.
      vr: its type, "" where the file does not say.
      position: of the first byte of its value.
      length: of its value as the file declares it, None where that is open.
    """

    tag: int
    vr: str
    position: int
    length: int | None


class DicomFile(NamedTuple):
    """The elements of a file up to its pixels.

    Attributes:
      dataset: the wanted elements that were found.
      file: what positions count in; the inflated data set where the file is deflated.
      syntax: UID of the transfer syntax; guessed from the first element where the file does not tell it.
      sop_class: UID of what the file holds, or "".
      last_tag: of the last element before the pixels or the end; 0 where there is none.
      pixels: the element that holds them; None where the elements end without.
      problem: what ended the elements too early, or None.
    """

    dataset: "Dataset"
    file: BinaryIO
    syntax: str
    sop_class: str
    last_tag: int
    pixels: Place | None
    problem: ImageError | None


def is_dicom(start: bytes) -> bool:
    """Whether the first `FIRST_BYTES` bytes are those of a DICOM file.

    They hold "DICM" behind a preamble, or, without it, the first element of a meta header or of a data set.
    """
    if start[128:132] == b"DICM" or start.startswith(META_START):
        return True
    if len(start) < 8:
        return False
    for order in "<>":
        group, element, vr, length = struct.unpack(f"{order}HH2sH", start[:8])
        is_implicit = order == "<" and length == 0 and int.from_bytes(vr, "little") < 512  # of its length
        if group == 8 and ((is_implicit and element in _FIRST_ELEMENTS) or (vr.isalpha() and vr.isupper())):
            return True
    return False


def open_dicom(file: BinaryIO, keywords: Sequence[str]) -> DicomFile:
    """Reads the elements of a file up to its pixels.

    Args:
      file: open for reading, can be searched.
      keywords: of the elements to keep.

    Raises:
      ImageError: "too_large" for a deflated data set above 256 MiB. Whatever ends the elements too early is no error
        here, but the result's `problem`.
      ImportError: the extra `dicom` is not installed.
    """
    from pydicom.dataset import Dataset

    file.seek(0)
    file.seek(132 if file.read(132)[128:] == b"DICM" else 0)
    meta = _walk(file, (False, True), (0x00020002, 0x00020010), lambda tag: tag >> 16 != 2)
    identity = Dataset(meta.elements)
    syntax = text_of(identity, "TransferSyntaxUID")
    if syntax == DEFLATED:
        file = _inflated(file)
    form, guess = _form(file, syntax)
    tags = tuple(_tag(keyword) for keyword in ("SOPClassUID", *keywords))
    walk = _walk(file, form, tags, lambda tag: tag in _PIXELS or tag < _FIRST_TAG)
    dataset = Dataset(walk.elements)
    pixels = walk.end if walk.end and walk.end.tag in _PIXELS else None
    problem = meta.problem or walk.problem
    if problem is None and pixels is None:
        problem = _no_element(file, walk)
    sop_class = text_of(dataset, "SOPClassUID") or text_of(identity, "MediaStorageSOPClassUID")
    return DicomFile(dataset, file, syntax or guess, sop_class, walk.last_tag, pixels, problem)


def read_texts(path: pathlib.Path, keywords: Sequence[str]) -> dict[str, str]:
    """Text elements of a file by keyword; "" where one is missing, damaged, or the file is no DICOM file.

    Raises:
      PermissionError: the file may not be read.
      ImportError: the extra `dicom` is not installed.
    """
    texts = dict.fromkeys(keywords, "")
    if path.is_file():  # a pipe would be waited for
        with path.open("rb") as file, contextlib.suppress(ImageError), decoder_errors("pydicom"), silent_logs():
            if is_dicom(file.read(FIRST_BYTES)):
                dataset = open_dicom(file, keywords).dataset
                texts = {keyword: text_of(dataset, keyword) for keyword in keywords}
    return texts


def named(keyword: str) -> str:
    """An element as messages name it, such as "Rows (0028,0010)"."""
    return f"{keyword} {_tag_text(_tag(keyword))}"


def first_number(dataset: "Dataset", keyword: str, default: float | None = None) -> float | None:
    """The only or first value of a numeric element; `default` where it is absent or empty.

    Raises:
      ImageError: "unreadable" for a value that is no number; the message shows the value.
    """
    tag = _tag(keyword)
    if tag not in dataset:
        return default
    raw = dataset.get_item(tag).value
    try:
        value = _value(dataset, tag)
        if not isinstance(value, (str, bytes)) and hasattr(value, "__len__"):
            value = value[0] if len(value) else None
        return default if value in (None, "", b"") else float(value)
    except Exception:  # noqa: BLE001 (pydicom's errors over wrong values are of many types)
        shown = raw.decode("latin-1").rstrip(" \0") if isinstance(raw, bytes) else ""
        shown = repr(shown) if shown and _NUMBER.fullmatch(shown) else "other characters"
        raise ImageError("unreadable", f"{named(keyword)} expects a number such as 2047.5, got {shown}") from None


def text_of(dataset: "Dataset", keyword: str) -> str:
    """The value of a text element, which no message may repeat; "" where it is missing or damaged."""
    tag = _tag(keyword)
    try:
        return str(_value(dataset, tag) or "") if tag in dataset else ""
    except Exception:  # noqa: BLE001 (pydicom's errors over wrong values are of many types)
        return ""


def whole_number(dataset: "Dataset", keyword: str, default: int | None = None) -> int:
    """As `first_number`, but a whole number, and required unless there is a default.

    Raises:
      ImageError: "unreadable" for an element that is missing or no whole number.
    """
    number = first_number(dataset, keyword, default)
    if number is None:
        raise ImageError("unreadable", f"{named(keyword)} is missing")
    if not math.isfinite(number) or number != int(number):
        raise ImageError("unreadable", f"{named(keyword)} expects a whole number, got {number}")
    return int(number)


@contextlib.contextmanager
def silent_logs() -> Iterator[None]:
    """Keeps pydicom's log messages, which quote values of the file, from every handler."""
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in _LOGGERS}
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


@dataclasses.dataclass
class _Walk:
    """What a walk over elements found.

    Attributes:
      elements: the wanted ones by tag.
      last_tag: of the last element that was walked over, 0 for none.
      end: the element at which the walk had to end; None where the file or a fault ended it.
      problem: that fault, or None.
    """

    elements: dict
    last_tag: int = 0
    end: Place | None = None
    problem: ImageError | None = None


def _walk(file: BinaryIO, form: tuple[bool, bool], wanted: Sequence[int], is_end) -> _Walk:
    """Reads elements from the file's position up to the first whose tag `is_end`, which is left to be read.

    Args:
      form: whether types are implicit, and whether numbers are little-endian.
    """
    from pydicom.filereader import data_element_generator

    start = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(start)
    walk, walked = _Walk({}), start

    def stop(tag: int, vr: str | None, length: int) -> bool:
        nonlocal walked
        tag = int(tag)  # pydicom's own type is slow to compare
        if is_end(tag):
            walk.end = Place(tag, vr or "", file.tell(), None if length == _UNDEFINED else length)
            return True
        walk.last_tag = tag
        walked = None if length == _UNDEFINED else file.tell() + length
        return False

    try:
        for element in data_element_generator(file, *form, stop_when=stop, specific_tags=list(wanted)):
            walk.elements[element.tag] = element
    except Exception:  # noqa: BLE001 (the errors over a cut or damaged element are of many types)
        place = f"inside element {_tag_text(walk.last_tag)}" if walk.last_tag else "inside its first element"
        reason, what = ("truncated", "ends") if file.tell() >= size else ("unreadable", "is damaged")
        walk.problem = ImageError(reason, f"the DICOM file {what} {place}")
    else:
        if walk.end is None and walked not in (None, size):
            place = "inside" if walked > size else "behind"
            walk.problem = ImageError("truncated", f"the DICOM file ends {place} element {_tag_text(walk.last_tag)}")
    return walk


def _no_element(file: BinaryIO, walk: _Walk) -> ImageError | None:
    """What is wrong where a walk ended at no element at all, or before the first one."""
    if walk.end is None:
        return None if walk.last_tag else ImageError("truncated", "the DICOM file ends before its first element")
    position = file.tell()
    rest = "holds only zeros" if not file.read().strip(b"\0") else "holds no element of a data set"
    return ImageError("unreadable", f"from byte {position} on the DICOM file {rest}")


def _form(file: BinaryIO, syntax: str) -> tuple[tuple[bool, bool], str]:
    """Whether types are implicit and numbers little-endian, and the transfer syntax of an uncompressed file of those.

    The first element tells whether types are implicit, whatever the transfer syntax says.
    """
    position = file.tell()
    first = file.read(8)
    file.seek(position)
    is_big = syntax == _BIG_ENDIAN or (not syntax and first[:1] == b"\0" and first[1:2] != b"\0")
    if len(first) < 8:
        return (syntax == _IMPLICIT, not is_big), syntax
    is_implicit = not (first[4:6].isalpha() and first[4:6].isupper())
    return (is_implicit, not is_big), _IMPLICIT if is_implicit else _BIG_ENDIAN if is_big else _EXPLICIT


def _inflated(file: BinaryIO) -> BinaryIO:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(file.read(), _MAX_INFLATED_BYTES)
    except zlib.error:
        raise ImageError("unreadable", "the deflated data set of the DICOM file is damaged") from None
    if inflater.unconsumed_tail:
        raise ImageError("too_large", f"a deflated DICOM file, above {_MAX_INFLATED_BYTES} bytes when inflated")
    return io.BytesIO(data)


def _value(dataset: "Dataset", tag: int) -> Any:
    """The value of an element; of a type that cannot be right, as that of the element's own type."""
    from pydicom.dataelem import RawDataElement, convert_raw_data_element

    element = dataset.get_item(tag)
    try:
        return dataset[tag].value
    except Exception:  # (pydicom's errors over wrong values are of many types)
        if not isinstance(element, RawDataElement):
            raise
        return convert_raw_data_element(element._replace(VR=None), ds=dataset).value


def _tag(keyword: str) -> int:
    from pydicom.datadict import tag_for_keyword

    return tag_for_keyword(keyword)


def _tag_text(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
