"""Turns a published PyTorch checkpoint into a Keras checkpoint and a SavedModel, without PyTorch.

    python -m tfcxr.port --format=cxr_pggan --checkpoint=Final_Full_Model.pth --out=saved_models/cxr_pggan

Nothing in the file is run. A GAN becomes a run folder (--run_dir, runs/NAME OF --out by default), which
`tfcxr.export` and fine-tuning read, and a SavedModel in --out; a feature network becomes a SavedModel with
`weights.weights.h5` inside; a discriminator alone becomes such weights only. Options of a format are given by --set,
such as --set=leakiness=.1.

`port_report.json` in --out's version says which entry of the file and which keys were used or ignored, how many
parameters there are, checksums, and how far the SavedModel is from the model it was made of. Where a file holds the
weights more than once, the report says which were taken; --entry=ema takes others.

Whether the file was read and computed rightly is shown by two more things. `tensors.csv` beside the report lists every
tensor with its sum and extremes, and the report has the three lines that print what PyTorch reads beside them.
--reference=FILE.npz holds inputs and outputs of the original network, saved where PyTorch runs, such as

    numpy.savez("reference.npz", **{"in/image": x.numpy(), "out/logits": model(x).detach().numpy()})

and nothing is written unless the ported network gives the same; `tfcxr/porting/reference_outputs.py` lists the names.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import pathlib
import shutil
from typing import Any

import tensorflow as tf
from absl import flags

from tfcxr import command_line
from tfcxr.command_line import nearest_name
from tfcxr.config import parse_settings, to_plain
from tfcxr.data.atomic import atomic_path, write_atomically
from tfcxr.models import MODELS
from tfcxr.porting import FORMATS, REFERENCE_OUTPUTS
from tfcxr.porting.backbone_export import export_backbone
from tfcxr.porting.parity import Parity, backbone_parity, discriminator_parity, gan_parity
from tfcxr.porting.ported import Ported
from tfcxr.porting.pytorch_file import read_pytorch_file
from tfcxr.porting.reference import ReferenceCheck, check_reference
from tfcxr.porting.state_dicts import choose
from tfcxr.porting.tensor_table import TABLE_FILE, pytorch_lines, tensor_table
from tfcxr.serving.saved_model import export_model
from tfcxr.serving.version_folder import free_version
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.run_folder import RunConfig, start_run

REPORT_FILE = "port_report.json"
WEIGHTS_FILE = "weights.weights.h5"
PRINTED_KEYS = 4  # ignored ones for each reason; the report has all
NOTICE = "The weights were ported from a PyTorch checkpoint; its licence and its training data are its authors' matter."

FLAGS = flags.FLAGS
flags.DEFINE_string("format", None, f"What the checkpoint is: {', '.join(FORMATS)}.", required=True)
flags.DEFINE_string("checkpoint", None, "The .pt or .pth file, or NVIDIA's .pkl.", required=True)
flags.DEFINE_string("entry", None, "Entry of the checkpoint that holds the weights (ema, a/b), or a prefix of keys.")
flags.DEFINE_string("reference", None, "An .npz of the original network's inputs in/... and outputs out/....")
flags.DEFINE_string("out", None, "Folder of the model's versions, such as saved_models/cxr_pggan.", required=True)
flags.DEFINE_string("run_dir", None, "Run folder for a GAN; runs/NAME OF --out by default.")
flags.DEFINE_multi_string("set", [], "Option of the format, name=value; may be repeated.")


def main(argv: list[str]) -> None:
    """Reads, ports, writes, compares, and prints what came of it."""
    if FLAGS.format not in FORMATS:
        raise ValueError(f"unknown --format={FLAGS.format}; {nearest_name(FLAGS.format, FORMATS)}")
    options = _options(FLAGS.format, parse_settings(FLAGS.set))
    out_dir = pathlib.Path(FLAGS.out)
    run_dir = pathlib.Path(FLAGS.run_dir or pathlib.Path("runs") / out_dir.resolve().name)
    checkpoint = pathlib.Path(FLAGS.checkpoint)
    value = read_pytorch_file(checkpoint)
    table, lines = tensor_table(value), pytorch_lines(checkpoint.name, value)
    try:
        ported = FORMATS[FLAGS.format](choose(value, FLAGS.entry) if FLAGS.entry else value, **options)
    except ValueError as error:
        raise ValueError(f"{checkpoint} was not ported as {FLAGS.format}: {error}") from error
    del value
    reference = _checked_reference(ported) if FLAGS.reference else None
    source = {"file": checkpoint.name, "sha256": _sha256(checkpoint)}
    if ported.kind == "gan":
        outputs, parity = _write_gan(ported, source, out_dir, run_dir)
    elif ported.kind == "backbone":
        outputs, parity = _write_backbone(ported, checkpoint, out_dir)
    else:
        outputs, parity = _write_discriminator(ported, out_dir)
    report = _report(ported, source, outputs, parity)
    report["reference"] = reference and dataclasses.asdict(reference)
    report["tensors"] = {"file": TABLE_FILE, "count": table.count("\n") - 1, "compare_in_pytorch": lines}
    for folder in {outputs.get("saved_model"), outputs.get("run_dir"), outputs.get("folder")} - {None}:
        write_atomically(pathlib.Path(folder) / TABLE_FILE, table)
        write_atomically(pathlib.Path(folder) / REPORT_FILE, json.dumps(report, indent=2) + "\n")
    print(_summary(report, parity, reference))


def _checked_reference(ported: Ported) -> ReferenceCheck:
    """The comparison with --reference, before anything is written."""
    tf.config.experimental.enable_tensor_float_32_execution(False)  # its 10 bits would be all that is seen
    check = check_reference(FLAGS.reference, functools.partial(REFERENCE_OUTPUTS[FLAGS.format], ported))
    if check.missed:
        worst = [f"out/{name} by {check.compared[name]['largest']:.2g}" for name in check.missed[:5]]
        raise ValueError(
            f"the ported network does not give the reference's numbers, so nothing was written: {check.text}: "
            f"{', '.join(worst)}; compare the value range, the options of --set and the mode (model.eval())"
        )
    return check


def _options(format_name: str, options: dict[str, Any]) -> dict[str, Any]:
    names = list(inspect.signature(FORMATS[format_name]).parameters)[1:]
    for name in options:
        if name not in names:
            raise ValueError(f"format {format_name} has no option {name!r}; {nearest_name(name, names)}")
    return options


def _write_gan(
    ported: Ported, source: dict[str, str], out_dir: pathlib.Path, run_dir: pathlib.Path
) -> tuple[dict[str, str], Parity]:
    if run_dir.exists():
        raise ValueError(f"{run_dir} exists already; choose another --run_dir")
    model = ported.model
    names = {gan_class: name for name, gan_class in MODELS.items()}
    data = {"name": f"unknown, ported from {source['file']}", "split": "unknown", "notice": NOTICE, "licence": ""}
    data |= {"salt_fingerprint": "", "fingerprint": source["sha256"]}
    labels = tuple(f"label_{index}" for index in range(model.config.label_count))
    step = int(model.step)
    run = RunConfig(names[type(model)], to_plain(model.config), labels, seed=0, batch_size=0, steps=step, data=data)
    version_dir = export_model(model, run, out_dir, {"step": step})
    parity = gan_parity(model, version_dir)
    _check(parity, version_dir)
    with atomic_path(run_dir) as folder:
        start_run(folder, run, resume=False)
        Checkpoints(folder).save(step, model.checkpoint_variables(), {"ported_from": source})
    return {"saved_model": str(version_dir), "run_dir": str(run_dir)}, parity


def _write_backbone(ported: Ported, checkpoint: pathlib.Path, out_dir: pathlib.Path) -> tuple[dict[str, str], Parity]:
    version_dir = out_dir / str(free_version(out_dir, None))
    path = export_backbone(ported, version_dir, FLAGS.format, checkpoint)
    parity = backbone_parity(ported.model, path)
    _check(parity, path)
    with atomic_path(path / WEIGHTS_FILE) as temporary:
        ported.model.save_weights(temporary)
    return {"saved_model": str(path), "weights": str(path / WEIGHTS_FILE)}, parity


def _write_discriminator(ported: Ported, out_dir: pathlib.Path) -> tuple[dict[str, str], Parity]:
    version_dir = out_dir / str(free_version(out_dir, None))
    with atomic_path(version_dir) as folder:
        folder.mkdir()
        ported.model.save_weights(folder / WEIGHTS_FILE)
        parity = discriminator_parity(ported, folder / WEIGHTS_FILE)
        _check(parity, None)
    return {"folder": str(version_dir), "weights": str(version_dir / WEIGHTS_FILE)}, parity


def _check(parity: Parity, written: pathlib.Path | None) -> None:
    """Removes what was written where it does not compute what the model in memory computes."""
    if not parity.is_met:
        if written is not None:
            shutil.rmtree(written)
        raise ValueError(
            f"what was written computes other numbers than the ported model: {parity.text}, allowed are "
            f"{parity.largest_allowed:g} and {parity.mean_allowed:g}; nothing was kept, please report this"
        )


def _report(ported: Ported, source: dict[str, str], outputs: dict[str, str], parity: Parity) -> dict[str, Any]:
    return {
        "format": FLAGS.format,
        "entry": FLAGS.entry,
        "kind": ported.kind,
        "source": source,
        "networks": {name: dataclasses.asdict(transfer) for name, transfer in ported.transfers.items()},
        "parameter_count": sum(transfer.parameter_count for transfer in ported.transfers.values()),
        "parity": dataclasses.asdict(parity),
        "outputs": outputs,
        "settings": ported.settings,
        "notes": list(ported.notes),
    }


def _summary(report: dict[str, Any], parity: Parity, reference: ReferenceCheck | None) -> str:
    lines = [f"ported {report['source']['file']} (SHA-256 {report['source']['sha256']}) as {report['format']}"]
    for name, network in report["networks"].items():
        used, ignored = len(network["used"]), len(network["ignored"])
        lines.append(f"  {name}: {network['parameter_count']:,} parameters, {used} keys used, {ignored} ignored")
        lines += [f"    {note}" for note in network["notes"]]
        if used:
            lines.append(f"    SHA-256 of its weights {network['sha256']}")
        for reason in sorted(set(network["ignored"].values())):
            keys = [key for key, why in network["ignored"].items() if why == reason]
            more = f" and {len(keys) - PRINTED_KEYS} more" if len(keys) > PRINTED_KEYS else ""
            lines.append(f"    ignored, {reason}: {', '.join(keys[:PRINTED_KEYS])}{more}")
    lines.append(f"  written against in memory, {parity.text}")
    if reference:
        lines.append(f"  ported against the original, {reference.text}")
    lines.append(f"  {report['tensors']['count']} tensors were read, see {TABLE_FILE}; PyTorch's own sums beside ours:")
    lines += [f"    {line}" for line in report["tensors"]["compare_in_pytorch"]]
    lines += [f"  note: {note}" for note in report["notes"]]
    lines += [f"{name}: {path}" for name, path in report["outputs"].items()]
    return "\n".join(lines)


def _sha256(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    command_line.run_main(main)
