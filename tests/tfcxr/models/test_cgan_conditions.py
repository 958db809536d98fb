"""A CGAN that is told sex and age: what its networks read, its training, export and cohorts."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.pipeline import read_facts, training_batches
from tfcxr.data.records import read_dataset_info, shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import Record, encode_record
from tfcxr.generate import GenerateArguments, generate
from tfcxr.models import MODELS
from tfcxr.models.cgan import CGAN, CGANConfig
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.train import train
from tfcxr.training.arguments import TrainArguments

TINY = {"image_size": 32, "latent_size": 8, "generator_filters": 16, "discriminator_filters": 4, "dropout": 0.0}
SEXES, AGES = ("F", "M", ""), (20.0, 80.0, np.nan, 50.0)


@pytest.fixture(scope="module")
def people(disc_records, tmp_path_factory):
    """A data folder of 32-px images of noise whose patients have a sex and an age, some unknown."""
    info, data_dir = read_dataset_info(disc_records), tmp_path_factory.mktemp("people") / "32"
    random = np.random.default_rng(0)
    records = [
        Record(
            random.integers(0, 256, (32, 32), np.uint8), f"image-{index}", (float(index % 2), float(1 - index % 2)),
            f"patient-{index}", sex=SEXES[index % 3], age=AGES[index % 4],
        )
        for index in range(24)
    ]  # fmt: skip
    shard = write_shard(data_dir / shard_name("train", 0, 1), [encode_record(record, "raw") for record in records])
    counts = {name: {"positive": 12, "negative": 12, "unknown": 0} for name in info.label_names}
    split = type(info.splits["train"])(24, 24, counts, (shard,))
    facts = {"splits": {"train": split}, "images_read": 24, "images_written": 24}
    write_dataset_info(data_dir, type(info)(**{**vars(info), **facts}))
    return data_dir


def test_batches_hold_the_conditions_behind_the_labels(people):
    plain = next(iter(training_batches(people, "train", 8, seed=1)))
    told = next(iter(training_batches(people, "train", 8, seed=1, conditions=("sex=F", "age"))))
    np.testing.assert_array_equal(told["label"][:, :2], plain["label"])
    np.testing.assert_array_equal(told["label_mask"], plain["label_mask"])
    assert set(told["label"][:, 2].numpy().tolist()) <= {0.0, 0.5, 1.0}
    assert set(np.round(told["label"][:, 3].numpy() * 100).tolist()) <= {20.0, 80.0, 50.0}


@pytest.mark.parametrize("conditioning", ["concatenate", "projection"])
def test_both_networks_read_labels_and_conditions(conditioning):
    model = CGAN(CGANConfig(**TINY, conditions=("sex", "age"), conditioning=conditioning), seed=3)
    told = model.condition(tf.constant([[1.0, 0.0, 1.0, 0.8], [0.0, 1.0, 0.5, 0.5]]), tf.constant([[1.0, 1.0]] * 2))
    np.testing.assert_allclose(told, [[1, 0, 1, 0.6], [0, 1, 0, 0]], rtol=1e-6)
    label = tf.constant([[1.0, 0.0]])
    np.testing.assert_allclose(model.condition(label), [[1, 0, 0, 0]])
    z = tf.random.stateless_normal([1, 8], [1, 2])
    images = [model.generate_from_latent(z, tf.constant([[1.0, 0.0, sex, 0.5]])) for sex in (0.0, 0.5, 1.0)]
    np.testing.assert_array_equal(images[1], model.generate_from_latent(z, label))
    assert np.abs(images[0] - images[2]).max() > 1e-4
    score = lambda *values: model.score(images[0], tf.constant([[1.0, 0.0, *values]]))[0].numpy().item()  # noqa: E731
    assert len({score(0.5, 0.0), score(0.5, 0.5), score(0.5, 1.0)}) == 3 and score() == score(0.5, 0.5)
    fake = model._fake_condition(told)
    np.testing.assert_array_equal(fake[:, 2:], told[:, 2:])
    assert set(fake[:, :2].numpy().sum(axis=1)) == {1.0}, "classes stay exclusive"


def test_models_that_are_told_labels_alone_refuse(people, tmp_path):
    assert [name for name, found in MODELS.items() if found.config_class.reads_conditions()] == ["cgan"]
    message = "acgan is told labels alone, so --conditions=sex,age cannot be; choose a model that reads them .cgan.,"
    with pytest.raises(ValueError, match=message):
        train(
            TrainArguments(
                model="acgan", data_dir=str(people), run_dir=str(tmp_path / "run"), conditions=("sex", "age")
            )
        )
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="--conditions=weight is unknown"):
        TrainArguments(conditions=("weight",))
    with pytest.raises(ValueError, match=r"unknown conditions \['weight'\]; valid names: sex, age, view"):
        CGANConfig(**TINY, conditions=("weight",))


def facts_together(facts):
    """What occurs together in one image."""
    return {(*map(str, row),) for row in zip(facts["label"], facts["sex"], facts["age"], strict=True)}


@pytest.mark.thorough
def test_from_training_to_a_cohort_with_age_and_sex(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = tuple(f"{name}={value}" for name, value in TINY.items())
    version = train(
        TrainArguments(
            model="cgan", data_dir=str(people), conditions=("sex", "age"), steps=2, batch_size=4,
            settings=(*settings, "precision=float32"), deterministic=False,
        )
    )  # fmt: skip
    assert json.loads((tmp_path / "runs/cgan/config.json").read_text())["settings"]["conditions"] == ["sex", "age"]
    model = LoadedModel(version)
    assert model.description.condition_names == ("sex=F", "age")
    assert "sex=F, age" in (version / "README.md").read_text(encoding="utf-8")
    plain = model.call("generate_from_latent", z=np.ones([1, 8]), label=[[1, 0]])["image"]
    told = model.call("generate_from_latent", z=np.ones([1, 8]), label=[[1, 0, 0.5, 0.5]])["image"]
    np.testing.assert_array_equal(plain, told)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"or 4 \(with sex=F, age\)"):
        model.call("generate_from_latent", z=np.ones([1, 8]), label=[[1, 0, 0.5]])
    generate(GenerateArguments(saved_model=str(version), out_dir="like", like=str(people)))
    made, real = read_facts("like/32", "train"), read_facts(people, "train")
    for name in ("label", "sex", "age"):
        np.testing.assert_array_equal(made[name], real[name])
    assert read_dataset_info("like/32").provenance["label_plan"]["conditions"] == ["sex=F", "age"]
    generate(GenerateArguments(saved_model=str(version), out_dir="more", like=str(people), images=40))
    more = read_facts("more/32", "train")
    assert facts_together(more) <= facts_together(real)
    counts = ("NORMAL+sex=F+age=60=3", "PNEUMONIA=2")
    generate(GenerateArguments(saved_model=str(version), out_dir="counts", counts=counts))
    made = read_facts("counts/32", "train")
    assert sorted(made["sex"]) == ["", "", "F", "F", "F"] and np.nansum(made["age"]) == 180
    assert (made["label"][made["sex"] == "F"] == [1, 0]).all()
