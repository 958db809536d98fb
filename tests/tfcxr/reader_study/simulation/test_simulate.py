import dataclasses
import shutil
import stat

import httpx
import pytest
from starlette.testclient import TestClient

from tfcxr.reader_study.answers import Answer, AnswerStore
from tfcxr.reader_study.design_file import IMAGES_FOLDER, LINKS_FILE
from tfcxr.reader_study.readings import readings
from tfcxr.reader_study.server.app import create_app
from tfcxr.reader_study.server.study_server import StudyServer
from tfcxr.reader_study.simulation.http_reader import HttpReader
from tfcxr.reader_study.simulation.reader_model import ReaderSkill, SimulatedReaders
from tfcxr.reader_study.simulation.simulate import copy_study, read_tokens, simulate

PERSON = Answer("1", "R1", "", "consent", viewport={"width": 800})


@pytest.fixture
def simulated(study):
    folder, design, key = study
    readers = SimulatedReaders(design, key, ReaderSkill(), 7)
    return lambda url, **options: simulate(folder, design, key, readers, url, **options)


def test_every_item_is_answered_as_the_model_says(study, simulated):
    folder, design, key = study
    with StudyServer(create_app(folder)) as server:
        visits = simulated(server.address)
        assert {visit.finished for visit in visits.values()} == {6}
        assert {visit.finished for visit in simulated(server.address).values()} == {0}
    with AnswerStore(folder, design) as store:
        rows = store.rows()
    assert {row.viewport["simulated"] for row in rows} == {True}
    model = SimulatedReaders(design, key, ReaderSkill(), 7)
    finals = [row for row in rows if row.event == "final"]
    assert [row.answer for row in finals] == [model.answer(row.reader, row.item) for row in finals]
    assert [row.elapsed_seconds for row in finals] == [model.seconds(row.reader, row.item) for row in finals]
    assert len(readings(design, key, rows)) == 3 * (6 + 2 + 2)


def test_answers_follow_the_exposure_that_the_server_gives(designed, written, tmp_path):
    """Of staircases, too, where it changes with the answers."""
    design, key = designed(readers=1, grids=0, pairs=0, singles=8, exposure_seconds=0.5)
    items = {name: dataclasses.replace(item, is_staircase=not item.is_training) for name, item in design.items.items()}
    design = dataclasses.replace(design, items=items)
    written(tmp_path / "study", design, key)
    readers = SimulatedReaders(design, key, ReaderSkill(mean=3.0), 7)
    with StudyServer(create_app(tmp_path / "study")) as server:
        simulate(tmp_path / "study", design, key, readers, server.address)
    with AnswerStore(tmp_path / "study", design) as store:
        finals = [row for row in store.rows() if row.event == "final"]
    exposures = [row.viewport.get("exposure_seconds") for row in finals]
    assert exposures[:2] == [None, 0.5]
    expected = [readers.answer("R0", row.item, exposure) for row, exposure in zip(finals, exposures, strict=True)]
    assert [row.answer for row in finals] == expected


def test_what_was_begun_is_finished(study, simulated):
    folder, design, key = study
    readers = SimulatedReaders(design, key, ReaderSkill(), 7)
    with StudyServer(create_app(folder)) as server:
        with httpx.Client(base_url=server.address, trust_env=False) as client:
            visitor = HttpReader(client, "token-1", "R1", readers, design, key)
            with pytest.raises(KeyboardInterrupt):
                visitor.visit(on_finished=_interrupt)
        assert {name: visit.finished for name, visit in simulated(server.address).items()} == {
            "R0": 6,
            "R1": 5,
            "R2": 6,
        }


def test_study_of_people_is_refused(study, simulated):
    folder, design, _ = study
    with AnswerStore(folder, design) as store:
        store.add(PERSON)
    with StudyServer(create_app(folder)) as server, pytest.raises(ValueError, match=r"answers of people \(R1\)"):
        simulated(server.address)
    with AnswerStore(folder, design) as store:
        assert len(store.rows()) == 1


def test_study_of_people_elsewhere_is_refused(study, simulated, tmp_path):
    folder, design, _ = study
    shutil.copytree(folder, tmp_path / "served")
    with AnswerStore(tmp_path / "served", design) as store:
        store.add(PERSON)
    with (
        StudyServer(create_app(tmp_path / "served")) as server,
        pytest.raises(ValueError, match="differ in what reader R1"),
    ):
        simulated(server.address)


