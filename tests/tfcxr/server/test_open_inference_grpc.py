"""Open Inference Protocol V2 over gRPC, against a server of a tiny GAN and a foreign SavedModel."""

import struct

import grpc
import numpy as np
import pytest
import tensorflow as tf

import tfcxr
from tfcxr.server.access import Access
from tfcxr.server.open_inference_messages import MESSAGES, SERVICE
from tfcxr.server.server import Server, ServerOptions

SEEDS, LABELS = np.arange(3), np.eye(2, dtype=np.float32)[[0, 1, 1]]


@pytest.fixture(scope="module")
def call(channel):
    """A function that calls a method of the service."""

    def run(method, request=None, timeout=60, **fields):
        stub = channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=MESSAGES[f"{method}Request"].SerializeToString,
            response_deserializer=MESSAGES[f"{method}Response"].FromString,
        )
        return stub(request or MESSAGES[f"{method}Request"](**fields), timeout=timeout)

    return run


def refused(call, code, match, *arguments, **fields):
    with pytest.raises(grpc.RpcError, match=match) as error:
        call(*arguments, **fields)
    assert error.value.code() is code


def raw_request(name, inputs, outputs=()):
    """A request whose inputs, name -> (datatype, array), are raw bytes."""
    request = MESSAGES["ModelInferRequest"](model_name=name)
    for key, (datatype, array) in inputs.items():
        request.inputs.add(name=key, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    for key in outputs:
        request.outputs.add(name=key)
    return request


def half_plus_two(values, **fields):
    request = MESSAGES["ModelInferRequest"](model_name="half_plus_two", **fields)
    request.inputs.add(name="x", datatype="FP32", shape=[len(values)]).contents.fp32_contents.extend(values)
    return request


def test_health_and_metadata(call):
    assert call("ServerLive").live and call("ServerReady").ready
    assert call("ModelReady", name="tiny").ready and call("ModelReady", name="tiny:png", version="1").ready
    assert not call("ModelReady", name="tiny", version="9").ready
    assert not call("ModelReady", name="tiny", version="stable").ready
    server = call("ServerMetadata")
    assert (server.name, server.version, list(server.extensions)) == (
        "tfcxr",
        tfcxr.__version__,
        ["binary_tensor_data"],
    )
    model = call("ModelMetadata", name="tiny:png")
    assert (model.name, list(model.versions), model.platform) == ("tiny:png", ["1"], "tensorflow_savedmodel")
    inputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in model.inputs}
    assert inputs["seed"] == ("INT64", [-1]) and inputs["label"] == ("FP32", [-1, 2])
    assert {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in model.outputs} == {
        "png_bytes": ("BYTES", [-1])
    }


def test_typed_contents_are_answered_by_typed_contents(call):
    response = call("ModelInfer", half_plus_two([1.0, 2.0], id="42"))
    assert (response.model_name, response.model_version, response.id) == ("half_plus_two", "123", "42")
    (output,) = response.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", "FP32", [2])
    assert list(output.contents.fp32_contents) == [2.5, 3.0] and not response.raw_output_contents
    assert not response.parameters  # nothing is known of a foreign model


def test_raw_contents_are_answered_by_raw_contents(call):
    values = np.array([1.0, 2.0], np.float32)
    response = call("ModelInfer", raw_request("half_plus_two", {"x": ("FP32", values)}))
    assert not response.outputs[0].HasField("contents")
    np.testing.assert_array_equal(np.frombuffer(response.raw_output_contents[0], np.float32), values / 2 + 2)


def test_pictures_are_those_of_the_saved_model(call, saved_models):
    seed, label = ("INT64", SEEDS), ("FP32", LABELS)
    response = call("ModelInfer", raw_request("tiny", {"seed": seed, "label": label}))
    (output,) = response.outputs
    images = np.frombuffer(response.raw_output_contents[0], np.uint8).reshape(output.shape)
    loaded = tf.saved_model.load(str(saved_models / "tiny" / "1"))
    arguments = {"seed": tf.constant(SEEDS), "label": tf.constant(LABELS)}
    expected = loaded.signatures["serving_default"](**arguments, truncation=tf.constant(1.0))["image"]
    assert output.datatype == "UINT8" and response.parameters["synthetic"].bool_param
    np.testing.assert_array_equal(images, expected)


def test_pngs_are_bytes_behind_their_length(call):
    response = call("ModelInfer", raw_request("tiny:png", {"seed": ("INT64", SEEDS), "label": ("FP32", LABELS)}))
    raw, pngs = response.raw_output_contents[0], []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        pngs.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    assert list(response.outputs[0].shape) == [3] and response.parameters["synthetic"].bool_param
    images = raw_request("tiny", {"seed": ("INT64", SEEDS), "label": ("FP32", LABELS)})
    expected = np.frombuffer(call("ModelInfer", images).raw_output_contents[0], np.uint8).reshape(3, 32, 32, 1)
    np.testing.assert_array_equal([tf.io.decode_png(png) for png in pngs], expected)


def test_scores_are_not_marked_as_synthetic(call):
    image = ("UINT8", np.zeros([1, 32, 32, 1], np.uint8))
    response = call("ModelInfer", raw_request("tiny:score", {"image": image}, outputs=["realism"]))
    assert [output.name for output in response.outputs] == ["realism"] and not response.parameters


