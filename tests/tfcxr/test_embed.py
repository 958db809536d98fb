"""The command python -m tfcxr.embed, in one process for all calls."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np

from tfcxr.config import to_plain
from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_dataset_info
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.run_folder import RunConfig, start_run

FORKED = pathlib.Path(__file__).with_name("forked_commands.py")


def write_run(run_dir, data, image_size, filters):
    config = PGGANConfig(image_size=image_size, latent_size=8, filters=filters)
    start_run(run_dir, RunConfig("pggan", to_plain(config), (), 3, 4, 7, data), resume=False)
    Checkpoints(run_dir).save(7, PGGAN(config, seed=3).checkpoint_variables(), {})
    (run_dir / "training_patients.txt").write_text("patient-train-0\n")


def test_trains_embeds_and_refuses(disc_records, tmp_path):
    data = {"name": "discs", "notice": "", "licence": "tests", "salt_fingerprint": "tests"}
    write_run(tmp_path / "tiny", data, 32, (8, 8, 8, 8))
    write_run(tmp_path / "small", data, 16, (8, 8, 8))
    records = f"--data_dir={disc_records}"
    fits = [f"--run_dir={tmp_path / 'tiny'}", records]
    quick = ["--set=steps=3", "--set=batch_size=4", "--set=held_out_images=8"]
    calls = [
        [*fits, *quick, f"--out_dir={tmp_path / 'first'}", "--splits=validation,test", "--preview"],
        [*fits, f"--out_dir={tmp_path / 'again'}", "--splits=test"],
        [*fits, f"--out_dir={tmp_path / 'wrong'}", "--splits=held_out"],
        [f"--run_dir={tmp_path / 'small'}", records, f"--out_dir={tmp_path / 'wrong'}"],
        [f"--run_dir={tmp_path / 'none'}", records, f"--out_dir={tmp_path / 'wrong'}"],
        [*fits, f"--regressor_dir={tmp_path / 'other'}", f"--out_dir={tmp_path / 'first'}"],
    ]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(FORKED), "tfcxr.embed"]
    done = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, env=environment, check=True)
    first, again, no_split, other_size, no_run, taken = json.loads(done.stdout)
    assert first["status"] == 0, first["errors"]
    assert f"wrote 32 images of validation, test to {tmp_path / 'first' / '32'}" in first["errors"]
    assert "info: step 3: loss " in first["errors"] and "test: mean squared pixel difference 0." in first["errors"]
    assert (tmp_path / "first" / "32" / "pairs.png").is_file()
    assert again["status"] == 0, again["errors"]
    assert f"using the regressor in {tmp_path / 'tiny' / 'latent_regressor'}" in again["errors"]
    images = [load_images(tmp_path / name / "32", "test").images for name in ("first", "again")]
    np.testing.assert_array_equal(*images)
    assert read_dataset_info(tmp_path / "again" / "32").provenance["embedding"]["settings"]["steps"] == 3
    assert no_split["status"] == 1 and "error: data set discs has no split 'held_out'; it has" in no_split["errors"]
    assert other_size["status"] == 1 and "holds images of 32 px, but 16 px were asked for" in other_size["errors"]
    assert no_run["status"] == 1 and "none is not a run folder" in no_run["errors"]
    assert taken["status"] == 1 and "first already holds a data set at 32 px" in taken["errors"]
    assert not (tmp_path / "wrong").exists() and not (tmp_path / "other").exists(), "no regressor is trained in vain"
