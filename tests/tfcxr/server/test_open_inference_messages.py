"""Bytes that a generated class of the published protocol writes, put together here by hand."""

import struct

import pytest

from tfcxr.server.open_inference_messages import MESSAGES, SERVICE

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types


def field(number, wire_type, content):
    """A field whose number, and content if it has a length, are below 128."""
    size = bytes([len(content)]) if wire_type == LENGTH else b""
    return bytes([number << 3 | wire_type]) + size + content


def text(number, content):
    return field(number, LENGTH, content.encode())


def test_request_bytes_are_those_of_the_protocol():
    request = MESSAGES["ModelInferRequest"](model_name="acgan:png", model_version="7", id="a")
    request.parameters["priority"].int64_param = 3
    tensor = request.inputs.add(name="seed", datatype="INT64", shape=[2])
    tensor.parameters["is_new"].bool_param = True
    tensor.contents.int64_contents.extend([5, 6])
    request.outputs.add(name="png_bytes").parameters["x"].string_param = "y"
    request.raw_input_contents.append(b"\x01\x02")
    parameter = text(1, "priority") + field(2, LENGTH, field(2, VARINT, b"\x03"))
    is_new = text(1, "is_new") + field(2, LENGTH, field(1, VARINT, b"\x01"))
    contents = field(5, LENGTH, field(3, LENGTH, b"\x05\x06"))
    seed = text(1, "seed") + text(2, "INT64") + field(3, LENGTH, b"\x02") + field(4, LENGTH, is_new) + contents
    output = text(1, "png_bytes") + field(2, LENGTH, text(1, "x") + field(2, LENGTH, text(3, "y")))
    names = text(1, "acgan:png") + text(2, "7") + text(3, "a") + field(4, LENGTH, parameter)
    expected = names + field(5, LENGTH, seed) + field(6, LENGTH, output) + field(7, LENGTH, b"\x01\x02")
    assert request.SerializeToString() == expected
    assert MESSAGES["ModelInferRequest"].FromString(expected) == request


def test_answer_bytes_are_those_of_the_protocol():
    response = MESSAGES["ModelInferResponse"](model_name="m", model_version="7", id="a")
    response.parameters["synthetic"].bool_param = True
    tensor = response.outputs.add(name="n", datatype="BOOL", shape=[1])
    tensor.contents.bool_contents.append(True)
    response.raw_output_contents.append(b"\x01")
    synthetic = text(1, "synthetic") + field(2, LENGTH, field(1, VARINT, b"\x01"))
    contents = field(5, LENGTH, field(1, LENGTH, b"\x01"))
    output = text(1, "n") + text(2, "BOOL") + field(3, LENGTH, b"\x01") + contents
    names = text(1, "m") + text(2, "7") + text(3, "a") + field(4, LENGTH, synthetic)
    assert response.SerializeToString() == names + field(5, LENGTH, output) + field(6, LENGTH, b"\x01")


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("bool_contents", [True, False], field(1, LENGTH, b"\x01\x00")),
        ("int_contents", [1, 2], field(2, LENGTH, b"\x01\x02")),
        ("int64_contents", [1, 2], field(3, LENGTH, b"\x01\x02")),
        ("uint_contents", [1, 2], field(4, LENGTH, b"\x01\x02")),
        ("uint64_contents", [1, 2], field(5, LENGTH, b"\x01\x02")),
        ("fp32_contents", [0.5], field(6, LENGTH, struct.pack("<f", 0.5))),
        ("fp64_contents", [0.5], field(7, LENGTH, struct.pack("<d", 0.5))),
        ("bytes_contents", [b"a", b""], text(8, "a") + text(8, "")),
    ],
)
def test_contents_have_the_published_fields(name, values, expected):
    assert MESSAGES["InferTensorContents"](**{name: values}).SerializeToString() == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("bool_param", True, field(1, VARINT, b"\x01")),
        ("int64_param", 3, field(2, VARINT, b"\x03")),
        ("string_param", "a", text(3, "a")),
        ("double_param", 0.5, field(4, FIXED64, struct.pack("<d", 0.5))),
        ("uint64_param", 3, field(5, VARINT, b"\x03")),
    ],
)
def test_a_parameter_is_one_of_the_published_fields(name, value, expected):
    parameter = MESSAGES["InferParameter"](bool_param=False)
    setattr(parameter, name, value)
    assert parameter.SerializeToString() == expected
    assert parameter.WhichOneof("parameter_choice") == name


def test_health_and_metadata_have_the_published_fields():
    live, ready, model = (MESSAGES[f"{name}Response"] for name in ("ServerLive", "ServerReady", "ModelReady"))
    is_true = field(1, VARINT, b"\x01")
    assert live(live=True).SerializeToString() == is_true
    assert ready(ready=True).SerializeToString() == model(ready=True).SerializeToString() == is_true
    for name in ("ModelReadyRequest", "ModelMetadataRequest"):
        assert MESSAGES[name](name="m", version="7").SerializeToString() == text(1, "m") + text(2, "7")
    server = MESSAGES["ServerMetadataResponse"](name="s", version="1", extensions=["e"])
    assert server.SerializeToString() == text(1, "s") + text(2, "1") + text(3, "e")
    metadata = MESSAGES["ModelMetadataResponse"](name="m", versions=["7"], platform="p")
    metadata.inputs.add(name="i", datatype="BOOL", shape=[2])
    metadata.outputs.add(name="o")
    tensor = text(1, "i") + text(2, "BOOL") + field(3, LENGTH, b"\x02")
    names = text(1, "m") + text(2, "7") + text(3, "p")
    assert metadata.SerializeToString() == names + field(4, LENGTH, tensor) + field(5, LENGTH, text(1, "o"))


def test_service_and_messages_have_the_published_names():
    assert SERVICE == "inference.GRPCInferenceService"
    assert all(message.DESCRIPTOR.full_name == f"inference.{name}" for name, message in MESSAGES.items())
    methods = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
    both = {f"{method}{side}" for method in methods for side in ("Request", "Response")}
    assert set(MESSAGES) >= both | {"InferParameter", "InferTensorContents"}
