"""Requests that no client would send: the server refuses each with a sentence, hangs on none, and goes on."""

import json
import math
import random
import socket

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
)

from tfcxr.server import examples_json, rest_json
from tfcxr.server.prediction import serialized_examples, tensor_of
from tfcxr.server.servable import Servable
from tfcxr.server.serving_error import ServingError

TIMEOUT_SECONDS = 60
ONE = {"instances": [1.0]}
COUNTS = [150, pytest.param(2500, marks=pytest.mark.thorough)]  # four kinds: 10,000 requests where thorough
LEAKS = ("Traceback", "site-packages", ".py", "/tmp", "/home", "/work", "/usr", "node ", " at 0x")
PATHS = ["/v1/models/half_plus_two", "/v1/models/tiny", "/v1/models/half_plus_two/versions/123", "/v1/models/none"]
SIGNATURES = [
    "serving_default",
    "types",
    "fail",
    "total",
    "regress_x_to_y",
    "classify_x_to_y",
    "png",
    "none",
    "",
    5,
    None,
]
KEYS = ["signature_name", "instances", "inputs", "examples", "context", "b64", "x", "seed", "label", "truncation",
        "whole", "truth", "text"]  # fmt: skip
SCALARS = [0, 1, -1, 0.5, 255, 2**31, 2**63, -(2**64), 10**30, 1e39, math.nan, -math.inf, True, None, "", "NaN", "é\0",
           "\ud800", {"b64": "AA=="}, {"b64": "*"}, {"b64": 1}]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4),
    max_leaves=20,
)
QUICK = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def signature(half_plus_two):
    return Servable("half_plus_two", 1, half_plus_two).signature("types")


@QUICK
@given(document=st.dictionaries(st.sampled_from(KEYS[:5]), JSON, max_size=3))
def test_any_json_is_read_or_refused(signature, document):
    text = json.dumps(document).encode()
    for read in (
        lambda: rest_json.read_inputs(rest_json.parse_body(text), signature),
        lambda: serialized_examples(examples_json.read_examples(rest_json.parse_body(text))),
        lambda: rest_json.signature_name(rest_json.parse_body(text)),
    ):
        try:
            read()
        except ServingError as error:
            assert error.message and error.http_status == 400


@QUICK
@given(body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body):
    try:
        rest_json.parse_body(body)
    except ServingError as error:
        assert error.http_status == 400
    message = tf.make_tensor_proto(1).__class__()
    try:
        message.ParseFromString(body)
    except Exception:  # noqa: BLE001 - gRPC refuses it
        return
    try:
        tensor_of("x", message)
    except ServingError as error:
        assert error.http_status == 400 and len(error.message) > len("input x is no whole tensor: ")


def any_json(chance: random.Random, depth: int = 0):
    kind = chance.random()
    if depth > 4 or kind < 0.4:
        return chance.choice(SCALARS)
    if kind < 0.75:
        part = any_json(chance, depth + 1)
        return [part if chance.random() < 0.8 else any_json(chance, depth + 1) for _ in range(chance.randrange(5))]
    return {chance.choice(KEYS): any_json(chance, depth + 1) for _ in range(chance.randrange(4))}


def damaged(chance: random.Random, content: bytes) -> bytes:
    """Some bits flipped, bytes left out, doubled or cut off."""
    found = bytearray(content)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(found)) if found else 0
        kind = chance.randrange(4)
        if kind == 0 and found:
            found[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del found[at : at + chance.randrange(8)]
        elif kind == 2:
            found[at:at] = found[at : at + chance.randrange(16)] or bytes([chance.randrange(256)])
        elif chance.random() < 0.2:
            del found[at:]
    return bytes(found)


def check(status: int, text: str, sent: object) -> None:
    assert status < 500, (status, text, sent)
    if status != 200:
        (key, message), *others = json.loads(text).items()
        assert key == "error" and message.strip() and not others, (text, sent)
        assert not [leak for leak in LEAKS if leak in message], (text, sent)


def check_it_still_answers(rest: httpx.Client) -> None:
    assert rest.post("/v1/models/half_plus_two:predict", json=ONE).json() == {"predictions": [2.5]}
    assert rest.get("/readyz").status_code == 200


@pytest.mark.parametrize("count", COUNTS)
def test_random_documents_over_rest(rest, count):
    chance = random.Random(1)
    for _ in range(count):
        document = {chance.choice(["instances", "inputs", "examples"]): any_json(chance)}
        document |= {"signature_name": chance.choice(SIGNATURES)} if chance.random() < 0.7 else {}
        document |= {"context": any_json(chance)} if chance.random() < 0.1 else {}
        url = f"{chance.choice(PATHS)}:{chance.choice(['predict', 'predict', 'classify', 'regress'])}"
        answer = rest.post(url, content=json.dumps(document), timeout=TIMEOUT_SECONDS)
        check(answer.status_code, answer.text, (url, document))
    check_it_still_answers(rest)


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_documents_paths_and_headers_over_rest(rest, count):
    chance = random.Random(2)
    good = [
        {"signature_name": "types", "instances": [{"whole": [1, 2], "truth": True, "text": {"b64": "AA=="}}]},
        {"signature_name": "total", "inputs": {"x": [1.0, 2.0]}},
        {"instances": [{"seed": 7, "label": [1, 0], "truncation": 0.5}]},
        {"signature_name": "regress_x_to_y", "context": {}, "examples": [{"x": 80.0}]},
    ]
    headers = [{}, {}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}, {"Accept-Encoding": "identity"},
               {"Content-Type": "text/plain"}, {"Authorization": "Bearer \xff"}, {"X-Long": "x" * 8000},
               {"Expect": "100-continue"}, {"Transfer-Encoding": "chunked"}]  # fmt: skip
    for _ in range(count):
        content = damaged(chance, json.dumps(chance.choice(good)).encode())
        url = f"{chance.choice(PATHS)}:{chance.choice(['predict', 'classify', 'regress'])}"
        if chance.random() < 0.2:
            url = "/v1" + "".join(chance.choice("/v1models:%25é?#&.half_plus_two") for _ in range(chance.randrange(60)))
        method = chance.choice(["POST"] * 6 + ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "NONE"])
        kept = {name: value.encode("latin-1") for name, value in chance.choice(headers).items()}
        content = content if "Transfer-Encoding" not in kept else iter([content])
        answer = rest.request(method, url, content=content, headers=kept, timeout=TIMEOUT_SECONDS)
        if answer.headers.get("content-type") == "application/json":
            check(answer.status_code, answer.text, (method, url, content, kept))
        else:  # such as the page at /
            assert answer.status_code < 500 and "Traceback" not in answer.text
    check_it_still_answers(rest)


