"""Planted copies are found whatever their brightness and size; a generator that emits training images is refused."""

import dataclasses
import json
import pickle

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_dataset_info, write_dataset_info
from tfcxr.evaluation.protocols.memorization import PLANTED
from tfcxr.export import ExportArguments, export
from tfcxr.generate import GenerateArguments, generate
from tfcxr.sampling.cohort import generate_cohort
from tfcxr.sampling.cohort_labels import counted_labels
from tfcxr.sampling.cohort_options import CohortOptions
from tfcxr.serving.cascade import export_cascade
from tfcxr.serving.copy_check import CopyCheck, numbers_of, open_copy_check
from tfcxr.serving.gate import TRY_STRIDE, Gate
from tfcxr.serving.loaded_model import LoadedModel, load_generating_model
from tfcxr.serving.model_card import ModelDescription
from tfcxr.training.run_folder import describe_data

NAMES = ("NORMAL", "PNEUMONIA")
TRIES = 5


class Planted(tf.Module):
    """Emits training images: always for NORMAL, for the first try of the others, and noise else."""

    def __init__(self, images):
        super().__init__()
        self.images = tf.Variable(images)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, "seed"),
            tf.TensorSpec([None, 2], tf.float32, "label"),
            tf.TensorSpec([], tf.float32, "truncation"),
        ],
        autograph=False,
    )
    def generate(self, seed, label, truncation):
        copies = tf.gather(self.images, seed % self.images.shape[0])
        draw = lambda one: tf.random.stateless_uniform([32, 32, 1], tf.stack([one, 0]), 0, 256, tf.int32)  # noqa: E731
        noise = tf.cast(tf.map_fn(draw, seed, fn_output_signature=tf.int32), tf.uint8)
        is_copy = (label[:, 0] == 1) | (seed < TRY_STRIDE)
        return {"image": tf.where(is_copy[:, None, None, None], copies, noise)}


@pytest.fixture(scope="module")
def training(disc_records):
    return load_images(disc_records, "train").images


@pytest.fixture(scope="module")
def planted(training, disc_records, tmp_path_factory):
    """`.../planted/1`, an exported generator of copies."""
    path, module = tmp_path_factory.mktemp("saved_models") / "planted" / "1", Planted(training)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.generate})
    description = ModelDescription(
        model="acgan", name="planted", version=1, label_names=NAMES, is_single_label=True, image_size=32, channels=1,
        latent_size=8, steps=7, batch_size=4, seed=0, settings={}, weights_sha256="a" * 64, chunk_rows=4,
        data=describe_data(read_dataset_info(disc_records), "train"), tfcxr_version="0", tensorflow_version="0",
    )  # fmt: skip
    (path / "model.json").write_text(description.to_json())
    return path


@pytest.fixture(scope="module")
def gate(planted, disc_records):
    check = open_copy_check(disc_records, LoadedModel(planted).description, 2.0)
    return Gate(None, TRIES, check)


def is_copied(images, training):
    """Whether each image is a training image, pixel by pixel."""
    return (images[:, None] == training[None]).all(axis=(2, 3, 4)).any(axis=1)


def cohort_of(planted, gate, out_dir, **counts):
    labels = counted_labels(counts, NAMES, True, seed=0)
    info = generate_cohort(load_generating_model(planted), labels, out_dir, CohortOptions(batch_size=4), gate)
    return info, load_images(out_dir / "32", "train").images


def test_a_cohort_holds_no_copies(planted, gate, training, tmp_path):
    _, plain = cohort_of(planted, None, tmp_path / "plain", PNEUMONIA=6)
    assert is_copied(plain, training).all()
    info, gated = cohort_of(planted, gate, tmp_path / "gated", PNEUMONIA=6)
    assert not is_copied(gated, training).any()
    log = info.provenance["copy_gate"]
    assert (log["tries"], log["copies_refused"], log["max_copy_ratio"]) == (12, 6, 2.0)
    assert log["copy_ratio"]["maximum"] <= 2 and "realism_gate" not in info.provenance
    assert info.provenance["acceptance_rate"] == 0.5


