"""Exports the networks of a run folder as a SavedModel with a model card, or joins two exports to a cascade.

    python -m tfcxr.export --run_dir=runs/acgan --out_dir=saved_models/acgan

    python -m tfcxr.export --saved_model=saved_models/cgan --super_resolution=saved_models/srgan \\
        --out_dir=saved_models/cascade --min_realism=.9

A cascade generates images, keeps what the generator's own discriminator finds real, and enlarges it, all in one
SavedModel.
"""

import dataclasses
import pathlib

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag, refuse_flags
from tfcxr.startup import tensorflow_started


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportArguments(Arguments):
    """A run folder, or two exported models.

    Attributes:
      out_dir: Folder of the model's versions, such as saved_models/acgan.
      run_dir: Run folder of tfcxr.train.
      checkpoint: Which checkpoint of the run: last, best or the number of a step.
      chunk_rows: Images computed at once; by image size by default, more for a GPU.
      saved_model: Instead of --run_dir: an exported generator, for a cascade.
      super_resolution: With --saved_model: an exported super-resolution model.
      min_realism: With --saved_model: the discriminator's score that an image must reach.
      max_tries: With --saved_model: candidates per image.
      version: Number of the version; the next free one by default.
    """

    out_dir: str
    run_dir: str | None = None
    checkpoint: str = "last"
    chunk_rows: int | None = flag(None, minimum=1)
    saved_model: str | None = None
    super_resolution: str | None = None
    min_realism: float = flag(0.9, minimum=0.0, maximum=1.0)
    max_tries: int = flag(100, minimum=1)
    version: int | None = flag(None, minimum=1)


def export(arguments: ExportArguments) -> pathlib.Path:
    """Writes the SavedModel and prints where it is.

    Raises:
      ValueError: neither a run folder nor two exported models, flags without an effect, or see `export_model` and
        `export_cascade`.
    """
    with tensorflow_started():
        from tfcxr.serving.cascade import export_cascade
        from tfcxr.serving.realism_gate import RealismGate
        from tfcxr.serving.saved_model import export_model
        from tfcxr.training.run_folder import load_model

    a = arguments
    if a.saved_model or a.super_resolution:
        if a.run_dir or not (a.saved_model and a.super_resolution):
            raise ValueError("a cascade needs --saved_model and --super_resolution, both exported, and no --run_dir")
        refuse_flags(
            a, ["checkpoint", "chunk_rows"], "they are of a run folder; a cascade joins models exported before"
        )
        gate = RealismGate(a.min_realism, a.max_tries)
        path = export_cascade(a.saved_model, a.super_resolution, a.out_dir, gate, a.version)
    else:
        if not a.run_dir:
            raise ValueError("give --run_dir of a training, or --saved_model and --super_resolution for a cascade")
        reason = "they are of a cascade; give --saved_model and --super_resolution"
        refuse_flags(a, ["min_realism", "max_tries"], reason)
        model, run, state = load_model(a.run_dir, a.checkpoint)
        if model.kind == "super_resolution":
            refuse_flags(a, ["chunk_rows"], f"{a.run_dir} holds a {run.model}, which enlarges one image at a time")
        path = export_model(model, run, a.out_dir, state, a.version, a.run_dir, a.chunk_rows)
    print(path)
    return path


if __name__ == "__main__":
    command_line.run(export)
