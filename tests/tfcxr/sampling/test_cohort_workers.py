"""Several processes generate one cohort: the same bytes, errors in their turn, kills."""

import contextlib
import multiprocessing
import re
import threading
import time

import numpy as np
import pytest

from tfcxr.data.seeds import SEEDS_PER_COHORT
from tfcxr.sampling.cohort import generate_cohort
from tfcxr.sampling.cohort_labels import counted_labels
from tfcxr.sampling.cohort_options import CohortOptions
from tfcxr.sampling.cohort_workers import visible_gpus
from tfcxr.serving.copy_check import CopyCheck
from tfcxr.serving.gate import Gate
from tfcxr.serving.loaded_model import LoadedModel

NAMES = ("NORMAL", "PNEUMONIA")


def plan_of(normal, pneumonia):
    return counted_labels({"NORMAL": normal, "PNEUMONIA": pneumonia}, NAMES, True, seed=0)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def kills_a_worker(when):
    """Kills one of the workers of this process as soon as `when()` is true."""

    def kill():
        deadline = time.monotonic() + 120
        while not when() and time.monotonic() < deadline:
            time.sleep(0.01)
        multiprocessing.active_children()[0].kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.thorough
def test_two_workers_write_what_one_process_writes(tiny_export, tmp_path):
    for workers in (1, 2):
        options = CohortOptions(seed=2, batch_size=4, shard_images=9, workers=workers)
        generate_cohort(LoadedModel(tiny_export), plan_of(13, 8), tmp_path / str(workers), options)
    assert content(tmp_path / "2") == content(tmp_path / "1")
    assert not multiprocessing.active_children()


@pytest.mark.thorough
def test_a_killed_worker_loses_nothing(tiny_export, tmp_path):
    model, plan = LoadedModel(tiny_export), plan_of(200, 101)
    options = {"batch_size": 3, "shard_images": 10}
    generate_cohort(model, plan, tmp_path / "one", CohortOptions(**options))
    cut = tmp_path / "two" / "32"
    with (
        kills_a_worker(lambda: any(cut.glob("train-*.tfrecord"))),
        pytest.raises(ChildProcessError, match=r"was killed by signal 9, .*; finished shards are kept: run the same"),
    ):
        generate_cohort(model, plan, tmp_path / "two", CohortOptions(**options, workers=2))
    found = [path.name for path in cut.iterdir()]
    assert 0 < len(found) < 31 and all(re.fullmatch(r"train-\d{5}-of-00031.tfrecord", name) for name in found)
    assert not multiprocessing.active_children()
    generate_cohort(model, plan, tmp_path / "two", CohortOptions(**options, workers=2))
    assert content(tmp_path / "two") == content(tmp_path / "one")


@pytest.mark.thorough
def test_what_a_worker_finds_wrong_is_said_as_by_one_process(tiny_export, tmp_path):
    def fail(out_dir, workers):
        options = CohortOptions(batch_size=1, shard_images=4, workers=workers)
        with pytest.raises(ValueError, match="reached realism 1 in 2 tries") as found:
            generate_cohort(LoadedModel(tiny_export), plan_of(5, 4), out_dir, options, Gate(1.0, 2))
        return str(found.value)

    assert fail(tmp_path / "two", 2) == fail(tmp_path / "one", 1)
    assert not list(tmp_path.glob("two/32/*")) and not multiprocessing.active_children()


@pytest.mark.thorough
def test_gates_and_enlargement_are_divided_too(tiny_export, tiny_enlarger, tmp_path):
    model, plan = LoadedModel(tiny_export), plan_of(20, 13)
    made = model.generate(np.arange(33) + SEEDS_PER_COHORT, plan.part(0, 33))
    copies = CopyCheck.measured(1.5, made[:8], made[8:], {"fingerprint": "0123"})
    gate = Gate(float(np.median(model.score(made, plan.part(0, 33)))), 50, copies)
    for workers in (1, 2):
        options = CohortOptions(seed=1, batch_size=2, shard_images=12, workers=workers)
        generate_cohort(model, plan, tmp_path / str(workers), options, gate, LoadedModel(tiny_enlarger))
    assert content(tmp_path / "2") == content(tmp_path / "1")


def test_a_worker_takes_one_of_the_gpus_that_its_parent_sees(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(0) == [] and visible_gpus(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8932f937")
    assert visible_gpus(2) == ["2", "GPU-8932f937"]


def test_options_are_checked():
    with pytest.raises(ValueError, match="a cohort needs a worker, got 0"):
        CohortOptions(workers=0)
