"""Open Inference Protocol V2 over REST, against a server of a tiny GAN and a foreign SavedModel."""

import base64
import concurrent.futures
import gzip
import json
import math
import time

import numpy as np
import pytest
import tensorflow as tf

import tfcxr

SEED = {"name": "seed", "shape": [2], "datatype": "INT64", "data": [0, 1]}
LABEL = {"name": "label", "shape": [2, 2], "datatype": "FP32", "data": [[1, 0], [0, 1]]}
X = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.0]}
JSON_LENGTH = "Inference-Header-Content-Length"


def infer(rest, name, *inputs, **fields):
    response = rest.post(f"/v2/models/{name}/infer", json={"inputs": list(inputs), **fields})
    assert response.status_code == 200, response.text
    return response.json()


def refused(response, status, match):
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    assert match in response.json()["error"]


def test_health(rest):
    assert rest.get("/v2/health/live").json() == {"live": True}
    assert rest.get("/v2/health/ready").json() == {"live": True, "ready": True}
    for path in ("tiny", "tiny:png", "tiny/versions/1", "half_plus_two:types"):
        name = path.partition("/")[0]
        assert rest.get(f"/v2/models/{path}/ready").json() == {"name": name, "ready": True}
    absent = rest.get("/v2/models/tiny/versions/9/ready")
    assert (absent.status_code, absent.json()) == (503, {"name": "tiny", "ready": False})


