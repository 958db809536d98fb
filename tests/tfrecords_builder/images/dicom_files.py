"""Makes DICOM files of every kind of pixels and compression, for the tests beside it, which load it with `runpy`."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
pytest.importorskip("openjpeg", reason="the extra `dicom` is not installed")
pytest.importorskip("libjpeg", reason="the extra `dicom` is not installed")
uid = pytest.importorskip("pydicom.uid")
encaps = pytest.importorskip("pydicom.encaps")

SECRET = "Doe^Secret"  # stands in every personal tag; nothing may repeat it


def ramp(bits=12, height=48, width=64) -> np.ndarray:
    """uint16 [height, width], 0 to full range."""
    steps = np.linspace(0, 2**bits - 1, height * width)
    return np.rint(steps).reshape(height, width).astype(np.uint16)


def dicom(pixels: np.ndarray, bits: int | None = None, syntax=uid.ExplicitVRLittleEndian, frames=None, **tags) -> bytes:
    """A DICOM file of `pixels`; `frames` are its compressed frames; `tags` add, replace or (None) remove elements."""
    dataset = pydicom.Dataset()
    dataset.PatientName = dataset.PatientID = dataset.StudyDescription = SECRET
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = pixels.itemsize * 8
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if frames:
        dataset.PixelData = encaps.encapsulate(frames)
        dataset["PixelData"].is_undefined_length = True
    elif syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    else:
        dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the wrong values that some tests want
        for name, value in tags.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    made_here = (uid.JPEG2000, uid.JPEG2000Lossless, uid.RLELossless, uid.JPEGLSLossless)
    is_compressed_here = syntax in made_here and not frames
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian if is_compressed_here else syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if is_compressed_here:
            arguments = {"j2k_cr": [4]} if syntax == uid.JPEG2000 else {}
            dataset.compress(syntax, generate_instance_uid=False, **arguments)
        dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def table(entries: np.ndarray, first: int, bits: int) -> "pydicom.Sequence":
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first % 65536, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return pydicom.Sequence([item])


def chest(bits: int, seed: int = 0) -> np.ndarray:
    """uint16 [48, 64]: a drawn blob, its brightest pixel about .93 and its mean about .37 of the range of `bits`."""
    y, x = np.mgrid[0:48, 0:64]
    blob = (0.15 + 0.7 * np.exp(-((x - 26 - seed) ** 2 + (y - 27) ** 2) / 450)) * (1 + 0.1 * np.sin(x + seed))
    return np.rint((2**bits - 1) * blob).astype(np.uint16)


def changed(data: bytes, **tags) -> bytes:
    """A file whose header says something else, its pixels left as they are."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def baseline(image: np.ndarray, **arguments) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95, **arguments)
    return file.getvalue()


def lossless_jpeg(image: np.ndarray, bits: int) -> bytes:
    """JPEG process 14, selection value 1 (ITU T.81, annex H): each pixel as its difference to the one before it."""
    previous = np.empty(image.shape, np.int64)
    previous[:, 1:], previous[1:, 0], previous[0, 0] = image[:, :-1], image[:-1, 0], 2 ** (bits - 1)
    stream = ""
    for difference in ((image.astype(np.int64) - previous + 32767) % 65536 - 32767).ravel():
        size = int(abs(difference)).bit_length()
        stream += f"{size:05b}"  # the table below has 17 codes of 5 bits, the number of extra bits as such
        if 0 < size < 16:
            stream += f"{difference if difference > 0 else difference + 2**size - 1:0{size}b}"
    stream += "1" * (-len(stream) % 8)
    packed = np.packbits(np.frombuffer(stream.encode(), np.uint8) - ord("0")).tobytes().replace(b"\xff", b"\xff\0")
    height, width = (number.to_bytes(2, "big") for number in image.shape)
    codes = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    return (
        b"\xff\xd8"
        + b"\xff\xc3\0\x0b" + bytes([bits]) + height + width + b"\x01\x01\x11\0"
        + b"\xff\xc4" + (2 + len(codes)).to_bytes(2, "big") + codes
        + b"\xff\xda\0\x08\x01\x01\0\x01\0\0" + packed + b"\xff\xd9"
    )  # fmt: skip
