"""A small study with its key, made without images."""

import pytest

from tfcxr.reader_study.design_file import Design, ImageOrigin, Item, Reader, token_sha256


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
