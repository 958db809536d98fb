import pytest

from tfcxr.data.atomic import TEMPORARY_MARK, atomic_path, remove_temporary_files, write_atomically


def test_file_appears_only_when_whole(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "folder"
    for content in ("first", "second"):
        with atomic_path(folder) as temporary:
            (temporary / "inner").mkdir(parents=True)
            (temporary / "inner" / content).write_text(content)
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["second"]
    assert list(tmp_path.iterdir()) == [folder]


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    (tmp_path / f"{TEMPORARY_MARK}1-a.npz").write_text("half")
    (tmp_path / f"{TEMPORARY_MARK}1-folder").mkdir()
    (tmp_path / "kept").write_text("whole")
    remove_temporary_files(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
