import contextlib
import dataclasses
import pickle
import sqlite3
import subprocess
import sys
import threading

import pytest

from tfcxr.reader_study.answers import AlreadyAnsweredError, Answer, AnswerStore
from tfcxr.reader_study.design_file import ANSWERS_FILE

FINAL = Answer("request", "R1", "pair", "final", {"real": 0}, 1.5, "2026-11-29T12:00:00", "tab", {"width": 800})
KILLED = """
import os, pickle, signal, sys
from tfcxr.reader_study.answers import Answer, AnswerStore
store = AnswerStore(sys.argv[1], pickle.loads(bytes.fromhex(sys.argv[2])))
for number in range(1000):
    store.add(Answer(str(number), "R1", "", "viewed"))
    print(number, flush=True)
    if number == 30:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_answer_is_kept_as_given(tmp_path, design):
    with AnswerStore(tmp_path, design) as store:
        assert store.add(FINAL)
    with AnswerStore(tmp_path, design) as store:
        (row,) = store.rows()
        assert dataclasses.replace(row, server_time="") == FINAL and row.server_time
        assert store.finished_items("R1") == {"pair"} and store.finished_items("R2") == set()
        assert store.rows("R2") == []


def test_request_sent_again_is_stored_once(tmp_path, design):
    with AnswerStore(tmp_path, design) as store:
        assert store.add(FINAL) and not store.add(FINAL)
        assert len(store.rows()) == 1


@pytest.mark.parametrize("event", ["change", "final"])
def test_final_answer_stays(tmp_path, design, event):
    with AnswerStore(tmp_path, design) as store:
        store.add(FINAL)
        with pytest.raises(AlreadyAnsweredError, match="pair is answered already"):
            store.add(dataclasses.replace(FINAL, request="another", event=event, answer={"real": 1}))
        store.add(dataclasses.replace(FINAL, request="viewed", event="viewed"))
        assert [row.answer for row in store.rows()] == [{"real": 0}, {"real": 0}]


@pytest.mark.parametrize("statement", ["UPDATE answers SET answer = '{}'", "DELETE FROM answers"])
def test_file_refuses_changes(tmp_path, design, statement):
    with AnswerStore(tmp_path, design) as store:
        store.add(FINAL)
    opened = contextlib.closing(sqlite3.connect(tmp_path / ANSWERS_FILE))
    with opened as connection, pytest.raises(sqlite3.IntegrityError, match="never"):
        connection.execute(statement)


def test_answers_to_another_design_are_refused(tmp_path, design):
    AnswerStore(tmp_path, design).close()
    with pytest.raises(ValueError, match="answers to another design"):
        AnswerStore(tmp_path, dataclasses.replace(design, seed=2))


def test_other_version_is_refused(tmp_path, design):
    AnswerStore(tmp_path, design).close()
    with contextlib.closing(sqlite3.connect(tmp_path / ANSWERS_FILE)) as connection, connection:
        connection.execute("UPDATE study SET value = '7' WHERE name = 'version'")
    with pytest.raises(ValueError, match="has version 7, this tfcxr reads version 1"):
        AnswerStore(tmp_path, design)


def test_damaged_file_is_refused(tmp_path, design):
    (tmp_path / ANSWERS_FILE).write_bytes(b"no database at all, though long enough to be one" * 40)
    with pytest.raises(ValueError, match="cannot be used .*restore it from a copy"):
        AnswerStore(tmp_path, design)


def test_threads_at_once_lose_nothing(tmp_path, design):
    with AnswerStore(tmp_path, design) as store:

        def answer(number):
            for count in range(10):
                store.add(dataclasses.replace(FINAL, request=f"{number} {count}", event="viewed"))

        threads = [threading.Thread(target=answer, args=[number]) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({row.request for row in store.rows()}) == 200


def test_acknowledged_answers_survive_kill(tmp_path, design):
    arguments = [sys.executable, "-c", KILLED, str(tmp_path), pickle.dumps(design).hex()]
    printed = subprocess.run(arguments, capture_output=True, text=True).stdout.split()
    with AnswerStore(tmp_path, design) as store:
        assert [row.request for row in store.rows()] == printed and len(printed) == 31