def test_every_type_of_a_foreign_model_and_chosen_outputs(call):
    request = MESSAGES["ModelInferRequest"](model_name="half_plus_two:types", model_version="123")
    request.inputs.add(name="whole", datatype="INT64", shape=[1, 2]).contents.int64_contents.extend([2**40, 1])
    request.inputs.add(name="truth", datatype="BOOL", shape=[1]).contents.bool_contents.append(True)
    request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"\x00\xff")
    for name in ("text", "sum", "not"):
        request.outputs.add(name=name)
    text, total, negated = call("ModelInfer", request).outputs
    assert (text.name, total.name, negated.name) == ("text", "sum", "not")
    assert list(text.contents.bytes_contents) == [b"\x00\xff"]
    assert list(total.contents.int64_contents) == [2**40 + 1]
    assert list(negated.contents.bool_contents) == [False]


@pytest.mark.parametrize(
    ("method", "fields", "code", "match"),
    [
        ("ModelReady", {"name": "none"}, "NOT_FOUND", "there is no model 'none'; expected one of half_plus_two, tiny"),
        ("ModelReady", {"name": "tiny:jpeg"}, "NOT_FOUND", "there is no model 'tiny:jpeg'; expected one of .*tiny:png"),
        ("ModelMetadata", {"name": "tiny", "version": "v1"}, "NOT_FOUND", "version label: v1"),
        ("ModelMetadata", {"name": "none"}, "NOT_FOUND", r"Latest\(none\)"),
        ("ModelMetadata", {"name": "tiny", "version": "9"}, "NOT_FOUND", r"Specific\(tiny, 9\)"),
        ("ModelInfer", {"model_name": "none:png"}, "NOT_FOUND", r"Latest\(none\)"),
        ("ModelInfer", {}, "INVALID_ARGUMENT", "no name"),
        ("ModelInfer", {"model_name": "tiny:"}, "NOT_FOUND", "there is no model 'tiny:'"),
        ("ModelInfer", {"model_name": "tiny"}, "INVALID_ARGUMENT", "Missing but required: {label,seed}"),
    ],
)
def test_models_and_inputs_that_are_missing(call, method, fields, code, match):
    refused(call, grpc.StatusCode[code], match, method, **fields)


def test_requests_that_contradict_themselves(call):
    wrong = grpc.StatusCode.INVALID_ARGUMENT
    both = half_plus_two([1.0], raw_input_contents=[b"\x00" * 4])
    refused(call, wrong, "one entry for each of the 1 inputs, and these then no contents; got 1", "ModelInfer", both)
    more = raw_request("half_plus_two", {"x": ("FP32", np.zeros(1, np.float32))})
    more.raw_input_contents.append(b"")
    refused(call, wrong, "one entry for each of the 1 inputs.*; got 2", "ModelInfer", more)
    twice = half_plus_two([1.0])
    twice.inputs.add().CopyFrom(twice.inputs[0])
    refused(call, wrong, "input x is given twice", "ModelInfer", twice)
    other = raw_request("half_plus_two", {"x": ("INT64", np.zeros(1, np.int64))})
    refused(call, wrong, "input x must be of dtype float32, got int64", "ModelInfer", other)
    output = half_plus_two([1.0])
    output.outputs.add(name="z")
    refused(call, wrong, "output tensor alias not found in signature: z", "ModelInfer", output)


def test_bytes_that_are_no_message(channel):
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    with pytest.raises(grpc.RpcError, match="the bytes are no ModelInferRequest") as error:
        call(b"\xff\xff", timeout=60)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_damaged_requests_are_refused_and_do_no_harm(channel, call):
    whole = raw_request("tiny", {"seed": ("INT64", SEEDS), "label": ("FP32", LABELS)}).SerializeToString()
    infer, random, codes = channel.unary_unary(f"/{SERVICE}/ModelInfer"), np.random.default_rng(1), set()
    for _ in range(300):
        damaged = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for place in random.integers(0, len(damaged), 3):
            damaged[place] = random.integers(256)
        try:
            infer(bytes(damaged), timeout=60)
        except grpc.RpcError as error:
            codes.add(error.code())
    assert codes <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    assert call("ServerReady").ready


def test_a_request_without_a_deadline(call):
    assert list(call("ModelInfer", half_plus_two([1.0]), timeout=None).outputs[0].contents.fp32_contents) == [2.5]


def test_a_deadline_that_passes(call):
    request = raw_request("tiny", {"seed": ("INT64", np.arange(200)), "label": ("FP32", np.tile(LABELS[:1], (200, 1)))})
    refused(call, grpc.StatusCode.DEADLINE_EXCEEDED, "(?i)deadline", "ModelInfer", request, timeout=0.001)
    assert call("ServerLive").live


def test_health_needs_no_token_and_a_server_without_models_is_not_ready():
    with (
        Server(ServerOptions(models=list, rest_port=None, access=Access("secret"))) as server,
        grpc.insecure_channel(server.grpc_address) as opened,
    ):
        answers = {}
        for method in ("ServerLive", "ServerReady"):
            answers[method] = opened.unary_unary(f"/{SERVICE}/{method}")(b"", timeout=60)
        assert answers == {"ServerLive": b"\x08\x01", "ServerReady": b""}
        with pytest.raises(grpc.RpcError, match="needs its API token"):
            opened.unary_unary(f"/{SERVICE}/ServerMetadata")(b"", timeout=60)
