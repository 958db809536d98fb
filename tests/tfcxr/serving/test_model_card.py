"""model.json and the card beside an exported model."""

import dataclasses
import json
import pathlib
import re
import shlex

import pytest
import tensorflow as tf

from tfcxr.config import to_plain
from tfcxr.models.srgan import SRGAN, SRGANConfig
from tfcxr.models.vanilla_gan import VanillaGAN, VanillaGANConfig
from tfcxr.serving.cascade import export_cascade
from tfcxr.serving.gate import Gate
from tfcxr.serving.message_size import images_per_answer
from tfcxr.serving.model_card import read_description
from tfcxr.serving.saved_model import export_model
from tfcxr.serving.signatures import SIGNATURES
from tfcxr.training.run_folder import RunConfig

pytestmark = pytest.mark.thorough


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
    assert "The columns of `label` are NORMAL, PNEUMONIA, in this order." in card


@pytest.fixture(scope="module", params=["labelled", "unlabelled", "odd data", "super-resolution", "cascade"])
def export(request, tiny_export, tiny_enlarger, make_tiny_gan, tmp_path_factory) -> pathlib.Path:
    """An exported version of each kind, and one of data whose texts have bars and several lines."""
    out_dir = tmp_path_factory.mktemp("exports") / "mine"
    if request.param == "labelled":
        return tiny_export
    if request.param == "cascade":
        return export_cascade(tiny_export, tiny_enlarger, out_dir, Gate(min_realism=0.0))
    if request.param == "super-resolution":
        config = SRGANConfig(image_size=32, scale=2, residual_blocks=1, filters=4, discriminator_filters=2)
        run = RunConfig("srgan", to_plain(config), (), seed=3, batch_size=4, steps=7, data={"name": "discs"})
        return export_model(SRGAN(config, seed=3), run, out_dir, {"step": 7})
    if request.param == "unlabelled":
        config = VanillaGANConfig(image_size=32, latent_size=8)
        run = RunConfig("vanilla_gan", to_plain(config), (), seed=3, batch_size=4, steps=7, data={"name": "discs"})
        return export_model(VanillaGAN(config, seed=3), run, out_dir, {"step": 7})
    model, run = make_tiny_gan(label_names=("A|B", "C"))
    odd = {"licence": "CC BY | 4.0\n\nand, for the other set: a|b", "notice": "Discs.\nNot radiographs."}
    return export_model(model, dataclasses.replace(run, data=run.data | odd), out_dir, {"step": 7})


def cells(line: str) -> list[str]:
    """The cells of a table's row, as GitHub divides it."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def tables(card: str) -> list[list[list[str]]]:
    """The rows of each table, its header first and without the line below."""
    found = [[]]
    for line in card.splitlines():
        if line.startswith("|"):
            found[-1].append(cells(line))
        elif found[-1]:
            found.append([])
    return [rows for rows in found if rows]


def test_every_row_of_a_table_has_the_cells_of_its_header(export):
    card = (export / "README.md").read_text()
    assert len(tables(card)) == 4
    for header, line, *rows in tables(card):
        assert line == ["---"] * len(header) and rows
        assert all(len(row) == len(header) for row in rows)
    facts = dict(tables(card)[0][2:])
    data = read_description(export).data
    assert facts["licence of the training data"] == " ".join(data.get("licence", "not stated").split())
    assert all(line.startswith(("> ", "|")) or "Not radiographs" not in line for line in card.splitlines())


def test_inputs_and_outputs_are_those_of_the_export(export):
    loaded = tf.saved_model.load(str(export))
    shown = {}
    for function, side, name, dtype, shape, values in tables((export / "README.md").read_text())[2][2:]:
        shown[function.strip("`"), side, name.strip("`")] = dtype, shape
        assert values, f"{name} of {function} has no range"
    expected = {}
    for name, signature in SIGNATURES.items():
        if signature.name not in loaded.signatures or not hasattr(loaded, name):
            continue
        function = loaded.signatures[signature.name]
        for side, specs in (("in", function.structured_input_signature[1]), ("out", function.structured_outputs)):
            expected |= {(name, side, key): (spec.dtype.name, spec.shape.rank) for key, spec in specs.items()}
    ranks = {key: None if " or " in shape else shape.count(",") + 1 for key, (_, shape) in shown.items()}
    assert {key: (dtype, ranks[key]) for key, (dtype, _) in shown.items()} == expected
    if ("generate", "in", "seed") in shown:
        assert shown["generate", "in", "seed"] == ("int64", "[B]")
        assert shown["generate", "in", "truncation"] == ("float32", "[] or [B]")
        size = read_description(export).image_size
        assert shown["generate", "out", "image"] == ("uint8", f"[B, {size}, {size}, 1]")


def test_the_request_to_a_server_fits_the_signature(export):
    card = (export / "README.md").read_text()
    name = read_description(export).name
    assert f'docker run --rm -p 8501:8501 -v "$PWD/saved_models/{name}:/models/{name}" -e MODEL_NAME={name} ' in card
    (line,) = (line for line in card.splitlines() if line.startswith("curl "))
    *_, url, flag, body = shlex.split(line)
    assert url == f"http://localhost:8501/v1/models/{name}:predict" and flag == "-d"
    request = json.loads(body)
    signature = tf.saved_model.load(str(export)).signatures[request["signature_name"]]
    specs = signature.structured_input_signature[1]
    assert set(request["inputs"]) == set(specs)
    tensors = {key: tf.constant(value, specs[key].dtype) for key, value in request["inputs"].items()}
    assert all(tensor.shape.is_compatible_with(specs[key].shape) for key, tensor in tensors.items())
    (png,) = signature(**tensors)["png_bytes"].numpy()
    assert png.startswith(b"\x89PNG")


def test_the_card_says_how_many_images_fit_into_an_answer(export):
    card, description = (export / "README.md").read_text(), read_description(export)
    count = images_per_answer(description.image_size, description.image_size, description.channels)
    size = f"{description.image_size} x {description.image_size} pixels"
    assert f"Up to {count:,} images of {size} always fit, as `image` or `png_bytes`" in card
    assert "grpc.max_receive_message_length" in card
    assert (f", and {count // 4:,} of `latent`" in card) == (description.kind == "generator")


def test_a_folder_without_or_with_a_damaged_description(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not an exported model: it has no model.json"):
        read_description(tmp_path)
    for text in ("{", "{}", '{"label_names": [], "colour": 1}'):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(ValueError, match="does not describe an exported model: .*; export it again"):
            read_description(tmp_path)
