import dataclasses
import json
import stat

import pytest

from tfcxr.reader_study.design_file import DESIGN_FILE, KEY_FILE, read_design, read_key, write_study


def test_design_and_key_are_read_as_written(tmp_path, design, key):
    write_study(tmp_path, design, key)
    assert read_design(tmp_path) == design
    assert read_key(tmp_path, design) == key


def test_design_tells_nothing_of_the_key(tmp_path, design, key):
    write_study(tmp_path, design, key)
    text = (tmp_path / DESIGN_FILE).read_text()
    assert not any(word in text for word in ("is_synthetic", "cgan", "nih", "record"))


def test_key_is_for_the_owner_alone(tmp_path, design, key):
    write_study(tmp_path, design, key)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("old, new", [('"title": "A study"', '"title": "Another"'), ('"seed": 1', '"seed": 2')])
def test_changed_design_is_refused(tmp_path, design, key, old, new):
    write_study(tmp_path, design, key)
    path = tmp_path / DESIGN_FILE
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match="was changed after it was written; answers belong"):
        read_design(tmp_path)


def test_changed_key_is_refused(tmp_path, design, key):
    write_study(tmp_path, design, key)
    path = tmp_path / KEY_FILE
    path.write_text(path.read_text().replace("true", "false", 1))
    with pytest.raises(ValueError, match="key.json was changed after it was written"):
        read_key(tmp_path, design)


def test_key_of_another_design_is_refused(tmp_path, design, key):
    write_study(tmp_path, design, key)
    with pytest.raises(ValueError, match="belongs to another design"):
        read_key(tmp_path, dataclasses.replace(design, seed=2))


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 1}', '{"version": 1, "checksum": "", "design": {}}'])
def test_damaged_design_is_refused(tmp_path, content):
    (tmp_path / DESIGN_FILE).write_text(content)
    with pytest.raises(ValueError, match="is damaged"):
        read_design(tmp_path)


def test_other_version_is_refused(tmp_path, design, key):
    write_study(tmp_path, design, key)
    path = tmp_path / DESIGN_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 7}))
    with pytest.raises(ValueError, match="has version 7, this tfcxr reads version 1"):
        read_design(tmp_path)


def test_missing_study_is_said(tmp_path, design):
    with pytest.raises(FileNotFoundError, match="reader_study design makes one"):
        read_design(tmp_path)
    with pytest.raises(FileNotFoundError, match="needed for the report"):
        read_key(tmp_path, design)


def test_image_without_origin_is_refused(tmp_path, design, key):
    del key["a"]
    with pytest.raises(ValueError, match="image a is not in"):
        write_study(tmp_path, design, key)
