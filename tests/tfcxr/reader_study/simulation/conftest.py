"""A study with images, for simulated readers."""

import csv
import hashlib

import cv2
import numpy as np
import pytest

from tfcxr.reader_study.design_file import (
    IMAGES_FOLDER,
    LINKS_FILE,
    Design,
    ImageOrigin,
    Item,
    Reader,
    token_sha256,
    write_study,
)


def make_design(*, readers=3, grids=1, pairs=2, singles=2, exposure_seconds=None):
    """A study's design and key; every other image is synthetic."""
    key, items = {}, {}

    def new_images(count):
        names = [f"image{len(key) + number:04}" for number in range(count)]
        for number, name in enumerate(names):
            key[name] = ImageOrigin(number % 2 == 1, "cgan" if number % 2 else "nih", f"record {name}", ("Mass",))
        return tuple(names)

    items["training"] = Item("single", new_images(1), is_training=True)
    items |= {f"grid{number}": Item("grid", new_images(6)) for number in range(grids)}
    items |= {f"pair{number}": Item("pair", new_images(2)) for number in range(pairs)}
    for number in range(0, singles, 2):
        for place, image in enumerate(new_images(2)):
            items[f"single{number + place}"] = Item("single", (image,), exposure_seconds=exposure_seconds)
    design = Design(
        title="A study",
        consent="Please look.",
        diagnoses=("Effusion", "Mass"),
        seed=1,
        display_size=16,
        items=items,
        readers={f"R{number}": Reader("", tuple(items), token_sha256(f"token-{number}")) for number in range(readers)},
        image_sha256={image: hashlib.sha256(_png(image)).hexdigest() for image in key},
        training_solutions={"training": (False,)},
    )
    return design, key


def write_files(folder, design, key):
    """The whole folder of a study, links included."""
    folder.mkdir(parents=True, exist_ok=True)
    write_study(folder, design, key)
    (folder / IMAGES_FOLDER).mkdir()
    for image in key:
        (folder / IMAGES_FOLDER / f"{image}.png").write_bytes(_png(image))
    with (folder / LINKS_FILE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["reader", "group", "path"])
        writer.writerows([name, "", f"/r/token-{name[1:]}"] for name in design.readers)


@pytest.fixture
def designed():
    """What makes a design and its key."""
    return make_design


@pytest.fixture
def written():
    """What writes a study's folder."""
    return write_files


@pytest.fixture
def study(tmp_path):
    """A study of three readers: its folder, design and key."""
    design, key = make_design()
    write_files(tmp_path / "study", design, key)
    return tmp_path / "study", design, key


def _png(image):
    seed = int(image.removeprefix("image"))
    return cv2.imencode(".png", np.full([16, 16], seed, np.uint8))[1].tobytes()
