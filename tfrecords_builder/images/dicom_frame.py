"""The bytes of the one picture in a DICOM file: found whole, or refused.

A file that was cut behind its picture, so that only padding or the end of the list of fragments is missing, is read.
"""

from typing import NamedTuple

from tfrecords_builder.images.dicom_file import DicomFile
from tfrecords_builder.images.jpeg2000_header import STREAM_START
from tfrecords_builder.images.radiograph import ImageError

_ITEM, _END_OF_ITEMS = b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
_STREAM_STARTS = (b"\xff\xd8\xff", STREAM_START, b"\0\0\0\x0cjP  ")  # JPEG and JPEG-LS, JPEG 2000, JPEG 2000 in its box
_PIXEL_DATA = "PixelData (7FE0,0010)"


class Frame(NamedTuple):
    """The picture's bytes.

    Attributes:
      data: all there are.
      is_compressed: whether they are a compressed stream.
      missing: how many more the file declares than it has.
      extra: how many the file has behind the picture, one byte of padding left out.
      is_open: whether the list of fragments has no end.
    """

    data: bytes
    is_compressed: bool
    missing: int = 0
    extra: int = 0
    is_open: bool = False

    @property
    def source(self) -> bytes:
        """What pydicom decodes: a compressed picture as one fragment, to which no padding is added."""
        if not self.is_compressed:
            return self.data
        return _ITEM + bytes(4) + _ITEM + len(self.data).to_bytes(4, "little") + self.data + _END_OF_ITEMS

    @property
    def is_cut(self) -> bool:
        """Whether the file ends before its pixels' element does."""
        return self.missing > 0 or self.is_open

    @property
    def notices(self) -> tuple[tuple[str, str], ...]:
        """What is odd about an element that holds its whole picture all the same."""
        if self.missing:
            return (("cut_behind_picture", f"{self.missing} bytes are missing at the end of {_PIXEL_DATA}"),)
        if self.is_open:
            return (("cut_behind_picture", f"the end of the fragments of {_PIXEL_DATA} is missing"),)
        follow = f"{self.extra} bytes follow the picture in {_PIXEL_DATA}"
        return (("bytes_behind_picture", follow),) if self.extra else ()


def read_uncompressed(file: DicomFile, frame_bytes: int) -> Frame:
    """The picture in an uncompressed file.

    Args:
      frame_bytes: what one picture takes.

    Raises:
      ImageError: "truncated" for fewer bytes, "multi_frame" for those of several pictures.
    """
    value, missing = _value(file, file.pixels.length)
    if len(value) < frame_bytes:
        raise ImageError("truncated", f"{_PIXEL_DATA} has {len(value)} bytes, one picture takes {frame_bytes}")
    length = len(value) + missing
    # Behind one picture there may be a byte of padding; in a picture of one byte it is no second one.
    if length > frame_bytes + 1 and (length // frame_bytes * frame_bytes in (length, length - 1)):
        pictures = f"{length // frame_bytes} pictures, or BitsAllocated (0028,0100) is too small"
        raise ImageError(
            "multi_frame", f"{_PIXEL_DATA} has {length} bytes, one picture takes {frame_bytes}: {pictures}"
        )
    # In big-endian words the last byte of an odd picture stands behind the padding.
    even = frame_bytes + frame_bytes % 2
    return Frame(value[:even], False, missing, extra=length - frame_bytes if length > frame_bytes + 1 else 0)


def read_compressed(file: DicomFile, is_one_fragment: bool) -> Frame:
    """The picture in a compressed file, its fragments joined.

    Args:
      is_one_fragment: whether the compression writes each picture as one fragment (RLE).

    Raises:
      ImageError: "multi_frame" for the offsets or fragments of several pictures, "truncated" without any.
    """
    value, missing = _value(file, file.pixels.length)
    if _ITEM.startswith(value[:4]) and len(value) < 4:
        raise ImageError("truncated", f"{_PIXEL_DATA} has {len(value)} bytes, no fragment of a picture")
    if not value.startswith(_ITEM):  # the stream itself, against the standard
        return Frame(value, True, missing, is_open=file.pixels.length is None)
    items, missing, is_open = _items(value)
    if not items or not any(items[1:]):
        raise ImageError("truncated", f"{_PIXEL_DATA} has no fragment of a picture")
    offsets, *fragments = items
    starts = sum(fragment.startswith(_STREAM_STARTS) for fragment in fragments)
    pictures = max(len(offsets) // 4, len(fragments) if is_one_fragment else starts)
    if pictures > 1:
        raise ImageError("multi_frame", f"{_PIXEL_DATA} has the offsets or fragments of {pictures} pictures")
    return Frame(b"".join(fragments), True, missing, is_open=is_open)


def _value(file: DicomFile, length: int | None) -> tuple[bytes, int]:
    """The value of the pixels' element as far as it is there, and how many bytes of it are missing."""
    file.file.seek(file.pixels.position)
    value = file.file.read(-1 if length is None else length)
    return value, 0 if length is None else length - len(value)


def _items(value: bytes) -> tuple[list[bytes], int, bool]:
    """Items of a list, which begins with the table of offsets; missing bytes of the last; whether the list is open."""
    items, position = [], 0
    while value[position : position + 4] == _ITEM and position + 8 <= len(value):
        length = int.from_bytes(value[position + 4 : position + 8], "little")
        position += 8
        items.append(value[position : position + length])
        position += length
        if position > len(value):
            return items, position - len(value), True
    return items, 0, value[position : position + 8] != _END_OF_ITEMS
