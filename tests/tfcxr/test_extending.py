"""The files of tfcxr/EXTENDING.md do what the page says: each is written down, named on the command line and used."""

import dataclasses
import json
import pathlib
import re
import shutil
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfcxr import command_line
from tfcxr.data.records import read_dataset_info, write_dataset_info
from tfcxr.evaluate import evaluate
from tfcxr.evaluation.metrics import METRICS
from tfcxr.evaluation.protocols import PROTOCOLS
from tfcxr.export import export
from tfcxr.models import MODELS
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.signatures import SIGNATURES
from tfcxr.train import train
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.run_folder import start_run
from tfrecords_builder.commands.build import build
from tfrecords_builder.datasets import DATASETS

PAGE = pathlib.Path(__file__).parents[2] / "tfcxr" / "EXTENDING.md"
FILES = dict(re.findall(r"```python\n# (\w+\.py).*?\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
REGISTRIES = (MODELS, DATASETS, METRICS, PROTOCOLS, SIGNATURES)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The page's files in a folder; registries, modules and the search path are as before afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    registered = [dict(registry) for registry in REGISTRIES]
    yield tmp_path
    for registry, before in zip(REGISTRIES, registered, strict=True):
        registry.clear()
        registry.update(before)
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def test_the_page_has_a_file_of_every_kind_of_thirty_lines_or_so():
    assert list(FILES) == ["my_gan.py", "my_data.py", "my_metric.py", "my_protocol.py", "my_signature.py"]
    assert all(len(text.splitlines()) <= 60 for text in FILES.values())
    assert sum(len(text.splitlines()) for text in FILES.values()) < 5 * 40


@pytest.mark.thorough
def test_a_model_is_trained_by_its_path_and_exported_by_a_plugin(files, disc_records):
    flags = [f"--data_dir={disc_records}", "--steps=2", "--batch_size=4", "--sample_every=2", "--set=units=8"]
    command_line.run(train, ["train", "--model=my_gan.py", *flags, "--nodeterministic"])
    assert json.loads((files / "runs" / "my_gan" / "config.json").read_text())["model"] == "my_gan"
    first = LoadedModel(files / "saved_models" / "my_gan")
    command_line.run(export, ["export", "--plugin=my_gan.py", "--run_dir=runs/my_gan", "--out_dir=saved_models/again"])
    again = LoadedModel(files / "saved_models" / "again")
    seeds, labels = np.arange(2), np.eye(2, dtype=np.float32)
    np.testing.assert_array_equal(first.generate(seeds, labels), again.generate(seeds, labels))


def test_a_run_of_an_own_model_names_no_file_to_run(files, disc_records, capsys):
    flags = [f"--data_dir={disc_records}", "--steps=1", "--batch_size=4", "--set=units=8", "--noexport"]
    command_line.run(train, ["train", "--model=my_gan.py", *flags, "--nodeterministic"])
    del MODELS["my_gan"]
    with pytest.raises(SystemExit):
        command_line.run(export, ["export", "--run_dir=runs/my_gan", "--out_dir=saved_models/none"])
    assert "unknown model 'my_gan'" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_a_data_set_is_built_by_its_path(files, workers):
    (files / "raw").mkdir()
    for number in range(70):
        finding = ("normal", "pneumonia", "other")[number % 3]
        image = np.random.default_rng(number).integers(256, size=(40, 40), dtype=np.uint8)
        cv2.imwrite(str(files / "raw" / f"{number:04d}_{finding}.png"), image)
    flags = ["--raw_dir=raw", "--out_dir=records", "--image_sizes=32", f"--workers={workers}"]
    command_line.run(build, ["build", "--dataset=my_data.py", *flags])
    info = read_dataset_info(files / "records" / "32")
    assert (info.name, info.label_names, info.images_written) == ("my_data", ("normal", "pneumonia"), 47)
    assert info.rejected == {"unknown_label": 23} and info.source["licence"] == "as our hospital allows"


@pytest.mark.thorough
def test_a_metric_and_a_protocol_stand_in_the_report(files, disc_records):
    cohort = shutil.copytree(disc_records, files / "cohort" / "32")
    facts = {"name": "acgan", "is_synthetic": True, "provenance": {"model": "acgan"}}
    write_dataset_info(cohort, dataclasses.replace(read_dataset_info(cohort), **facts))
    flags = [f"--synthetic_dir={cohort}", f"--real_dir={disc_records}", "--out_dir=verdict"]
    flags += ["--classifier=small_cnn", "--classifier_seeds=0", "--set=classifier.max_epochs=1"]
    flags += ["--allow_shared_patients", "--set=brightness.images=20"]
    protocols = "--protocols=distances,my_protocol.py"
    command_line.run(evaluate, ["evaluate", protocols, "--plugin=my_metric.py", *flags])
    report = json.loads((files / "verdict" / "report.json").read_text())
    page = (files / "verdict" / "report.html").read_text(encoding="utf-8")
    assert report["protocols"]["brightness"]["cohort"]["mean_grey"]["real"] > 0
    assert "Synthetic images have a mean grey of" in page
    assert "mean_distance" in json.dumps(report["protocols"]["distances"])
    assert "distance of means" in page


@pytest.mark.thorough
def test_a_signature_is_exported_called_and_in_the_card(files, make_tiny_gan):
    model, run = make_tiny_gan()
    start_run("run", run, resume=False)
    Checkpoints("run").save(run.steps, model.checkpoint_variables(), {})
    command_line.run(export, ["export", "--plugin=my_signature.py", "--run_dir=run", "--out_dir=saved_models/gan"])
    model = LoadedModel(files / "saved_models" / "gan")
    seeds, labels = np.arange(2), np.eye(2, dtype=np.float32)
    grey = model.call("mean_grey", seed=seeds, label=labels)["grey"]
    np.testing.assert_allclose(grey, model.generate(seeds, labels).mean(axis=(1, 2, 3)), rtol=1e-5)
    assert "the mean grey level of the image of each seed" in (model.path / "README.md").read_text()
    outside = tf.saved_model.load(str(model.path))
    np.testing.assert_allclose(outside.mean_grey(tf.constant(seeds), tf.constant(labels))["grey"], grey, rtol=1e-5)