def test_metadata(rest):
    expected = {"name": "tfcxr", "version": tfcxr.__version__, "extensions": ["binary_tensor_data"]}
    assert rest.get("/v2").json() == rest.get("/v2/").json() == expected
    assert rest.get("/v2/models/half_plus_two").json() == {
        "name": "half_plus_two",
        "versions": ["123"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    }
    score = rest.get("/v2/models/tiny:score/versions/1").json()
    assert score["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 32, 32, 1]}]


def test_numbers_flat_and_nested(rest):
    flat = infer(rest, "half_plus_two", X, id="42", parameters={"priority": 1})
    assert flat == {
        "model_name": "half_plus_two",
        "model_version": "123",
        "id": "42",
        "outputs": [{"name": "y", "shape": [2], "datatype": "FP32", "data": [2.5, 3.0]}],
    }
    whole = {"name": "whole", "shape": [2, 2], "datatype": "INT64", "data": [[1, 2], [2**53 + 1, 0]]}
    truth = {"name": "truth", "shape": [2], "datatype": "BOOL", "data": [True, False]}
    text = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a", "ä"]}
    outputs = [{"name": name} for name in ("text", "not", "sum")]
    answer = infer(rest, "half_plus_two:types/versions/123", whole, truth, text, outputs=outputs)
    assert [output["data"] for output in answer["outputs"]] == [["a", "ä"], [False, True], [3, 2**53 + 1]]
    assert "id" not in answer


def test_pictures_are_those_of_the_saved_model(rest, saved_models):
    answer = infer(rest, "tiny", SEED, LABEL)
    (image,) = answer["outputs"]
    loaded = tf.saved_model.load(str(saved_models / "tiny" / "1"))
    arguments = {"seed": tf.constant([0, 1], tf.int64), "label": tf.constant(LABEL["data"], tf.float32)}
    expected = loaded.signatures["serving_default"](**arguments, truncation=tf.constant(1.0))["image"]
    assert answer["parameters"] == {"synthetic": True} and image["datatype"] == "UINT8"
    np.testing.assert_array_equal(np.reshape(image["data"], image["shape"]), expected)
    (pngs,) = infer(rest, "tiny:png", SEED, LABEL)["outputs"]
    assert (pngs["datatype"], pngs["shape"], pngs["parameters"]) == ("BYTES", [2], {"content_type": "base64"})
    np.testing.assert_array_equal([tf.io.decode_png(base64.b64decode(png)) for png in pngs["data"]], expected)


def test_an_input_with_a_default_may_be_given(rest):
    shape = next(one["shape"] for one in rest.get("/v2/models/tiny").json()["inputs"] if one["name"] == "truncation")
    truncation = {"name": "truncation", "shape": [2] if shape else [], "datatype": "FP32"}
    whole, typical = (
        infer(rest, "tiny", SEED, LABEL, truncation | {"data": [value] * (2 if shape else 1)}) for value in (1, 0)
    )
    assert whole == infer(rest, "tiny", SEED, LABEL) != typical


def test_words_that_json_lacks(rest):
    body = json.dumps({"inputs": [X | {"shape": [3], "data": [math.nan, math.inf, -math.inf]}]})
    response = rest.post("/v2/models/half_plus_two/infer", content=body)
    assert "[NaN, Infinity, -Infinity]" in response.text
    assert math.isnan(json.loads(response.text)["outputs"][0]["data"][0])


def test_raw_tensors_follow_the_json(rest):
    values = np.array([1.0, 2.0], np.float32).tobytes()
    raw = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": len(values)}}
    text = json.dumps({"inputs": [raw], "parameters": {"binary_data_output": True}}).encode()
    response = rest.post("/v2/models/half_plus_two/infer", content=text + values, headers={JSON_LENGTH: str(len(text))})
    length = int(response.headers[JSON_LENGTH])
    (output,) = json.loads(response.content[:length])["outputs"]
    assert response.headers["content-type"] == "application/octet-stream"
    assert output == {"name": "y", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    np.testing.assert_array_equal(np.frombuffer(response.content[length:], np.float32), [2.5, 3.0])


def test_a_packed_body(rest):
    body = gzip.compress(json.dumps({"inputs": [X]}).encode())
    response = rest.post("/v2/models/half_plus_two/infer", content=body, headers={"Content-Encoding": "gzip"})
    assert response.json()["outputs"][0]["data"] == [2.5, 3.0]


def test_models_that_are_missing(rest):
    for path in ("none/ready", "none:png/ready"):
        refused(rest.get(f"/v2/models/{path}"), 404, "there is no model 'none")
    refused(rest.get("/v2/models/none"), 404, "Servable not found for request: Latest(none)")
    refused(rest.post("/v2/models/tiny:jpeg/infer", json={"inputs": []}), 404, "there is no model 'tiny:jpeg'")
    refused(rest.get("/v2/models/tiny/versions/9"), 404, "Specific(tiny, 9)")
    refused(rest.get("/v2/models/tiny/versions/stable"), 404, "Unrecognized servable version label: stable")
    refused(rest.get(f"/v2/models/tiny/versions/{'9' * 5000}"), 404, "Unrecognized servable version label: 99")
    refused(rest.get("/v2/models/:png"), 404, "Latest(:png)")
    refused(rest.get("/v2/models/tiny/infer"), 405, "Malformed request")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"", "the request is no inference request: : Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON: recursion limit exceeded"),
        (b"[]", "the request is no inference request"),
        (b"{}", "inputs: Field required"),
        (json.dumps({"inputs": [X | {"shape": [-2]}]}), "inputs.0.shape.0: Input should be greater than or equal to 0"),
        (json.dumps({"inputs": [X | {"shape": [True]}]}), "inputs.0.shape.0: Input should be a valid integer"),
        (json.dumps({"inputs": [X | {"data": 1}]}), "inputs.0.data: Input should be a valid array"),
        (json.dumps({"inputs": [X | {"parameters": {"a": []}}]}), "inputs.0.parameters.a"),
        (json.dumps({"inputs": [X | {"data": ["1", "2"]}]}), "input x of FP32 takes values of type float or int"),
        (json.dumps({"inputs": [X | {"datatype": "FP64"}]}), "input x must be of dtype float32, got float64"),
        (json.dumps({"inputs": [X | {"name": "z"}]}), "Sent extra: {z}. Missing but required: {x}"),
        (json.dumps({"inputs": [X, X]}), "input x is given twice"),
        (json.dumps({"inputs": [{**X, "data": None}]}), "input x has neither data nor binary_data_size"),
        (json.dumps({"inputs": [X], "outputs": [{"name": "z"}]}), "output tensor alias not found in signature: z"),
        (json.dumps({"inputs": [X], "id": 7}), "id: Input should be a valid string"),
    ],
)
def test_bodies_that_do_not_fit(rest, body, match):
    refused(rest.post("/v2/models/half_plus_two/infer", content=body), 400, match)


