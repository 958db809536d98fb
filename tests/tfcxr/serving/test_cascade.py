"""The cascade as one SavedModel: the same pictures as the cohort's, tries, a process without tfcxr, refusals."""

import dataclasses
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import to_plain
from tfcxr.models.cgan import CGAN, CGANConfig
from tfcxr.models.vanilla_gan import VanillaGAN, VanillaGANConfig
from tfcxr.sampling.cohort_labels import no_labels
from tfcxr.sampling.image_source import ImageSource
from tfcxr.serving.cascade import CascadeParts, ServedCascade, export_cascade
from tfcxr.serving.gate import TRY_STRIDE, Gate
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.model_card import read_description
from tfcxr.serving.saved_model import export_model
from tfcxr.training.run_folder import RunConfig

pytestmark = pytest.mark.thorough

NAMES = ("NORMAL", "PNEUMONIA")
SEEDS = np.array([5, 2**40, 9, 11, 0, 3, 7])


@pytest.fixture(scope="module")
def classes(one_hot):
    return one_hot([0, 1, 1, 0, 1, 0, 0])


def images_of(cascade, seeds, labels, truncation=1.0):
    """All outputs of a cascade."""
    return cascade.call("generate", seed=seeds, label=labels, truncation=truncation)


def candidates(model, seed, label, tries):
    """Pictures and scores of one row's candidates, one after the other."""
    seeds, labels = seed + TRY_STRIDE * np.arange(tries), np.tile(label, (tries, 1))
    images = model.generate(seeds, labels)
    return images, model.score(images, labels)


@pytest.fixture(scope="module")
def threshold(tiny_export, classes):
    """What about one candidate in four reaches, so that rows differ in their tries."""
    model = LoadedModel(tiny_export)
    rows = [candidates(model, seed, label, 16)[1] for seed, label in zip(SEEDS, classes, strict=True)]
    return float(np.quantile(rows, 0.75))