def test_a_label_of_nothing_but_copies_is_said(planted, gate, tmp_path):
    message = (
        "no image of NORMAL kept to a copy ratio of 2 in 5 tries, 5 were too near a training image; .*"
        "or choose a higher --max_copy_ratio and another --out_dir, or train the model on more images"
    )
    with pytest.raises(ValueError, match=message):
        cohort_of(planted, gate, tmp_path, NORMAL=1, PNEUMONIA=1)


@pytest.mark.thorough
def test_a_server_cannot_give_copies_away(planted, gate, training, tmp_path):
    path = export_cascade(planted, None, tmp_path / "gated", gate)
    model = LoadedModel(path)
    assert set(model.saved_model.signatures) == {"serving_default", "png"}
    labels = np.repeat(np.eye(2, dtype=np.float32), 3, axis=0)
    made = model.call("generate", seed=np.arange(6), label=labels)
    np.testing.assert_array_equal(made["is_accepted"], [False] * 3 + [True] * 3)
    assert not made["image"][:3].any() and not is_copied(made["image"], training).any()
    np.testing.assert_array_equal(made["copies_refused"], [TRIES] * 3 + [1] * 3)
    alike, images = cohort_of(path, None, tmp_path / "of_export", PNEUMONIA=6)
    info, gated = cohort_of(planted, gate, tmp_path / "gated_cohort", PNEUMONIA=6)
    assert alike.splits["train"].shards == info.splits["train"].shards
    np.testing.assert_array_equal(images, gated)
    assert alike.provenance["copy_gate"] == info.provenance["copy_gate"]
    card = (path / "README.md").read_text()
    assert "more than 2 times as near to one of 48 training" in card and "cropped and shifted ones are not" in card
    assert "32 numbers of each training image" in card and "its discriminator rates" not in card


def test_the_command_says_what_was_refused(planted, disc_records, tmp_path, capsys):
    flags = {"counts": ("PNEUMONIA=4",), "max_copy_ratio": 2.0, "copies_of": str(disc_records)}
    generate(GenerateArguments(saved_model=str(planted), out_dir=str(tmp_path), **flags))
    said = "copy ratio of 2 and less: 4 of 8 candidates were refused as too near a training image"
    assert said in capsys.readouterr().out


def test_planted_kinds_are_found(gate, training, disc_records):
    random, usual = np.random.default_rng(0), gate.settings["copies"]["held_out_ratio_99"]
    for kind in set(PLANTED) - {"cropped to 90 %"}:
        images = np.stack([PLANTED[kind](image, random) for image in training[:20, ..., 0]])[..., None]
        assert (gate.copies.copy_ratio(tf.constant(images)).numpy() > usual).all(), kind
    held_out = np.concatenate([load_images(disc_records, split).images for split in ("validation", "test")])
    ratios = gate.copies.copy_ratio(tf.constant(held_out)).numpy()
    assert 0.7 < np.median(ratios) < usual < 2
    exact = gate.copies.copy_ratio(tf.constant(training)).numpy()
    assert exact == pytest.approx(1000, rel=0.01)


def test_numbers_do_not_depend_on_size_brightness_and_channels():
    large = np.random.default_rng(0).integers(20, 90, (3, 64, 64, 1)).astype(np.uint8)
    expected = numbers_of(tf.constant(large)).numpy()
    assert expected.shape == (3, 32) and np.abs(expected).max() > 0.1
    np.testing.assert_allclose(numbers_of(tf.constant(large * 2 + 10)), expected, atol=1e-5)
    np.testing.assert_allclose(numbers_of(tf.constant(np.repeat(large, 3, axis=-1))), expected, atol=1e-5)
    enlarged = large.repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_allclose(numbers_of(tf.constant(enlarged)), expected, atol=1e-5)
    smooth = cv2.resize(large[0, :4, :4], (60, 60), interpolation=cv2.INTER_CUBIC)
    odd = cv2.resize(smooth, (50, 50), interpolation=cv2.INTER_LINEAR)
    pair = [numbers_of(tf.constant(image[None, ..., None])).numpy() for image in (smooth, odd)]
    np.testing.assert_allclose(*pair, atol=0.05)
    assert not numbers_of(tf.fill([1, 32, 32, 1], tf.constant(7, tf.uint8))).numpy().any()


