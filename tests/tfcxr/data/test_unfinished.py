"""Work on a folder by one process at a time, resumed or refused."""

import fcntl
import json
import multiprocessing
import pathlib

import pytest

from tfcxr.data.unfinished import LOCK_FILE, make_folder, resumable_work, unfinished_folder

PROCESSES = multiprocessing.get_context("fork")  # they touch files alone, so TensorFlow's threads are not missed


def finish(out_dir: pathlib.Path, arguments: dict | None = None) -> None:
    """A whole work without shards."""
    with resumable_work(out_dir, "build", [out_dir / "64"]) as work:
        work.start(arguments or {"seed": 0})
        (out_dir / "64").mkdir(exist_ok=True)
        (out_dir / "64" / "dataset_info.json").write_text("{}")


def test_finished_work_leaves_no_notes_and_is_not_done_again(tmp_path):
    finish(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["64"]
    with pytest.raises(FileExistsError, match="already holds a data set at 64 px; remove it or choose another"):
        finish(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["64"]


def test_interrupted_work_is_resumed_with_its_own_arguments_only(tmp_path):
    with pytest.raises(KeyboardInterrupt), resumable_work(tmp_path, "build", []) as work:
        work.start({"seed": 1, "division": "a"})
        raise KeyboardInterrupt
    assert json.loads(work.arguments_path.read_text()) == {"seed": 1, "division": "a"}
    message = "holds an unfinished build of another seed; run its command again"
    with pytest.raises(ValueError, match=message), resumable_work(tmp_path, "build", []) as work:
        work.start({"seed": 2, "division": "b"}, follows="division")
    finish(tmp_path, {"seed": 1, "division": "a"})
    assert not unfinished_folder(tmp_path, "build").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_work_that_did_not_start_leaves_nothing(tmp_path, error):
    with pytest.raises(error), resumable_work(tmp_path / "new", "build", []):
        raise error
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(error), resumable_work(tmp_path / "mine", "build", []):
        raise error
    assert list((tmp_path / "mine").iterdir()) == []


def test_what_is_there_is_not_touched(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file, expected a folder"):
        finish(tmp_path / "file")
    (tmp_path / "64").mkdir()
    (tmp_path / "64" / "precious.tfrecord").write_text("mine")
    with pytest.raises(FileExistsError, match="holds shards, but no dataset_info.json and no unfinished build"):
        finish(tmp_path)
    (tmp_path / "64" / "precious.tfrecord").rename(tmp_path / "64" / "croissant.json")
    with pytest.raises(FileExistsError, match=r"holds croissant.json, but no dataset_info.json and no unfinished"):
        finish(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "64"}
    assert (tmp_path / "64" / "croissant.json").read_text() == "mine"


def test_a_second_process_is_refused_while_the_first_works(tmp_path):
    with resumable_work(tmp_path, "build", []) as work:
        work.start({"seed": 0})
        process = PROCESSES.Process(target=_expect_refusal, args=(tmp_path,))
        process.start()
        process.join()
    assert process.exitcode == 0


def test_a_folder_that_was_finished_while_another_process_waited_is_found_so(tmp_path, monkeypatch):
    """The other process had looked, and opened the lock, before the first one finished."""
    flock, tries = fcntl.flock, []

    def finish_first(file, operation):
        if not tries:
            tries.append(file)
            (unfinished_folder(tmp_path, "build") / LOCK_FILE).unlink()
            unfinished_folder(tmp_path, "build").rmdir()
            finish(tmp_path)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", finish_first)
    with pytest.raises(FileExistsError, match="already holds a data set"), resumable_work(tmp_path, "build", []):
        pass
    assert len(tries) == 1 and [path.name for path in tmp_path.iterdir()] == ["64"]


def test_of_two_processes_that_start_together_one_does_the_work(tmp_path):
    barrier, outcomes = PROCESSES.Barrier(2), PROCESSES.SimpleQueue()
    processes = [PROCESSES.Process(target=_race, args=(tmp_path, barrier, outcomes, 200)) for _ in range(2)]
    for process in processes:
        process.start()
    results = [outcomes.get() for _ in processes]
    for process in processes:
        process.join()
    for number, pair in enumerate(zip(*results, strict=True)):
        assert sorted(pair) == ["done", "refused"], f"round {number}"
        assert [path.name for path in (tmp_path / str(number)).iterdir()] == ["64"]


def fill(growing: pathlib.Path, notes: pathlib.Path) -> None:
    """Two parts, the second of which fails unless the first was there already."""
    is_resumed = (notes / "first").exists()
    (growing / "first.png").write_text("1")
    (notes / "first").touch()
    if not is_resumed:
        raise KeyboardInterrupt
    (growing / "second.png").write_text("2")


def test_a_folder_appears_when_it_is_whole_and_is_resumed_with_its_own_arguments(tmp_path):
    make = lambda source: make_folder(tmp_path / "out" / "set", "conversion", lambda: {"source": source}, fill)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        make("a")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["unfinished_set"]
    with pytest.raises(ValueError, match="unfinished_set holds an unfinished conversion of another source; run its"):
        make("b")
    make("a")
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert found == ["out", "out/set", "out/set/first.png", "out/set/second.png"]
    with pytest.raises(FileExistsError, match="set is there already; remove it or choose another --out_dir"):
        make("a")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["set"]


def test_of_a_folder_that_was_whole_when_its_process_was_killed_the_notes_go(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make_folder(tmp_path / "set", "conversion", lambda: {}, fill)
    (tmp_path / "set").mkdir()  # by somebody else
    with pytest.raises(FileExistsError, match="set is there already"):
        make_folder(tmp_path / "set", "conversion", lambda: {}, fill)
    (tmp_path / "set").rmdir()
    (tmp_path / "unfinished_set" / "set").rename(tmp_path / "set")  # the last step but one
    make_folder(tmp_path / "set", "conversion", lambda: {}, lambda growing, notes: 1 / 0)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_that_was_refused_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        make_folder(tmp_path / "new" / "folders" / "set", "conversion", lambda: 1 / 0, fill)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "unfinished_set" / "set").mkdir(parents=True)  # of a run whose notes somebody removed
    (tmp_path / "unfinished_set" / "set" / "old.png").touch()
    make_folder(tmp_path / "set", "conversion", lambda: {}, lambda growing, notes: None)
    assert [path.name for path in tmp_path.rglob("*")] == ["set"]


def _expect_refusal(out_dir: pathlib.Path) -> None:
    with pytest.raises(FileExistsError, match="another process is at work on the build in"):
        finish(out_dir)


def _race(folder: pathlib.Path, barrier, outcomes, rounds: int) -> None:
    """In a process: the same work in folder after folder, at the same moment as the other one."""
    found = []
    for number in range(rounds):
        barrier.wait(timeout=60)
        try:
            finish(folder / str(number))
            found.append("done")
        except FileExistsError:
            found.append("refused")
    outcomes.put(found)
