"""Exports the networks of a run folder as a SavedModel with a model card, or joins exports to a cascade.

    python -m tfcxr.export --run_dir=runs/acgan --out_dir=saved_models/acgan

    python -m tfcxr.export --saved_model=saved_models/cgan --super_resolution=saved_models/srgan \\
        --out_dir=saved_models/cascade --min_realism=.9

    python -m tfcxr.export --saved_model=saved_models/cgan --max_copy_ratio=2 --copies_of=records/64 \\
        --out_dir=saved_models/cgan_gated

    python -m tfcxr.export --training_features=cgan.npz --saved_model=saved_models/cgan --copies_of=records/64 \\
        --max_copy_ratio=2

    python -m tfcxr.export --serving_config --out_dir=saved_models

A cascade generates images, keeps what passes a gate (what the generator's own discriminator finds real, what is no copy
of a training image) and enlarges it, all in one SavedModel, which gives away nothing else. --training_features writes
the file by which tfcxr.serve refuses copies of training images; --serving_config what TensorFlow Serving needs to serve
all models: models.config, batching.config and docker-compose.yaml.
"""

import dataclasses
import os
import pathlib
import tempfile

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag, refuse_flags
from tfcxr.data.sizes import check_data_dirs
from tfcxr.serving.min_realism import check_calibration, parse_min_realism, path_and_splits
from tfcxr.serving.serving_config import write_serving_config
from tfcxr.startup import tensorflow_started

MIN_REALISM = 0.9  # with super-resolution: a cascade as Woloszyn et al. 2025 have it


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportArguments(Arguments):
    """A run folder, or exported models.

    Attributes:
      out_dir: Folder of the model's versions, such as saved_models/acgan; with --serving_config that of all models.
      run_dir: Run folder of tfcxr.train.
      checkpoint: Which checkpoint of the run: last, best or the number of a step.
      chunk_rows: Images computed at once; by image size by default, more for a GPU.
      saved_model: Instead of --run_dir: an exported generator, for a cascade.
      super_resolution: With --saved_model: an exported super-resolution model.
      min_realism: With --saved_model: the discriminator's score that an image must reach, or quantile:.1 for the score
        that all but 0.1 of held-out real images reach; 0.9 with --super_resolution.
      calibrate_on: With --min_realism=quantile: records of held-out real images, or the folder of their builds, with
        splits such as records/64:validation; by default all splits that the model was not trained on.
      max_copy_ratio: Generate only images at most so many times as near to a training image as held-out images usually
        are, such as 2.
      copies_of: With --max_copy_ratio: records that the model was trained on, or the folder of their builds.
      max_tries: Candidates per image.
      version: Number of the version; the next free one by default.
      training_features: Instead of an export: write this .npz file, by which a server of --saved_model tells copies of
        the training images in --copies_of; above --max_copy_ratio an image is one.
      serving_config: Instead of an export: write the configuration of TensorFlow Serving for all models in --out_dir.
    """

    out_dir: str | None = None
    run_dir: str | None = None
    checkpoint: str = "last"
    chunk_rows: int | None = flag(None, minimum=1)
    saved_model: str | None = None
    super_resolution: str | None = None
    min_realism: str | float | None = None
    calibrate_on: str | None = None
    max_copy_ratio: float | None = flag(None, minimum=1.0)
    copies_of: str | None = None
    max_tries: int = flag(100, minimum=1)
    version: int | None = flag(None, minimum=1)
    training_features: str | None = None
    serving_config: bool = False


def export(arguments: ExportArguments) -> pathlib.Path:
    """Writes the SavedModel, or a file for a server, and prints where it is.

    Raises:
      ValueError: neither a run folder nor exported models, flags that are missing or without an effect, or see
        `export_model`, `export_cascade` and `open_copy_check`.
      FileNotFoundError: no model for a server in `out_dir`.
    """
    if arguments.training_features:
        return _write_training_features(arguments, arguments.training_features)
    if not arguments.out_dir:
        raise ValueError("--out_dir is required: the folder of the model's versions, such as saved_models/acgan")
    if arguments.serving_config:
        reason = "--serving_config exports no model; give --out_dir alone beside it"
        _refuse_others(arguments, ["out_dir", "serving_config"], reason)
        for path in write_serving_config(arguments.out_dir):
            print(path)
        return pathlib.Path(arguments.out_dir)
    path = _export_saved_model(arguments, arguments.out_dir)
    print(path)
    return path