@pytest.fixture(scope="module")
def exported(tiny_export, tiny_enlarger, threshold, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("saved_models") / "cascade"
    return export_cascade(tiny_export, tiny_enlarger.parent, out_dir, Gate(threshold, 5))


def test_the_first_candidate_that_passes_is_enlarged(exported, tiny_export, threshold, classes):
    generator, found = LoadedModel(tiny_export), images_of(LoadedModel(exported), SEEDS, classes)
    assert len(set(found["tries"].tolist())) > 2 and not found["is_accepted"].all() and found["is_accepted"].any()
    for row, (seed, label) in enumerate(zip(SEEDS, classes, strict=True)):
        images, realism = candidates(generator, seed, label, 5)
        passing = np.flatnonzero(realism >= np.float32(threshold))
        chosen = passing[0] if len(passing) else realism.argmax()
        assert found["is_accepted"][row] == bool(len(passing))
        assert found["tries"][row] == (passing[0] + 1 if len(passing) else 5)
        assert found["seed"][row] == seed + TRY_STRIDE * chosen
        assert found["realism"][row] == pytest.approx(realism[chosen], abs=1e-6)
        np.testing.assert_array_equal(found["image"][row], images[chosen].repeat(2, axis=0).repeat(2, axis=1))


def test_loads_and_generates_the_same_without_tfcxr_and_its_parts(
    tiny_export, tiny_enlarger, threshold, classes, tmp_path
):
    parts = [shutil.copytree(path, tmp_path / path.parent.name / "1") for path in (tiny_export, tiny_enlarger)]
    path = export_cascade(*parts, tmp_path / "cascade", Gate(threshold, 5))
    here = images_of(LoadedModel(path), SEEDS, classes)
    for part in parts:
        shutil.rmtree(part)
    script = f"""
        import sys
        sys.modules["tfcxr"] = None
        import numpy as np
        import tensorflow as tf
        signatures = tf.saved_model.load("moved/1").signatures
        def draw(name, rows):
            return signatures[name](
                seed=tf.constant({SEEDS.tolist()}, tf.int64)[rows],
                label=tf.constant({classes.tolist()}, tf.float32)[rows],
                truncation=tf.constant(1.0),
            )
        alone = draw("serving_default", slice(1, 2))
        np.savez("there.npz", **draw("serving_default", slice(None, None, -1)))
        np.savez("alone.npz", **alone)
        np.save("png.npy", tf.io.decode_png(draw("png", slice(0, 1))["png_bytes"][0]))
        """
    (tmp_path / "cascade").rename(tmp_path / "moved")
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PATH": ""}
    subprocess.run([sys.executable, "-I", "-c", textwrap.dedent(script)], cwd=tmp_path, env=environment, check=True)
    there, alone = np.load(tmp_path / "there.npz"), np.load(tmp_path / "alone.npz")
    assert set(there) == {"image", "realism", "tries", "seed", "is_accepted"}
    for name in ("tries", "seed", "is_accepted"):
        np.testing.assert_array_equal(there[name][::-1], here[name])
        np.testing.assert_array_equal(alone[name], here[name][1:2])
    assert_same_pictures(there["image"][::-1], here["image"])
    assert_same_pictures(alone["image"], here["image"][1:2])
    assert_same_pictures(np.load(tmp_path / "png.npy"), here["image"][0])


def assert_same_pictures(images, expected):
    """Without AVX-512, TensorFlow rounds a few of the enlarged pixels by one grey level from one run to the next."""
    off = np.abs(images.astype(int) - expected.astype(int))
    assert off.max() <= 1 and (off > 0).mean() < 1e-3


def search(parts, gate, seeds, labels, truncation=1.0):
    """The cascade's outputs without an export."""
    served = ServedCascade(parts, gate)
    arguments = (tf.constant(seeds, tf.int64), tf.constant(labels, tf.float32), tf.constant(truncation))
    return {name: output.numpy() for name, output in served.generate(*arguments).items()}


def test_a_discriminator_that_reads_the_label(tiny_enlarger, classes, tmp_path):
    config = CGANConfig(
        image_size=32, label_count=2, latent_size=8, generator_filters=32, discriminator_filters=8, normalization="none"
    )
    run = RunConfig("cgan", to_plain(config), NAMES, seed=3, batch_size=4, steps=7, data={"name": "discs"})
    generator = LoadedModel(export_model(CGAN(config, seed=3), run, tmp_path / "cgan", {"step": 7}))
    assert generator.discriminator_reads_label and not generator.has("super_resolve")
    scores = [candidates(generator, seed, label, 4)[1] for seed, label in zip(SEEDS, classes, strict=True)]
    gate = Gate(float(np.median(scores)), 4)
    found = search(CascadeParts(generator, LoadedModel(tiny_enlarger)), gate, SEEDS, classes)
    for row, realism in enumerate(scores):
        passing = np.flatnonzero(realism >= np.float32(gate.min_realism))
        assert found["tries"][row] == (passing[0] + 1 if len(passing) else 4)
        assert found["realism"][row] == pytest.approx(realism[passing[0]] if len(passing) else realism.max(), abs=1e-6)


def test_no_rows_no_gate_and_truncation(tiny_export, tiny_enlarger, exported, classes):
    parts = CascadeParts(LoadedModel(tiny_export), LoadedModel(tiny_enlarger))
    found = search(parts, Gate(0.0, 1), SEEDS, classes)
    assert found["is_accepted"].all() and set(found["tries"]) == {1} and (found["seed"] == SEEDS).all()
    cascade = LoadedModel(exported)
    none = images_of(cascade, SEEDS[:0], classes[:0])
    assert none["image"].shape == (0, 64, 64, 1) and none["is_accepted"].shape == (0,)
    vague, full = images_of(cascade, SEEDS, classes, truncation=0.3), images_of(cascade, SEEDS, classes)
    assert (vague["image"] != full["image"]).any()
    np.testing.assert_array_equal(cascade.generate(SEEDS, classes), full["image"])
    mixed = images_of(cascade, SEEDS, classes, truncation=[0.3] * 4 + [1.0] * 3)
    for name in ("image", "seed", "tries"):
        np.testing.assert_array_equal(mixed[name], [*vague[name][:4], *full[name][4:]])


def test_the_description_and_the_card(exported, tiny_export, threshold):
    description = read_description(exported)
    assert (description.kind, description.scale, description.image_size, description.name) == (
        "cascade",
        2,
        64,
        "cascade",
    )
    assert description.label_names == NAMES and description.settings["max_tries"] == 5
    parts = [description.settings[part] for part in ("generator", "super_resolution")]
    assert [part["saved_model"] for part in parts] == ["tiny/1", "enlarger/1"]
    assert parts[0]["weights_sha256"] == read_description(tiny_export).weights_sha256 != description.weights_sha256
    assert parts[1]["training_data"]["name"] == "large discs" and description.data["name"] == "discs + large discs"
    assert (exported / "training_patients.txt").read_text() == "patient-a\npatient-b\npatient-c\n"
    card = (exported / "README.md").read_text()
    assert "64 x 64 pixels, grey" in card and "a generator makes candidates of 32 pixels" in card.lower()
    assert "| `super_resolution.saved_model` | enlarger/1 |" in card and "generate_from_latent" not in card
    namespace = {}
    example = card.split("```python\n")[1].split("```")[0].replace("saved_models/cascade/1", str(exported))
    exec(example, namespace)
    assert namespace["image"].shape == (1, 64, 64, 1)


def test_a_part_without_patients_leaves_the_cascade_without(tiny_export, tiny_enlarger, tmp_path):
    copy = shutil.copytree(tiny_enlarger, tmp_path / "silent" / "3")
    (copy / "training_patients.txt").unlink()
    parts = CascadeParts(LoadedModel(tiny_export), LoadedModel(copy))
    assert parts.training_patients() is None
    said = parts.describe("cascade", 1, {}).data["patient_keys_missing"]
    assert said == "enlarger/1 without a record of training patients"
    (copy / "training_patients.txt").write_text("patient-c\n")
    large = parts.super_resolution
    assert "patient_keys_missing" not in parts.describe("cascade", 1, {}).data
    large.description = dataclasses.replace(
        large.description, data=large.description.data | {"salt_fingerprint": "another"}
    )
    assert parts.training_patients() is None
    assert "different salts" in parts.describe("cascade", 1, {}).data["patient_keys_missing"]


def test_what_does_not_fit_is_refused(tiny_export, tiny_enlarger, exported, tmp_path):
    out_dir = tmp_path / "cascade"
    with pytest.raises(ValueError, match="enlarger/1 is a super_resolution, expected the export of a generator"):
        export_cascade(tiny_enlarger, tiny_enlarger, out_dir)
    with pytest.raises(ValueError, match="tiny/1 is a generator, expected an exported super-resolution model"):
        export_cascade(tiny_export, tiny_export, out_dir)
    with pytest.raises(ValueError, match="holds version 1 already"):
        export_cascade(tiny_export, tiny_enlarger, exported.parent, version=1)
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        export_cascade(tmp_path / "absent", tiny_enlarger, out_dir)
    colourful = shutil.copytree(tiny_enlarger, tmp_path / "colourful")
    description = dataclasses.replace(read_description(colourful), channels=3)
    (colourful / "model.json").write_text(description.to_json())
    with pytest.raises(ValueError, match="enlarges images of 3 channels, expected grey"):
        export_cascade(tiny_export, colourful, out_dir)
    assert not out_dir.exists()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"label needs a row for each seed,\] \[2\] \[rows, got\] \[1\]"
    ):
        images_of(LoadedModel(exported), SEEDS[:2], np.eye(2)[:1])


def test_a_model_without_labels_of_three_channels(tiny_enlarger, tmp_path):
    config = VanillaGANConfig(image_size=32, channels=3, latent_size=8, generator_units=(8,), discriminator_units=(8,))
    run = RunConfig("vanilla_gan", to_plain(config), (), seed=3, batch_size=4, steps=7, data={"name": "discs"})
    generator = LoadedModel(export_model(VanillaGAN(config, seed=3), run, tmp_path / "gan", {"step": 7}))
    large = LoadedModel(tiny_enlarger)
    served = ServedCascade(CascadeParts(generator, large), Gate(0.0))
    images = served.generate(tf.constant([5, 6, 7], tf.int64))["image"].numpy()
    assert images.shape == (3, 64, 64, 1)
    assert generator.generate(np.array([5]), np.zeros([1, 0])).shape == (1, 32, 32, 3)
    pair = ImageSource(generator, Gate(0.0), large).images(no_labels(3), range(3), 5, 1.0, 2)
    for image, pixels in zip(pair, images, strict=True):
        np.testing.assert_array_equal(image.pixels, pixels[..., 0])