def test_answers_that_are_not_in_the_file_are_missed(study, simulated, tmp_path):
    folder, _, _ = study
    shutil.copytree(folder, tmp_path / "served")
    with (
        StudyServer(create_app(tmp_path / "served")) as server,
        pytest.raises(ValueError, match="57 of 57 acknowledged"),
    ):
        simulated(server.address)


def test_another_image_is_noticed(study, simulated):
    folder, design, key = study
    app = create_app(folder)
    image = design.items["training"].images[0]
    (folder / IMAGES_FOLDER / f"{image}.png").write_bytes(b"another")
    with (
        StudyServer(app) as server,
        pytest.raises(ValueError, match=f"image {image} is not the one|refused GET /images"),
    ):
        simulated(server.address)


def test_wrong_training_solution_is_noticed(study):
    folder, design, key = study
    wrong = key | {"image0000": dataclasses.replace(key["image0000"], is_synthetic=True)}
    readers = SimulatedReaders(design, wrong, ReaderSkill(), 7)
    with (
        StudyServer(create_app(folder)) as server,
        pytest.raises(ValueError, match=r"solution of training item training"),
    ):
        simulate(folder, design, wrong, readers, server.address)


def test_refused_link_is_said(study):
    folder, design, key = study
    readers = SimulatedReaders(design, key, ReaderSkill(), 7)
    with TestClient(create_app(folder)) as client:
        visitor = HttpReader(client, "guessed", "R1", readers, design, key)
        with pytest.raises(ValueError, match="refused GET /state of reader R1 with status 404"):
            visitor.state()


def test_absent_server_is_said(simulated, monkeypatch):
    monkeypatch.setattr("tfcxr.reader_study.simulation.http_reader.RETRY_SECONDS", 0.001)
    with pytest.raises(ConnectionError, match="no answer from http://127.0.0.1:9 .*is it running"):
        simulated("http://127.0.0.1:9")


def test_lost_connection_is_tried_again(study, monkeypatch):
    """The first answer to each request is thrown away after the server has stored it."""
    monkeypatch.setattr("tfcxr.reader_study.simulation.http_reader.RETRY_SECONDS", 0.001)
    folder, design, key = study
    readers = SimulatedReaders(design, key, ReaderSkill(), 7)
    with TestClient(create_app(folder)) as client:
        request, asked = client.request, []

        def lose(method, path, json=None):
            response = request(method, path, json=json)
            if json is not None and json["event"] == "change" and json["request"] not in asked:
                asked.append(json["request"])
                raise httpx.ReadError("lost")
            return response

        client.request = lose
        assert HttpReader(client, "token-1", "R1", readers, design, key).visit().finished == 6
    with AnswerStore(folder, design) as store:
        assert len(asked) == 6 and len([row for row in store.rows() if row.event == "change"]) == 6


def test_links_must_be_there_and_of_this_study(study):
    folder, design, _ = study
    assert read_tokens(folder, design) == {"R0": "token-0", "R1": "token-1", "R2": "token-2"}
    path = folder / LINKS_FILE
    path.write_text(path.read_text().replace("token-1", "another"))
    with pytest.raises(ValueError, match="no link of reader R1 of this design"):
        read_tokens(folder, design)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="need the readers' links"):
        read_tokens(folder, design)


def test_copy_has_all_but_the_answers(study, tmp_path):
    folder, design, _ = study
    (folder / LINKS_FILE).chmod(0o600)
    with AnswerStore(folder, design) as store:
        store.add(PERSON)
    copy_study(folder, tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {"design.json", "key.json", "links.csv", "images"}
    assert stat.S_IMODE((tmp_path / "copy" / LINKS_FILE).stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="is not empty; name a new folder"):
        copy_study(folder, tmp_path / "copy")


def test_copy_of_half_a_study_is_refused(study, tmp_path):
    folder, _, _ = study
    shutil.rmtree(folder / IMAGES_FOLDER)
    with pytest.raises(FileNotFoundError, match="needs the whole study folder"):
        copy_study(folder, tmp_path / "copy")


def _interrupt():
    raise KeyboardInterrupt
