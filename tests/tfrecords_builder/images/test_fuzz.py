"""Damaged files by the thousand: the image reader and the record parser refuse each by name, and never crash or hang.

400,000 more inputs of other seeds were run once by hand. They found TIFF files of a forged height, read as a picture
that was mostly not there; and records of two images or of none. Both have tests now.
"""

import collections
import faulthandler
import importlib.util
import io
import pathlib
import random
import resource
import runpy
import struct
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL import Image, features

from tfcxr.data.parsing import parse_batch
from tfcxr.data.pipeline import evaluation_batches, load_images
from tfcxr.data.records import read_patient_keys, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, ShardInfo, SplitInfo, encode_record
from tfrecords_builder.images.image_file import decode
from tfrecords_builder.images.radiograph import MAX_PIXELS, ImageError, Radiograph

IMAGES, RECORDS, SHARDS = 20_000, 10_000, 24
REASONS = {
    "not_an_image", "unsupported_format", "truncated", "unreadable", "too_large", "multi_frame", "constant",
    "nearly_black",
}  # fmt: skip
ODD_NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    32,
    127,
    128,
    255,
    256,
    32767,
    32768,
    60000,
    65535,
    1 << 24,
    1 << 31,
    0xFFFFFFFF,
)
LONGEST_SECONDS = 1.0  # of processor time, for any one file
HANG_SECONDS = 300  # then the traceback is printed and the run ends
MOST_MEMORY = 700 * 2**20  # more than before: a picture of MAX_PIXELS is forged rarely, one of 60,000 x 60,000 often


def saved(image: np.ndarray | Image.Image, kind: str, **arguments) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **arguments)
    return file.getvalue()


def sound_files() -> dict[str, bytes]:
    """Small files of every kind that the reader takes."""
    grey = np.add.outer(np.arange(40) * 3, np.arange(36) * 3).astype(np.uint8)
    rgb, wide = np.dstack([grey, grey.T.reshape(40, 36), 255 - grey]), grey.astype(np.uint16) * 257
    rgba = np.dstack([rgb, grey])
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "jpeg": saved(grey, "JPEG"),
        "jpeg_colour": saved(rgb, "JPEG"),
        "jpeg_progressive": saved(rgb, "JPEG", progressive=True),
        "jpeg_restarts": saved(grey, "JPEG", restart_marker_blocks=2),
        "jpeg_exif": saved(grey, "JPEG", exif=exif),
        "jpeg_inks": saved(Image.fromarray(rgba, "CMYK"), "JPEG"),
        "png": saved(grey, "PNG"),
        "png_wide": saved(wide, "PNG"),
        "png_bits": saved(Image.fromarray(grey > 100), "PNG"),
        "png_palette": saved(Image.fromarray(rgb).quantize(8), "PNG"),
        "png_colour": saved(rgb, "PNG"),
        "png_alpha": saved(rgba, "PNG"),
        "png_transparent": saved(grey, "PNG", transparency=50),
        "tiff": saved(grey, "TIFF"),
        "tiff_wide": saved(wide, "TIFF"),
        "tiff_bits": saved(Image.fromarray(grey > 100), "TIFF"),
        "tiff_palette": saved(Image.fromarray(rgb).quantize(8), "TIFF"),
        "tiff_alpha": saved(rgba, "TIFF"),
    }
    if features.check("libtiff"):
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
            files[f"tiff_{compression}"] = saved(grey, "TIFF", compression=compression)
        files["tiff_fax"] = saved(Image.fromarray(grey > 100), "TIFF", compression="group4")
    if all(importlib.util.find_spec(package) for package in ("pydicom", "openjpeg", "libjpeg")):
        files |= sound_dicom_files(grey, rgb)
    return files


