"""Starting from the networks of another run, for every model; the command is in training/test_pretrained_start.py."""

import dataclasses

import keras
import numpy as np
import pytest

from tfcxr.config import make_config, to_plain
from tfcxr.models import MODELS
from tfcxr.models.cgan import CGANConfig
from tfcxr.models.pretrained import StoredRun, settings_from

QUICK = ("acgan", "vanilla_gan")
OTHERS = [name for name in MODELS if name != "transfer_pggan"]  # it has a rule of its own
CASES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.thorough) for name in OTHERS]


def make_gan(name, settings=None, seed=3):
    config_class = MODELS[name].config_class
    return MODELS[name](make_config(config_class, config_class.tiny_settings()[0], settings or {}), seed)


def stored(name, model, **changes):
    """A run of which `model` is the last checkpoint."""
    weights = {key: np.asarray(variable) for key, variable in model.checkpoint_variables().items()}
    weights |= {"state/size": np.array(model.config.image_size)}
    settings = to_plain(model.config)
    run = StoredRun("first", name, type(model.config), settings, {"name": "discs"}, ("a",), weights, "ab" * 32)
    return dataclasses.replace(run, **changes)


def marked(model):
    """The model with every weight and statistic of its networks moved away from its start."""
    for owner, network in model.networks.items():
        for index, variable in enumerate(network.variables if network else ()):
            variable.assign(np.asarray(variable) + (2.0 if owner == "ema_generator" else 1.0) + 0.01 * index)
    return model


@pytest.mark.parametrize("name", CASES)
def test_networks_and_statistics_come_along_and_nothing_else(name):
    first = marked(make_gan(name))
    first.generator_optimizer.iterations.assign(7)
    run = stored(name, first)
    asked = {"pretrained": "runs/first", "generator_learning_rate": 0.5}
    settings = MODELS[name].prepare_settings(asked, lambda path: run)
    assert (settings["pretrained"], settings["pretrained_sha256"]) == ("first", "ab" * 32)
    second = MODELS[name](make_config(MODELS[name].config_class, settings), seed=4)
    assert second.config.generator_learning_rate == 0.5
    second.load_initial_weights(run)
    for owner, network in first.networks.items():
        for index, (expected, found) in enumerate(
            zip(network.variables, second.networks[owner].variables, strict=True)
        ):
            np.testing.assert_array_equal(expected, found, err_msg=f"{owner}/{index:03d}")
    assert int(second.generator_optimizer.iterations) == int(second.step) == 0
    assert all(not np.any(momentum) for momentum in second.generator_optimizer._momentums)


@pytest.mark.parametrize("name", MODELS)
def test_settings_of_networks_are_settings(name):
    config_class = MODELS[name].config_class
    names = config_class.network_settings
    assert set(names) <= {field.name for field in dataclasses.fields(config_class)}
    assert len(set(names)) == len(names)
    assert set(config_class.discriminator_settings) <= set(names)


def test_without_a_pretrained_run_nothing_is_read():
    settings = {"dropout": 0.5}
    assert MODELS["cgan"].prepare_settings(settings, lambda path: pytest.fail("read")) is settings


def test_another_discriminator_starts_anew_and_the_generator_goes_on():
    first = marked(make_gan("cgan"))
    run = stored("cgan", first)
    asked = {"pretrained": "runs/first", "minibatch_stddev": "true"}
    settings = MODELS["cgan"].prepare_settings(asked, lambda path: run)
    second = MODELS["cgan"](make_config(CGANConfig, settings), seed=4)
    fresh = [np.asarray(variable) for variable in second.discriminator.variables]
    second.load_initial_weights(run)
    assert second.config.minibatch_stddev
    for expected, found in zip(first.ema_generator.variables, second.ema_generator.variables, strict=True):
        np.testing.assert_array_equal(expected, found)
    for expected, found in zip(fresh, second.discriminator.variables, strict=True):
        np.testing.assert_array_equal(expected, found)
    with pytest.raises(
        ValueError, match="generator_filters=64 does not fit pretrained=first, whose networks have gene"
    ):
        MODELS["cgan"].prepare_settings({"pretrained": "runs/first", "generator_filters": 64}, lambda path: run)


def test_own_discriminator_goes_on_beside_new_heads(tmp_path):
    image = keras.Input([32, 32, 3])
    keras.Model(image, keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)).save(tmp_path / "net.keras")
    first = marked(make_gan("cgan"))
    run = stored("cgan", first)
    asked = {"critic_backbone": str(tmp_path / "net.keras"), "critic_width": 4, "critic_beside": True}
    settings = MODELS["cgan"].prepare_settings({"pretrained": "runs/first"} | asked, lambda path: run)
    second = MODELS["cgan"](make_config(CGANConfig, settings), seed=4)
    heads = [np.asarray(variable) for variable in second.discriminator.heads.variables]
    second.load_initial_weights(run)
    for expected, found in zip(first.discriminator.variables, second.discriminator.own.variables, strict=True):
        np.testing.assert_array_equal(expected, found)
    for expected, found in zip(heads, second.discriminator.heads.variables, strict=True):
        np.testing.assert_array_equal(expected, found)


def test_an_average_that_was_not_kept_starts_as_the_generator():
    first = marked(make_gan("vanilla_gan", {"ema_decay": 0.0}))
    second = make_gan("vanilla_gan", seed=4)
    second.load_initial_weights(stored("vanilla_gan", first))
    for expected, found in zip(first.generator.variables, second.ema_generator.variables, strict=True):
        np.testing.assert_array_equal(expected, found)


def test_a_run_that_does_not_fit_is_refused():
    first = make_gan("vanilla_gan")
    run = stored("vanilla_gan", first)
    config_class = MODELS["vanilla_gan"].config_class
    with pytest.raises(ValueError, match="latent_size=9 does not fit pretrained=first, whose networks have latent_siz"):
        settings_from(run, config_class, {"pretrained": "first", "latent_size": 9})
    assert settings_from(run, config_class, {"generator_units": (16, 32)})["generator_units"] == [16, 32]
    with pytest.raises(ValueError, match="pretrained=first is a run of vanilla_gan; give a run of the model that is"):
        settings_from(run, MODELS["cgan"].config_class, {})
    wider = make_gan("vanilla_gan", {"generator_units": (16, 40)})
    with pytest.raises(ValueError, match=r"first do not fit: generator/00\d has shape .*, expected"):
        wider.load_initial_weights(run)


@pytest.mark.thorough
def test_a_pggan_that_has_not_grown_is_refused():
    run = stored("pggan", make_gan("pggan"))
    with pytest.raises(ValueError, match="first has grown to 8 of 16 px only; train it to its end first"):
        weights = run.weights | {"state/size": np.array(8)}
        MODELS["pggan"].prepare_settings({"pretrained": "x"}, lambda path: dataclasses.replace(run, weights=weights))
    settings = MODELS["pggan"].prepare_settings({"pretrained": "x"}, lambda path: run)
    stages = make_config(MODELS["pggan"].config_class, settings).stages(4)
    assert [(stage.image_size, stage.is_fading) for stage in stages] == [(16, False)]
