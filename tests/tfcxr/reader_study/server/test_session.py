import dataclasses

import pytest

from tfcxr.reader_study.answers import AlreadyAnsweredError, Answer, AnswerStore
from tfcxr.reader_study.design_file import Item, Reader, token_sha256
from tfcxr.reader_study.server.session import NoConsentError, NotCurrentError, Session

SINGLE, GRID = {"synthetic": False, "confidence": 3}, {"synthetic": [True] * 6}


class Person:
    """A reader who answers through a session, each request with a name of its own."""

    def __init__(self, session, reader="R1"):
        self.session, self.reader, self.count = session, reader, 0

    def send(self, item, event, answer=None, **fields):
        self.count += 1
        return self.session.add(Answer(f"{self.reader} {self.count}", self.reader, item, event, answer or {}, **fields))

    @property
    def state(self):
        return self.session.state(self.reader)


@pytest.fixture
def store(tmp_path, design):
    with AnswerStore(tmp_path, design) as opened:
        yield opened


@pytest.fixture
def person(design, store):
    return Person(Session(design, store))


def staircase_design(design):
    """Two blocks of images shown alone, whose exposures start at 500 ms."""
    item = Item("single", ("a",), block="one", exposure_seconds=0.5, is_staircase=True)
    items = {name: dataclasses.replace(item, images=(name,)) for name in "abcd"}
    items |= {name: dataclasses.replace(item, images=(name,), block="two") for name in "ef"}
    readers = {"R1": Reader("", tuple(items), token_sha256("token R1"))}
    return dataclasses.replace(design, items=items, readers=readers, training_solutions={})


def test_consent_comes_first(person):
    assert person.state["item"] is None and not person.state["has_consented"]
    assert person.session.current_item("R1") is None
    with pytest.raises(NoConsentError, match="agree to take part first"):
        person.send("training", "change", SINGLE)
    person.send("", "consent")
    assert person.state["has_consented"] and person.state["item"]["item"] == "training"


def test_items_come_in_the_reader_s_order_with_one_final_answer_each(person):
    person.send("", "consent")
    for done, (item, answer) in enumerate([("training", SINGLE), ("grid", GRID), ("pair", {"real": 0})]):
        assert (person.state["done"], person.state["total"]) == (done, 4)
        assert person.state["item"]["item"] == item
        person.send(item, "change", answer)
        person.send(item, "final", answer)
        with pytest.raises(AlreadyAnsweredError, match=f"{item} is answered already"):
            person.send(item, "final", answer)
    person.send("single", "final", SINGLE)
    assert person.state["item"] is None and person.state["done"] == 4
    assert person.session.current_item("R1") is None


def test_readers_have_their_own_order(design, store):
    person = Person(Session(design, store), "R2")
    person.send("", "consent")
    person.send("training", "final", SINGLE)
    assert person.state["item"]["item"] == "single"


def test_state_tells_nothing_but_what_is_shown(person):
    person.send("", "consent")
    assert person.state["item"] == {
        "item": "training",
        "kind": "single",
        "images": ["f"],
        "is_training": True,
        "exposure_seconds": None,
        "was_shown": False,
        "asks_details": True,
        "elapsed_seconds": 0.0,
        "answer": None,
    }
    assert set(person.state) == {
        *("title", "consent", "has_consented", "total", "done", "item", "diagnoses", "display_size")
    }


@pytest.mark.parametrize("item, event", [("grid", "final"), ("grid", "shown"), ("", "change")])
def test_other_items_than_the_current_one_are_refused(person, item, event):
    person.send("", "consent")
    with pytest.raises(NotCurrentError, match="is not the item that you are asked now|needs its item"):
        person.send(item, event, GRID)


def test_reader_goes_on_with_the_last_change_and_the_time_spent(person, design, store):
    person.send("", "consent")
    person.send("training", "change", SINGLE, elapsed_seconds=2.5)
    person.send("training", "change", SINGLE | {"confidence": 5}, elapsed_seconds=4.0)
    item = Session(design, store).state("R1")["item"]  # another process, such as after a restart
    assert (item["answer"], item["elapsed_seconds"]) == (SINGLE | {"confidence": 5}, 4.0)


