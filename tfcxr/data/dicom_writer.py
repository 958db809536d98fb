"""A synthetic radiograph -> a DICOM file that says so, through pydicom (extra `dicom` or `serving`).

It is a Secondary Capture: Computed Radiography would ask for an acquisition that never was. Its modality is OT (other),
its conversion type SYN (synthetic), `SyntheticData` (0008,001C) is YES, and it names no patient.

Equal images of equal facts give equal bytes. The standard lets unregistered makers derive UIDs from UUIDs (root 2.25,
PS3.5 B.2); here these are name-based, so that they follow from the weights, the seed, the labels and the pixels. No
date or time is written.
"""

import hashlib
import io
import json
import uuid
from typing import Any

import numpy as np

import tfcxr
from tfcxr.data.synthetic_facts import SyntheticFacts

try:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
except ImportError as pydicom_is_missing:
    raise ImportError("DICOM files need pydicom: pip install 'tfcxr[serving]'") from pydicom_is_missing

_UID_NAMESPACE = uuid.UUID("5b3f6c0e-64a1-4d1b-9d0c-2f6d7a1f0c55")
_SHORT_TEXT, _LONG_STRING, _LONG_TEXT = 16, 64, 1024  # what the types SH, LO and ST hold
_SAME_IN_ALL = {
    "SpecificCharacterSet": "ISO_IR 192",  # UTF-8
    "ImageType": ["DERIVED", "SECONDARY", "SYNTHETIC"],
    "SyntheticData": "YES",
    "SOPClassUID": SecondaryCaptureImageStorage,
    "ConversionType": "SYN",
    "Modality": "OT",
    "BodyPartExamined": "CHEST",
    "PatientName": "SYNTHETIC^NO PATIENT",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "Synthetic image, there is no patient",
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00",
    "StudyDescription": "SYNTHETIC images, no patient",
    "Manufacturer": "tfcxr",
    "SoftwareVersions": f"tfcxr {tfcxr.__version__}",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelRepresentation": 0,
    "StudyID": "1",
    "SeriesNumber": 1,
    "InstanceNumber": 1,
} | dict.fromkeys(  # which must be there, and may be empty
    ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"), ""
) | {"PatientOrientation": []}  # fmt: skip


def dicom_bytes(image: np.ndarray, facts: SyntheticFacts) -> bytes:
    """A DICOM file (Explicit VR Little Endian, uncompressed), a patient, study and series of its own.

    Args:
      image: uint8 or uint16 [height, width], 0 black.
      facts: where the image comes from.

    Raises:
      ValueError: an image of another type or shape.
    """
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected a uint8 or uint16 image [height, width], got {image.dtype} {image.shape}")
    bits = 8 * image.itemsize
    pixels = image.astype(image.dtype.newbyteorder("<"), copy=False).tobytes()
    origin = [facts.weights_sha256, facts.seed, facts.labels, facts.truncation]
    identity = [*origin, image.shape, bits, hashlib.sha256(pixels).hexdigest()]
    instance_uid, series_uid, study_uid = (_uid(kind, identity) for kind in ("instance", "series", "study"))
    number = _uid("patient", identity)[-12:] if facts.seed is None else facts.seed
    seed = "" if facts.seed is None else f" seed {facts.seed}"
    values: dict[str, Any] = {
        "SOPInstanceUID": instance_uid,
        "SeriesInstanceUID": series_uid,
        "StudyInstanceUID": study_uid,
        "PatientID": f"SYNTHETIC-{facts.weights_sha256[:8]}-{number}",
        "ManufacturerModelName": _text(facts.model, _LONG_STRING),
        "SeriesDescription": _text(f"SYNTHETIC {facts.model}{seed} {facts.generated_as}", _LONG_STRING),
        "DerivationDescription": _text(facts.sentence, _LONG_TEXT),
        "Rows": image.shape[0],
        "Columns": image.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "WindowCenter": 2 ** (bits - 1),  # with this width each grey is shown as it is
        "WindowWidth": 2**bits,
        "WindowCenterWidthExplanation": "full range",
    }
    dataset = Dataset()
    for keyword, value in (_SAME_IN_ALL | values).items():
        setattr(dataset, keyword, value)
    dataset.add_new("PixelData", "OB" if bits == 8 else "OW", pixels + b"\0" * (len(pixels) % 2))
    dataset.file_meta = _file_meta(instance_uid)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _file_meta(instance_uid: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid("implementation", [])
    meta.ImplementationVersionName = _text(f"TFCXR {tfcxr.__version__}", _SHORT_TEXT)
    return meta


def _uid(kind: str, identity: list[Any]) -> UID:
    return UID(f"2.25.{uuid.uuid5(_UID_NAMESPACE, json.dumps([kind, *identity])).int}")


def _text(text: str, length: int) -> str:
    """Text without what separates values, at most `length` bytes of UTF-8; some readers count these, not characters."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).replace("\\", "/").split())
    encoded = plain.encode()
    return plain if len(encoded) <= length else f"{encoded[: length - 3].decode(errors='ignore').rstrip()}..."
