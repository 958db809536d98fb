"""The command python -m tfcxr.export on a run folder."""

import json
import os
import pathlib
import subprocess
import sys

from tfcxr.config import to_plain
from tfcxr.models.srgan import SRGAN
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.run_folder import RunConfig, start_run

FORKED = pathlib.Path(__file__).with_name("forked_commands.py")


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


def test_flags_without_an_effect_are_refused(make_tiny_gan, tiny_export, tiny_enlarger, tmp_path):
    model, run = make_tiny_gan()
    run_dir, enlarger_dir = tmp_path / "run", tmp_path / "srgan"
    start_run(run_dir, run, resume=False)
    Checkpoints(run_dir).save(7, model.checkpoint_variables(), {})
    config = SRGAN.config_class(image_size=32, scale=2, residual_blocks=1, filters=4, discriminator_filters=4)
    start_run(enlarger_dir, RunConfig("srgan", to_plain(config), (), 0, 2, 1, run.data), resume=False)
    Checkpoints(enlarger_dir).save(1, SRGAN(config, seed=0).checkpoint_variables(), {})
    out_dir = f"--out_dir={tmp_path / 'models'}"
    cascade = [out_dir, f"--generator={tiny_export}", f"--super_resolution={tiny_enlarger}"]
    refused = [
        ([out_dir, f"--run_dir={run_dir}", "--min_realism=0.5", "--max_tries=3"],
         "--min_realism and --max_tries would have no effect: they are of a cascade; give --generator and"),
        ([*cascade, "--checkpoint=best", "--chunk_rows=2"],
         "--checkpoint and --chunk_rows would have no effect: they are of a run folder; a cascade joins models"),
        ([out_dir, f"--run_dir={enlarger_dir}", "--chunk_rows=2"],
         f"--chunk_rows would have no effect: {enlarger_dir} holds a srgan, which enlarges one image at a time"),
    ]  # fmt: skip
    command = [sys.executable, str(FORKED), "tfcxr.export"]
    calls = json.dumps([arguments for arguments, _ in refused])
    done = subprocess.run(command, input=calls, capture_output=True, text=True, check=True)
    for result, (_, message) in zip(json.loads(done.stdout), refused, strict=True):
        assert result["status"] == 1 and f"error: {message}" in result["errors"], result
    assert not (tmp_path / "models").exists()
