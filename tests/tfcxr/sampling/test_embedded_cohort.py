"""Embedding real records: what is written, whose it is, going on after a kill, reuse of the regressor, refusals."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest

from tfcxr.config import to_plain
from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_dataset_info, read_patient_keys, shard_paths, write_dataset_info, write_shard
from tfcxr.data.schema import Record, encode_record
from tfcxr.models.acgan import ACGAN
from tfcxr.models.pggan import PGGAN
from tfcxr.sampling import embedded_cohort
from tfcxr.sampling.embedded_cohort import embed_cohort, labels_for_model, stored_labels_for_model
from tfcxr.sampling.embedded_pairs import compare_pairs, write_pairs
from tfcxr.sampling.latent_embedding import open_embedder
from tfcxr.serving.saved_model import weights_sha256
from tfcxr.serving.served import served_variables
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.run_folder import RunConfig, read_run, start_run

pytestmark = pytest.mark.thorough

SPLITS = ["validation", "test"]
SETTINGS = {"steps": 50, "batch_size": 16, "learning_rate": 0.01, "held_out_images": 16, "report_every": 30}
DATA = {"name": "discs", "split": "train", "notice": "Discs.", "licence": "tests", "salt_fingerprint": "tests"}


def write_run(run_dir, label_names=(), patients="patient-train-0\n", model_class=PGGAN, **settings):
    if model_class is PGGAN:
        settings = {"filters": (16, 16, 8, 8), "conditional": bool(label_names)} | settings
    config = model_class.config_class(
        **({"image_size": 32, "latent_size": 8, "label_count": len(label_names)} | settings)
    )
    model = model_class(config, seed=3)
    name = "pggan" if model_class is PGGAN else "acgan"
    start_run(run_dir, RunConfig(name, to_plain(config), label_names, 3, 4, 7, DATA), resume=False)
    Checkpoints(run_dir).save(7, model.checkpoint_variables(), {})
    if patients:
        (run_dir / "training_patients.txt").write_text(patients)
    return model


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "tiny"
    write_run(path)
    return path


@pytest.fixture(scope="module")
def regressor_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("regressor")


@pytest.fixture(scope="module")
def embedder(run_dir, regressor_dir):
    return open_embedder(run_dir, regressor_dir, SETTINGS)


@pytest.fixture(scope="module")
def cohort(embedder, disc_records, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("cohorts") / "embedded"
    embed_cohort(embedder, disc_records, SPLITS, out_dir)
    return out_dir / "32"


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_cohort_is_the_real_one_with_other_pixels(cohort, embedder, disc_records):
    info, real_info = read_dataset_info(cohort), read_dataset_info(disc_records)
    assert info.is_synthetic and (info.name, info.label_names) == ("tiny_embedded", real_info.label_names)
    assert set(info.splits) == set(SPLITS) and info.images_written == 32
    for split in SPLITS:
        shards, real_shards = info.splits[split].shards, real_info.splits[split].shards
        assert dataclasses.replace(info.splits[split], shards=()) == dataclasses.replace(
            real_info.splits[split], shards=()
        )
        assert [(shard.file, shard.images) for shard in shards] == [(shard.file, shard.images) for shard in real_shards]
        assert len(shard_paths(cohort, info, split, verify_checksums=True)) == 3
        embedded, real = load_images(cohort, split), load_images(disc_records, split)
        for name in ("labels", "keys", "patient_keys"):
            np.testing.assert_array_equal(getattr(embedded, name), getattr(real, name))
        drawn = embedder.reconstruct(real.images, np.zeros([16, 0], np.float32))
        assert np.abs(embedded.images.astype(int) - drawn).max() <= 1  # other batches, other rounding
        assert (embedded.images != real.images).mean() > 0.5
        assert len(np.unique(embedded.images.reshape(16, -1), axis=0)) == 16
    assert not (cohort.parent / "unfinished_cohort").exists()


def test_the_provenance_leads_back_to_model_regressor_and_data(cohort, embedder, run_dir, disc_records):
    info, real_info = read_dataset_info(cohort), read_dataset_info(disc_records)
    provenance = info.provenance
    model = write_run(run_dir.parent / "again")
    assert provenance["weights_sha256"] == weights_sha256(served_variables(model))
    assert (provenance["model"], provenance["run"], provenance["steps"]) == ("pggan", "tiny", 7)
    embedding = provenance["embedding"]
    assert embedding["settings"]["steps"] == 50 and embedding["held_out_cosine"] == embedder.cosine > 0.4
    assert embedding["regressor_sha256"] == embedder.regressor_sha256
    fingerprints = [provenance["embedded_data"][split]["fingerprint"] for split in SPLITS]
    assert len(set(fingerprints)) == 2 and all(len(fingerprint) == 64 for fingerprint in fingerprints)
    assert info.notice.startswith("Synthetic radiographs that tiny draws of the latent codes of images of discs; ")
    assert info.notice.endswith("behind them. Discs.") and info.salt_fingerprint == real_info.salt_fingerprint
    assert info.source["licence"] == "tests; made by the tests"


def test_embedded_patients_count_as_seen_by_the_generator(cohort, disc_records):
    info = read_dataset_info(cohort)
    name = info.provenance["training_data"]["patient_keys_file"]
    keys = (cohort / name).read_text().split()
    expected = {"patient-train-0", *read_patient_keys(disc_records, "validation,test")}
    assert keys == sorted(expected) and len(keys) == 17


def test_who_cannot_be_compared_is_not_listed(embedder, disc_records, tmp_path):
    records = tmp_path / "records" / "32"
    shutil.copytree(disc_records, records)
    write_dataset_info(records, dataclasses.replace(read_dataset_info(records), salt_fingerprint="other"))
    info = embed_cohort(embedder, records, ["test"], tmp_path / "cohort")
    assert "patient_keys_file" not in info.provenance["training_data"]
    assert not (tmp_path / "cohort" / "32" / "training_patients.txt").exists()


def test_the_same_seed_gives_the_same_cohort_and_the_regressor_is_used_again(
    cohort, embedder, run_dir, regressor_dir, disc_records, tmp_path
):
    kept = content(regressor_dir)
    for index, folder in enumerate((regressor_dir, tmp_path / "regressor")):  # used again, trained again
        again = open_embedder(run_dir, folder, SETTINGS if index else None)
        assert (again.regressor_sha256, again.curve) == (embedder.regressor_sha256, embedder.curve)
        embed_cohort(again, disc_records, SPLITS, tmp_path / str(index))
        assert content(tmp_path / str(index) / "32") == content(cohort)
    assert content(regressor_dir) == kept


def test_interrupted_it_goes_on_to_the_same_bytes(cohort, embedder, disc_records, tmp_path):
    calls = []

    class Killed:
        def __getattr__(self, name):
            return getattr(embedder, name)

        def reconstruct(self, images, labels):
            calls.append(len(images))
            if len(calls) == 4:
                raise KeyboardInterrupt
            return embedder.reconstruct(images, labels)

    with pytest.raises(KeyboardInterrupt):
        embed_cohort(Killed(), disc_records, SPLITS, tmp_path)
    with pytest.raises(FileNotFoundError, match="did not finish"):
        read_dataset_info(tmp_path / "32")
    with pytest.raises(ValueError, match="holds an unfinished cohort of another data; run its command again to finish"):
        embed_cohort(embedder, disc_records, ["test"], tmp_path)
    embed_cohort(Killed(), disc_records, SPLITS, tmp_path)
    assert len(calls) == 7  # three shards, the one that was cut, and again that one and the last two
    assert content(tmp_path / "32") == content(cohort)
    with pytest.raises(FileExistsError, match="already holds a data set at 32 px"):
        embed_cohort(embedder, disc_records, SPLITS, tmp_path)


def test_a_conditional_model_is_told_the_labels(disc_records, tmp_path):
    write_run(tmp_path / "run", label_names=("PNEUMONIA", "NORMAL"))
    real = load_images(disc_records, "test")
    labels = np.eye(2, dtype=np.float32)
    embedder = open_embedder(tmp_path / "run", tmp_path / "regressor", SETTINGS | {"steps": 2}, labels=labels)
    told = labels_for_model(embedder.run, real.info, real.labels)
    np.testing.assert_array_equal(told, real.labels[:, ::-1])
    unknown = labels_for_model(embedder.run, real.info, np.array([[np.nan, 1.0]]))
    np.testing.assert_array_equal(unknown, [[1.0, 0.0]])
    embed_cohort(embedder, disc_records, ["test"], tmp_path / "cohort")
    stored = load_images(tmp_path / "cohort" / "32", "test").images
    assert np.abs(stored.astype(int) - embedder.reconstruct(real.images, told)).max() <= 1
    assert np.abs(stored.astype(int) - embedder.reconstruct(real.images, 1 - told)).max() > 1
    renamed = dataclasses.replace(embedder.run, label_names=("PNEUMONIA", "HEALTHY"))
    with pytest.raises(ValueError, match="the model has PNEUMONIA, HEALTHY, but discs has NORMAL, PNEUMONIA; embed"):
        embedded_cohort.check_records(renamed, disc_records, ["test"])


def test_labels_for_model_are_read_without_decoding_a_pixel(disc_records, tmp_path):
    folder = tmp_path / "32"
    splits = read_dataset_info(disc_records).splits
    undecodable = encode_record(Record(np.zeros((5, 5), np.uint8), "k", (float("nan"), 1.0), "p"), "raw")
    shards = tuple(write_shard(folder / shard.file, [undecodable] * 2) for shard in splits["test"].shards)
    test = dataclasses.replace(splits["test"], images=2 * len(shards), shards=shards)
    info = dataclasses.replace(read_dataset_info(disc_records), splits={"test": test})
    write_dataset_info(folder, info)
    write_run(tmp_path / "run", label_names=("PNEUMONIA", "NORMAL"))
    with pytest.raises(ValueError, match="is damaged"):
        load_images(folder, "test")
    labels = stored_labels_for_model(read_run(tmp_path / "run"), info, folder, ["test"])
    np.testing.assert_array_equal(labels, [[1.0, 0.0]] * 2 * len(shards))


def test_pairs_are_compared_and_drawn(cohort, disc_records, tmp_path):
    pairs = compare_pairs(disc_records, cohort, "test")
    real, embedded = (load_images(folder, "test").images / 255.0 for folder in (disc_records, cohort))
    np.testing.assert_allclose(pairs.own, np.mean((real - embedded) ** 2), rtol=1e-4)
    np.testing.assert_allclose(pairs.other, np.mean((np.roll(real, 8, axis=0) - embedded) ** 2), rtol=1e-4)
    np.testing.assert_allclose(pairs.mean_image, np.mean((real - real.mean(axis=0)) ** 2), rtol=1e-3)
    picture = cv2.imread(str(write_pairs(disc_records, cohort, "test")))
    assert picture.shape == (4 * (64 + 18), 8 * 64, 3)
    (cohort / "pairs.png").unlink()
    with pytest.raises(ValueError, match="is not an embedding of split 'test' of .*: other image keys"):
        mixed = tmp_path / "mixed"
        shutil.copytree(cohort, mixed)
        info = read_dataset_info(mixed)
        write_dataset_info(mixed, dataclasses.replace(info, splits={"test": info.splits["validation"]}))
        compare_pairs(disc_records, mixed, "test")


def test_records_that_do_not_fit_are_refused(cohort, embedder, disc_records, tmp_path):
    with pytest.raises(ValueError, match="holds synthetic images .tiny_embedded.; what is embedded are real patients'"):
        embed_cohort(embedder, cohort, ["test"], tmp_path / "out")
    with pytest.raises(ValueError, match="data set discs has no split 'tset'; it has "):
        embed_cohort(embedder, disc_records, ["tset"], tmp_path / "out")
    with pytest.raises(ValueError, match="names a split twice"):
        embed_cohort(embedder, disc_records, ["test", "test"], tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        embed_cohort(embedder, tmp_path / "none", ["test"], tmp_path / "out")
    other = tmp_path / "64"
    shutil.copytree(disc_records, other)
    write_dataset_info(other, dataclasses.replace(read_dataset_info(other), image_size=64))
    with pytest.raises(ValueError, match="holds images of 64 px, but the model has 32 px; build them"):
        embed_cohort(embedder, other, ["test"], tmp_path / "out")
    damaged = tmp_path / "damaged"
    shutil.copytree(disc_records, damaged)
    path = next(damaged.glob("test-00001*"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="was altered: its SHA-256 is not the recorded one"):
        embed_cohort(embedder, damaged, ["test"], tmp_path / "out")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing; build the data set again"):
        embed_cohort(embedder, damaged, ["test"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_regressor_of_something_else_is_refused(run_dir, regressor_dir, embedder, tmp_path):
    with pytest.raises(ValueError, match="holds a regressor with steps 50, not 61; leave the setting out to use it"):
        open_embedder(run_dir, regressor_dir, {"steps": 61, "seed": 0})
    with pytest.raises(ValueError, match="has no setting 'stesp'; did you mean 'steps'"):
        open_embedder(run_dir, regressor_dir, {"stesp": 61})
    write_run(tmp_path / "other", filters=(16, 16, 8, 4))
    with pytest.raises(ValueError, match="holds a regressor for other weights than those in .*other; remove it"):
        open_embedder(tmp_path / "other", regressor_dir)
    damaged = tmp_path / "damaged"
    shutil.copytree(regressor_dir, damaged)
    shutil.rmtree(damaged / "checkpoints")
    with pytest.raises(ValueError, match="is damaged: .*step-00000050.npz is missing; remove it, and it is"):
        open_embedder(run_dir, damaged)
    for text in ("{", json.dumps({"settings": {}})):
        (damaged / "regressor.json").write_text(text)
        with pytest.raises(ValueError, match="regressor.json does not describe a regressor: .*; remove .*damaged"):
            open_embedder(run_dir, damaged)


def test_another_model_is_refused(tmp_path):
    write_run(tmp_path / "run", ("A", "B"), model_class=ACGAN, generator_filters=32, discriminator_filters=8)
    with pytest.raises(ValueError, match="only a pggan embeds images by its discriminator, got a ACGAN"):
        open_embedder(tmp_path / "run", tmp_path / "regressor")
    assert not (tmp_path / "regressor").exists()
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        open_embedder(tmp_path / "none", tmp_path / "regressor")
