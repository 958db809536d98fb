"""A measurement's model and its process."""

import os
import signal

import pytest

from tfcxr.benchmarks.measurement import MeasurementArguments, in_own_process
from tfcxr.models import MODELS


def test_a_run_has_the_settings_that_are_given():
    run = MeasurementArguments(model="cgan", image_size=32, batch_size=3, settings=("label_count=3",)).run()
    assert (run.model, run.batch_size, run.label_names) == ("cgan", 3, ("label_0", "label_1", "label_2"))
    assert run.settings["image_size"] == 32
    assert MeasurementArguments(image_size=32, settings=("image_size=64",)).run().settings["image_size"] == 64


def test_a_model_of_ones_own_is_read_from_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tfcxr.benchmarks.measurement.MODELS", models := dict(MODELS))
    monkeypatch.setattr("tfcxr.models.MODELS", models)
    path = tmp_path / "my_measured_gan.py"
    path.write_text("from tfcxr import models\nmodels.MODELS['mine'] = models.MODELS['cgan']\n")
    assert MeasurementArguments(model=str(path), image_size=32).run().model == "mine"
    with pytest.raises(ValueError, match="unknown model 'cgn'; did you mean 'cgan'"):
        MeasurementArguments(model="cgn").run()


@pytest.mark.thorough
def test_another_process_answers_fails_or_dies():
    assert in_own_process("64 px", os.getpid) != os.getpid()
    with pytest.raises(ChildProcessError, match="64 px could not be measured: invalid literal for int"):
        in_own_process("64 px", int, "many")
    with pytest.raises(ChildProcessError, match="64 px could not be measured: its process was killed"):
        in_own_process("64 px", signal.raise_signal, signal.SIGKILL)