@pytest.mark.parametrize(
    ("size", "json_length", "match"),
    [
        (7, None, "binary_data_size needs a whole number of bytes that follow the JSON and no data; got 7, where 8"),
        (9, None, "got 9, where 8 follow"),
        (-1, None, "got -1, where 8 follow"),
        (True, None, "got True"),
        (8, "9999", "Inference-Header-Content-Length must be from 0 to"),
        (8, "x", "Inference-Header-Content-Length must be from 0 to"),
    ],
)
def test_raw_bytes_that_do_not_add_up(rest, size, json_length, match):
    text = json.dumps(
        {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": size}}]}
    ).encode()
    headers = {JSON_LENGTH: json_length or str(len(text))}
    response = rest.post("/v2/models/half_plus_two/infer", content=text + b"\x00" * 8, headers=headers)
    if size == 7:
        match = "input x of FP32 takes 4 bytes a value, got 7"
    refused(response, 400, match)


def test_damaged_requests_are_refused_and_do_no_harm(rest):
    raw = {"name": "seed", "shape": [2], "datatype": "INT64", "parameters": {"binary_data_size": 16}}
    text, values = json.dumps({"inputs": [raw, LABEL]}).encode(), np.arange(2).tobytes()
    random, statuses = np.random.default_rng(1), set()
    for _ in range(300):
        damaged = bytearray(text + values)
        for place in random.integers(0, len(damaged), 2):
            damaged[place] = random.integers(256)
        headers = {JSON_LENGTH: str(len(text) - int(random.integers(2)))}
        answer = rest.post("/v2/models/tiny/infer", content=bytes(damaged), headers=headers)
        statuses.add(answer.status_code)
        assert "Traceback" not in answer.text
    assert {400} <= statuses <= {200, 400}
    assert rest.get("/v2/health/ready").status_code == 200


def test_what_a_model_refuses_itself(rest):
    refused(
        rest.post("/v2/models/half_plus_two:fail/infer", json={"inputs": [X | {"data": [-1, 2]}]}), 400, "x must be"
    )


def test_strangers_requests_at_once_draw_the_same_pictures(rest):
    alone = infer(rest, "tiny", SEED, LABEL)["outputs"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda _: infer(rest, "tiny", SEED, LABEL)["outputs"], range(24)))
    assert all(outputs == alone for outputs in together)


def test_openapi_describes_the_requests(rest):
    document = rest.get("/openapi.json").json()
    paths = {path for path in document["paths"] if path.startswith("/v2")}
    model, version = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
    of_models = {f"{start}{end}" for start in (model, version) for end in ("", "/ready", "/infer")}
    assert paths == {"/v2", "/v2/health/live", "/v2/health/ready"} | of_models
    infer_post = document["paths"][f"{version}/infer"]["post"]
    assert {parameter["name"] for parameter in infer_post["parameters"]} == {"name", "version"}
    schema = infer_post["requestBody"]["content"]["application/json"]["schema"]
    tensor = schema["properties"]["inputs"]["items"]["properties"]
    assert {"name", "shape", "datatype", "data", "parameters"} == set(tensor) and "$ref" not in json.dumps(schema)
    answer = infer_post["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert answer.endswith("/InferResponse") and "InferResponse" in document["components"]["schemas"]
    assert {"400", "404", "429", "503"} <= set(infer_post["responses"])


def test_small_answers_are_sent_at_once(rest):
    """An answer of two packets would wait 40 ms for the client's acknowledgement if small packets were held back."""
    seconds = []
    for _ in range(20):
        begun = time.perf_counter()
        rest.get("/v2/health/live")
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.03
