"""Odd but readable DICOM files: of each, the pixels and the facts are read, since both go through `dicom_file`."""

import io
import pathlib
import runpy

import numpy as np
import pytest

from tfrecords_builder.datasets.rsna_pneumonia import dicom_facts
from tfrecords_builder.images.dicom_file import read_texts
from tfrecords_builder.images.image_file import decode, read_image

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
uid = pytest.importorskip("pydicom.uid")

_made = runpy.run_path(str(pathlib.Path(__file__).with_name("dicom_files.py")))
dicom, chest = _made["dicom"], _made["chest"]

FACTS = {"PatientAge": "051Y", "PatientSex": "F", "ViewPosition": "PA"}
DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1"


def made(syntax=uid.ExplicitVRLittleEndian, **tags) -> bytes:
    return dicom(chest(12), 12, syntax, SOPClassUID=DIGITAL_X_RAY, **FACTS | tags)


def without_meta(data: bytes) -> bytes:
    """The data set alone."""
    return data[144 + int.from_bytes(data[140:144], "little") :]


def without_syntax(data: bytes) -> bytes:
    """The meta header lacks the transfer syntax."""
    start = data.index(b"\x02\0\x10\0UI")
    return data[:start] + data[start + 8 + int.from_bytes(data[start + 6 : start + 8], "little") :]


def with_private_block(data: bytes) -> bytes:
    """100 kB of a private element stand before the facts."""
    start = len(data) - len(without_meta(data))
    return data[:start] + b"\x09\0\x01\x10OB\0\0" + (100_000).to_bytes(4, "little") + bytes(100_000) + data[start:]


def with_open_sequence() -> bytes:
    item = pydicom.Dataset()
    item.add_new(0x00081150, "UI", "1.2.3")
    dataset = pydicom.dcmread(io.BytesIO(made()))
    dataset.add_new(0x00081140, "SQ", [item])
    dataset[0x00081140].is_undefined_length = True
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


PLAIN = made()
IMPLICIT, BIG_ENDIAN = made(uid.ImplicitVRLittleEndian), made(uid.ExplicitVRBigEndian)
VARIANTS = {
    "plain": PLAIN,
    "implicit": IMPLICIT,
    "big_endian": BIG_ENDIAN,
    "deflated": made(uid.DeflatedExplicitVRLittleEndian),
    "compressed": made(uid.JPEG2000Lossless),
    "no_preamble": PLAIN[132:],
    "no_meta": without_meta(PLAIN),
    "no_meta_implicit": without_meta(IMPLICIT),
    "no_meta_big_endian": without_meta(BIG_ENDIAN),
    "preamble_but_no_meta": PLAIN[:132] + without_meta(PLAIN),
    "no_transfer_syntax": without_syntax(PLAIN),
    "no_transfer_syntax_implicit": without_syntax(IMPLICIT),
    "explicit_called_implicit": PLAIN.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"),
    "wrong_length_of_meta": PLAIN[:140] + b"\xff\xff\0\0" + PLAIN[144:],
    "preamble_of_a_tiff": b"II*\0\x08\0\0\0" + PLAIN[8:],
    "unknown_type": PLAIN.replace(b"\x28\0\x10\0US", b"\x28\0\x10\0QQ").replace(
        b"\x18\0\x01\x51CS", b"\x18\0\x01\x51QQ"
    ),
    "unknown_character_set": made(SpecificCharacterSet="ISO_IR 999"),
    "private_block": with_private_block(PLAIN),
    "open_sequence": with_open_sequence(),
    "zeros_behind": PLAIN + bytes(300),
    "damaged_element_behind": PLAIN + b"\xfc\xff\xfc\xffOB\0\0\xff\xff\xff\x7f" + b"x" * 50,
    "cut_header_behind": PLAIN + b"\xfc\xff\xfc",
    "empty_numbers": made(WindowCenter="", WindowWidth="", RescaleSlope=""),
    "end_of_fragments_missing": made(uid.JPEG2000Lossless)[:-8],
}


@pytest.mark.parametrize("name, data", VARIANTS.items(), ids=VARIANTS)
def test_pixels_and_facts_are_both_read(name, data, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_image(path).pixels, chest(12))
    assert dicom_facts(path) == {"age": 51.0, "sex": "F", "view": "PA"}


def test_facts_before_a_cut_are_read_though_the_pixels_are_not(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(PLAIN[: PLAIN.index(b"\x28\0\x10\0US") + 3])
    assert read_texts(path, tuple(FACTS)) == FACTS
    path.write_bytes(PLAIN[: PLAIN.index(b"\x18\0\x01\x51CS")])
    assert read_texts(path, tuple(FACTS)) == FACTS | {"ViewPosition": ""}


def test_a_fact_that_cannot_be_read_takes_no_other_with_it(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(PLAIN.replace(b"\x10\0\x10\x10AS", b"\x10\0\x10\x10FD"))
    assert read_texts(path, tuple(FACTS)) == FACTS
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(300))
    assert read_texts(path, tuple(FACTS)) == dict.fromkeys(FACTS, "")


def test_a_deflated_bomb_is_refused(monkeypatch):
    monkeypatch.setattr("tfrecords_builder.images.dicom_file._MAX_INFLATED_BYTES", 1000)
    with pytest.raises(ValueError, match="too_large: a deflated DICOM file, above 1000 bytes when inflated"):
        decode(VARIANTS["deflated"])


def test_a_damaged_deflated_file_says_so():
    data = VARIANTS["deflated"]
    start = 144 + int.from_bytes(data[140:144], "little")
    with pytest.raises(ValueError, match="unreadable: the deflated data set of the DICOM file is damaged"):
        decode(data[:start] + b"\xff" * 200)
