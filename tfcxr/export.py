"""Exports the networks of a run folder as a SavedModel with a model card, or joins exports to a cascade.

    python -m tfcxr.export --run_dir=runs/acgan --out_dir=saved_models/acgan

    python -m tfcxr.export --saved_model=saved_models/cgan --super_resolution=saved_models/srgan \\
        --out_dir=saved_models/cascade --min_realism=.9

    python -m tfcxr.export --saved_model=saved_models/cgan --max_copy_ratio=2 --copies_of=records/64 \\
        --out_dir=saved_models/cgan_gated

A cascade generates images, keeps what passes a gate (what the generator's own discriminator finds real, what is no copy
of a training image) and enlarges it, all in one SavedModel, which gives away nothing else.
"""

import dataclasses
import os
import pathlib
import tempfile

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag, refuse_flags
from tfcxr.data.sizes import check_data_dirs
from tfcxr.serving.min_realism import check_calibration, parse_min_realism, path_and_splits
from tfcxr.startup import tensorflow_started

MIN_REALISM = 0.9  # with super-resolution: a cascade as Woloszyn et al. 2025 have it


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportArguments(Arguments):
    """A run folder, or exported models.

    Attributes:
      out_dir: Folder of the model's versions, such as saved_models/acgan.
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
    """

    out_dir: str
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


def export(arguments: ExportArguments) -> pathlib.Path:
    """Writes the SavedModel and prints where it is.

    Raises:
      ValueError: neither a run folder nor exported models, flags without an effect, or see `export_model`,
        `export_cascade` and `open_copy_check`.
    """
    calibrated = path_and_splits(arguments.calibrate_on)[0] if arguments.calibrate_on else None
    check_data_dirs(arguments.copies_of, calibrated)
    check_calibration(arguments.calibrate_on, parse_min_realism(arguments.min_realism))
    with tensorflow_started():
        from tfcxr.serving.saved_model import export_model
        from tfcxr.training.run_folder import load_model

    a = arguments
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
        path = _export_cascade(a, a.saved_model)
    else:
        if not a.run_dir:
            raise ValueError("give --run_dir of a training, or --saved_model of an export for a cascade")
        refuse_flags(a, ["min_realism"], "it is of a cascade; give --saved_model")
        if not a.max_copy_ratio:
            refuse_flags(a, ["max_tries"], "it is of a cascade or --max_copy_ratio")
        model, run, state = load_model(a.run_dir, a.checkpoint)
        if model.kind == "super_resolution":
            reason = f"{a.run_dir} holds a {run.model}, which enlarges one image at a time"
            refuse_flags(a, ["chunk_rows", "max_copy_ratio"], reason)
        if a.max_copy_ratio:  # the generator alone is never at hand
            with tempfile.TemporaryDirectory() as folder:
                plain = pathlib.Path(folder) / pathlib.Path(a.out_dir).resolve().name
                path = export_model(model, run, plain, state, None, a.run_dir, a.chunk_rows)
                path = _export_cascade(a, path)
        else:
            path = export_model(model, run, a.out_dir, state, a.version, a.run_dir, a.chunk_rows)
    print(path)
    return path


def _export_cascade(a: ExportArguments, generator: str | os.PathLike) -> pathlib.Path:
    from tfcxr.serving.cascade import export_cascade
    from tfcxr.serving.copy_check import open_copy_check
    from tfcxr.serving.gate_calibration import make_gate
    from tfcxr.serving.loaded_model import LoadedModel

    copies, model = None, LoadedModel(generator)
    if a.copies_of and a.max_copy_ratio:
        copies = open_copy_check(a.copies_of, model.description, a.max_copy_ratio)
    min_realism = MIN_REALISM if a.min_realism is None and a.super_resolution else parse_min_realism(a.min_realism)
    gate = make_gate(model, min_realism, a.max_tries, copies, a.calibrate_on)
    return export_cascade(generator, a.super_resolution, a.out_dir, gate, a.version)


if __name__ == "__main__":
    command_line.run(export)