@pytest.mark.parametrize("count", [40, pytest.param(2500, marks=pytest.mark.thorough)])
def test_what_is_no_http(server, rest, count):
    chance = random.Random(3)
    host, port = server.rest_address.split(":")
    good = (
        b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 20\r\n\r\n"
    )
    for _ in range(count):
        sent = damaged(chance, good + b'{"instances": [1.0]}')
        with socket.create_connection((host, int(port)), TIMEOUT_SECONDS) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            got = b"".join(iter(lambda open_one=connection: open_one.recv(65536), b""))
        assert b"Traceback" not in got and not got.startswith(b"HTTP/1.1 5"), (sent, got)
    check_it_still_answers(rest)


def messages() -> dict[str, list[bytes]]:
    """Method -> requests that it answers."""
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(80)

    def predict(model, signature, output_filter=(), **inputs):
        asked = predict_pb2.PredictRequest(model_spec={"name": model, "signature_name": signature})
        asked.output_filter.extend(output_filter)
        for name, value in inputs.items():
            asked.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        return asked

    half = {"name": "half_plus_two", "signature_name": "classify_x_to_y", "version": {"value": 123}}
    classify = classification_pb2.ClassificationRequest(model_spec=half)
    classify.input.example_list.examples.add().CopyFrom(example)
    multi = inference_pb2.MultiInferenceRequest()
    multi.tasks.add(model_spec=half, method_name="tensorflow/serving/classify")
    multi.input.example_list_with_context.context.CopyFrom(example)
    multi.input.example_list_with_context.examples.add()
    label = np.array([[1, 0]], np.float32)
    requests = {
        "PredictionService/Predict": [
            predict("half_plus_two", "", x=np.array([1, 2], np.float32)),
            predict("half_plus_two", "total", ["sum"], x=np.float32([1])),
            predict("half_plus_two", "types", whole=np.array([[1, 2]]), truth=[True], text=[b"text"]),
            predict("tiny", "", seed=np.array([7]), label=label),
        ],
        "PredictionService/Classify": [classify],
        "PredictionService/Regress": [classify],
        "PredictionService/MultiInference": [multi],
        "PredictionService/GetModelMetadata": [
            get_model_metadata_pb2.GetModelMetadataRequest(model_spec=half, metadata_field=["signature_def"])
        ],
        "ModelService/GetModelStatus": [get_model_status_pb2.GetModelStatusRequest(model_spec=half)],
    }
    return {name: [one.SerializeToString() for one in found] for name, found in requests.items()}


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_messages_over_grpc(channel, rest, count):
    chance, good = random.Random(4), messages()
    calls = {name: channel.unary_unary(f"/tensorflow.serving.{name}", bytes, bytes) for name in good}
    answered = 0
    for _ in range(count):
        name = chance.choice([*good, *["PredictionService/Predict"] * 4])
        sent = damaged(chance, chance.choice(good[name]))
        try:
            calls[name](sent, timeout=TIMEOUT_SECONDS)
            answered += 1
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            is_no_message = code is grpc.StatusCode.INTERNAL and details == "Exception deserializing request!"
            wrong = ("UNKNOWN", "INTERNAL", "DEADLINE_EXCEEDED", "UNAVAILABLE", "CANCELLED")
            assert is_no_message or code.name not in wrong, (name, sent, code, details)
            assert details.strip() and not [leak for leak in LEAKS if leak in details], (name, sent, details)
    assert 0 < answered < count
    check_it_still_answers(rest)


@pytest.mark.thorough
def test_the_described_interface(server):
    """What schemathesis makes of /openapi.json: no failure of the server, and every status is described."""
    import schemathesis

    schema = schemathesis.openapi.from_url(f"http://{server.rest_address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 15
    for operation in operations:
        check_operation(operation)


def check_operation(operation):
    @settings(QUICK, max_examples=25)
    @given(case=operation.as_strategy())
    def check_one(case):
        answer = case.call(timeout=TIMEOUT_SECONDS)
        described = operation.definition.raw["responses"]
        assert str(answer.status_code) in described, (operation.label, answer.status_code, answer.text[:200])
        assert answer.status_code < 500 or answer.status_code in (501, 503), (operation.label, answer.text[:200])

    check_one()
