"""The command python -m tfcxr.generate."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

from tfcxr.config import to_plain
from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_dataset_info
from tfcxr.models.vanilla_gan import VanillaGAN
from tfcxr.serving.saved_model import export_model

FORKED = pathlib.Path(__file__).with_name("forked_commands.py")


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


def test_a_gate_and_an_enlargement(tiny_export, tiny_enlarger, tmp_path):
    """The gate's flags, in one process for all calls."""
    drawn = [f"--saved_model={tiny_export}", "--counts=NORMAL=3,PNEUMONIA=2"]
    calls = [
        [*drawn, f"--out_dir={tmp_path / 'all'}", "--min_realism=0", f"--super_resolution={tiny_enlarger}"],
        [*drawn, f"--out_dir={tmp_path / 'none'}", "--min_realism=1", "--max_tries=2"],
        [*drawn, f"--out_dir={tmp_path / 'wrong'}", "--max_tries=2"],
    ]
    command = [sys.executable, str(FORKED), "tfcxr.generate"]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, env=environment, check=True)
    drawn, nothing, refused = json.loads(done.stdout)
    assert drawn["status"] == 0, drawn["errors"]
    assert f"wrote 5 images (NORMAL 3, PNEUMONIA 2) to {tmp_path / 'all' / '64'}" in drawn["errors"]
    assert "realism of 0 and more: 100.0% of candidates (NORMAL 3, PNEUMONIA 2 tries)" in drawn["errors"]
    info = read_dataset_info(tmp_path / "all" / "64")
    assert info.provenance["realism_gate"]["max_tries"] == 100 and info.provenance["super_resolution"]["scale"] == 2
    assert nothing["status"] == 1 and "reached realism 1 in 2 tries, the best had" in nothing["errors"]
    assert not list((tmp_path / "none").glob("32/*"))
    assert refused["status"] == 1
    assert "error: --max_tries goes with --min_realism; without it every image is kept" in refused["errors"]
    assert not (tmp_path / "wrong").exists()


def test_what_a_model_cannot_do_is_said(tiny_export, tiny_enlarger, make_tiny_gan, disc_records, tmp_path):
    _, run = make_tiny_gan()
    config = VanillaGAN.config_class(image_size=32, latent_size=4)
    run = dataclasses.replace(run, model="vanilla_gan", settings=to_plain(config), label_names=())
    unlabelled = export_model(VanillaGAN(config, seed=0), run, tmp_path / "unlabelled", {"step": 7})
    (tmp_path / "backbone" / "1").mkdir(parents=True)
    for name in ("backbone.json", "saved_model.pb"):
        (tmp_path / "backbone" / "1" / name).write_text("{}")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "saved_model.pb").write_text("")
    drawn = f"--saved_model={tiny_export}"
    counts = "--counts=NORMAL=3,PNEUMONIA=2"
    refused = [
        ([f"--saved_model={tiny_enlarger.parent}", counts],
         f"{tiny_enlarger} is a super-resolution model (srgan): it enlarges images and draws none. Give an exported "
         f"generator as --saved_model and this one as --super_resolution={tiny_enlarger.parent}, or join both with "),
        ([f"--saved_model={tiny_enlarger}", "--images=3"], "is a super-resolution model"),
        ([f"--saved_model={tmp_path / 'backbone'}", counts], "1 is no exported model but a backbone, which reads"),
        ([f"--saved_model={tmp_path / 'foreign'}", counts], "foreign is no exported model but a SavedModel"),
        ([f"--saved_model={disc_records}", counts], f"{disc_records} is no exported model but a data folder"),
        ([f"--saved_model={unlabelled}", counts],
         f"--counts would have no effect: {unlabelled} draws images without labels; give their number as"),
        ([f"--saved_model={unlabelled}"], f"{unlabelled} draws images without labels; give their number as --images"),
        ([drawn, counts, "--like_split=test"], "--like_split would have no effect: it is the split of --like"),
        ([drawn], f"{tiny_export} draws NORMAL, PNEUMONIA; give either --counts=LABEL=COUNT,... or --like=DATA_FOLDER"),
        ([drawn, counts, f"--super_resolution={tiny_export}"], "is a generator, expected an exported super-resolution"),
    ]  # fmt: skip
    calls = [[*arguments, f"--out_dir={tmp_path / 'wrong'}"] for arguments, _ in refused]
    command = [sys.executable, str(FORKED), "tfcxr.generate"]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, env=environment, check=True)
    for result, (_, message) in zip(json.loads(done.stdout), refused, strict=True):
        assert result["status"] == 1 and message in result["errors"], result
    assert not (tmp_path / "wrong").exists()
