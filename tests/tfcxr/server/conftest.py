"""A server of two models, a tiny GAN of ours and a SavedModel of another program, and clients for both sides."""

import pathlib
import shutil
from collections.abc import Callable, Iterator

import grpc
import httpx
import pytest
import tensorflow as tf

from tfcxr.server.served_models import models_in
from tfcxr.server.server import Server, ServerOptions

X = {"x": tf.io.FixedLenFeature([], tf.float32, 0.0)}


class HalfPlusTwo(tf.Module):
    """y = x / 2 + 2, as other programs export it, and functions that show every type and every mistake."""

    def __init__(self, added: float = 2.0) -> None:
        super().__init__()
        self.added = tf.Variable(added)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def predict(self, x):
        return {"y": x / 2 + self.added}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):
        return {"outputs": tf.io.parse_example(inputs, X)["x"] / 2 + self.added}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):
        score = tf.io.parse_example(inputs, X)["x"] / 2 + self.added
        classes = tf.tile([["low", "high"]], [tf.size(inputs), 1])
        return {"classes": classes, "scores": tf.stack([1 - score, score], axis=1)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.int64, "whole"),
            tf.TensorSpec([None], tf.bool, "truth"),
            tf.TensorSpec([None], tf.string, "text"),
        ]
    )
    def types(self, whole, truth, text):
        return {"sum": tf.reduce_sum(whole, 1), "not": ~truth, "text": text, "text_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def fail(self, x):
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x > 0), ["x must be above 0, got", x])]):
            return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def total(self, x):
        return {"sum": tf.reduce_sum(x), "x": x}


def save_half_plus_two(path: pathlib.Path, added: float = 2.0) -> pathlib.Path:
    """Writes it as a version's folder."""
    model = HalfPlusTwo(added)
    signatures = {
        "serving_default": model.predict,
        "regress_x_to_y": model.regress,
        "classify_x_to_y": model.classify,
        "types": model.types,
        "fail": model.fail,
        "total": model.total,
    }
    tf.saved_model.save(model, str(path), signatures=signatures)
    return path


@pytest.fixture(name="save_half_plus_two", scope="session")
def save_half_plus_two_fixture() -> Callable[..., pathlib.Path]:
    """`save_half_plus_two(path, added=2.0)`."""
    return save_half_plus_two


@pytest.fixture(scope="session")
def half_plus_two(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """`.../half_plus_two/123`. Do not change it."""
    return save_half_plus_two(tmp_path_factory.mktemp("foreign") / "half_plus_two" / "123")


@pytest.fixture(scope="session")
def saved_models(
    tiny_export: pathlib.Path, half_plus_two: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """A folder with `tiny/1` and `half_plus_two/123`. Do not change it."""
    folder = tmp_path_factory.mktemp("served")
    for version in (tiny_export, half_plus_two):
        shutil.copytree(version, folder / version.parent.name / version.name)
    return folder


@pytest.fixture(scope="session")
def server(saved_models: pathlib.Path) -> Iterator[Server]:
    """Serves `saved_models` at free ports."""
    with Server(ServerOptions(models=lambda: models_in(saved_models), reload_root=saved_models)) as running:
        yield running


@pytest.fixture(scope="session")
def rest(server: Server) -> Iterator[httpx.Client]:
    """A client of the REST side."""
    with httpx.Client(base_url=f"http://{server.rest_address}", timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def channel(server: Server) -> Iterator[grpc.Channel]:
    """A channel to the gRPC side."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc_address, options=options) as opened:
        yield opened
