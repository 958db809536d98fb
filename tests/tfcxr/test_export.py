"""The command python -m tfcxr.export on a run folder."""

import json
import os
import subprocess
import sys

from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.run_folder import start_run


def export(*arguments):
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "tfcxr.export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_exports_the_checkpoint_that_is_asked_for(make_tiny_gan, tmp_path):
    model, run = make_tiny_gan()
    run_dir, out_dir = tmp_path / "run", tmp_path / "models" / "discs"
    start_run(run_dir, run, resume=False)
    (run_dir / "training_patients.txt").write_text("patient-a\n")
    checkpoints = Checkpoints(run_dir)
    checkpoints.save(5, model.checkpoint_variables(), {}, is_best=True)
    checkpoints.save(7, model.checkpoint_variables(), {})
    done = export(f"--run_dir={run_dir}", f"--out_dir={out_dir}", "--checkpoint=best", "--version=4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out_dir / "4")
    description = json.loads((out_dir / "4" / "model.json").read_text())
    assert (description["name"], description["version"], description["steps"]) == ("discs", 4, 5)
    assert (out_dir / "4" / "training_patients.txt").read_text() == "patient-a\n"
