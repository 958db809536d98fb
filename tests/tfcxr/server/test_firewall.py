"""Planted copies of training images leave the server by no signature and no protocol; other pictures do."""

import dataclasses
import shutil
import threading

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.serve import ServeArguments, serve
from tfcxr.server.batching import Batcher, BatchingOptions
from tfcxr.server.firewall import Firewall, refusal
from tfcxr.server.served_models import models_in
from tfcxr.server.server import Server, ServerOptions
from tfcxr.serving import Client, ClientError
from tfcxr.serving.copy_check import CopyCheck
from tfcxr.serving.model_card import read_description

COPY, OTHER = 3, 1004  # seeds: below 1000, the training image of that number
SIZE = 32


def pictures(seed, count):
    """uint8 [count, 32, 32, 1] of blurred noise, which differ as chests do."""
    random = np.random.default_rng(seed)
    small = random.integers(256, size=[count, 8, 8], dtype=np.uint8)
    return np.stack([cv2.resize(one, [SIZE, SIZE], interpolation=cv2.INTER_CUBIC) for one in small])[..., None]


class Thief(tf.Module):
    """A "generator" whose seeds below 1000 give training images."""

    def __init__(self, training, made_up):
        super().__init__()
        self.images = tf.Variable(np.concatenate([training, made_up]))

    def pick(self, seed):
        return tf.gather(self.images, tf.where(seed < 1000, seed % 10, 10 + seed % 10))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "seed")])
    def generate(self, seed):
        return {"image": self.pick(seed)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "seed")])
    def png(self, seed):
        files = tf.map_fn(tf.io.encode_png, self.pick(seed), fn_output_signature=tf.TensorSpec([], tf.string))
        return {"png_bytes": files}

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "z")])
    def latent(self, z):
        return {"image": tf.cast(self.pick(tf.cast(z[:, 0], tf.int64)), tf.float32) / 127.5 - 1.0}


@pytest.fixture(scope="module")
def training():
    return pictures(0, 10)


@pytest.fixture(scope="module")
def folder(training, unlabelled_export, tmp_path_factory):
    """`thief/1`, and `thief.npz` beside the models."""
    path = tmp_path_factory.mktemp("stolen") / "models" / "thief" / "1"
    thief = Thief(training, pictures(1, 10))
    tf.saved_model.save(thief, str(path), {"serving_default": thief.generate, "png": thief.png, "latent": thief.latent})
    description = dataclasses.replace(read_description(unlabelled_export), name="thief", golden=())
    (path / "model.json").write_text(description.to_json())
    facts = {"fingerprint": description.data["fingerprint"], "data": "noise"}
    CopyCheck.measured(2.0, training, pictures(2, 50), facts).save(path.parents[2] / "thief.npz")
    return path.parents[1]


@pytest.fixture(scope="module")
def options(folder):
    features = {"thief": str(folder.parent / "thief.npz")}
    return ServerOptions(models=lambda: models_in(folder), training_features=features)


@pytest.fixture(scope="module")
def guarded(options):
    with Server(options) as running:
        yield running


@pytest.fixture(params=["grpc", "rest"])
def client(request, guarded):
    with Client(guarded.grpc_address if request.param == "grpc" else f"http://{guarded.rest_address}") as opened:
        yield opened


def refused(guarded):
    return guarded.metrics._registry.get_sample_value("tfcxr_copies_refused_total", {"model": "thief"}) or 0


@pytest.mark.parametrize(
    ("signature", "inputs", "named"),
    [
        ("serving_default", {"seed": [COPY]}, "seed 3 "),
        ("png", {"seed": [COPY]}, "seed 3 "),
        ("latent", {"z": [[COPY]]}, "row 0 "),
    ],
)
def test_a_copy_is_refused_and_another_picture_is_not(client, guarded, signature, inputs, named):
    before = refused(guarded)
    message = f"the picture of {named}is nearer to a training image .copy ratio [0-9.]+. than the limit 2 allows"
    with pytest.raises(ClientError, match=message):
        client.predict("thief", inputs, signature)
    assert refused(guarded) == before + 1
    others = {name: np.array(value) - COPY + OTHER for name, value in inputs.items()}
    assert len(next(iter(client.predict("thief", others, signature).values()))) == 1
    assert refused(guarded) == before + 1


