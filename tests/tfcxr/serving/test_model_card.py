"""model.json and the card beside an exported model."""

import dataclasses
import json

import pytest

from tfcxr.serving.model_card import card_text, read_description


def test_the_description_holds_what_a_cohort_needs(tiny_export):
    description = read_description(tiny_export)
    assert description.label_names == ("NORMAL", "PNEUMONIA") and description.is_single_label
    assert (description.name, description.version, description.steps) == ("tiny", 1, 7)
    assert (description.image_size, description.channels, description.latent_size) == (32, 1, 8)
    assert description.data["licence"] == "made by the tests"
    assert len(description.weights_sha256) == 64
    assert json.loads(description.to_json()) == json.loads((tiny_export / "model.json").read_text())


def test_patients_are_copied_beside_the_model(tiny_export):
    assert (tiny_export / "training_patients.txt").read_text() == "patient-a\npatient-b\n"


def test_the_card_says_what_users_must_know(tiny_export):
    card = (tiny_export / "README.md").read_text()
    description = read_description(tiny_export)
    for text in ("# tiny, version 1", "> Discs, not radiographs.", "made by the tests", description.weights_sha256):
        assert text in card
    assert "Not for diagnosis" in card and "NORMAL, PNEUMONIA (exactly one label of a picture is 1)" in card
    assert "> " not in card_text(dataclasses.replace(description, data={"name": "x"}))


def test_a_folder_without_or_with_a_damaged_description(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not an exported model: it has no model.json"):
        read_description(tmp_path)
    for text in ("{", "{}", '{"label_names": [], "colour": 1}'):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(ValueError, match="does not describe an exported model: .*; export it again"):
            read_description(tmp_path)
