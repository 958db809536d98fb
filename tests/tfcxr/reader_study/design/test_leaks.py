"""The check for leaks finds each kind of leak that is built in, and none where there is none."""

import dataclasses
import os

import cv2
import numpy as np
import pytest

from tfcxr.reader_study.design.image_features import blockiness, image_features
from tfcxr.reader_study.design.leaks import ALL, check_study, cross_validated_auc
from tfcxr.reader_study.design.pictures import write_pictures
from tfcxr.reader_study.design_file import IMAGES_FOLDER, Design, ImageOrigin, Item, Reader

IMAGES = 60
SIZE = 48


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 180, (SIZE, SIZE)).astype(np.uint8)


@pytest.fixture
def study(tmp_path):
    """A folder of single images, of which a random half are synthetic, with its design and key."""
    random = np.random.default_rng(1)
    names = [random.bytes(6).hex() for _ in range(IMAGES)]
    is_synthetic = random.permutation(IMAGES) % 2 == 0
    items = {f"single-{number:02d}": Item("single", (name,)) for number, name in enumerate(names)}
    orders = [tuple(random.permutation(list(items)).tolist()) for _ in range(4)]
    checksums = write_pictures(tmp_path / IMAGES_FOLDER, names, lambda name: noise(names.index(name)))
    readers = {f"R{place}": Reader("", order, "0") for place, order in enumerate(orders)}
    design = Design("T", "C", (), 3, SIZE, items, readers, checksums)
    key = {
        name: ImageOrigin(bool(side), "cgan" if side else "nih", name, ())
        for name, side in zip(names, is_synthetic, strict=True)
    }
    return tmp_path, design, key


def warnings(report):
    return [sentence for sentence in report.sentences if sentence.startswith("WARNING")]


def test_equal_sides_are_blind(study):
    report = check_study(*study, permutations=199)
    assert report.is_blind
    assert warnings(report) == []
    assert "files and order tell nothing" in report.sentences[0]
    by_name = {leak.feature: leak for leak in report.files}
    for name in ("file length", "file time"):  # equal for all: no classifier can use them
        assert (by_name[name].auc, by_name[name].p) == (0.5, 1.0)


@pytest.mark.parametrize("leaking", ["file length", "file time"])
def test_a_leak_of_files_is_found(study, leaking):
    folder, design, key = study
    for name, origin in key.items():
        path = folder / IMAGES_FOLDER / f"{name}.png"
        if leaking == "file length" and origin.is_synthetic:
            path.write_bytes(path.read_bytes() + b"x")
        os.utime(path, (10**9 + (leaking == "file time") * origin.is_synthetic,) * 2)
    report = check_study(folder, design, key, permutations=199)
    assert not report.is_blind
    assert {leak.feature for leak in report.files if leak.auc == 1.0} == {leaking, ALL}
    assert f"WARNING: {leaking} tells real from synthetic: AUC 1.00" in report.sentences[0]


def test_a_leak_of_the_order_is_found(study):
    folder, design, key = study
    first = sorted(design.items, key=lambda item: key[design.items[item].images[0]].is_synthetic)
    readers = {"R": Reader("", tuple(first), "0")}
    report = check_study(folder, dataclasses.replace(design, readers=readers), key, permutations=199)
    assert "position in the study" in warnings(report)[0]


def test_a_leak_of_names_is_found(study):
    folder, design, key = study
    places = {name: f"{10**6 * origin.is_synthetic + place:012x}" for place, (name, origin) in enumerate(key.items())}
    for old, new in places.items():
        (folder / IMAGES_FOLDER / f"{old}.png").rename(folder / IMAGES_FOLDER / f"{new}.png")
    items = {k: dataclasses.replace(item, images=(places[item.images[0]],)) for k, item in design.items.items()}
    renamed = dataclasses.replace(design, items=items)
    report = check_study(folder, renamed, {places[k]: v for k, v in key.items()}, permutations=199)
    assert "file name" in warnings(report)[0]


def test_brightness_is_said_with_its_figures(study):
    folder, design, key = study
    write_pictures(folder / IMAGES_FOLDER, key, lambda name: noise(int(name[:4], 16)) // (1 + key[name].is_synthetic))
    report = check_study(folder, design, key, permutations=199)
    assert report.is_blind
    assert (
        "WARNING: a reader could go by mean brightness: AUC 1.00, p 0.005; mean 0.469 real, 0.233 synthetic; "
        "--percentile_window takes the mean difference away"
    ) in report.sentences


def test_too_few_images_and_lost_files_are_refused(study):
    folder, design, key = study
    few = dict(sorted(key.items(), key=lambda entry: entry[1].is_synthetic)[:34])
    with pytest.raises(ValueError, match="30 real and 4 synthetic images; the check for leaks needs 5 of each"):
        check_study(folder, design, few)
    path = next((folder / IMAGES_FOLDER).iterdir())
    path.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="is missing or no picture"):
        check_study(folder, design, key, permutations=9)


def test_blocks_of_jpeg_are_measured_also_after_a_resize():
    smooth = cv2.GaussianBlur(np.random.default_rng(0).random((256, 256)), (0, 0), 6)
    pixels = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    rough = cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 0)
    assert blockiness(rough / 255.0) > 1.5 * blockiness(pixels / 255.0)
    larger = [cv2.resize(image, (390, 390), interpolation=cv2.INTER_CUBIC) / 255.0 for image in (pixels, rough)]
    pitch = 8 * 390 / 256
    assert blockiness(larger[1], pitch) > 1.3 * blockiness(larger[0], pitch)
    assert blockiness(rough / 255.0, 3.0) == 1.0


def test_p_is_uniform_without_a_leak():
    random = np.random.default_rng(0)
    labels = np.arange(50) % 2 == 0
    found = [cross_validated_auc(random.normal(size=(50, 3)), labels, 99, random) for _ in range(60)]
    assert np.mean([auc for auc, _ in found]) == pytest.approx(0.5, abs=0.06)
    assert np.mean([p < 0.2 for _, p in found]) == pytest.approx(0.2, abs=0.16)  # three standard errors


def test_features_of_an_even_picture():
    mean, spread, border, blocks, sharpness, mark = image_features(np.full((64, 64), 51, np.uint8))
    assert (mean, border) == pytest.approx((0.2, 0.2))
    assert (spread, mark) == pytest.approx((0, 0), abs=1e-12)
    assert blocks == pytest.approx(1)
    assert sharpness < -20
