import dataclasses
import uuid

import pytest
from fastapi.testclient import TestClient

from tfcxr.reader_study.answers import AnswerStore
from tfcxr.reader_study.design_file import (
    ANSWERS_FILE,
    DESIGN_FILE,
    KEY_FILE,
    Reader,
    read_design,
    token_sha256,
)
from tfcxr.reader_study.server.app import MAX_BODY_BYTES, create_app

ROOT = "/r/token R1"
SINGLE = {"synthetic": False, "confidence": 3}
ANSWERS = {"training": SINGLE, "grid": {"synthetic": [True] * 6}, "pair": {"real": 0}, "single": SINGLE}
MARK = {"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}
KEY = "four words of ours"


@pytest.fixture
def folder(tmp_path, write_served_study):
    write_served_study(tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def client(folder):
    with TestClient(create_app(folder)) as opened:
        yield opened


def send(client, item, event, answer=None, root=ROOT, **fields):
    given = {"request": uuid.uuid4().hex, "item": item, "event": event, "answer": answer or {}}
    return client.post(f"{root}/answers", json=given | fields)


def go_to(client, item):
    """Consents and answers all items of R1 before `item`."""
    assert send(client, "", "consent").status_code == 200
    for name, answer in ANSWERS.items():
        if name == item:
            return
        assert send(client, name, "final", answer).status_code == 200


def test_a_study_from_the_first_click_to_the_end(client, folder):
    assert "A study" in client.get(ROOT).text
    state = client.get(f"{ROOT}/state").json()
    assert (state["title"], state["consent"], state["has_consented"]) == ("A study", "Please look.", False)
    assert (state["total"], state["done"], state["item"]) == (4, 0, None)
    assert send(client, "", "consent").json() == {"stored": True, "solution": None}
    for done, (item, answer) in enumerate(ANSWERS.items()):
        state = client.get(f"{ROOT}/state").json()
        assert (state["done"], state["item"]["item"]) == (done, item)
        assert send(client, item, "change", answer).json() == {"stored": True, "solution": None}
        stored = send(client, item, "final", answer, elapsed_seconds=1.5, tab="tab", viewport={"width": 800}).json()
        assert stored == {"stored": True, "solution": [False] if item == "training" else None}
    assert client.get(f"{ROOT}/state").json()["item"] is None
    finals = [row for row in AnswerStore(folder, read_design(folder)).rows("R1") if row.event == "final"]
    assert {row.item: row.answer for row in finals} == ANSWERS
    assert {(row.elapsed_seconds, row.tab, row.viewport["width"]) for row in finals} == {(1.5, "tab", 800)}


def test_readers_who_have_finished_are_told(folder):
    finished = []
    with TestClient(create_app(folder, on_finished=finished.append)) as client:
        go_to(client, "single")
        assert finished == []
        for _ in range(2):
            send(client, "single", "final", SINGLE, request="last")
        assert finished == ["R1"]


def test_answer_sent_twice_is_one_row(client):
    go_to(client, "grid")
    for is_first in (True, False):
        answer = send(client, "grid", "final", ANSWERS["grid"], request="once")
        assert (answer.status_code, answer.json()["stored"]) == (200, is_first)
    assert send(client, "training", "final", SINGLE, request="training again").status_code == 409


def test_solution_comes_again_where_its_answer_was_lost_on_the_way(client):
    send(client, "", "consent")
    first, again = (send(client, "training", "final", SINGLE, request="once").json() for _ in range(2))
    assert first["solution"] == again["solution"] == [False]


def test_before_the_consent_everything_else_is_refused(client):
    answer = send(client, "training", "final", SINGLE)
    assert (answer.status_code, answer.json()) == (403, {"error": "agree to take part first"})
    assert client.get(f"{ROOT}/images/f.png").status_code == 404


@pytest.mark.parametrize("item", ["pair", "elsewhere", "grid"])
def test_other_items_are_a_conflict(client, item):
    send(client, "", "consent")
    answer = send(client, item, "final", ANSWERS.get(item, {"real": 0}))
    assert answer.status_code == 409 and "is not the item that you are asked now" in answer.json()["error"]


@pytest.mark.parametrize(
    "item, event, answer, message",
    [
        ("grid", "final", {"synthetic": [True] * 5}, "an answer for each of 6 images, got 5"),
        ("grid", "final", {"synthetic": [True] * 5 + [None]}, "leaves something open"),
        ("grid", "final", {"synthetic": ["yes"] * 6}, "synthetic.0: Input should be a valid boolean"),
        ("grid", "final", {}, "synthetic: Field required"),
        ("grid", "change", {"synthetic": [1] * 6}, "valid boolean"),
        ("pair", "final", {"real": 2}, "real: Input should be less than or equal to 1"),
        ("pair", "final", {"real": True}, "valid integer"),
        ("pair", "final", {}, "leaves something open"),
        ("pair", "final", {"real": 0, "secret": 1}, "secret: Extra inputs are not permitted"),
        ("single", "final", {"synthetic": True}, "leaves something open"),
        ("single", "final", SINGLE | {"confidence": 6}, "less than or equal to 5"),
        ("single", "final", SINGLE | {"diagnoses": ["Gout"]}, "no diagnosis 'Gout'; it has Effusion, Mass"),
        ("single", "final", SINGLE | {"marks": [MARK | {"x": 1.5}]}, "marks.0.x: Input should be less"),
        ("single", "final", SINGLE | {"marks": [MARK] * 51}, "at most 50 items"),
        ("single", "final", SINGLE | {"comment": "a" * 4001}, "at most 4000 characters"),
        ("single", "viewed", {"zoom": [1]}, "nothing was stored"),
        ("", "consent", {"because": {}}, "nothing was stored"),
    ],
)
def test_answers_of_another_form_are_refused_and_not_stored(client, item, event, answer, message):
    go_to(client, item or "training")
    before = len(client.app.state.study.store.rows())
    refused = send(client, item, event, answer)
    assert refused.status_code == 422 and message in refused.json()["error"]
    assert len(client.app.state.study.store.rows()) == before


@pytest.mark.parametrize(
    "change",
    [
        {"event": "deleted"},
        {"request": ""},
        {"request": 7},
        {"elapsed_seconds": -1},
        {"elapsed_seconds": 1e300},
        {"viewport": {"width": [1]}},
        {"viewport": {str(number): 1 for number in range(31)}},
        {"other": 1},
        {"item": "training"},
    ],
)
def test_requests_of_another_form_are_refused(client, change):
    given = {"request": "1", "item": "", "event": "consent"} | change
    refused = client.post(f"{ROOT}/answers", json=given)
    assert refused.status_code == 422 and "nothing was stored" in refused.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b"\xff", b'{"elapsed_seconds": NaN}', b"null"])
