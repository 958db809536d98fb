"""The command python -m tfcxr.export on a run folder, and its refusals."""

import dataclasses
import json

import pytest

from tfcxr.config import to_plain
from tfcxr.export import ExportArguments, export
from tfcxr.models.srgan import SRGAN
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.run_folder import RunConfig, start_run


@pytest.mark.thorough
def test_exports_the_checkpoint_that_is_asked_for(make_tiny_gan, tmp_path, capsys):
    model, run = make_tiny_gan()
    run_dir, out_dir = tmp_path / "run", tmp_path / "models" / "discs"
    start_run(run_dir, run, resume=False)
    (run_dir / "training_patients.txt").write_text("patient-a\n")
    checkpoints = Checkpoints(run_dir)
    for step in (4, 5, 7):
        checkpoints.save(step, model.checkpoint_variables(), {}, is_best=step == 5)
    path = export(ExportArguments(run_dir=str(run_dir), out_dir=str(out_dir), checkpoint="best", version=4))
    assert path == out_dir / "4" and capsys.readouterr().out.splitlines()[-1] == str(path)
    description = json.loads((out_dir / "4" / "model.json").read_text())
    assert (description["name"], description["version"], description["steps"]) == ("discs", 4, 5)
    assert (out_dir / "4" / "training_patients.txt").read_text() == "patient-a\n"
    path = export(ExportArguments(run_dir=str(run_dir), out_dir=str(out_dir), checkpoint="4"))
    assert json.loads((path / "model.json").read_text())["steps"] == 4, "any that is kept"
    with pytest.raises(FileNotFoundError, match="has no checkpoint 6; it keeps those of the steps 4, 5, 7"):
        export(ExportArguments(run_dir=str(run_dir), out_dir=str(out_dir), checkpoint="6"))


@pytest.mark.thorough
def test_a_run_is_exported_behind_a_gate_against_copies(make_tiny_gan, disc_records, tmp_path):
    model, run = make_tiny_gan()
    run = dataclasses.replace(run, data={"name": "discs", "split": "train"})
    start_run(tmp_path / "run", run, resume=False)
    Checkpoints(tmp_path / "run").save(7, model.checkpoint_variables(), {})
    path = export(
        ExportArguments(
            run_dir=str(tmp_path / "run"),
            out_dir=str(tmp_path / "models" / "gated"),
            max_copy_ratio=50.0,
            copies_of=str(disc_records),
            max_tries=3,
        )
    )
    gated = LoadedModel(path)
    assert (gated.description.kind, gated.description.version_name, gated.description.steps) == (
        "cascade",
        "gated/1",
        7,
    )
    assert gated.description.settings["copies"]["training_images"] == 48
    assert not gated.has("generate_from_latent") and not gated.has("score")
    made = gated.call("generate", seed=[1, 2], label=[[1, 0], [0, 1]])
    assert made["is_accepted"].all() and (made["copy_ratio"] < 50).all() and made["image"].shape == (2, 32, 32, 1)


def test_features_of_training_images_need_the_model_and_its_data(tmp_path):
    file = str(tmp_path / "acgan.npz")
    for arguments, message in (
        ({}, "--out_dir is required: the folder of the model's versions"),
        ({"training_features": file, "saved_model": "m"}, "--training_features needs the model and what it was tr"),
        ({"training_features": file, "out_dir": "o"}, "--out_dir would have no effect: --training_features exports no"),
        ({"training_features": file[:-3], "saved_model": "m", "copies_of": str(tmp_path), "max_copy_ratio": 2.0},
         "--training_features must be a .npz file, got .*acgan"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{message}"):
            export(ExportArguments(**arguments))


@pytest.mark.thorough
def test_flags_without_an_effect_are_refused(make_tiny_gan, tiny_export, tiny_enlarger, disc_records, tmp_path):
    model, run = make_tiny_gan()
    run_dir, enlarger_dir = tmp_path / "run", tmp_path / "srgan"
    start_run(run_dir, run, resume=False)
    Checkpoints(run_dir).save(7, model.checkpoint_variables(), {})
    config = SRGAN.config_class(image_size=32, scale=2, residual_blocks=1, filters=4, discriminator_filters=4)
    start_run(enlarger_dir, RunConfig("srgan", to_plain(config), (), 0, 2, 1, run.data), resume=False)
    Checkpoints(enlarger_dir).save(1, SRGAN(config, seed=0).checkpoint_variables(), {})
    cascade = {"saved_model": str(tiny_export), "super_resolution": str(tiny_enlarger)}
    refused = [
        ({"run_dir": str(run_dir), "min_realism": 0.5},
         "--min_realism would have no effect: it is of a cascade; give --saved_model"),
        ({"run_dir": str(run_dir), "max_tries": 3},
         "--max_tries would have no effect: it is of a cascade or --max_copy_ratio"),
        ({"run_dir": str(run_dir), "max_copy_ratio": 2.0}, "--max_copy_ratio and --copies_of go together"),
        ({"run_dir": str(enlarger_dir), "max_copy_ratio": 2.0, "copies_of": str(disc_records)},
         f"--max_copy_ratio would have no effect: {enlarger_dir} holds a srgan, which"),
        (cascade | {"checkpoint": "best", "chunk_rows": 2},
         "--checkpoint and --chunk_rows would have no effect: they are of a run folder; a cascade joins models"),
        ({"run_dir": str(enlarger_dir), "chunk_rows": 2},
         f"--chunk_rows would have no effect: {enlarger_dir} holds a srgan, which enlarges two images at a time"),
        ({}, "give --run_dir of a training, or --saved_model of an export for a cascade"),
        ({"super_resolution": str(tiny_enlarger)}, "a cascade needs --saved_model, an exported generator, and no"),
        ({"saved_model": str(tiny_export)},
         f"{tiny_export} is exported already; add --super_resolution, --min_realism or --max_copy_ratio"),
    ]  # fmt: skip
    for arguments, message in refused:
        with pytest.raises(ValueError, match=f"^{message}"):
            export(ExportArguments(out_dir=str(tmp_path / "models"), **arguments))
    assert not (tmp_path / "models").exists()
