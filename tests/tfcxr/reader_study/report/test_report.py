import dataclasses
import hashlib
import html
import json
import re
import shutil
import sqlite3

import numpy as np
import pytest
from PIL import Image

from tfcxr import command_line
from tfcxr.reader_study.answers import Answer, AnswerStore
from tfcxr.reader_study.commands.report import ReportArguments, report
from tfcxr.reader_study.design_file import ANSWERS_FILE, IMAGES_FOLDER, KEY_FILE, Item, write_study
from tfcxr.reader_study.report import report as report_module
from tfcxr.reader_study.report.report import content, plain, write_report
from tfcxr.reader_study.report.report_page import cell, word_columns
from tfcxr.reader_study.statistics.analysis import Analysis, Estimate, Table
from tfcxr.registry import Registry

SHADES = {name: 20 + 30 * index for index, name in enumerate("abcdef")}


def own_analysis(readings):
    """Registered by the tests, as a plugin would."""
    share = float(np.mean([reading.is_correct for reading in readings]))
    table = Table("A <table>.", ("reader", "share", "word"), (("R1", Estimate(share, 0.2, 0.8, 2), "text here"),))
    comments = tuple(reading.comment for reading in readings if reading.comment)
    return Analysis("My own part", ("Half of it is right.", *comments), (table,), {"share": share, "nothing": np.nan})


@pytest.fixture(autouse=True)
def analyses(monkeypatch):
    registry = Registry(roc="tfcxr.reader_study.statistics.roc:roc")
    registry["mine"] = own_analysis
    registry["empty"] = lambda readings: None
    monkeypatch.setattr(report_module, "ANALYSES", registry)


@pytest.fixture
def study(tmp_path, design, key):
    """Folder of the small study, with each image as a single too."""
    images = tmp_path / IMAGES_FOLDER
    images.mkdir()
    for name, shade in SHADES.items():
        Image.fromarray(np.full((260, 260), shade, np.uint8)).save(images / f"{name}.png")
    singles = {f"single {name}": Item("single", (name,)) for name in "abcdef"}
    items = {name: item for name, item in design.items.items() if name != "single"} | singles
    readers = {name: dataclasses.replace(reader, items=tuple(items)) for name, reader in design.readers.items()}
    checksums = {name: hashlib.sha256((images / f"{name}.png").read_bytes()).hexdigest() for name in SHADES}
    design = dataclasses.replace(design, items=items, readers=readers, image_sha256=checksums)
    write_study(tmp_path, design, key)
    return tmp_path, design


def answer(reader, item, given, seconds=4.0):
    return Answer(f"{reader} {item}", reader, item, "final", given, seconds)


def all_answers(reader, comment=""):
    """Everything right, but a and b taken for one another among the single images."""
    said = {name: name in "bce" for name in "abcdef"}
    return [
        Answer(f"{reader} consent", reader, "", "consent"),
        answer(reader, "training", {"synthetic": False, "confidence": 5}),
        Answer(f"{reader} change", reader, "grid", "change", {"synthetic": [True] * 6}),
        answer(reader, "grid", {"synthetic": [name in "ace" for name in "abcdef"], "comment": comment}, 30.0),
        answer(reader, "pair", {"real": 0}),
        *(answer(reader, f"single {name}", {"synthetic": said[name], "confidence": 4}, 2.5) for name in "abcdef"),
    ]


def store(study, answers):
    with AnswerStore(*study) as opened:
        for one in answers:
            opened.add(one)


def visible_text(page):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page.partition("</head>")[2])))