def test_request_sent_again_is_stored_once_also_after_the_final_answer(person, store):
    person.send("", "consent")
    final = Answer("once", "R1", "training", "final", SINGLE)
    assert person.session.add(final) and not person.session.add(final)
    assert [row.request for row in store.rows("R1")].count("once") == 1


def test_name_of_another_request_is_refused_rather_than_lost(design, store):
    session = Session(design, store)
    for reader in ("R1", "R2"):
        session.add(Answer(f"consent {reader}", reader, "", "consent"))
    session.add(Answer("1", "R1", "training", "final", SINGLE))
    with pytest.raises(NotCurrentError, match="was used for another one"):
        session.add(Answer("1", "R2", "training", "final", SINGLE))


def test_another_process_on_the_same_answers_is_noticed(design, store):
    here, there = Person(Session(design, store)), Person(Session(design, store))
    here.send("", "consent")
    here.send("training", "change", SINGLE)
    there.count = 100
    there.send("training", "final", SINGLE)
    with pytest.raises(AlreadyAnsweredError):
        here.send("training", "final", SINGLE)
    here.send("grid", "final", GRID)
    assert here.state["item"]["item"] == "pair"


def test_training_example_alone_has_a_solution(person):
    assert person.session.solution("training") == [False]
    assert person.session.solution("grid") is None


def test_exposure_is_stored_by_the_server(person, store):
    person.send("", "consent", viewport={"exposure_seconds": 9.0})
    for item, answer in (("training", SINGLE), ("grid", GRID), ("pair", {"real": 1})):
        person.send(item, "final", answer, viewport={"exposure_seconds": 9.0, "width": 800})
    person.send("single", "shown")
    assert person.state["item"]["was_shown"]
    person.send("single", "final", SINGLE, viewport={"exposure_seconds": 9.0})
    exposures = {row.item: row.viewport.get("exposure_seconds") for row in store.rows("R1")}
    assert exposures == {"": None, "training": None, "grid": None, "pair": None, "single": 0.5}


def test_exposures_of_a_staircase_follow_the_reader_s_answers(tmp_path, design, key):
    design = staircase_design(design)
    with AnswerStore(tmp_path, design) as store:
        person = Person(Session(design, store, key))
        person.send("", "consent")
        exposures = []
        for name, is_right in zip("abcdef", [True, True, True, False, False, True], strict=True):
            exposures.append(person.state["item"]["exposure_seconds"])
            assert not person.state["item"]["asks_details"]
            person.send(name, "final", {"synthetic": key[name].is_synthetic == is_right})
        assert exposures == [0.5, 0.49, 0.48, 0.47, 0.5, 0.53]  # the second block starts anew
        assert [row.viewport["exposure_seconds"] for row in store.rows() if row.event == "final"] == exposures


def test_pairs_may_be_in_a_staircase(tmp_path, design, key):
    item = Item("pair", ("a", "b"), exposure_seconds=0.5, is_staircase=True)
    readers = {"R1": Reader("", ("first", "second"), token_sha256("token R1"))}
    design = dataclasses.replace(design, items={"first": item, "second": item}, readers=readers, training_solutions={})
    with AnswerStore(tmp_path, design) as store:
        person = Person(Session(design, store, key))
        person.send("", "consent")
        person.send("first", "final", {"real": 0})  # a is synthetic
        assert person.state["item"]["exposure_seconds"] == 0.53


@pytest.mark.parametrize(
    "item, has_key, message",
    [
        (Item("single", ("a",), exposure_seconds=0.5, is_staircase=True), False, "need the key to tell right answers"),
        (Item("grid", tuple("abcdef"), exposure_seconds=0.5, is_staircase=True), True, "is a grid in a staircase"),
        (Item("single", ("a",), is_staircase=True), True, "has no exposure to start from"),
        (Item("single", ("a",), exposure_seconds=3.0, is_staircase=True), True, "a staircase starts between"),
    ],
)
def test_staircase_that_cannot_run_is_refused_at_the_start(store, design, key, item, has_key, message):
    design = dataclasses.replace(design, items={**design.items, "single": item})
    with pytest.raises(ValueError, match=message):
        Session(design, store, key if has_key else None)
