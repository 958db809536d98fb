"""A small study with its key, made without images."""

import dataclasses
import hashlib
import io

import numpy as np
import pytest
from PIL import Image

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


@pytest.fixture
def key():
    """Images a to f, of which a, c and e are synthetic."""
    return {
        name: ImageOrigin(name in "ace", "cgan" if name in "ace" else "nih", f"record {name}", ("Effusion",))
        for name in "abcdef"
    }


@pytest.fixture
def design(key):
    """A training example, a grid, a pair and a single image, for two readers in opposite orders."""
    items = {
        "training": Item("single", ("f",), is_training=True),
        "grid": Item("grid", tuple("abcdef")),
        "pair": Item("pair", ("b", "c"), block="Effusion"),
        "single": Item("single", ("e",), exposure_seconds=0.5),
    }
    orders = {"R1": ("training", "grid", "pair", "single"), "R2": ("training", "single", "pair", "grid")}
    return Design(
        title="A study",
        consent="Please look.",
        diagnoses=("Effusion", "Mass"),
        seed=1,
        display_size=260,
        items=items,
        readers={name: Reader("registrar", order, token_sha256(f"token {name}")) for name, order in orders.items()},
        image_sha256=dict.fromkeys(key, "0" * 64),
        training_solutions={"training": (False,)},
    )


@pytest.fixture
def write_served_study(design, key):
    """`write_served_study(folder, design=design)`: writes it with pictures and links; the token of R1 is "token R1"."""

    def write(folder, study=design):
        (folder / IMAGES_FOLDER).mkdir(parents=True)
        checksums = {}
        for number, image in enumerate(sorted(key)):
            rows, columns = np.mgrid[:52, :52]
            grey = np.uint8((rows * (number + 1) + columns * 3) % 256)
            file = io.BytesIO()
            Image.fromarray(grey).save(file, "PNG")
            (folder / IMAGES_FOLDER / f"{image}.png").write_bytes(file.getvalue())
            checksums[image] = hashlib.sha256(file.getvalue()).hexdigest()
        study = dataclasses.replace(study, image_sha256=checksums)
        write_study(folder, study, key)
        links = [f"{name},{reader.group},/r/token%20{name}" for name, reader in study.readers.items()]
        (folder / LINKS_FILE).write_text("\n".join(["reader,group,path", *links, ""]))
        return study

    return write