def test_report_of_a_finished_study(study):
    store(study, [*all_answers("R1"), *all_answers("R2")])
    made, path = write_report(study[0])
    assert made.missing == ""
    assert made.verdict.startswith("The average AUC of the readers is")
    written = json.loads((study[0] / "report" / "report.json").read_text())
    assert written == content(made)
    assert written["is_complete"] and written["version"] == 1
    assert written["readings"] == 2 * (6 + 1 + 6)
    assert written["analyses"]["mine"]["numbers"] == {"share": 22 / 26, "nothing": None}
    assert written["analyses"]["empty"] is None
    assert written["analyses"]["roc"]["numbers"]["readers"]["R1"]["count"] == 6
    assert written["checksums"]["design"] == study[1].checksum
    assert [case["case"] for case in written["misjudged"]] == ["a", "b"]
    assert set(written["software"]) == {"tfcxr", "python", "numpy", "scipy", "matplotlib"}
    text = visible_text(path.read_text(encoding="utf-8"))
    for expected in ("A study", "My own part", "Half of it is right.", "A <table>.", "2 of 2 fooled", "2 of 2 readers"):
        assert expected in text
    assert "Without data in this study: empty." in text
    assert ".85 (.20-.80)" in text
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["report.html", "report.json"]


def test_partial_study_says_first_what_is_missing(study):
    store(study, all_answers("R1")[:6])
    made, path = write_report(study[0])
    expected = (
        "The study is not finished: 0 of 2 readers are through, and 13 of 16 answers are missing; nothing yet from R2."
    )
    assert made.missing == expected
    assert made.verdict.startswith("So far, ")
    text = visible_text(path.read_text(encoding="utf-8"))
    assert text.index(expected) < text.index("So far, ")
    assert not content(made)["is_complete"]


def pictures_of(path):
    return re.findall(r'<img src="data:image/png;base64,[^"]+" alt="(\w+) radiograph (\w)">', path.read_text("utf-8"))


def test_real_images_appear_only_when_asked_for(study):
    store(study, all_answers("R1"))
    _, path = write_report(study[0])
    assert pictures_of(path) == [("synthetic", "a")]
    assert "real radiograph, not shown" in path.read_text(encoding="utf-8")
    _, path = write_report(study[0], with_real_images=True)
    assert pictures_of(path) == [("synthetic", "a"), ("real", "b")]
    text = visible_text(path.read_text(encoding="utf-8"))
    assert "This report shows real radiographs." in text
    assert "SYNTHETIC" in text and "REAL" in text


def test_changed_and_missing_pictures_are_named_and_not_shown(study):
    store(study, all_answers("R1"))
    (study[0] / IMAGES_FOLDER / "a.png").write_bytes(b"another")
    (study[0] / IMAGES_FOLDER / "c.png").unlink()
    made, path = write_report(study[0])
    assert made.damaged_images == {"a": "was changed after the study was designed", "c": "is missing"}
    text = visible_text(path.read_text(encoding="utf-8"))
    assert "2 pictures are not as designed." in text
    assert "a was changed after the study was designed; c is missing." in text
    assert pictures_of(path) == []


def test_page_is_one_file_and_text_of_readers_stays_text(study):
    store(study, all_answers("R1", comment="<script>alert('ribs')</script>"))
    _, path = write_report(study[0])
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;ribs&#39;)" in page
    addresses = set(re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')>\s]+)', page))
    assert all(address.startswith(("#", "data:image/png")) for address in addresses), addresses
    assert "default-src 'none'" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) > 20  # those of the figures
    assert len(ids) == len(set(ids))


@pytest.mark.thorough
def test_report_is_made_while_the_server_writes(study):
    with AnswerStore(*study) as serving:
        for one in all_answers("R1"):
            serving.add(one)
        before, _ = write_report(study[0])
        for one in all_answers("R2"):
            serving.add(one)
        after, _ = write_report(study[0])
    assert (len(before.readings), len(after.readings)) == (13, 26)
    assert before.checksums["answers"] != after.checksums["answers"]


@pytest.mark.thorough
def test_same_answers_give_the_same_page(study):
    store(study, all_answers("R1"))
    pages = []
    for _ in range(2):
        made, path = write_report(study[0])
        pages.append(path.read_text(encoding="utf-8").replace(made.written, ""))
    assert pages[0] == pages[1]