def sound_dicom_files(grey: np.ndarray, rgb: np.ndarray) -> dict[str, bytes]:
    made = runpy.run_path(str(pathlib.Path(__file__).with_name("dicom_files.py")))
    dicom, uid, table = made["dicom"], made["uid"], made["table"]
    twelve = grey.astype(np.uint16) * 16
    files = {
        "dicom": dicom(twelve, 12, WindowCenter=2000, WindowWidth=3000, RescaleSlope=1, RescaleIntercept=-5),
        "dicom_implicit": dicom(grey, syntax=uid.ImplicitVRLittleEndian, PhotometricInterpretation="MONOCHROME1"),
        "dicom_tables": dicom(
            twelve.astype(np.int16), 13, VOILUTSequence=table(np.arange(256), 0, 8), PixelPaddingValue=-7
        ),
        "dicom_colour": dicom(rgb),
        "dicom_jpeg": dicom(grey, syntax=uid.JPEGBaseline8Bit, frames=[saved(grey, "JPEG")]),
        "dicom_lossless": dicom(twelve, 12, uid.JPEGLosslessSV1, [made["lossless_jpeg"](twelve, 12)]),
        "dicom_2000": dicom(twelve, 12, uid.JPEG2000Lossless),
        "dicom_2000_lossy": dicom(grey, syntax=uid.JPEG2000),
        "dicom_rle": dicom(twelve, 12, uid.RLELossless),
    }
    if importlib.util.find_spec("jpeg_ls"):
        files["dicom_ls"] = dicom(twelve, 12, uid.JPEGLSLossless)
    return files