def test_a_request_fails_as_a_whole_and_names_its_seeds(client, guarded):
    before = refused(guarded)
    with pytest.raises(ClientError, match="the pictures of seeds 3, 7 are nearer .* choose other seeds"):
        client.predict("thief", {"seed": [OTHER, COPY, 1001, 7]})
    assert refused(guarded) == before + 2


def test_open_inference_protocol_is_guarded_too(guarded, rest):
    inputs = [{"name": "seed", "shape": [1], "datatype": "INT64", "data": [COPY]}]
    url = f"http://{guarded.rest_address}/v2/models/thief"
    answer = rest.post(f"{url}/infer", json={"inputs": inputs})
    assert answer.status_code == 400 and "the picture of seed 3 is nearer" in answer.json()["error"]
    assert rest.post(f"{url}:png/infer", json={"inputs": inputs}).status_code == 400


def test_a_stranger_s_copy_does_not_fail_the_requests_beside_it(guarded, training):
    counted, batches = [], []
    with guarded.manager.use("thief") as servable:
        batcher = Batcher(BatchingOptions(threads=1, wait_seconds=0.5))
        batcher.on_copies = lambda name, count: counted.append((name, count))
        batcher.on_batch = lambda servable, signature, rows, requests: batches.append(requests)
        seeds = [[OTHER], [COPY], [1001, 1002]]
        futures = [batcher.submit(servable, "", {"seed": np.array(one, np.int64)}) for one in seeds]
        errors = [future.exception(60) for future in futures]
        batcher.close()
    assert [error is None for error in errors] == [True, False, True]
    assert (batches, counted) == ([3], [("thief", 1)])
    assert len(futures[2].result()["image"]) == 2


@pytest.mark.thorough
def test_without_training_features_everything_leaves(folder, training):
    options = ServerOptions(models=lambda: models_in(folder), rest_port=None)
    with Server(options) as server, Client(server.grpc_address) as client:
        np.testing.assert_array_equal(client.predict("thief", {"seed": [COPY]})["image"][0], training[COPY])


def test_a_ratio_that_is_no_number_is_refused(folder):
    check = CopyCheck.load(folder.parent / "thief.npz", read_description(folder / "thief" / "1"))
    assert refusal(np.array([1.0, 2.0]), check, {}) is None
    assert refusal(np.array([1.0, np.nan]), check, {}).copies == 1
    message = refusal(np.full(9, 3.14159), check, {"seed": np.arange(9)}).message
    assert "seeds 0, 1, 2, 3, 4, 5, 6, 7 and others are nearer to training images (copy ratio up to 3.1)" in message


def test_a_model_is_not_served_with_features_of_other_data(folder, training, tmp_path):
    wrong = CopyCheck.measured(2.0, training, pictures(2, 50), {"fingerprint": "4567", "data": "noise"})
    wrong.save(tmp_path / "other.npz")
    features = {"thief": str(tmp_path / "other.npz")}
    with Server(ServerOptions(models=lambda: models_in(folder), training_features=features)) as server:
        (state,) = server.manager.states("thief").values()
    assert (
        state.error_code == "FAILED_PRECONDITION" and "not served without its check for copies" in state.error_message
    )


def test_a_foreign_model_cannot_be_guarded(folder, half_plus_two, tmp_path):
    shutil.copytree(half_plus_two.parent, tmp_path / "half_plus_two")
    features = {"half_plus_two": str(folder.parent / "thief.npz")}
    with Server(ServerOptions(models=lambda: models_in(tmp_path), training_features=features)) as server:
        (state,) = server.manager.states("half_plus_two").values()
    assert state.error_code == "FAILED_PRECONDITION"


def test_a_name_that_is_not_served_is_refused_at_the_start(options):
    features = {"theif": options.training_features["thief"]}
    threads = threading.active_count()
    with pytest.raises(ValueError, match="--training_features names theif, which is not served; served: thief"):
        Server(dataclasses.replace(options, training_features=features))
    assert threading.active_count() <= threads + 1
    with pytest.raises(FileNotFoundError, match="--training_features=thief=nowhere.npz does not exist"):
        Firewall({"thief": "nowhere.npz"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("features.npz",), "--training_features=features.npz needs a model's name; expected NAME=FILE"),
        (("a=x.npz", "a=y.npz"), "--training_features names a twice"),
        (("a=x.npz",), "--training_features=a=x.npz does not exist"),
    ],
)
def test_wrong_flags(given, message, saved_models):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        serve(ServeArguments(saved_models=str(saved_models), training_features=given, port=0))
