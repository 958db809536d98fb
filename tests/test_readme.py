"""README's commands do what README says; long ones are run with fewer images and steps (a later flag wins)."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
SMALL_MODEL = ["--set=generator_filters=32", "--set=discriminator_filters=8"]


def run_line(line, extra, cwd, cache):
    """Runs one of README's `python -m` commands with this interpreter and smaller numbers."""
    words = shlex.split(line)
    assert pathlib.Path(words[0]).name == "python"
    environment = os.environ | {"TFCXR_CACHE_DIR": str(cache)}
    command = [sys.executable, *words[1:], *extra]
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return result


def test_first_command_installs_and_trains_on_the_embedded_data(tmp_path):
    install, train = LINES[0].split(" && ", 2)[1:]
    assert LINES[0].startswith("python3 -m venv .venv && ")
    assert install == ".venv/bin/pip install ."
    assert train == ".venv/bin/python -m tfcxr.train --model=acgan"
    errors = run_line(train, ["--steps=2", "--batch_size=8", *SMALL_MODEL], tmp_path, tmp_path / "cache").stderr
    assert "no --data_dir given: building 2000 phantom radiographs in" in errors
    assert "PHANTOM, NOT PATIENTS" in errors
    run_dir = tmp_path / "runs" / "acgan"
    present = {path.name for path in run_dir.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoints", "tensorboard", "training_patients.txt"} <= present
    assert json.loads((run_dir / "config.json").read_text())["data"]["name"] == "phantom"
    assert (tmp_path / "saved_models" / "acgan" / "1" / "saved_model.pb").is_file()


def test_second_command_passes_the_tests_and_is_what_ci_runs():
    assert LINES[1] == (
        "python3 -m venv .venv-test && .venv-test/bin/pip install -e '.[dev]' && .venv-test/bin/python -m pytest"
    )
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r"grep -m1 -- '(.*?)' README.md", script)[1]
    assert [line for line in README.splitlines() if re.search(pattern, line)] == [LINES[1]]


def test_the_chain_on_the_phantom(tmp_path):
    builder, train, generate, evaluate = LINES[2:6]
    run_line(builder, ["--image_sizes=32", "--set=images=200", "--workers=1"], tmp_path, tmp_path)
    at_32 = lambda line: line.replace("/64", "/32")  # noqa: E731
    run_line(at_32(train), ["--steps=3", "--batch_size=8", "--sample_every=3", *SMALL_MODEL], tmp_path, tmp_path)
    run_line(at_32(generate), ["--images=40"], tmp_path, tmp_path)
    extra = ["--classifier_seeds=0"]
    extra += ["--set=classifier.max_epochs=1", "--set=tstr.images=40", "--set=tstr.bootstrap_resamples=50"]
    run_line(at_32(evaluate), extra, tmp_path, tmp_path)
    assert "<html" in (tmp_path / "runs" / "verdict" / "report.html").read_text(encoding="utf-8")


def test_every_file_and_registry_that_readme_names_is_there():
    names = set(re.findall(r"`((?:tfcxr|tfrecords_builder|experiments|tests)/[\w/.]*\w\.(?:py|md|png))`", README))
    names |= set(re.findall(r"\]\((\w[\w/.]*)\)", README))
    assert len(names) > 8
    assert {name for name in names if not (ROOT / name).exists()} == set()
    for registry, path in re.findall(r"`([A-Z]+)` in `([\w/.]+)`", README):
        assert f"\n{registry}" in (ROOT / path).read_text(encoding="utf-8")


def test_dependency_table_names_the_original_packages_and_all_of_ours():
    original = {
        "tensorflow",
        "keras",
        "keras-cv",
        "tensorflow-addons",
        "opencv-python",
        "scikit-image",
        "numpy",
        "absl-py",
    }
    named = set(re.findall(r"`([\w-]+)`", README.split("## Dependencies")[1].split("## Measured")[0]))
    assert original <= named
    requirements = (ROOT / "setup.cfg").read_text(encoding="utf-8").split("install_requires =")[1].split("[options")[0]
    assert {line.split()[0] for line in requirements.splitlines() if line.strip()} <= named
