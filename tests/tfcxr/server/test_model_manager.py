"""Versions that come, go, are damaged, or are in use."""

import shutil
import threading

import grpc
import numpy as np
import pytest

from tfcxr.server.model_manager import ModelManager
from tfcxr.server.served_models import ServedModel, VersionPolicy, models_in
from tfcxr.server.serving_error import ServingError


@pytest.fixture(name="folder")
def folder_fixture(save_half_plus_two, tmp_path):
    """A folder of the model `half` in versions 1 (+1) and 2 (+2)."""
    for version in (1, 2):
        save_half_plus_two(tmp_path / "models" / "half" / str(version), added=float(version))
    return tmp_path / "models"


def answer(manager, version=None, label=None):
    with manager.use("half", version, label) as servable:
        return servable.version, float(servable.run("", {"x": np.zeros(1, np.float32)})["y"][0])


def states(manager):
    return {number: state.state for number, state in manager.states("half").items()}


def test_the_newest_version_is_served_and_an_old_one_goes_when_the_new_one_is_there(folder, save_half_plus_two):
    manager = ModelManager(lambda: models_in(folder), poll_seconds=0)
    manager.start()
    assert manager.names() == ["half"] and answer(manager) == (2, 2.0) and states(manager) == {2: "AVAILABLE"}
    save_half_plus_two(folder / "half" / "10", added=10.0)
    manager.poll()
    assert answer(manager) == (10, 10.0) and states(manager) == {10: "AVAILABLE", 2: "END"}
    shutil.rmtree(folder / "half")
    manager.poll()
    with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(half\)"):
        answer(manager)
    assert manager.names() == []


def test_policies_and_labels(folder):
    def models(policy, **labels):
        return [ServedModel("half", folder / "half", policy, labels)]

    manager = ModelManager(lambda: models(VersionPolicy(latest=0), stable=1), poll_seconds=0)
    manager.start()
    assert states(manager) == {2: "AVAILABLE", 1: "AVAILABLE"}
    assert answer(manager, label="stable") == (1, 1.0) and answer(manager, version=2) == (2, 2.0)
    with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
        answer(manager, label="canary")
    manager.apply(models(VersionPolicy(specific=(1,))))
    assert states(manager) == {2: "END", 1: "AVAILABLE"} and answer(manager) == (1, 1.0)
    with pytest.raises(ServingError, match=r"Servable not found for request: Specific\(half, 2\)"):
        answer(manager, 2)
    with pytest.raises(ServingError, match="assign label to version 7 of model half, which is not currently available"):
        manager.apply(models(VersionPolicy(specific=(1,)), canary=7))


@pytest.mark.thorough
def test_a_damaged_version_leaves_the_good_one_and_is_tried_again_when_it_changed(folder, save_half_plus_two):
    manager = ModelManager(lambda: models_in(folder), poll_seconds=0)
    manager.start()
    (folder / "half" / "3").mkdir()
    (folder / "half" / "3" / "saved_model.pb").write_bytes(b"damaged")
    manager.poll()
    assert states(manager) == {3: "END", 2: "AVAILABLE"} and answer(manager) == (2, 2.0)
    wrong = manager.states("half")[3]
    assert wrong.error_code == "FAILED_PRECONDITION" and "version 3" in wrong.error_message
    assert "/" not in wrong.error_message
    shutil.rmtree(folder / "half" / "3")
    save_half_plus_two(folder / "half" / "3", added=3.0)
    manager.poll()
    assert answer(manager) == (3, 3.0) and states(manager) == {3: "AVAILABLE", 2: "END"}


@pytest.mark.thorough
def test_a_version_in_use_is_freed_after_its_last_request(folder):
    manager = ModelManager(lambda: models_in(folder), poll_seconds=0)
    manager.start()
    unloaded = []
    manager.on_unloaded = lambda name, version: unloaded.append((name, version))
    with manager.use("half") as servable:
        shutil.rmtree(folder / "half" / "2")
        polling = threading.Thread(target=manager.poll)
        polling.start()
        while states(manager)[2] != "UNLOADING":
            assert polling.is_alive()
        with servable:  # such as the batcher, for a request that is under way
            assert servable.run("", {"x": np.zeros(1, np.float32)})["y"] == 2.0
        assert not unloaded
    polling.join()
    assert unloaded == [("half", 2)] and answer(manager) == (1, 1.0)
    with pytest.raises(ServingError, match="version 2 of half is unloading") as caught, servable:
        pass
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
