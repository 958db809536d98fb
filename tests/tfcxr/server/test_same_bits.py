"""The same seed and label give the same picture, whichever way and beside whatever it is asked for."""

import base64
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfcxr.server.batching import Batcher, BatchingOptions
from tfcxr.server.open_inference_messages import MESSAGES, SERVICE
from tfcxr.serving import Client

SEEDS = np.array([7, 2**40 + 3, -5, 11, 12], np.int64)
LABELS = np.eye(2, dtype=np.float32)[[1, 0, 1, 1, 0]]
STRANGERS = 8


@pytest.fixture(scope="module")
def expected(tiny_export):
    """uint8 [5, 32, 32, 1], each image alone, by TensorFlow without a server."""
    generate = tf.saved_model.load(str(tiny_export)).signatures["serving_default"]
    images = []
    for i in range(len(SEEDS)):
        one = {"seed": SEEDS[i : i + 1], "label": LABELS[i : i + 1], "truncation": np.float32(1)}
        images.append(generate(**{name: tf.constant(value) for name, value in one.items()})["image"].numpy())
    found = np.concatenate(images)
    assert len(np.unique(found, axis=0)) == len(SEEDS)
    return found


def by_stub(server, rest, seeds, labels):
    """By TensorFlow Serving's own stubs."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    request.inputs["seed"].CopyFrom(tf.make_tensor_proto(seeds))
    request.inputs["label"].CopyFrom(tf.make_tensor_proto(labels))
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
    return tf.make_ndarray(answer.outputs["image"])


def by_client(server, rest, seeds, labels):
    with Client(server.grpc_address) as client:
        return client.predict("tiny", {"seed": seeds, "label": labels, "truncation": 1.0})["image"]


def by_rest_rows(server, rest, seeds, labels):
    rows = [{"seed": int(seed), "label": label.tolist()} for seed, label in zip(seeds, labels, strict=True)]
    return np.array(rest.post("/v1/models/tiny:predict", json={"instances": rows}).json()["predictions"], np.uint8)


def by_rest_columns(server, rest, seeds, labels):
    columns = {"seed": seeds.tolist(), "label": labels.tolist(), "truncation": 1.0}
    return np.array(rest.post("/v1/models/tiny:predict", json={"inputs": columns}).json()["outputs"], np.uint8)


def by_png(server, rest, seeds, labels):
    columns = {"seed": seeds.tolist(), "label": labels.tolist()}
    answer = rest.post("/v1/models/tiny:predict", json={"signature_name": "png", "inputs": columns}).json()["outputs"]
    return np.stack([tf.io.decode_png(base64.b64decode(one["b64"])).numpy() for one in answer])


def by_v2_rest(server, rest, seeds, labels):
    """By Open Inference Protocol V2 in JSON."""
    inputs = [
        {"name": "seed", "shape": list(seeds.shape), "datatype": "INT64", "data": seeds.tolist()},
        {"name": "label", "shape": list(labels.shape), "datatype": "FP32", "data": labels.tolist()},
    ]
    (output,) = rest.post("/v2/models/tiny/infer", json={"inputs": inputs}).json()["outputs"]
    return np.array(output["data"], np.uint8).reshape(output["shape"])


def by_v2_grpc(server, rest, seeds, labels):
    """By Open Inference Protocol V2 in raw bytes."""
    request = MESSAGES["ModelInferRequest"](model_name="tiny")
    for name, datatype, array in (("seed", "INT64", seeds), ("label", "FP32", labels)):
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=MESSAGES["ModelInferRequest"].SerializeToString,
            response_deserializer=MESSAGES["ModelInferResponse"].FromString,
        )(request, timeout=60)
    return np.frombuffer(answer.raw_output_contents[0], np.uint8).reshape(answer.outputs[0].shape)


WAYS = [by_stub, by_client, by_rest_rows, by_rest_columns, by_png, by_v2_rest, by_v2_grpc]


@pytest.mark.parametrize("draw", WAYS)
def test_alone_and_together(draw, server, rest, expected):
    alone = [draw(server, rest, SEEDS[i : i + 1], LABELS[i : i + 1]) for i in range(len(SEEDS))]
    np.testing.assert_array_equal(np.concatenate(alone), expected)
    np.testing.assert_array_equal(draw(server, rest, SEEDS, LABELS), expected)


def test_the_latent_signature_alone_and_together(server):
    z = np.random.default_rng(0).standard_normal([5, 8]).astype(np.float32)
    with Client(server.grpc_address) as grpc_client, Client(f"http://{server.rest_address}") as rest_client:
        together = grpc_client.predict("tiny", {"z": z, "label": LABELS}, "latent")["image"]
        for client in (grpc_client, rest_client):
            for i in range(len(z)):
                one = client.predict("tiny", {"z": z[i : i + 1], "label": LABELS[i : i + 1]}, "latent")["image"]
                np.testing.assert_array_equal(one[0], together[i])
        np.testing.assert_array_equal(
            rest_client.predict("tiny", {"z": z, "label": LABELS}, "latent")["image"], together
        )


def test_beside_strangers(server, rest, expected):
    """Requests of 8 threads, of other seeds, numbers of rows and truncations, are joined with ours meanwhile."""
    ends, joined, failed = threading.Event(), [], []
    batcher = server.batcher
    counted = batcher.on_batch

    def strange(number):
        random = np.random.default_rng(number)
        with Client(server.grpc_address) as client:
            while not ends.is_set():
                rows = int(random.integers(1, 7))
                inputs = {"seed": random.integers(2**62, size=rows), "label": np.eye(2)[random.integers(2, size=rows)]}
                if number % 2:
                    inputs["truncation"] = float(random.uniform())
                try:
                    client.predict("tiny", inputs, "png" if number == 3 else "serving_default")
                except Exception as error:  # noqa: BLE001 - shown by the test
                    failed.append(error)

    def count(servable, signature, rows, requests):
        joined.append(requests)
        counted(servable, signature, rows, requests)

    batcher.on_batch = count
    threads = [threading.Thread(target=strange, args=[number]) for number in range(STRANGERS)]
    try:
        for thread in threads:
            thread.start()
        until = time.monotonic() + 60
        while not (joined and max(joined) > 1) and time.monotonic() < until:
            time.sleep(0.01)
        for draw in WAYS:
            for size in (1, 2, 5):
                np.testing.assert_array_equal(draw(server, rest, SEEDS[:size], LABELS[:size]), expected[:size])
    finally:
        ends.set()
        for thread in threads:
            thread.join()
        batcher.on_batch = counted
    assert not failed and max(joined) > 1, "no request was computed beside another"


def test_a_request_finds_its_like_behind_another(server, expected):
    """A request in between, whose truncation is another, is neither joined nor in the way."""
    batcher, batches = Batcher(BatchingOptions(threads=1, wait_seconds=0.5)), []
    batcher.on_batch = lambda servable, signature, rows, requests: batches.append(requests)
    inputs = {"seed": SEEDS[:1], "label": LABELS[:1]}
    with server.manager.use("tiny") as servable:
        futures = [
            batcher.submit(servable, "", inputs | {"truncation": np.float32(value)}) for value in (1.0, 0.5, 1.0)
        ]
        images = [future.result(60)["image"] for future in futures]
        batcher.close()
    assert batches == [2, 1]
    np.testing.assert_array_equal(images[2], expected[:1])
    assert (images[1] != images[0]).any()
