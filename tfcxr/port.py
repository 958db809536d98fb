"""Turns a published PyTorch checkpoint into a Keras checkpoint and a SavedModel, without PyTorch.

    python -m tfcxr.port --format=cxr_pggan --checkpoint=Final_Full_Model.pth --out_dir=saved_models/cxr_pggan

Nothing in the file is run. A GAN becomes a run folder (--run_dir, runs/NAME OF --out_dir by default), which
`tfcxr.export` and fine-tuning read, and a SavedModel in --out_dir; a feature network becomes a SavedModel with
`weights.weights.h5` inside; a discriminator alone becomes such weights only. Options of a format are given by --set,
such as --set=leakiness=.1.

`port_report.json` in --out_dir's version says which entry of the file and which keys were used or ignored, how many
parameters there are, checksums, and how far the SavedModel is from the model it was made of. Where a file holds the
weights more than once, the report says which were taken; --entry=ema takes others.

Whether the file was read and computed rightly is shown by two more things. `tensors.csv` beside the report lists every
tensor with its sum and extremes, and the report has the three lines that print what PyTorch reads beside them.
--reference=FILE.npz holds inputs and outputs of the original network, saved where PyTorch runs, such as

    numpy.savez("reference.npz", **{"in/image": x.numpy(), "out/logits": model(x).detach().numpy()})

and nothing is written unless the ported network gives the same; `tfcxr/porting/reference_outputs.py` lists the names.
"""

import dataclasses
from typing import Any

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag
from tfcxr.config import parse_settings
from tfcxr.porting import FORMATS
from tfcxr.startup import tensorflow_started


@dataclasses.dataclass(frozen=True, kw_only=True)
class PortArguments(Arguments):
    """A checkpoint and what it is.

    Attributes:
      format: What the checkpoint is.
      checkpoint: The .pt or .pth file, or NVIDIA's .pkl.
      entry: Entry of the checkpoint that holds the weights (ema, a/b), or a prefix of keys.
      reference: An .npz of the original network's inputs in/... and outputs out/....
      out_dir: Folder of the model's versions, such as saved_models/cxr_pggan.
      run_dir: Run folder for a GAN; runs/NAME OF --out_dir by default.
      settings: Option of the format, name=value; may be repeated.
    """

    format: str = flag(choices=FORMATS)
    checkpoint: str
    entry: str | None = None
    reference: str | None = None
    out_dir: str
    run_dir: str | None = None
    settings: tuple[str, ...] = flag((), name="set", is_repeated=True)


def port(arguments: PortArguments) -> dict[str, Any]:
    """Ports a checkpoint and prints the report."""
    with tensorflow_started():
        from tfcxr.porting.port_file import port_file, report_text

    a = arguments
    options = parse_settings(a.settings)
    report = port_file(a.checkpoint, a.format, a.out_dir, a.run_dir, options, a.entry, a.reference)
    print(report_text(report))
    return report


if __name__ == "__main__":
    command_line.run(port)
