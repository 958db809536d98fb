"""The command python -m tfcxr.generate."""

import os
import subprocess
import sys

from tfcxr.data.pipeline import load_images


def generate(*arguments):
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "tfcxr.generate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_draws_a_cohort_like_a_real_split(tiny_export, disc_records, tmp_path):
    done = generate(
        f"--saved_model={tiny_export.parent}",
        f"--out_dir={tmp_path / 'cohort'}",
        f"--like={disc_records}",
        "--like_split=validation",
        "--preview",
    )
    assert done.returncode == 0, done.stderr
    assert f"wrote 16 images (NORMAL 8, PNEUMONIA 8) to {tmp_path / 'cohort' / '32'}" in done.stdout
    assert (tmp_path / "cohort" / "32" / "preview.png").is_file()
    drawn, real = load_images(tmp_path / "cohort" / "32", "train"), load_images(disc_records, "validation")
    assert (drawn.labels == real.labels).all()