def test_malformed_json_is_refused(client, body):
    refused = client.post(f"{ROOT}/answers", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422 and set(refused.json()) == {"error"}


def test_times_that_are_no_numbers_are_refused(client):
    body = '{"request": "a", "item": "", "event": "consent", "elapsed_seconds": NaN}'
    refused = client.post(f"{ROOT}/answers", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422 and refused.json()["error"].startswith("elapsed_seconds: ")


def test_huge_body_is_refused(client):
    refused = client.post(f"{ROOT}/answers", content=b" " * (MAX_BODY_BYTES + 1))
    assert (refused.status_code, refused.json()["error"]) == (
        413,
        "a request may have 65536 bytes at most; nothing was stored",
    )


@pytest.mark.parametrize("token", ["token", "token R3", "token%20R1x", "a" * 2000, "%00", "token r1"])
def test_unknown_tokens_get_the_same_answer(client, token):
    page = client.get(f"/r/{token}")
    assert page.status_code == 404 and "This link belongs to no reader of this study" in page.text
    assert page.text == client.get("/r/any").text and page.headers == client.get("/r/any").headers
    for path in ("state", "images/a.png"):
        refused = client.get(f"/r/{token}/{path}")
        assert refused.status_code == 404 and "belongs to no reader" in refused.json()["error"]
    assert send(client, "", "consent", root=f"/r/{token}").status_code == 404


def test_token_of_another_study_is_unknown(tmp_path, client, write_served_study, design):
    readers = {"R9": Reader("", ("grid",), token_sha256("token R9"))}
    write_served_study(tmp_path / "other", dataclasses.replace(design, readers=readers))
    with TestClient(create_app(tmp_path / "other")) as other:
        assert other.get("/r/token R9").status_code == 200 and other.get(ROOT).status_code == 404
    assert client.get("/r/token R9").status_code == 404


def test_images_of_the_current_item_alone_are_sent(client, folder):
    go_to(client, "pair")
    for image in "abcdef":
        answer = client.get(f"{ROOT}/images/{image}.png")
        assert answer.status_code == (200 if image in "bc" else 404)
        if image in "bc":
            assert answer.content == (folder / "images" / f"{image}.png").read_bytes()
    for path in ("..%2Fkey.json", "%2e%2e%2fkey", "b"):
        assert client.get(f"{ROOT}/images/{path}").status_code == 404


def test_images_have_the_same_headers(client):
    go_to(client, "grid")
    headers = [dict(client.get(f"{ROOT}/images/{image}.png").headers) for image in "abcdef"]
    sizes = [int(found.pop("content-length")) for found in headers]
    assert min(sizes) > 0 and all(found == headers[0] for found in headers)
    assert headers[0]["cache-control"] == "no-store" and not {"etag", "last-modified"} & set(headers[0])


def test_every_answer_has_the_security_headers(client):
    for path in (ROOT, f"{ROOT}/state", "/r/unknown", "/nothing", "/static/study.js", "/static/none.js"):
        headers = client.get(path).headers
        assert (
            "default-src 'none'" in headers["content-security-policy"] and headers["referrer-policy"] == "no-referrer"
        )


def test_other_paths_do_not_exist(client):
    for path in ("/", "/docs", "/openapi.json", "/key.json", "/static/..%2Fapp.py", "/r/", "/static/none.js"):
        refused = client.get(path)
        assert refused.status_code == 404 and set(refused.json()) == {"error"}
    assert client.put(f"{ROOT}/answers").status_code == 405


def test_pages_ask_no_other_origin(client):
    for text in [client.get(path).text for path in (ROOT, "/r/unknown", "/static/study.css", "/static/study.js")]:
        assert "http:" not in text and "https:" not in text


def test_image_changed_while_served_is_not_sent(client, folder):
    go_to(client, "pair")
    (folder / "images" / "b.png").write_bytes(b"another")
    refused = client.get(f"{ROOT}/images/b.png")
    assert refused.status_code == 503 and "cannot be read" in refused.json()["error"]


def test_answer_that_cannot_be_stored_is_said_and_may_come_again(client):
    client.app.state.study.store.close()
    refused = send(client, "", "consent")
    assert refused.status_code == 503 and "cannot store answers now" in refused.json()["error"]


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"another"), lambda path: path.unlink()])
def test_changed_images_are_refused_at_the_start(folder, change):
    change(folder / "images" / "a.png")
    with pytest.raises((ValueError, FileNotFoundError), match=r"a\.png (was changed after|is missing; restore)"):
        create_app(folder)