def test_command_prints_what_is_missing_the_verdict_and_the_page(study, capsys):
    store(study, all_answers("R1"))
    report(ReportArguments(study_dir=str(study[0])))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("The study is not finished")
    assert lines[1].startswith("So far, the AUC of reader R1")
    assert lines[2] == f"report: {study[0] / 'report' / 'report.html'}"


def test_simulated_readers_are_named_before_the_verdict(study, capsys):
    store(study, [dataclasses.replace(row, viewport={"simulated": True}) for row in all_answers("R1")])
    report(ReportArguments(study_dir=str(study[0])))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Simulated readers, not people, gave the answers of R1."
    page = (study[0] / "report" / "report.html").read_text(encoding="utf-8")
    assert page.index(lines[0]) < page.index("The study is not finished") < page.index("So far, ")


def test_study_without_answers_is_refused(study):
    message = "has no finished answer yet; python -m tfcxr.reader_study serve"
    with pytest.raises(ValueError, match=message):
        write_report(study[0])
    assert not (study[0] / ANSWERS_FILE).exists()  # it is the server's to make
    store(study, all_answers("R1")[:3])  # consent, training, a change
    with pytest.raises(ValueError, match=message):
        write_report(study[0])
    assert not (study[0] / "report").exists()


def test_no_study_and_no_key_are_refused(study, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"design\.json does not exist"):
        report(ReportArguments(study_dir=str(tmp_path / "elsewhere")))
    (study[0] / KEY_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=r"key\.json does not exist"):
        report(ReportArguments(study_dir=str(study[0])))
    with pytest.raises(FileNotFoundError, match=r"key\.json does not exist"):
        write_report(study[0])


def test_damaged_answers_are_refused(study):
    (study[0] / ANSWERS_FILE).write_bytes(b"no database" * 100)
    with pytest.raises(ValueError, match="cannot be used"):
        write_report(study[0])


def test_answers_of_another_version_are_refused(study):
    store(study, all_answers("R1"))
    with sqlite3.connect(study[0] / ANSWERS_FILE) as connection:
        connection.execute("UPDATE study SET value = '99' WHERE name = 'version'")
    with pytest.raises(ValueError, match="has version 99"):
        write_report(study[0])


def test_mistake_ends_with_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit):
        command_line.run(report, ["reader_study", f"--study_dir={tmp_path}"])
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_plain_values():
    given = {"a": (np.float64(0.5), np.arange(2)), 3: Estimate(0.5, float("nan"), float("inf"), 4), "b": None}
    assert plain(given) == {
        "a": [0.5, [0, 1]],
        "3": {"value": 0.5, "low": None, "high": None, "count": 4},
        "b": None,
    }


def test_cells():
    assert cell(Estimate(0.734, 0.63, 0.82, 8)) == ".73 <span class=interval>(.63-.82)</span>"
    assert cell(Estimate(-0.04, -0.09, 0, 8)) == "-.04 <span class=interval>(-.09 to .00)</span>"
    assert [cell(value) for value in (None, 0.5, 12, "<b>")] == ["–", ".50", "12", "&lt;b&gt;"]


def test_columns_of_words_are_told_from_numbers():
    rows = ((1, "p = .01", "consultant", 3, "R1, R2, R3, R4"), (2, None, "", 0.5, "R1"))
    assert word_columns(Table("", ("a", "b", "c", "d", "e"), rows)) == [True, False, True, False, True]


@pytest.mark.thorough
def test_page_fits_a_telephone_and_asks_for_nothing(study):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    store(study, [*all_answers("R1"), *all_answers("R2")])
    _, path = write_report(study[0])
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 800})
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url.partition(",")[0]))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.evaluate("document.querySelector('svg').getBoundingClientRect().width") > 250
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        browser.close()
    assert set(asked) - {"data:image/png;base64"} == {path.as_uri()}
    assert complaints == []
