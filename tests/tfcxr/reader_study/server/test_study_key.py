import pytest

from tfcxr.reader_study.server.study_key import StudyKey, read_study_key

KEY = "four words of ours"


def test_tries_are_counted_by_address_and_forgotten():
    now = [0.0]
    key = StudyKey(KEY, "salt", clock=lambda: now[0])
    for _ in range(10):
        assert key.seconds_to_wait("a") == 0 and not key.is_right("wrong", "a")
    assert key.seconds_to_wait("a") == 600 and key.seconds_to_wait("b") == 0
    now[0] = 601.0
    assert key.seconds_to_wait("a") == 0 and key.is_right(KEY, "a")
    assert key.cookie != StudyKey(KEY, "salt of another study").cookie


def test_study_key_file(tmp_path):
    path = tmp_path / "key.txt"
    with pytest.raises(FileNotFoundError, match="expected a file that holds the study key"):
        read_study_key(path)
    path.write_text("short\n")
    with pytest.raises(ValueError, match="has 5 characters; expected 8 to 1000"):
        read_study_key(path)
    path.write_text(f"{KEY}\n")
    assert read_study_key(path) == KEY