def _export_saved_model(a: ExportArguments, out_dir: str) -> pathlib.Path:
    calibrated = path_and_splits(a.calibrate_on)[0] if a.calibrate_on else None
    check_data_dirs(a.copies_of, calibrated)
    check_calibration(a.calibrate_on, parse_min_realism(a.min_realism))
    with tensorflow_started():
        from tfcxr.serving.saved_model import export_model
        from tfcxr.training.run_folder import load_model

    if (a.max_copy_ratio is None) != (a.copies_of is None):
        raise ValueError(
            "--max_copy_ratio and --copies_of go together: --max_copy_ratio=2 --copies_of=records/64, the records that "
            "the model was trained on"
        )
    if a.saved_model or a.super_resolution:
        if a.run_dir or not a.saved_model:
            raise ValueError("a cascade needs --saved_model, an exported generator, and no --run_dir")
        if (a.super_resolution, a.min_realism, a.max_copy_ratio) == (None, None, None):
            raise ValueError(
                f"{a.saved_model} is exported already; add --super_resolution, --min_realism or --max_copy_ratio"
            )
        refuse_flags(
            a, ["checkpoint", "chunk_rows"], "they are of a run folder; a cascade joins models exported before"
        )
        return _export_cascade(a, a.saved_model, out_dir)
    if not a.run_dir:
        raise ValueError("give --run_dir of a training, or --saved_model of an export for a cascade")
    refuse_flags(a, ["min_realism"], "it is of a cascade; give --saved_model")
    if not a.max_copy_ratio:
        refuse_flags(a, ["max_tries"], "it is of a cascade or --max_copy_ratio")
    model, run, state = load_model(a.run_dir, a.checkpoint)
    if model.kind == "super_resolution":
        reason = f"{a.run_dir} holds a {run.model}, which enlarges two images at a time"
        refuse_flags(a, ["chunk_rows", "max_copy_ratio"], reason)
    if not a.max_copy_ratio:
        return export_model(model, run, out_dir, state, a.version, a.run_dir, a.chunk_rows)
    with tempfile.TemporaryDirectory() as folder:  # the generator alone is never at hand
        plain = pathlib.Path(folder) / pathlib.Path(out_dir).resolve().name
        return _export_cascade(a, export_model(model, run, plain, state, None, a.run_dir, a.chunk_rows), out_dir)


def _write_training_features(a: ExportArguments, file: str) -> pathlib.Path:
    needed = ["training_features", "saved_model", "copies_of", "max_copy_ratio"]
    _refuse_others(a, needed, "--training_features exports no model; give --saved_model, --copies_of, --max_copy_ratio")
    if not (a.saved_model and a.copies_of and a.max_copy_ratio):
        raise ValueError(
            "--training_features needs the model and what it was trained on: --saved_model=saved_models/acgan "
            "--copies_of=records/64 --max_copy_ratio=2"
        )
    path = pathlib.Path(file)
    if path.suffix != ".npz":
        raise ValueError(f"--training_features must be a .npz file, got {path}")
    check_data_dirs(a.copies_of)
    with tensorflow_started():
        from tfcxr.serving.copy_check import open_copy_check
        from tfcxr.serving.loaded_model import find_version
        from tfcxr.serving.model_card import read_description

    open_copy_check(a.copies_of, read_description(find_version(a.saved_model)), a.max_copy_ratio).save(path)
    print(path)
    return path


def _refuse_others(a: ExportArguments, names: list[str], reason: str) -> None:
    refuse_flags(a, [field.name for field in dataclasses.fields(a) if field.name not in names], reason)


def _export_cascade(a: ExportArguments, generator: str | os.PathLike, out_dir: str) -> pathlib.Path:
    from tfcxr.serving.cascade import export_cascade
    from tfcxr.serving.copy_check import open_copy_check
    from tfcxr.serving.gate_calibration import make_gate
    from tfcxr.serving.loaded_model import LoadedModel

    copies, model = None, LoadedModel(generator)
    if a.copies_of and a.max_copy_ratio:
        copies = open_copy_check(a.copies_of, model.description, a.max_copy_ratio)
    min_realism = MIN_REALISM if a.min_realism is None and a.super_resolution else parse_min_realism(a.min_realism)
    gate = make_gate(model, min_realism, a.max_tries, copies, a.calibrate_on)
    return export_cascade(generator, a.super_resolution, out_dir, gate, a.version)


if __name__ == "__main__":
    command_line.run(export)
