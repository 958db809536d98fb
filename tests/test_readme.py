"""What README and the folders' pages say is run, in one process and with smaller numbers (a later flag wins)."""

import contextlib
import functools
import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time

import cv2
import httpx
import keras
import numpy as np
import pytest
from absl import logging as absl_logging

from tfcxr import command_line
from tfcxr.commands import COMMANDS as ALL_COMMANDS
from tfcxr.data.records import read_dataset_info
from tfcxr.models import MODELS
from tfcxr.reader_study.commands import COMMANDS as READER_STUDY_COMMANDS
from tfcxr.training.embedded_data import phantom_records
from tfrecords_builder.commands import COMMANDS

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    {
        page.as_posix()
        for page in (path.relative_to(ROOT) for path in [*ROOT.rglob("README.md"), *ROOT.glob("experiments/*.md")])
        if not any(part == "tests" or part.startswith(".") for part in page.parts)
    }
)
SMALL_MODEL = ["--set=generator_filters=32", "--set=discriminator_filters=8"]
RAW_DATA = {"chest_xray_pneumonia", "nih_chestxray14", "image_folder", "phantom"}


def lines_of(page):
    """The commands of a page's bash blocks, a line each."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def python_lines_of(page):
    return [line for line in lines_of(page) if line.startswith("python ")]


def parsed(line, *extra):
    """The function that a command line calls, and its arguments."""
    _, *words = shlex.split(line)
    if words[1] == "tfcxr":
        function, flags = ALL_COMMANDS[words[2]], words[3:]
    elif words[1] == "tfcxr.reader_study":
        function, flags = READER_STUDY_COMMANDS[words[2]], words[3:]
    elif words[1] == "tfrecords_builder":
        name, flags = ("build", words[2:]) if words[2].startswith("-") else (words[2], words[3:])
        function = COMMANDS[name]
    else:
        function = getattr(importlib.import_module(words[1]), words[1].removeprefix("tfcxr."))
        flags = words[2:]
    return function, command_line.parse(function, [line, *flags, *extra])[0]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command line in an empty folder, with flags after its own."""
    monkeypatch.chdir(tmp_path)

    def run_line(line, *extra):
        function, arguments = parsed(line, *extra)
        return function(arguments)

    return run_line


def at_32(line):
    return line.replace("/64", "/32").replace("/128", "/32")


@pytest.mark.parametrize(("page", "line"), [(page, line) for page in PAGES for line in python_lines_of(page)])
def test_every_command_has_flags_that_it_knows(page, line):
    parsed(line)


def test_first_command_installs_and_trains_on_the_embedded_data(run, monkeypatch, caplog):
    install, train = lines_of("README.md")[0].split(" && ", 2)[1:]
    assert lines_of("README.md")[0].startswith("python3 -m venv .venv && ")
    assert install == ".venv/bin/pip install ."
    assert train == ".venv/bin/python -m tfcxr.train --model=acgan"
    monkeypatch.setenv("TFCXR_CACHE_DIR", "cache")
    monkeypatch.setattr(
        "tfcxr.training.training_data.phantom_records", functools.partial(phantom_records, images=40)
    )  # of 2000
    absl_logging.set_verbosity(absl_logging.INFO)
    run(train, "--steps=2", "--batch_size=8", *SMALL_MODEL)
    assert "no --data_dir given: building 40 phantom radiographs in" in caplog.text
    assert "PHANTOM, NOT PATIENTS" in caplog.text
    run_dir = pathlib.Path("runs/acgan")
    present = {path.name for path in run_dir.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoints", "tensorboard", "training_patients.txt"} <= present
    assert json.loads((run_dir / "config.json").read_text())["data"]["name"] == "phantom"
    assert pathlib.Path("saved_models/acgan/1/saved_model.pb").is_file()


def test_second_command_passes_the_tests_and_is_what_ci_runs():
    line = lines_of("README.md")[1]
    assert line == (
        "python3 -m venv .venv-test && .venv-test/bin/pip install -e '.[dev]' && .venv-test/bin/python -m pytest"
    )
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r"grep -m1 -- '(.*?)' README.md", script)[1]
    assert [line for line in README.splitlines() if re.search(pattern, line)] == [line]


