"""The client against a server of ours, over gRPC and REST, and its messages beside TensorFlow's own."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

import tfcxr
from tfcxr.server.access import Access
from tfcxr.server.batching import BatchingOptions
from tfcxr.server.served_models import models_in
from tfcxr.server.server import Server, ServerOptions
from tfcxr.serving import Client, ClientError
from tfcxr.serving.client import VersionStatus
from tfcxr.serving.protocol_messages import DATA_TYPES, MESSAGES
from tfcxr.serving.tensor_message import array_of, tensor_message

LABELS = ["PNEUMONIA"]
LIGHT = """
import sys
from tfcxr.serving import Client
for address in ("localhost:1", "http://localhost:1"):
    Client(address)
assert not {"tensorflow", "keras"} & set(sys.modules), "the client starts TensorFlow"
"""


@pytest.fixture(params=["grpc", "rest"])
def client(request, server):
    address = server.grpc_address if request.param == "grpc" else f"http://{server.rest_address}"
    with Client(address, retries=1) as opened:
        yield opened


def test_generate_gives_the_images_of_load(client, tiny_export):
    expected = np.asarray(tfcxr.load(tiny_export).generate(LABELS, count=5, seed=3, truncation=0.5))
    images = client.generate("tiny", LABELS, count=5, seed=3, truncation=0.5)
    np.testing.assert_array_equal(images, expected)
    assert images.dtype == np.uint8 and len(np.unique(images, axis=0)) == 5


def test_many_images_are_asked_for_in_several_requests(server, monkeypatch):
    with Client(server.grpc_address, max_images=2) as client:
        sent, send = [], client._transport.predict
        monkeypatch.setattr(client._transport, "predict", lambda *given: sent.append(given) or send(*given))
        images = client.generate("tiny", LABELS, count=5)
        assert [len(inputs["seed"]) for *_, inputs in sent] == [2, 2, 1]
        np.testing.assert_array_equal(images[4:], client.predict("tiny", {**sent[2][-1]})["image"])


def test_a_server_that_does_not_say_the_labels_is_told_them(client, monkeypatch):
    monkeypatch.setattr(client._transport, "description", lambda name, version: "")  # as TensorFlow Serving answers
    with pytest.raises(ValueError, match="does not say the labels of tiny; give label_names="):
        client.generate("tiny", LABELS)
    images = client.generate("tiny", LABELS, label_names=["NORMAL", "PNEUMONIA"])
    monkeypatch.undo()
    np.testing.assert_array_equal(images, client.generate("tiny", LABELS))


def test_arrays_of_every_type_go_and_come(client):
    whole = np.array([[1, 2], [2**62, 3]])
    found = client.predict(
        "half_plus_two", {"whole": whole, "truth": [True, False], "text": ["a", b"\xc3\xa9"]}, "types"
    )
    assert found["sum"].dtype == np.int64 and found["sum"].tolist() == [3, 2**62 + 3]
    assert found["not"].dtype == bool and found["not"].tolist() == [False, True]
    assert found["text_bytes"].tolist() == [b"a", b"\xc3\xa9"] == found["text"].tolist()
    halves = client.predict("half_plus_two", {"x": [1, np.inf]})["y"]
    assert halves.dtype == np.float32 and halves.tolist() == [2.5, np.inf]


def test_inputs_with_defaults_may_be_left_out(client):
    inputs = {"seed": [7], "label": [[0, 1]]}
    whole = client.predict("tiny", inputs | {"truncation": 1.0})["image"]
    np.testing.assert_array_equal(client.predict("tiny", inputs, version=1)["image"], whole)


@pytest.mark.parametrize(
    ("inputs", "signature", "message"),
    [
        ({"seed": [0.5], "label": [[0, 1]]}, "serving_default", "input seed takes values of type int64, got float64"),
        ({"seed": [7]}, "serving", "tiny has no signature 'serving'; did you mean 'serving_default'"),
        (
            {"seed": np.array([2**63], np.uint64), "label": [[0, 1]]},
            "serving_default",
            "got uint64 values",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused_before_they_are_sent(client, inputs, signature, message):
    with pytest.raises(ValueError, match=message):
        client.predict("tiny", inputs, signature)


def test_what_the_server_refuses_is_one_sentence(client):
    with pytest.raises(ClientError, match="label") as raised:
        client.predict("tiny", {"seed": [7]})
    assert raised.value.code == "INVALID_ARGUMENT" and "Traceback" not in raised.value.message
    with pytest.raises(ValueError, match="half_plus_two reads x and no seed, so it generates no images"):
        client.generate("half_plus_two")
    with pytest.raises(ValueError, match="no label 'PNEUMONA'; did you mean 'PNEUMONIA'"):
        client.generate("tiny", ["PNEUMONA"])
    with pytest.raises(ValueError, match="exactly one of NORMAL, PNEUMONIA"):
        client.generate("tiny", ["NORMAL", "PNEUMONIA"])
    with pytest.raises(ValueError, match="at least one image, got count=0"):
        client.generate("tiny", LABELS, count=0)


def test_an_unknown_model_or_version(client):
    for call in (client.status, lambda name: client.predict(name, {"x": [1.0]})):
        with pytest.raises(ClientError, match="no (such )?model") as raised:
            call("tinny")
        assert raised.value.code == "NOT_FOUND"
    with pytest.raises(ClientError) as raised:
        client.predict("tiny", {"seed": [7]}, version=9)
    assert raised.value.code == "NOT_FOUND"


def test_status(client):
    assert client.status("tiny") == {1: VersionStatus("AVAILABLE")}


def test_grpc_cannot_list_models(server):
    with Client(server.grpc_address) as client, pytest.raises(ClientError, match="listed over REST alone"):
        client.models()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "http://127.0.0.1:9"])
def test_no_server(address):
    with Client(address, retries=0) as client, pytest.raises(ClientError, match="no server answers at .*:9 .*serve"):
        client.status("tiny")


def test_an_address_of_another_form():
    with pytest.raises(ValueError, match="expected HOST:PORT .* got 'localhost'"):
        Client("localhost")


def test_a_busy_server_is_tried_again_for_a_while(client, monkeypatch):
    refused, send = [], client._transport.statuses

    def busy(name):
        refused.append(name)
        if len(refused) <= allowed:
            raise ClientError("RESOURCE_EXHAUSTED", "busy")
        return send(name)

    monkeypatch.setattr(client._transport, "statuses", busy)
    allowed = 1
    assert client.status("tiny")[1].state == "AVAILABLE" and len(refused) == 2
    refused.clear()
    allowed = 5
    with pytest.raises(ClientError, match="busy"):
        client.status("tiny")
    assert len(refused) == 2


@pytest.mark.thorough
def test_too_many_rows_and_a_token(saved_models):
    options = ServerOptions(
        models=lambda: models_in(saved_models), batching=BatchingOptions(max_request_rows=2), access=Access("secret")
    )
    with Server(options) as server:
        for address in (server.grpc_address, f"http://{server.rest_address}"):
            with Client(address, token="secret", retries=0) as client:
                with pytest.raises(ClientError, match="2 rows at most") as raised:
                    client.generate("tiny", LABELS, count=3)
                assert raised.value.code == "RESOURCE_EXHAUSTED"
            with (
                Client(address, retries=0) as client,
                pytest.raises(ClientError, match="needs its API token") as raised,
            ):
                client.status("tiny")
            assert raised.value.code == "UNAUTHENTICATED"


def test_the_client_needs_no_tensorflow():
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


def test_the_description_says_what_was_made(rest):
    document = rest.get("/v1/models/tiny/metadata", params={"metadata_field": "description"}).json()
    found = json.loads(document["metadata"]["description"])
    assert found["label_names"] == ["NORMAL", "PNEUMONIA"] and found["is_synthetic"] is True
    answer = rest.get("/v1/models/half_plus_two/metadata", params={"metadata_field": "description"})
    assert answer.status_code == 400 and "not exported by tfcxr" in answer.json()["error"]
    assert "description" not in rest.get("/v1/models/tiny/metadata").json()["metadata"]


def test_messages_have_the_published_fields():
    official = {
        "TensorProto": tf.make_tensor_proto(0).DESCRIPTOR,
        "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap.DESCRIPTOR,
        **{name: getattr(predict_pb2, name).DESCRIPTOR for name in ("PredictRequest", "PredictResponse")},
        **{
            name: getattr(get_model_metadata_pb2, name).DESCRIPTOR
            for name in ("GetModelMetadataRequest", "GetModelMetadataResponse")
        },
        **{
            name: getattr(get_model_status_pb2, name).DESCRIPTOR
            for name in ("GetModelStatusRequest", "GetModelStatusResponse")
        },
    }
    compared = set()

    def compare(ours, theirs):
        if ours.name in compared:
            return
        compared.add(ours.name)
        for field in ours.fields:
            other = theirs.fields_by_name[field.name]
            kinds = {field.type, other.type} - {field.TYPE_ENUM, field.TYPE_INT32}  # both are varints
            assert (field.number, field.is_repeated) == (other.number, other.is_repeated), field.full_name
            assert len(kinds) <= 1 and (not kinds or field.type == other.type), field.full_name
            if field.message_type:
                compare(field.message_type, other.message_type)

    for name, descriptor in official.items():
        compare(MESSAGES[name].DESCRIPTOR, descriptor)
    assert {"TensorInfo", "StatusProto", "ModelSpec", "Dim", "Any"} <= compared
    assert all(tf.dtypes.as_dtype(number).as_datatype_enum == number for number in DATA_TYPES.values() if number)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.5, -2.0]], np.float32),
        np.array(3, np.int64),
        np.array([0.5, 7], np.float16),
        np.array([True, False]),
        np.array([200, 3], np.uint8),
        np.array([-3], np.int8),
        np.array([[b"a", b"\xff"]], object),
        np.zeros([0, 2], np.int32),
    ],
    ids=lambda array: str(array.dtype),
)
def test_tensors_are_those_of_tensorflow(array):
    theirs = type(tf.make_tensor_proto(0))
    sent = tf.make_ndarray(theirs.FromString(tensor_message(array).SerializeToString()))
    np.testing.assert_array_equal(sent, array)
    assert sent.dtype == array.dtype
    for listed in (tf.make_tensor_proto(array), tf.make_tensor_proto(array[..., :1] if array.ndim else array)):
        found = array_of(MESSAGES["TensorProto"].FromString(listed.SerializeToString()))
        np.testing.assert_array_equal(found, tf.make_ndarray(listed))
        assert found.dtype == array.dtype
