"""DICOM files of synthetic images: valid, marked, without a patient, and the same whenever they are written."""

import dataclasses
import io
import re
import shutil
import subprocess

import numpy as np
import pytest

from tfcxr.data.synthetic_facts import SyntheticFacts

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")

from tfcxr.data.dicom_writer import dicom_bytes  # noqa: E402

FACTS = SyntheticFacts("acgan/3", "ab12" * 16, ("Pneumonia",), seed=5)
# SyntheticData: Debian's dciodvfy, of 2022, is older than this element
YOUNGER_THAN_DCIODVFY = re.compile(r"\(0x0008,0x001c\)")


def noise(dtype=np.uint8, height=31, width=33):
    """All greys of the type but for chance, an odd number of pixels."""
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width)).astype(dtype)


def read(data):
    return pydicom.dcmread(io.BytesIO(data))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "facts", [FACTS, SyntheticFacts("a\\b" * 60 + "/1", "cd" * 32, ("Erguß",) * 200)], ids=["short", "long texts"]
)
def test_dciodvfy_finds_no_error(dtype, facts, tmp_path):
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is not installed (apt-get install dicom3tools)")
    path = tmp_path / "image.dcm"
    path.write_bytes(dicom_bytes(noise(dtype), facts))
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
    assert "SCImage" in said.splitlines()
    errors = [line for line in said.splitlines() if "Error" in line and not YOUNGER_THAN_DCIODVFY.search(line)]
    assert errors == []
    assert pydicom.datadict.keyword_for_tag(0x0008001C) == "SyntheticData"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_are_read_back_as_they_are(dtype):
    image = noise(dtype)
    dataset = read(dicom_bytes(image, FACTS))
    np.testing.assert_array_equal(dataset.pixel_array, image)
    shown = pydicom.pixels.apply_voi_lut(dataset.pixel_array, dataset)
    np.testing.assert_array_equal(np.rint(shown), image)  # the window changes no grey
    assert dataset.PhotometricInterpretation == "MONOCHROME2"
    assert dataset.file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"


def test_it_is_marked_as_synthetic_and_names_no_patient():
    dataset = read(dicom_bytes(noise(), FACTS))
    assert dataset.SOPClassUID.name == "Secondary Capture Image Storage"
    marks = (dataset.SyntheticData, dataset.ConversionType, dataset.Modality, dataset.BurnedInAnnotation)
    assert marks == ("YES", "SYN", "OT", "NO")
    assert list(dataset.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    assert dataset.PatientName == "SYNTHETIC^NO PATIENT" and dataset.PatientID == "SYNTHETIC-ab12ab12-5"
    assert not any((dataset.PatientBirthDate, dataset.PatientSex, dataset.StudyDate, dataset.StudyTime))
    assert dataset.SeriesDescription == "SYNTHETIC acgan/3 seed 5 generated as: Pneumonia"
    assert dataset.DerivationDescription == (
        "Synthetic image, shows no patient; model acgan/3, weights ab12ab12ab12, seed 5; generated as: Pneumonia."
    )
    findings = [element for element in dataset if "Pneumonia" in str(element.value)]
    assert len(findings) == 2 and all("generated as: Pneumonia" in element.value for element in findings)


def test_equal_images_have_equal_bytes_and_others_other_uids():
    image = noise()
    first = dicom_bytes(image, FACTS)
    assert dicom_bytes(image.copy(), dataclasses.replace(FACTS)) == first
    other_pixel = image.copy()
    other_pixel[0, 0] ^= 1
    others = [
        (other_pixel, FACTS),
        (image.astype(np.uint16), FACTS),
        *((image, dataclasses.replace(FACTS, **changed)) for changed in (
            {"seed": 6}, {"seed": None}, {"labels": ("Mass",)}, {"weights_sha256": "0" * 64}, {"truncation": 0.5}
        )),
    ]  # fmt: skip
    datasets = [read(first), *(read(dicom_bytes(*other)) for other in others)]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        uids = {dataset[keyword].value for dataset in datasets}
        assert len(uids) == len(datasets)
        assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)
    assert datasets[0].file_meta.MediaStorageSOPInstanceUID == datasets[0].SOPInstanceUID


def test_the_uid_of_a_picture_stays_the_same_in_all_versions():
    """Written down when the format was made: archives take another UID for another picture."""
    dataset = read(dicom_bytes(np.arange(16, dtype=np.uint8).reshape(4, 4), FACTS))
    assert dataset.SOPInstanceUID == "2.25.173215283743778711906206144826709952075"


def test_another_type_of_image_is_refused():
    for image in (np.zeros((4, 4), np.float32), np.zeros((4, 4, 1), np.uint8)):
        with pytest.raises(ValueError, match=r"expected a uint8 or uint16 image \[height, width\], got "):
            dicom_bytes(image, FACTS)
