import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import threading
import time
import uuid

import httpx
import numpy as np
import pytest

from tfcxr.reader_study.answers import Answer, AnswerStore
from tfcxr.reader_study.commands.serve import ServeStudyArguments, link_lines, log_finished, serve
from tfcxr.reader_study.design_file import (
    LINKS_FILE,
    Reader,
    read_design,
    token_sha256,
)
from tfcxr.reader_study.server.app import create_app
from tfcxr.reader_study.server.served_study import ServedStudy
from tfcxr.reader_study.server.study_server import StudyServer
from tfcxr.server.access import Tls

ROOT = "/r/token R1"
SINGLE = {"synthetic": False, "confidence": 3}
ANSWERS = {"training": SINGLE, "grid": {"synthetic": [True] * 6}, "pair": {"real": 0}, "single": SINGLE}
MARK = {"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}
KEY = "four words of ours"


@pytest.fixture
def folder(tmp_path, write_served_study):
    write_served_study(tmp_path / "study")
    return tmp_path / "study"


def send(client, item, event, answer=None, root=ROOT, **fields):
    given = {"request": uuid.uuid4().hex, "item": item, "event": event, "answer": answer or {}}
    return client.post(f"{root}/answers", json=given | fields)


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"host": "0.0.0.0"}, "needs --tls_key and --tls_certificate and --study_key_file; leave --host out"),
        ({"host": "192.0.2.1", "tls_key": "k", "tls_certificate": "c"}, "needs --study_key_file"),
        ({"host": "example.org", "study_key_file": "k"}, "needs --tls_key and --tls_certificate;"),
        ({"tls_key": "k"}, "--tls_key and --tls_certificate go together"),
    ],
)
def test_other_machines_need_tls_and_a_study_key(folder, flags, message):
    with pytest.raises(ValueError, match=message):
        serve(ServeStudyArguments(study_dir=str(folder), **flags))


def test_missing_files_are_said(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="reader_study design makes one"):
        serve(ServeStudyArguments(study_dir=str(tmp_path / "none")))
    flags = {"tls_key": str(tmp_path / "key"), "tls_certificate": str(tmp_path / "certificate")}
    with pytest.raises(FileNotFoundError, match="expected a file in PEM"):
        serve(ServeStudyArguments(study_dir=str(folder), **flags))


def test_links_are_printed_with_what_is_done(folder, caplog):
    caplog.set_level("INFO", logger="absl")
    study = ServedStudy(folder)
    study.session.add(Answer("1", "R1", "", "consent"))
    study.session.add(Answer("2", "R1", "training", "final", SINGLE))
    log_finished(study, "R1")
    assert "reader R1 has finished; 0 of 2 readers have" in caplog.text
    assert link_lines(study, folder, "http://127.0.0.1:8600") == [
        "A study: 0 of 2 readers have finished",
        "R1  registrar  1 of 4  http://127.0.0.1:8600/r/token%20R1",
        "R2  registrar  0 of 4  http://127.0.0.1:8600/r/token%20R2",
    ]
    (folder / LINKS_FILE).unlink()
    assert "is not there, so links are not shown" in link_lines(study, folder, "")[1]


def test_address_that_is_taken_is_said(folder):
    with StudyServer(create_app(folder)) as server, pytest.raises(OSError, match="is another server there"):
        StudyServer(create_app(folder), port=int(server.address.rpartition(":")[2]))


def test_tls(folder, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    asked = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        ["openssl", *asked.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    with StudyServer(create_app(folder, KEY), tls=Tls(key.read_text(), certificate.read_text())) as server:
        assert server.address.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(f"{server.address}{ROOT}", verify=context).status_code == 200


@contextlib.contextmanager
def served_process(folder):
    """The command in a process of its own, and the address that it prints."""
    command = [sys.executable, "-m", "tfcxr.reader_study", "serve", f"--study_dir={folder}", "--port=0"]
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[4])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            for line in process.stdout:
                if line.startswith("R1"):
                    yield process, line.split()[-1].partition("/r/")[0]
                    break
        finally:
            process.kill()


@pytest.mark.thorough
def test_answers_that_were_acknowledged_survive_kill(folder):
    acknowledged = []
    with served_process(folder) as (process, address), httpx.Client(base_url=address, timeout=60) as client:
        send(client, "", "consent")
        timer = threading.Timer(0.3, lambda: process.send_signal(signal.SIGKILL))
        timer.start()
        with contextlib.suppress(httpx.HTTPError):
            while True:
                name = uuid.uuid4().hex
                if send(client, "training", "change", SINGLE, request=name).json()["stored"]:
                    acknowledged.append(name)
        timer.join()
    stored = {row.request for row in AnswerStore(folder, read_design(folder)).rows()}
    assert len(acknowledged) > 3 and set(acknowledged) <= stored
    with served_process(folder) as (process, address), httpx.Client(base_url=address, timeout=60) as client:
        assert client.get(f"{ROOT}/state").json()["item"]["answer"] == SINGLE
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.thorough
def test_a_hundred_readers_at_once_lose_nothing(tmp_path, write_served_study, design, capsys):
    """Each of 100 readers answers four items with a change and a final answer each, in a server process of its own."""
    readers = {f"R{number}": Reader("", tuple(ANSWERS), token_sha256(f"token R{number}")) for number in range(1, 101)}
    folder = tmp_path / "study"
    write_served_study(folder, dataclasses.replace(design, readers=readers))
    acknowledged, seconds = [], []

    def answer_all(name):
        with httpx.Client(base_url=address, timeout=60) as client:
            root = f"/r/token {name}"
            steps = [("", "consent", {})]
            steps += [(item, event, ANSWERS[item]) for item in ANSWERS for event in ("change", "final")]
            for item, event, answer in steps:
                request, start = uuid.uuid4().hex, time.perf_counter()
                stored = send(client, item, event, answer, root=root, request=request)
                seconds.append(time.perf_counter() - start)
                assert stored.status_code == 200 and stored.json()["stored"]
                acknowledged.append((name, item, event, request))
            assert client.get(f"{root}/state").json()["done"] == 4

    with served_process(folder) as (_, address), concurrent.futures.ThreadPoolExecutor(100) as pool:
        start = time.perf_counter()
        for _ in pool.map(answer_all, readers):
            pass
        duration = time.perf_counter() - start
    rows = AnswerStore(folder, read_design(folder)).rows()
    assert sorted((row.reader, row.item, row.event, row.request) for row in rows) == sorted(acknowledged)
    assert len(rows) == 900
    with capsys.disabled():
        slow = 1000 * np.quantile(seconds, 0.95)
        print(f"\n{json.dumps({'answers_per_second': round(900 / duration), 'p95_milliseconds': round(slow)})}")
