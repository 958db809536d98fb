import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from tfcxr.data.records import read_dataset_info, write_dataset_info

FORKED = pathlib.Path(__file__).with_name("forked_commands.py")


def evaluate(*flags: str) -> subprocess.CompletedProcess:
    """Runs the command as a user does, in a process of its own."""
    return subprocess.run([sys.executable, "-m", "tfcxr.evaluate", *flags], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def cohort(disc_records: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The discs as a cohort of a generator."""
    folder = tmp_path_factory.mktemp("cohort") / "32"
    shutil.copytree(disc_records, folder)
    provenance = {"model": "acgan", "training_data": {"patient_keys_file": "training_patients.txt"}}
    write_dataset_info(folder, dataclasses.replace(read_dataset_info(folder), is_synthetic=True, provenance=provenance))
    (folder / "training_patients.txt").write_text("patient-train-0\n")
    return folder


def test_the_command_writes_a_report_of_each_protocol(disc_records, cohort, tmp_path):
    flags = [
        f"--synthetic_dir={cohort}",
        f"--real_dir={disc_records}",
        "--test_splits=test",
        "--validation_split=validation",
        "--classifier=small_cnn",
        "--classifier_seeds=0",
        "--arms=synthetic,real",
        "--images=16",
        "--bootstrap_resamples=20",
        "--diversity_pairs=20",
        "--set=max_epochs=1",
        "--set=dense_units=(8,)",
        f"--out_dir={tmp_path / 'eval'}",
    ]
    finished = evaluate("--protocols=synthetic_train_real_test", *flags)
    assert finished.returncode == 0, finished.stderr
    assert "On real patients of test, small_cnn trained on synthetic images reaches AUC" in finished.stdout
    assert f"Report: {tmp_path / 'eval' / 'report.html'}" in finished.stdout
    report = json.loads((tmp_path / "eval" / "report.json").read_text())
    assert report["images_a_side"] == 16 and report["passport"]["classifier"]["dense_units"] == [8]
    assert list(report["tests"]["test"]["arms"]) == ["synthetic", "real"]

    both = "--protocols=synthetic_train_real_test,distribution_distance"
    finished = evaluate(both, "--distance_images=8", f"--extractor_dir={tmp_path / 'shared'}", *flags)
    assert finished.returncode == 0, finished.stderr
    assert "report.json is there and kept; set --overwrite to replace it" in finished.stderr
    assert "8 synthetic images are at Frechet distance" in finished.stdout
    assert f"Report: {tmp_path / 'eval' / 'distances.html'}" in finished.stdout
    assert "report.html" not in finished.stdout
    assert len(list((tmp_path / "shared").glob("small_cnn-*.npz"))) == 1
    distances = json.loads((tmp_path / "eval" / "distances.json").read_text())
    assert distances["extractor"]["classifier"]["dense_units"] == [8]
    assert [item["score"]["images"] for item in distances["comparisons"]] == [8, 8], "not --images"


def test_a_mistake_is_one_sentence_and_a_status(disc_records, cohort, tmp_path):
    distances = "--protocols=distribution_distance"
    mistakes = [
        (
            ["--protocols=synthetic_train"],
            "unknown protocol 'synthetic_train'; did you mean 'synthetic_train_real_test'?",
        ),
        (
            ["--distance_images=8", "--extractor_dir=shared"],
            "--distance_images and --extractor_dir would have no effect: only distribution_distance has a use for it, "
            "and --protocols=synthetic_train_real_test does not ask for that",
        ),
        (
            [distances, "--images=8", "--arms=real", "--bootstrap_resamples=9", "--diversity_pairs=9"],
            "--images and --arms and --bootstrap_resamples and --diversity_pairs would have no effect: only",
        ),
        (
            [distances, "--classifier_seeds=0,1"],
            "--classifier_seeds would have no effect: distribution_distance trains",
        ),
        (
            ["--validation_split=validation", "--set=validation_fraction=.3"],
            "--set=validation_fraction would have no effect: with --validation_split, nothing is kept back",
        ),
        (["--classifier_seeds=0,x"], "--classifier_seeds expects whole numbers such as 0,1,2"),
    ]
    given = [f"--synthetic_dir={cohort}", f"--real_dir={disc_records}", f"--out_dir={tmp_path / 'e'}"]
    calls = [given + flags for flags, _ in mistakes]
    command = [sys.executable, str(FORKED), "tfcxr.evaluate"]
    done = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, check=True)
    for result, (_, message) in zip(json.loads(done.stdout), mistakes, strict=True):
        assert result["status"] == 1
        assert message in result["errors"] and "Traceback" not in result["errors"]
    assert not (tmp_path / "e").exists()
