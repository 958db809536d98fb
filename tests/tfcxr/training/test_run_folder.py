import dataclasses

import numpy as np
import pytest

from tfcxr.config import to_plain
from tfcxr.data.records import read_dataset_info
from tfcxr.models.acgan import ACGANConfig
from tfcxr.models.stylegan2 import StyleGAN2Config
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.run_folder import (
    RunConfig,
    describe_data,
    load_model,
    make_model,
    model_class,
    read_run,
    start_run,
)


def make_run(**changes):
    settings = to_plain(ACGANConfig(image_size=32, generator_filters=32, discriminator_filters=8))
    run = RunConfig("acgan", settings, ("NORMAL", "PNEUMONIA"), 0, 8, 100, {"name": "discs"})
    return dataclasses.replace(run, **changes)


def test_run_survives_its_file(tmp_path):
    start_run(tmp_path, make_run(), resume=False)
    assert read_run(tmp_path) == make_run()


def test_second_run_in_a_folder_is_refused(tmp_path):
    start_run(tmp_path, make_run(), resume=False)
    with pytest.raises(ValueError, match="holds a run already; continue it with --resume"):
        start_run(tmp_path, make_run(), resume=False)


def test_resuming_may_lengthen_a_run_but_change_nothing_else(tmp_path):
    start_run(tmp_path, make_run(), resume=False)
    start_run(tmp_path, make_run(steps=200), resume=True)
    assert read_run(tmp_path).steps == 200
    other = make_run(seed=1, settings=make_run().settings | {"r1_gamma": 2.0})
    with pytest.raises(ValueError, match=r"seed was 0, now 1; settings.r1_gamma was 0.1, now 2.0"):
        start_run(tmp_path, other, resume=True)


def make_stylegan2_run(depth=None):
    """With a `depth`, as an earlier version stored it: of both mapping networks."""
    tiny = {"image_size": 32, "channel_base": 128, "channel_max": 8, "latent_size": 4, "style_size": 4}
    settings = to_plain(StyleGAN2Config(**tiny))
    if depth:
        settings["mapping_layers"] = depth
        del settings["discriminator_mapping_layers"], settings["convolution_clamp"]
    return make_run(model="stylegan2", settings=settings)


def test_run_of_an_earlier_version_keeps_its_networks(tmp_path):
    start_run(tmp_path, make_stylegan2_run(depth=3), resume=False)
    run = read_run(tmp_path)
    assert run.settings["discriminator_mapping_layers"] == 3
    model = make_model(run)
    Checkpoints(tmp_path).save(5, model.checkpoint_variables(), {})
    loaded, _, _ = load_model(tmp_path)
    assert len(loaded.discriminator.mapping.dense) == 3
    assert not loaded.config.convolution_clamp
    for saved, read in zip(model.discriminator.variables, loaded.discriminator.variables, strict=True):
        np.testing.assert_array_equal(saved, read)


def test_run_of_an_earlier_version_is_resumed_as_it_began(tmp_path):
    start_run(tmp_path, make_stylegan2_run(depth=3), resume=False)
    now = make_stylegan2_run()
    with pytest.raises(ValueError, match="settings.discriminator_mapping_layers was 3, now 8"):
        start_run(tmp_path, dataclasses.replace(now, settings=now.settings | {"mapping_layers": 3}), resume=True)
    start_run(tmp_path, dataclasses.replace(now, settings=now.settings | read_run(tmp_path).settings), resume=True)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="is not the configuration of a run"):
        read_run(tmp_path)


def test_unknown_model_offers_the_nearest():
    with pytest.raises(ValueError, match="unknown model 'acgam'; did you mean 'acgan'"):
        model_class("acgam")


def test_folder_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        read_run(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="is not the configuration of a run"):
        read_run(tmp_path)


@pytest.mark.thorough
def test_trained_model_comes_back_in_float32(tmp_path):
    run = make_run(settings=make_run().settings | {"precision": "mixed_bfloat16"})
    start_run(tmp_path, run, resume=False)
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet; train it first"):
        load_model(tmp_path)
    model = make_model(run)
    Checkpoints(tmp_path).save(5, model.checkpoint_variables(), {})
    loaded, loaded_run, state = load_model(tmp_path)
    assert loaded.config.precision == "float32"
    assert loaded_run == run
    assert state["step"] == 5
    assert load_model(tmp_path, "5")[2]["step"] == 5
    with pytest.raises(FileNotFoundError, match="has no checkpoint 7; it keeps those of the steps 5"):
        load_model(tmp_path, "7")


def test_data_are_described_by_their_content(disc_records):
    info = read_dataset_info(disc_records)
    facts = describe_data(info, "train")
    assert facts["name"] == "discs"
    assert facts["fingerprint"] != describe_data(info, "test")["fingerprint"]