def test_changed_design_and_answers_to_another_are_refused(folder, write_served_study, design, tmp_path):
    create_app(folder).state.study.store.close()
    write_served_study(tmp_path / "other", dataclasses.replace(design, title="Another"))
    (folder / ANSWERS_FILE).rename(tmp_path / "other" / ANSWERS_FILE)
    with pytest.raises(ValueError, match="answers to another design"):
        create_app(tmp_path / "other")
    path = folder / DESIGN_FILE
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(ValueError, match="was changed after it was written"):
        create_app(folder)


def test_key_of_the_study_is_not_needed_without_staircases(folder, design):
    (folder / KEY_FILE).unlink()
    create_app(folder)


def test_key_of_the_study_is_needed_for_a_staircase(tmp_path, write_served_study, design):
    item = dataclasses.replace(design.items["single"], is_staircase=True)
    write_served_study(tmp_path / "s", dataclasses.replace(design, items={**design.items, "single": item}))
    (tmp_path / "s" / KEY_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=r"key\.json does not exist"):
        create_app(tmp_path / "s")


def test_study_key_is_asked_for_once_in_each_browser(folder):
    with TestClient(create_app(folder, KEY), base_url="https://testserver") as client:
        assert "study key" in client.get(ROOT).text and "token R1" not in client.get(ROOT).text
        assert client.get(f"{ROOT}/state").status_code == 401 and send(client, "", "consent").status_code == 401
        assert client.post("/r/unknown/key", json={"key": KEY}).status_code == 404
        refused = client.post(f"{ROOT}/key", json={"key": "another"})
        assert refused.status_code == 403 and "not the study key" in refused.json()["error"]
        given = client.post(f"{ROOT}/key", json={"key": KEY})
        assert given.status_code == 204
        assert all(word in given.headers["set-cookie"] for word in ("HttpOnly", "Secure", "SameSite=lax"))
        assert KEY not in given.headers["set-cookie"]
        assert client.get(f"{ROOT}/state").status_code == 200
    with TestClient(create_app(folder, KEY), base_url="https://testserver", cookies=client.cookies) as restarted:
        assert restarted.get(f"{ROOT}/state").status_code == 200
    with TestClient(create_app(folder, "another key"), base_url="https://testserver", cookies=client.cookies) as other:
        assert other.get(f"{ROOT}/state").status_code == 401


def test_wrong_study_keys_have_to_wait(folder):
    with TestClient(create_app(folder, KEY), base_url="https://testserver") as client:
        statuses = [client.post(f"{ROOT}/key", json={"key": f"try {n}"}).status_code for n in range(10)]
        assert statuses == [403] * 10
        refused = client.post(f"{ROOT}/key", json={"key": KEY})
        assert refused.status_code == 429 and "try again in 10 minutes" in refused.json()["error"]
        assert 590 < int(refused.headers["retry-after"]) <= 600