def damaged(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    """A copy with one to four kinds of damage."""
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        # Most of the damage goes to the header, which is where the numbers are, behind the empty preamble of DICOM.
        first = 132 if data[128:132] == b"DICM" and generator.random() < 0.95 else 0
        position = min(len(data), first + generator.randrange(generator.choice((64, 400, len(data) or 1))))
        length = generator.choice((1, 2, 4, 8, 40))
        kind = generator.randrange(9)
        if kind == 0:
            data = data[:position]
        elif kind == 1:
            data = data[:position] + data[position + length :]
        elif kind == 2:
            data = data[:position] + data[position : position + length] * generator.choice((2, 3, 50)) + data[position:]
        elif kind == 3:
            other = generator.choice(others)
            data = data[:position] + other[generator.randrange(len(other)) :]
        elif kind == 4:
            data = data[:position] + generator.randbytes(length) + data[position + length :]
        elif kind in (5, 6):
            form = generator.choice(("<H", ">H", "<I", ">I"))
            number = generator.choice(ODD_NUMBERS) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
            data = data[:position] + struct.pack(form, number) + data[position + struct.calcsize(form) :]
        else:
            flipped = bytearray(data)
            for _ in range(length if data else 0):
                flipped[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
            data = bytes(flipped)
    return with_right_check_sums(data) if data[1:4] == b"PNG" and generator.random() < 0.7 else data


def with_right_check_sums(data: bytes) -> bytes:
    """A PNG whose damage its check sums do not tell, so that the decoder meets it."""
    mended, position = bytearray(data), 8
    while position + 12 <= len(mended):
        end = position + 8 + int.from_bytes(mended[position : position + 4], "big")
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(mended[position + 4 : end]))
        position = end + 4
    return bytes(mended)


def outcome(data: bytes) -> str:
    """ "read", or the reason of refusal; any other exception passes through."""
    try:
        image = decode(data)
    except ImageError as error:
        assert error.reason in REASONS, error
        return error.reason
    assert isinstance(image, Radiograph)
    assert image.pixels.dtype in (np.uint8, np.uint16)
    assert image.pixels.ndim == 2
    assert 0 < image.pixels.size <= MAX_PIXELS
    assert image.pixels.max() <= image.white <= np.iinfo(image.pixels.dtype).max
    assert len(image.content) == 16
    assert all(len(notice) == 2 for notice in image.notices)
    return "read"


def fuzz_images(count: int, seed: int) -> dict[str, collections.Counter]:
    """Outcomes of `count` damaged files by the kind of file; fails on the first that is neither read nor refused."""
    generator = random.Random(seed)
    files = sound_files()
    names, everything = sorted(files), [*files.values()]
    counts = {name: collections.Counter() for name in [*names, "random"]}
    for index in range(count):
        name = "random" if index % 50 == 0 else names[index % len(names)]
        start = generator.choice(everything)[: generator.choice((0, 3, 8, 132, 150))]
        data = start + generator.randbytes(200) if name == "random" else damaged(files[name], everything, generator)
        started = time.process_time()
        try:
            counts[name][outcome(data)] += 1
        except Exception as error:
            raise AssertionError(f"file {index} of seed {seed}, {name}: {type(error).__name__}: {error}") from error
        seconds = time.process_time() - started
        assert seconds < LONGEST_SECONDS, f"file {index} of seed {seed}, {name}, took {seconds:.1f} s"
    return counts


@pytest.fixture(autouse=True)
def end_when_it_hangs():
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def test_every_sound_file_is_read():
    for name, data in sound_files().items():
        assert outcome(data) == "read", name


def test_every_truncation_of_every_format_is_noticed():
    """Called "truncated" wherever the file is cut, or its picture is whole and read as before."""
    for name, data in sound_files().items():
        expected, last = decode(data).pixels, len(data)
        ends = {*range(1, 20), *range(20, last, last // 60 + 1), 128, 130, 131, 132, *range(last - 12, last)}
        for end in sorted(ends - {last}):
            try:
                pixels = decode(data[:end]).pixels
            except ImageError as error:
                assert error.reason == "truncated", (name, end, error)
            else:
                np.testing.assert_array_equal(pixels, expected, err_msg=f"{name} cut at {end}")
                assert end >= last - 12, (name, end)


@pytest.mark.thorough
def test_damaged_images_are_read_or_refused_by_name_and_all_are_counted():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    counts = fuzz_images(IMAGES, seed=0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MOST_MEMORY
    assert sum(sum(counter.values()) for counter in counts.values()) == IMAGES
    total = sum(counts.values(), collections.Counter())
    assert set(total) <= REASONS | {"read"}
    for expected in ("read", "unreadable", "truncated", "not_an_image", "unsupported_format", "too_large"):
        assert total[expected] > 20, total
    for name, counter in counts.items():
        assert sum(counter.values()) > 100, name
        assert len(counter) > 1, (name, counter)


# Records


def record_info(encoding: str, bits: int, **facts) -> DatasetInfo:
    fields = {
        "name": "fuzz", "label_names": ("A", "B"), "is_single_label": False, "image_size": 8, "bits": bits,
        "encoding": encoding, "splits": {}, "images_read": 0, "images_written": 0, "rejected": {},
        "preprocessing": {}, "source": {},
    }  # fmt: skip
    return DatasetInfo(**fields | facts)


def sound_record(encoding: str, bits: int, seed: int = 0) -> bytes:
    dtype = np.uint8 if bits == 8 else np.uint16
    image = np.random.default_rng(seed).integers(0, 2**bits, (8, 8)).astype(dtype)
    return encode_record(
        Record(image, f"image-{seed}", (1.0, float("nan")), f"patient-{seed}", "PA", 50.0, "F"), encoding
    )


def damaged_features(data: bytes, generator: random.Random) -> bytes:
    """A record that is a sound message, but not the one that was written: features missing, of other kinds or sizes."""
    example = tf.train.Example.FromString(data)
    features = example.features.feature
    for name in generator.sample(sorted(features), generator.choice((1, 1, 2, 3))):
        kind = features[name].WhichOneof("kind")
        numbers = getattr(features[name], kind).value if kind else []
        damage = generator.randrange(5)
        if damage == 0:
            del features[name]
        elif damage == 1:
            features[name].int64_list.value[:] = [generator.choice(ODD_NUMBERS)]
        elif damage == 2:
            features[name].bytes_list.value[:] = [generator.randbytes(generator.choice((0, 1, 63, 64, 128, 256)))]
        elif damage == 3 and numbers:
            numbers.extend(numbers[:])
        elif kind == "bytes_list":
            numbers[:] = [damaged(value, [data], generator) for value in numbers]
        elif kind:
            del numbers[:1]
    return example.SerializeToString()


@pytest.mark.thorough
@pytest.mark.parametrize("encoding, bits", [("raw", 8), ("raw", 16), ("png", 8), ("png", 16)])
def test_damaged_records_are_parsed_or_refused(encoding, bits):
    """Bytes that are no message at all are refused by protobuf here, and by its check sum in a file.

    They must not come to `tf.io.parse_example` itself: TensorFlow 2.21 crashes on about one in 3,000 of them, those in
    which a string is said to be longer than 2**31 bytes.
    """
    info = record_info(encoding, bits)
    generator = random.Random(bits)
    sound = [sound_record(encoding, bits), sound_record("png" if encoding == "raw" else "raw", 8)]
    parse = tf.function(lambda serialized: parse_batch(serialized, info), [tf.TensorSpec([1], tf.string)])
    counts = collections.Counter()
    for index in range(RECORDS // 4):
        data = damaged_features(sound[0], generator) if index % 2 else damaged(sound[0], sound, generator)
        try:
            tf.train.Example.FromString(data)
            parsed = parse(tf.constant([data]))
        except DecodeError:
            counts["no message"] += 1
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):  # the last: TensorFlow could not print a name
            counts["refused"] += 1
        else:
            counts["parsed"] += 1
            assert parsed["image"].shape == (1, 8, 8, 1)
            assert parsed["image"].dtype == (tf.uint8 if bits == 8 else tf.uint16)
            assert parsed["label"].shape == (1, 2)
            assert {parsed[name].shape for name in ("key", "patient_key", "view", "sex", "age")} == {(1,)}
    assert sum(counts.values()) == RECORDS // 4
    assert set(counts) == {"parsed", "refused", "no message"}
    assert min(counts.values()) > 50, counts


def write_damaged_shard(folder: pathlib.Path, damage, encoding: str) -> None:
    """A data folder whose info agrees with the damaged shard's size, so that the damage is met by the reader."""
    shard = write_shard(folder / "test-00000-of-00001.tfrecord", [sound_record(encoding, 8, seed) for seed in range(6)])
    path = folder / shard.file
    path.write_bytes(damage(path.read_bytes()))
    shard = ShardInfo(shard.file, 6, path.stat().st_size, shard.sha256)
    split = SplitInfo(6, 6, {name: {"positive": 6, "negative": 0, "unknown": 0} for name in "AB"}, (shard,))
    write_dataset_info(folder, record_info(encoding, 8, splits={"test": split}, images_read=6, images_written=6))


@pytest.mark.thorough
def test_damaged_shards_are_read_or_a_value_error(tmp_path):
    generator = random.Random(0)
    counts = collections.Counter()
    for index in range(SHARDS):
        folder = tmp_path / str(index)
        folder.mkdir()
        write_damaged_shard(folder, lambda data: damaged(data, [data], generator), ("raw", "png")[index % 2])
        for read in (load_images, read_patient_keys):
            try:
                read(folder, "test")
                counts["read"] += 1
            except ValueError as error:
                assert "is damaged" in str(error), error
                counts["refused"] += 1
    assert sum(counts.values()) == 2 * SHARDS
    assert counts["refused"] > SHARDS, counts


def test_a_damaged_shard_stops_its_batches(tmp_path):
    write_damaged_shard(tmp_path, lambda data: data[:100] + b"\xff" + data[101:], "raw")
    with pytest.raises(tf.errors.DataLossError):
        list(evaluation_batches(tmp_path, "test", 2))