@pytest.mark.thorough
def test_a_server_and_a_page(run, monkeypatch):
    train, serve, *_ = python_lines_of("README.md")
    monkeypatch.setenv("TFCXR_CACHE_DIR", "cache")
    monkeypatch.setattr("tfcxr.training.training_data.phantom_records", functools.partial(phantom_records, images=40))
    run(train, "--steps=2", "--batch_size=8", *SMALL_MODEL)
    with contextlib.ExitStack() as opened:
        listeners = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        grpc_port, rest_port = (listener.getsockname()[1] for listener in listeners)
    command = [sys.executable, *shlex.split(serve)[1:], f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        (shown,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        until = time.monotonic() + 120
        while not _is_ready(rest_port):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.2)
        for address in (f"localhost:{grpc_port}", f"http://localhost:{rest_port}"):
            names = {}
            exec(shown.replace('Client("localhost:8500")', f'Client("{address}")'), names)  # noqa: S102 - README's own lines
            assert names["images"].shape == (8, 64, 64, 1) and names["images"].dtype == np.uint8
        assert "Synthetic chest radiographs" in httpx.get(f"http://localhost:{rest_port}/").text
    finally:
        process.terminate()
        assert process.wait(60) == 0


def _is_ready(port):
    try:
        return httpx.get(f"http://localhost:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.thorough
def test_the_chain_on_the_phantom(run):
    _, _, builder, train, generate, evaluate, *_ = python_lines_of("README.md")
    run(builder, "--image_sizes=32", "--set=images=200", "--workers=1")
    run(at_32(train), "--steps=3", "--batch_size=8", "--sample_every=3", *SMALL_MODEL)
    run(at_32(generate), "--images=40")
    tiny = ["--set=classifier.max_epochs=1", "--set=tstr.images=40", "--set=tstr.bootstrap_resamples=50"]
    run(at_32(evaluate), "--classifier_seeds=0", *tiny)
    assert "<html" in pathlib.Path("runs/verdict/report.html").read_text(encoding="utf-8")


@pytest.mark.thorough
def test_own_images_and_a_table_from_nothing_to_a_verdict(run):
    write_raw_data()
    *_, build, train, generate, evaluate, convert = python_lines_of("README.md")
    assert lines_of("README.md")[-6] == "pip install ."
    run(build, "--image_sizes=32", "--workers=1", "--splits=train=.6,test=.4", "--split_by=hash")
    run(train, "--steps=2", "--batch_size=4", *SMALL_MODEL)
    run(generate, "--images=40")
    run(evaluate, "--classifier_seeds=0", "--set=classifier.max_epochs=1", "--set=tstr.bootstrap_resamples=50")
    run(at_32(convert))
    assert "<html" in pathlib.Path("runs/verdict/report.html").read_text(encoding="utf-8")
    assert len(list(pathlib.Path("pictures").glob("*/train/*.png"))) == 40


def test_the_data_tables_commands_build_records(run):
    write_raw_data()
    for flags in re.findall(r"\| `(--dataset=[^`]*)` \|", README):
        name = re.match(r"--dataset=(\w+)", flags)[1]
        out_dir = pathlib.Path("built") / name
        images = ["--set=images=40"] if name == "phantom" else []
        run(f"python -m tfrecords_builder {flags}", f"--out_dir={out_dir}", "--image_sizes=32", "--workers=1", *images)
        assert read_dataset_info(out_dir / "32").images_written >= 20
    assert {path.name for path in pathlib.Path("built").iterdir()} == RAW_DATA


@pytest.mark.slow
def test_settings_resume_growth_and_embedding_of_the_training_page(run):
    train, resume, narrow_stylegan2, narrow_pggan, projected, build, grow, transfer, embed = python_lines_of(
        "tfcxr/training/README.md"
    )
    run(build, "--image_sizes=4,8,16,32", "--set=images=60", "--workers=1")
    pathlib.Path("other").symlink_to("records")
    steps = ["--batch_size=4", "--sample_every=2", "--noexport"]
    run(at_32(train), "--steps=1", *steps, *SMALL_MODEL)
    run(at_32(resume), "--steps=2", *steps, *SMALL_MODEL)
    tiny = ["--set=channel_base=64", "--set=channel_max=8", "--set=latent_size=8"]
    run(narrow_stylegan2, "--data_dir=records/32", "--steps=1", "--set=style_size=8", *steps, *tiny)
    image = keras.Input([16, 16, 3])
    keras.Model(image, keras.layers.Conv2D(4, 3, 2, "same")(image)).save("xception.keras")
    run(at_32(projected), "--steps=1", "--set=critic_width=4", "--set=generator_filters=32", *steps)
    short = ["--set=stage_images=4,8,8,8", *steps, *tiny]
    run(narrow_pggan, "--data_dir=records/32", "--run_dir=runs/narrow", *short)
    run(at_32(grow), *short)
    run(at_32(transfer), "--steps=1", "--set=critic_size=32", "--set=critic_head=8", *steps)
    run(at_32(embed), "--set=steps=2", "--set=batch_size=8")
    assert read_dataset_info("cohorts/embedded/32").is_synthetic


@pytest.mark.slow
def test_exports_cohorts_and_cascades_of_the_serving_page_and_their_evaluation(run, disc_records):
    export, by_counts, like_real, card, cgan, srgan, gated, cascade, calibrated, no_copies, export_gated, _ = (
        line.replace("/512", "/32") for line in map(at_32, python_lines_of("tfcxr/serving/README.md"))
    )
    pathlib.Path("records").mkdir()
    pathlib.Path("records/32").symlink_to(disc_records)
    tiny = ["--steps=1", "--batch_size=4", "--sample_every=1", "--set=discriminator_filters=4"]
    run(
        "python -m tfcxr.train --model=acgan --data_dir=records/32 --run_dir=runs/acgan",
        *("--noexport", "--set=generator_filters=16", *tiny),
    )
    run(export)
    run(by_counts, "--counts=NORMAL=20,PNEUMONIA=20")
    run(like_real, "--images=4")
    run(cgan, "--set=generator_filters=16", *tiny)
    run(srgan, "--set=filters=8", "--set=residual_blocks=1", *tiny)
    run(gated, "--min_realism=0", "--images=2")
    run(cascade)
    run(calibrated, "--min_realism=quantile:.01", "--images=2")
    run(no_copies, "--counts=NORMAL=2,PNEUMONIA=2")
    run(export_gated)
    assert read_dataset_info("cohorts/large/128").images_written == 2
    assert pathlib.Path("saved_models/cascade/1/saved_model.pb").is_file()
    evaluate, everything, compare_cohorts, compare_reports = python_lines_of("tfcxr/evaluation/README.md")
    tiny = ["--set=classifier.max_epochs=1", "--set=tstr.images=40", "--set=tstr.bootstrap_resamples=50"]
    run(at_32(evaluate), "--classifier_seeds=0", *tiny)
    assert "<html" in pathlib.Path("runs/verdict/report.html").read_text(encoding="utf-8")
    run(card)
    assert "## Evaluation" in pathlib.Path("saved_models/acgan/1/README.md").read_text(encoding="utf-8")
    shutil.copytree("cohorts/acgan", "cohorts/cgan")
    image = keras.Input([32, 32, 3])
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    keras.Model(image, features).save("xception.keras")
    run(everything, "--classifier_seeds=0", *tiny)
    report = json.loads(pathlib.Path("runs/all/report.json").read_text())
    assert {"tstr", "distances", "ranking"} <= set(report["protocols"]), report["unanswered"]
    run(compare_cohorts)
    for name in ("before", "after"):
        shutil.copytree("runs/all", f"runs/{name}")
    run(compare_reports)
    assert pathlib.Path("comparison.csv").is_file()


def write_raw_data():
    """Raw folders of the data table, of twenty patients or more each."""
    numbers = range(1, 21)
    kaggle = [f"train/NORMAL/IM-{number:04d}-0001.jpeg" for number in numbers]
    kaggle += [f"test/PNEUMONIA/person{number}_virus_6.jpeg" for number in numbers]
    files = [f"chest_xray/{name}" for name in kaggle]
    files += [f"my_images/{label}/{number}.png" for label in "AB" for number in numbers]
    files += [f"my_images/{number}.png" for number in range(1, 61)] + [f"nih/images/{number}.png" for number in numbers]
    for name in files:
        path = pathlib.Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(files.index(name)).integers(0, 256, [40, 40], np.uint8)
        assert cv2.imwrite(name, pixels)
    rows = ["file,patient,Effusion,Mass"]
    rows += [f"{number}.png,p{number // 2},{number % 2},{number // 3 % 2}" for number in range(1, 61)]
    pathlib.Path("my_images/labels.csv").write_text("\n".join(rows))
    columns = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    rows = [columns, *(f"{number}.png,Mass,0,{number},58,M,PA" for number in numbers)]
    pathlib.Path("nih/Data_Entry_2017.csv").write_text("\n".join(rows))


def test_every_file_and_registry_that_readme_names_is_there():
    names = set(re.findall(r"`((?:tfcxr|tfrecords_builder|experiments|tests)/[\w/.]*\w\.(?:py|md|png))`", README))
    names |= set(re.findall(r"\]\((\w[\w/.]*)\)", README))
    assert len(names) > 8
    assert {name for name in names if not (ROOT / name).exists()} == set()
    for registry, path in re.findall(r"`([A-Z]+)` in `([\w/.]+)`", README):
        assert f"\n{registry}" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page):
    folder = (ROOT / page).parent
    links = re.findall(r"\]\(([\w./]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (folder / link).exists()] == []


def test_readme_fits_on_three_screens():
    lines = README.splitlines()
    assert len(lines) <= 130 and max(map(len, lines)) <= 120


def test_the_model_table_names_every_model():
    table = README.split("## Models")[1].split("![")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == sorted(MODELS, key=table.index)


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
    page = (ROOT / "tfcxr" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w-]+)`", page.split("## Dependencies")[1]))
    assert original <= named
    requirements = (ROOT / "setup.cfg").read_text(encoding="utf-8").split("install_requires =")[1].split("[options")[0]
    assert {line.split()[0] for line in requirements.splitlines() if line.strip()} <= named


def test_the_folder_table_follows_the_import_rules():
    spec = importlib.util.spec_from_file_location("import_rules", ROOT / "tests" / "test_import_rules.py")
    rules = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rules)
    page = (ROOT / "tfcxr" / "README.md").read_text(encoding="utf-8").split("## Folders")[1].split("`config.py`")[0]
    for folders, stands_on in re.findall(r"^\| (`.*?) \|.*\| (.*) \|$", page, re.MULTILINE):
        for folder in re.findall(r"`(\w+)/`", folders):
            assert set(re.findall(r"`(\w+)`", stands_on)) <= rules.ALLOWED[folder], folder