def test_the_facts_are_plain(gate):
    facts = gate.settings["copies"]
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["training_images"], facts["held_out_images"]) == (48, 32)
    assert facts["held_out_splits"] == ["test", "validation"]
    assert (facts["data"], facts["split"], facts["max_copy_ratio"]) == ("discs", "train", 2.0)


@pytest.mark.thorough
def test_a_check_is_read_back_from_its_file(planted, gate, training, disc_records, tmp_path, capsys):
    description = LoadedModel(planted).description
    arguments = {"saved_model": str(planted), "copies_of": str(disc_records), "max_copy_ratio": 2.0}
    path = export(ExportArguments(training_features=str(tmp_path / "planted.npz"), **arguments))
    assert capsys.readouterr().out.splitlines()[-1] == str(path) == str(tmp_path / "planted.npz")
    check = CopyCheck.load(path, description)
    assert check.facts == gate.copies.facts and check.max_copy_ratio == 2.0
    images = tf.constant(training[:9] // 2 + 3)
    np.testing.assert_array_equal(check.copy_ratio(images), gate.copies.copy_ratio(images))
    gate.copies.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    with np.load(path, allow_pickle=False) as stored:
        assert stored["numbers"].shape == (48, 32) and set(stored) == {"numbers", "description"}, "no picture"
    cascade = LoadedModel(export_cascade(planted, None, tmp_path / "gated", gate)).description
    assert CopyCheck.load(path, cascade).facts == check.facts


def test_a_file_that_is_not_of_this_model_is_refused(planted, gate, tmp_path):
    description, path = LoadedModel(planted).description, tmp_path / "planted.npz"
    gate.copies.save(path)
    whole = path.read_bytes()
    with pytest.raises(FileNotFoundError, match="absent.npz does not exist; write it with python -m tfcxr.export --tr"):
        CopyCheck.load(tmp_path / "absent.npz", description)
    other = dataclasses.replace(description, data=description.data | {"fingerprint": "f" * 64})
    with pytest.raises(ValueError, match="of other images than planted/1 was trained on: expected the fingerprint ff"):
        CopyCheck.load(path, other)
    middle = len(whole) // 2
    damaged = [whole[:middle], whole[:middle] + b"no" + whole[middle + 2 :], b"", b"PK", pickle.dumps({"a": 1})]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match="planted.npz holds no training features, or is damaged"):
            CopyCheck.load(path, description)
    np.save(path.with_suffix(".npy"), np.zeros([48, 32], np.float32))
    path.write_bytes(path.with_suffix(".npy").read_bytes())
    with pytest.raises(ValueError, match="planted.npz holds no training features, or is damaged"):
        CopyCheck.load(path, description)
    written = {"format": "another", "typical_distance": 1.0, "facts": gate.copies.facts}
    np.savez(path, numbers=np.zeros([48, 32], np.float32), description=np.array(json.dumps(written)))
    with pytest.raises(ValueError, match="holds training features of another version, or is damaged"):
        CopyCheck.load(path, description)


def test_what_cannot_be_checked_is_refused(planted, disc_records, write_records, tmp_path):
    description = LoadedModel(planted).description
    write_records(tmp_path / "other" / "32", {"train": 8, "test": 8})
    with pytest.raises(ValueError, match="holds other images than planted/1 was trained on: expected the split train"):
        open_copy_check(tmp_path / "other" / "32", description, 2.0)
    unknown = dataclasses.replace(description, data={})
    write_records(tmp_path / "alone" / "32", {"train": 8})
    with pytest.raises(ValueError, match="has no split beside train; a copy ratio needs images of held-out patients"):
        open_copy_check(tmp_path / "alone" / "32", unknown, 2.0)
    write_dataset_info(
        tmp_path / "other" / "32",
        dataclasses.replace(read_dataset_info(tmp_path / "other" / "32"), is_synthetic=True),
    )
    with pytest.raises(ValueError, match="holds synthetic images .discs., expected training images"):
        open_copy_check(tmp_path / "other" / "32", unknown, 2.0)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1)).astype(np.uint8)
    with pytest.raises(ValueError, match="max_copy_ratio must be 1 or more, got 0.5"):
        CopyCheck.measured(0.5, images, 255 - images)
    with pytest.raises(ValueError, match="half of the held-out images are copies"):
        CopyCheck.measured(2.0, images, images[:, :, ::-1])
