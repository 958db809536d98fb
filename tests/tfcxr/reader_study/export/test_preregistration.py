import dataclasses
import datetime
import hashlib
import re

import pytest

from tfcxr.reader_study.answers import Answer, AnswerStore
from tfcxr.reader_study.commands.export import ExportArguments, export
from tfcxr.reader_study.design_file import KEY_FILE, Item, write_study
from tfcxr.reader_study.export.preregistration import preregistration, write_preregistration

NOW = datetime.datetime(2026, 11, 29, 12, 0, tzinfo=datetime.timezone.utc)
PLAN = {
    "settings": {"grids": 1, "blocks": ["Effusion"], "title": ""},
    "cohorts": [{"name": "nih", "is_synthetic": False, "splits": ["test"], "images": 40, "notice": ""}],
    "order": ["readers come in twos that go in opposite order"],
    "blinding": ["JPEG at quality 95"],
    "analysis": ["Primary: pairs.", "Secondary: the rest."],
    "power": {"assumed": {"rate": 0.6}, "readers": 8, "kinds": {"pair": {"power": 0.71, "table": [{"readers": 4}]}}},
}


def sections(text):
    """Title -> its lines."""
    return {part.partition("\n")[0]: re.findall(r"^- (.*)", part, re.MULTILINE) for part in text.split("\n## ")[1:]}


def test_design_is_told_as_it_is(design):
    found = sections(preregistration(design, "f" * 64, 0, NOW))
    assert found["Readers"][0].startswith("2 readers (2 registrar)")
    assert found["Items"] == [
        "1 x a grid: each image is called real or synthetic (6 images), without a time limit.",
        "1 x a pair of a real and a synthetic image: the real one is chosen, without a time limit.",
        "1 x a single image: real or synthetic, visible for 0.5 s.",
        "Training examples, shown first with their solution: 1.",
        "Blocks by finding: Effusion.",
        "Findings offered for single images: Effusion, Mass.",
        "Images are shown at 260 x 260 pixels.",
    ]
    assert len(found["Hypotheses"]) == 4 and "pair" in found["Hypotheses"][2]
    assert any("HYPE-infinity = (" in line for line in found["Formulas"])
    assert any("Obuchowski" in line for line in found["Formulas"])
    assert found["Seed and checksums"][:3] == [
        "Seed of all that was drawn: 1",
        f"Design (SHA-256 of its canonical JSON, as in design.json): {design.checksum}",
        f"Key (SHA-256 of key.json): {'f' * 64}",
    ]
    assert found["Stopping rule"][0].startswith("The study ends when every reader")


def test_only_what_is_asked_is_promised(design):
    items = {name: design.items[name] for name in ("pair",)}
    readers = {name: dataclasses.replace(reader, items=("pair",)) for name, reader in design.readers.items()}
    text = preregistration(dataclasses.replace(design, items=items, readers=readers), "f" * 64, 0, NOW)
    found = sections(text)
    assert len(found["Hypotheses"]) == 2 and "HYPE" not in text and "Obuchowski" not in text
    assert found["Outcomes"][0].startswith("Primary: rate of pairs")


def test_repeats_and_staircases_are_told(design):
    staircase = Item("single", ("e",), exposure_seconds=0.5, is_staircase=True)
    items = design.items | {"again": Item("grid", tuple("abcdef"), repeat_of="grid"), "single": staircase}
    text = preregistration(dataclasses.replace(design, items=items), "f" * 64, 0, NOW)
    found = sections(text)
    assert found["Items"][0].endswith("(6 images), without a time limit; shown again for agreement within readers: 1.")
    assert "(staircase)" in found["Items"][2] and "HYPE-time" in text
    assert "Repeats count for agreement within readers alone." in found["Exclusion"]


def test_plan_of_the_design_is_used(design):
    found = sections(preregistration(dataclasses.replace(design, plan=PLAN), "f" * 64, 0, NOW))
    assert found["Outcomes"] == ["Primary: pairs.", "Secondary: the rest."]
    assert found["Images"] == ["Real: nih; splits test, images 40."]
    assert found["Order and blinding"][:2] == ["Readers come in twos that go in opposite order.", "JPEG at quality 95."]
    assert found["Power"] == ["assumed: rate 0.6", "readers: 8", "pair: power 0.71"]
    assert found["Settings"] == ["grids: 1", "blocks: Effusion", "title: none"]


def test_stopping_rule_of_the_plan_is_used(design):
    plan = {"stopping_rule": "On 1 May."}
    found = sections(preregistration(dataclasses.replace(design, plan=plan), "f" * 64, 0, NOW))
    assert found["Stopping rule"] == ["On 1 May."]


def test_key_is_committed_to_and_not_told(tmp_path, design, key):
    write_study(tmp_path, design, key)
    path, answers = write_preregistration(tmp_path, tmp_path / "out")
    text = path.read_text()
    assert answers == 0 and "No answer had been stored" in text
    assert hashlib.sha256((tmp_path / KEY_FILE).read_bytes()).hexdigest() in text
    assert not any(word in text for word in ("record a", "cgan", "is_synthetic"))


def test_answers_before_it_are_said_first(tmp_path, design, key, capsys):
    write_study(tmp_path, design, key)
    with AnswerStore(tmp_path, design) as store:
        store.add(Answer("1", "R1", "", "consent"))
    export(ExportArguments(study_dir=str(tmp_path), out_dir=str(tmp_path / "out"), preregistration=True))
    text = (tmp_path / "out" / "preregistration.md").read_text()
    assert text.splitlines()[2].startswith("**Written after 1 rows of answers had been stored: this is not")
    assert "is written; deposit it" in capsys.readouterr().out


def test_nothing_is_overwritten(tmp_path, design, key):
    write_study(tmp_path, design, key)
    write_preregistration(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="a pre-registration is never overwritten"):
        write_preregistration(tmp_path, tmp_path / "out")


def test_missing_and_changed_studies_are_refused(tmp_path, design, key):
    with pytest.raises(FileNotFoundError, match="reader_study design makes one"):
        write_preregistration(tmp_path, tmp_path / "out")
    write_study(tmp_path, design, key)
    path = tmp_path / KEY_FILE
    path.write_text(path.read_text().replace("true", "false", 1))
    with pytest.raises(ValueError, match="key.json was changed after it was written"):
        write_preregistration(tmp_path, tmp_path / "out")
