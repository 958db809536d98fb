"""The REST side of a running server, by TensorFlow Serving's published page: paths, bodies, answers and statuses."""

import base64
import gzip
import json
import math
import socket
import zlib

import cv2
import httpx
import numpy as np
import pytest

from tfcxr.server.served_models import ServedModel
from tfcxr.server.server import Server, ServerOptions

HALF = "/v1/models/half_plus_two"
TINY = "/v1/models/tiny"
PREDICT = f"{HALF}:predict"
ROWS = {"instances": [1.0, 2.0, 5.0]}
ANSWER = {"predictions": [2.5, 3.0, 4.5]}


def error_of(answer, status):
    """The sentence of a refusal, which is the only key of its JSON."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    (key, message), *others = answer.json().items()
    assert key == "error" and message and not others
    return message


@pytest.mark.parametrize("path", ["", "/versions/123", "/versions/00123"])
def test_predict_by_rows_and_columns(rest, path):
    answer = rest.post(f"{HALF}{path}:predict", json=ROWS)
    assert answer.status_code == 200 and answer.json() == ANSWER
    assert answer.headers["content-type"] == "application/json"
    assert rest.post(f"{HALF}{path}:predict", json={"inputs": [1.0, 2.0, 5.0]}).json() == {"outputs": [2.5, 3.0, 4.5]}
    named = {"signature_name": "serving_default", "instances": [{"x": 1}, {"x": 2}]}
    assert rest.post(f"{HALF}{path}:predict", json=named).json() == {"predictions": [2.5, 3.0]}
    assert rest.post(f"{HALF}{path}:predict", json={"inputs": {"x": [3]}}).json() == {"outputs": [3.5]}


def test_several_inputs_and_outputs_of_every_type(rest):
    big = 2**53 + 1
    binary = {"b64": base64.b64encode(b"\xff\x00").decode()}
    rows = [{"whole": [big, 1], "truth": True, "text": "a"}, {"whole": [-1, 1], "truth": False, "text": "é"}]
    answer = rest.post(PREDICT, json={"signature_name": "types", "instances": rows}).json()["predictions"]
    assert answer == [
        {"sum": big + 1, "not": False, "text": "a", "text_bytes": {"b64": "YQ=="}},
        {"sum": 0, "not": True, "text": "é", "text_bytes": {"b64": base64.b64encode("é".encode()).decode()}},
    ]
    columns = {"whole": [[1, 2]], "truth": [False], "text": [binary]}
    answer = rest.post(PREDICT, json={"signature_name": "types", "inputs": columns}).json()["outputs"]
    assert answer == {"sum": [3], "not": [True], "text": ["\ufffd\x00"], "text_bytes": [binary]}


def test_nan_and_infinity_both_ways(rest):
    answer = rest.post(PREDICT, content='{"instances": [NaN, Infinity, -Infinity, 0.2]}')
    assert answer.text == '{"predictions": [NaN, Infinity, -Infinity, 2.1]}'
    assert math.isnan(answer.json()["predictions"][0])


def test_outputs_without_rows_come_in_columns_alone(rest):
    body = {"signature_name": "total", "inputs": [1.0, 2.0]}
    assert rest.post(PREDICT, json=body).json() == {"outputs": {"sum": 3.0, "x": [1.0, 2.0]}}
    message = error_of(rest.post(PREDICT, json={"signature_name": "total", "instances": [1.0]}), 400)
    assert "no common number of rows" in message


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/models/foo:predict", ROWS, 404, "Servable not found for request: Latest(foo)"),
        ("/v1/models/foo/versions/50:predict", ROWS, 404, "Servable not found for request: Specific(foo, 50)"),
        (f"{HALF}99:predict", ROWS, 404, "Servable not found for request: Latest(half_plus_two99)"),
        (f"{HALF}/versions/99:predict", ROWS, 404, "Servable not found for request: Specific(half_plus_two, 99)"),
        (f"{HALF}/versions/{2**64 - 1}:predict", ROWS, 400, "Failed to convert version: 18446744073709551615"),
        (f"{HALF}/versions/HELLO:predict", ROWS, 400, "Failed to convert version: HELLO"),
        (f"{HALF}/versions/-1:predict", ROWS, 400, "Failed to convert version: -1"),
        (f"{HALF}/labels/none:predict", ROWS, 400, "Unrecognized servable version label: none"),
        (PREDICT, {"signature_name": 100}, 400, "'signature_name' key must be a string value."),
        (PREDICT, {"signature_name": "none", **ROWS}, 400, 'Serving signature name: "none" not found'),
        (PREDICT, {"instances": ["x", "y"]}, 400, "not of expected type: float"),
        (PREDICT, {"instances": [{"y": 1}]}, 400, "the signature has no input 'y'; it has x"),
        (PREDICT, {"signature_name": "types", "instances": [{"text": "a"}]}, 400, "Missing named input: truth"),
        (PREDICT, {"instances": [[1.0], [2.0]]}, 200, ""),  # a shape that the graph does not mind
        (PREDICT, {"signature_name": "fail", "instances": [-1.0]}, 400, "x must be above 0, got"),
        (f"{HALF}:classify", {"examples": [{"x": 1.0}]}, 400, "Expected classification signature method_name"),
        (f"{HALF}:regress", {"examples": []}, 400, "empty list"),
        (f"{HALF}:regress", {"signature_name": "none", "examples": [{}]}, 400, "No signature was found"),
        (f"{HALF}:regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 1}]}, 400, "x"),
    ],
)  # fmt: skip
def test_statuses_and_sentences(rest, path, body, status, message):
    answer = rest.post(path, json=body)
    if status == 200:
        assert answer.json() == {"predictions": [[2.5], [3.0]]}
        return
    said = error_of(answer, status)
    assert message in said and "node" not in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/foo"),
        ("GET", "/v1/models"),
        ("POST", "/v1/foo"),
        ("GET", "/v1/models/debug/model_name"),
        ("POST", "/v1/models"),
        ("GET", PREDICT),
        ("PUT", PREDICT),
        ("DELETE", HALF),
        ("POST", HALF),
        ("POST", f"{HALF}/metadata"),
        ("POST", f"{HALF}:unknown"),
        ("POST", "/v1/models/foo/version/50:predict"),
        ("POST", "/v1/models/foo/label/some_label:regress"),
        ("POST", "/v1/models/foo/versions/50/labels/some_label:regress"),
        ("GET", f"{HALF}/"),
    ],
)
def test_other_paths_and_methods_are_malformed_requests(rest, method, path):
    assert error_of(rest.request(method, path), 400) == f"Malformed request: {method} {path}"


def test_pages_that_there_are_none(rest):
    assert "Malformed request: GET /statuspage" in error_of(rest.get("/statuspage"), 404)
    assert rest.request("DELETE", "/livez").status_code == 405


def test_classify_and_regress(rest):
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}, {"x": 0.4}]}
    assert rest.post(f"{HALF}:regress", json=body).json() == {"results": [42.0, 2.2]}
    assert rest.post(f"{HALF}/versions/123:regress", json=body).json() == {"results": [42.0, 2.2]}
    shared = {"signature_name": "regress_x_to_y", "context": {"x": 80.0}, "examples": [{}, {}]}
    assert rest.post(f"{HALF}:regress", json=shared).json() == {"results": [42.0, 42.0]}
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}]}
    assert rest.post(f"{HALF}:classify", json=body).json() == {"results": [[["low", -11.0], ["high", 12.0]]]}


def test_bodies_that_are_packed(rest):
    headers = {"Content-Encoding": "gzip"}
    packed = gzip.compress(json.dumps(ROWS).encode())
    assert rest.post(PREDICT, content=packed, headers=headers).json() == ANSWER
    assert rest.post(PREDICT, content=packed, headers={"Content-Encoding": "GZIP"}).json() == ANSWER
    cut_off = error_of(rest.post(PREDICT, content=packed[:-9], headers=headers), 400)
    assert "ends before its gzip data do" in cut_off
    assert "not gzip" in error_of(rest.post(PREDICT, content=b"plain", headers=headers), 400)
    damaged = packed[:12] + bytes([packed[12] ^ 0xFF]) + packed[13:]
    assert "gzip" in error_of(rest.post(PREDICT, content=damaged, headers=headers), 400)
    assert "ends before" in error_of(rest.post(PREDICT, content=b"", headers=headers), 400)
    assert "gzip" in error_of(rest.post(PREDICT, content=zlib.compress(b"{}"), headers={"Content-Encoding": "br"}), 415)
    large = rest.post(PREDICT, json={"instances": [[0.1] * 2000]})
    assert large.headers["content-encoding"] == "gzip" and len(large.json()["predictions"][0]) == 2000
    plain = rest.post(PREDICT, json={"instances": [[0.1] * 2000]}, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.json() == large.json()


def test_bodies_that_are_empty_or_huge(rest, half_plus_two):
    assert "The document is empty" in error_of(rest.post(PREDICT), 400)
    assert rest.post(PREDICT, content=b"\n" + json.dumps(ROWS).encode("utf-16")).status_code == 400
    assert "257" in error_of(rest.post(PREDICT, json={"instances": [0.0] * 257}), 429)
    model, limit = ServedModel("half_plus_two", half_plus_two.parent), 2**20
    with (
        Server(ServerOptions(models=lambda: [model], grpc_port=None, max_request_bytes=limit)) as server,
        httpx.Client(base_url=f"http://{server.rest_address}", timeout=60) as small,
    ):
        packed = gzip.compress(json.dumps(ROWS).encode())
        bomb = gzip.compress(b" " * (limit + 1))
        assert len(bomb) < 5000
        for body, coding in ((b" " * (limit + 1), ""), (bomb, "gzip"), (packed + b"x" * limit, "gzip")):
            answer = small.post(PREDICT, content=body, headers={"Content-Encoding": coding} if coding else {})
            assert "1048576 bytes at most" in error_of(answer, 429)
        assert small.post(PREDICT, content=b" " * (limit - 40) + json.dumps(ROWS).encode()).json() == ANSWER


def test_the_body_is_json_whatever_its_content_type_says(rest):
    text = json.dumps(ROWS).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert rest.post(PREDICT, content=text, headers={"Content-Type": kind}).json() == ANSWER


def test_chunks_and_a_client_that_leaves(server, rest):
    chunks = (json.dumps(ROWS)[start : start + 5].encode() for start in range(0, 40, 5))
    assert rest.post(PREDICT, content=chunks).json() == ANSWER
    host, port = server.rest_address.split(":")
    for sent in (
        b"POST ",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"\0" * 99,
    ):
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(sent)
    assert rest.post(PREDICT, json=ROWS).json() == ANSWER


def test_our_gan_by_rows_and_columns(rest):
    rows = [{"seed": 7, "label": [1, 0]}, {"seed": 2**40, "label": [0, 1]}]
    by_rows = rest.post(f"{TINY}:predict", json={"instances": rows}).json()["predictions"]
    columns = {"seed": [7, 2**40], "label": [[1, 0], [0, 1]]}
    by_columns = np.array(rest.post(f"{TINY}:predict", json={"inputs": columns}).json()["outputs"])
    assert by_columns.shape == (2, 32, 32, 1) and by_columns.min() >= 0 and by_columns.max() <= 255
    np.testing.assert_array_equal(by_rows, by_columns)
    alone = rest.post(f"{TINY}:predict", json={"instances": rows[1:]}).json()["predictions"][0]
    np.testing.assert_array_equal(alone, by_columns[1])


def test_our_gan_s_png_is_base64_that_decodes(rest):
    body = {"signature_name": "png", "instances": [{"seed": 7, "label": [1, 0]}]}
    (row,) = rest.post(f"{TINY}:predict", json=body).json()["predictions"]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(row["b64"]), np.uint8), cv2.IMREAD_UNCHANGED)
    body = {"instances": [{"seed": 7, "label": [1, 0]}]}
    (drawn,) = rest.post(f"{TINY}:predict", json=body).json()["predictions"]
    np.testing.assert_array_equal(image[..., None], drawn)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"instances": [{"seed": 7.5, "label": [1, 0]}]}, "7.5 is not of expected type: int64"),
        ({"instances": [{"seed": 7, "label": [1, 0, 0]}]}, "label must have the shape"),
        ({"instances": [{"seed": 7}]}, "Missing named input: label"),
        ({"instances": [{"seed": [7], "label": [1, 0]}]}, "seed must have the shape"),
        ({"inputs": {"seed": [7, 8], "label": [[1, 0]]}}, "label"),
        ({"instances": [{"seed": 7, "label": [math.nan, 0]}]}, "label"),
    ],
)
def test_what_our_gan_refuses(rest, body, message):
    assert message in error_of(rest.post(f"{TINY}:predict", content=json.dumps(body)), 400)


def test_no_rows_are_refused_or_no_pictures(rest):
    answer = rest.post(f"{TINY}:predict", json={"inputs": {"seed": [], "label": []}})
    assert "label must have the shape" in error_of(answer, 400)


def test_truncation_is_one_number_or_one_per_row(rest):
    rows = [{"seed": 7, "label": [1, 0], "truncation": 0.5}, {"seed": 8, "label": [1, 0], "truncation": 1.0}]
    found = rest.post(f"{TINY}:predict", json={"instances": rows})
    assert found.status_code == 200, found.text
    columns = {"seed": [7, 8], "label": [[1, 0]] * 2}
    each = rest.post(f"{TINY}:predict", json={"inputs": columns | {"truncation": [0.5, 1.0]}}).json()["outputs"]
    half = rest.post(f"{TINY}:predict", json={"inputs": columns | {"truncation": 0.5}}).json()["outputs"]
    whole = rest.post(f"{TINY}:predict", json={"inputs": columns}).json()["outputs"]
    np.testing.assert_array_equal(found.json()["predictions"], each)
    np.testing.assert_array_equal(each[0], half[0])
    np.testing.assert_array_equal(each[1], whole[1])
    assert half[1] != whole[1]
    said = error_of(rest.post(f"{TINY}:predict", json={"inputs": columns | {"truncation": [0.5] * 3}}), 400)
    assert "truncation" in said or "rows" in said


def test_a_body_that_is_refused_is_read_to_its_end(server, rest):
    host, port = server.rest_address.split(":")
    head = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 400000\r\n\r\n"
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(head + b"x" * 200_000)
        connection.sendall(b"x" * 200_000)
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    assert got.startswith(b"HTTP/1.1 415") and b"a body must be plain or gzip, got the encoding 'br'" in got
