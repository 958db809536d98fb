"""A checkpoint file -> our network, compared with the original, written, and compared with what was written."""

import dataclasses
import functools
import inspect
import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfcxr.config import to_plain
from tfcxr.data.atomic import atomic_path, write_atomically
from tfcxr.data.records import file_sha256
from tfcxr.models import MODELS
from tfcxr.porting import FORMATS
from tfcxr.porting.backbone_export import export_backbone
from tfcxr.porting.parity import Parity, backbone_parity, discriminator_parity, gan_parity
from tfcxr.porting.ported import Ported
from tfcxr.porting.pytorch_file import read_pytorch_file
from tfcxr.porting.reference import ReferenceCheck, check_reference
from tfcxr.porting.state_dicts import choose
from tfcxr.porting.tensor_table import TABLE_FILE, pytorch_lines, tensor_table
from tfcxr.registry import nearest_name
from tfcxr.serving.saved_model import export_model, free_version
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.run_folder import RunConfig, start_run

REPORT_FILE = "port_report.json"
WEIGHTS_FILE = "weights.weights.h5"
PRINTED_KEYS = 4  # ignored ones for each reason; the report has all
NOTICE = "The weights were ported from a PyTorch checkpoint; its licence and its training data are its authors' matter."


def port_file(
    checkpoint: str | os.PathLike,
    format_name: str,
    out_dir: str | os.PathLike,
    run_dir: str | os.PathLike | None = None,
    options: Mapping[str, Any] | None = None,
    entry: str | None = None,
    reference: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Ports a file, and writes what it became with a report.

    A GAN becomes a run folder and a SavedModel, a feature network a SavedModel with Keras weights, a discriminator
    alone Keras weights.

    Args:
      checkpoint: the file.
      format_name: of `FORMATS`.
      out_dir: folder of the model's versions.
      run_dir: of a GAN; `runs/<name of out_dir>` where None.
      options: of the format.
      entry: that holds the weights, see `state_dicts.choose`.
      reference: an .npz of the original's inputs and outputs, see `reference`; compared before anything is written.

    Returns:
      the content of `port_report.json`, which stands with the table of tensors beside what was written; `report_text`
      tells it to people.

    Raises:
      FileNotFoundError: no such checkpoint or reference.
      ValueError: an unknown format or option, a file that was not read or does not fit, a reference that is not met, or
        a run folder that exists.
    """
    options, out_dir, checkpoint = dict(options or {}), pathlib.Path(out_dir), pathlib.Path(checkpoint)
    _check_options(format_name, options)
    value = read_pytorch_file(checkpoint)
    table, lines = tensor_table(value), pytorch_lines(checkpoint.name, value)
    try:
        ported = FORMATS[format_name].port(choose(value, entry) if entry else value, **options)
    except ValueError as error:
        raise ValueError(f"{checkpoint} was not ported as {format_name}: {error}") from error
    del value
    met = _met_reference(ported, format_name, reference) if reference else None
    source = {"file": checkpoint.name, "sha256": file_sha256(checkpoint)}
    if ported.kind == "gan":
        run_dir = pathlib.Path(run_dir or pathlib.Path("runs") / out_dir.resolve().name)
        outputs, parity = _write_gan(ported, source, out_dir, run_dir)
    elif ported.kind == "backbone":
        outputs, parity = _write_backbone(ported, format_name, source, out_dir)
    else:
        outputs, parity = _write_discriminator(ported, out_dir)
    report = {
        "format": format_name,
        "entry": entry,
        "kind": ported.kind,
        "source": source,
        "networks": {name: dataclasses.asdict(transfer) for name, transfer in ported.transfers.items()},
        "parameter_count": sum(transfer.parameter_count for transfer in ported.transfers.values()),
        "parity": dataclasses.asdict(parity),
        "outputs": outputs,
        "settings": ported.settings,
        "notes": list(ported.notes),
        "reference": met and dataclasses.asdict(met),
        "tensors": {"file": TABLE_FILE, "count": table.count("\n") - 1, "compare_in_pytorch": lines},
    }
    text = json.dumps(report, indent=2) + "\n"
    for folder in {outputs.get("saved_model"), outputs.get("run_dir"), outputs.get("folder")} - {None}:
        write_atomically(pathlib.Path(folder) / TABLE_FILE, table)
        write_atomically(pathlib.Path(folder) / REPORT_FILE, text)
    return json.loads(text)


def report_text(report: dict[str, Any]) -> str:
    """What a report says, for people."""
    source, tensors = report["source"], report["tensors"]
    lines = [f"ported {source['file']} (SHA-256 {source['sha256']}) as {report['format']}"]
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
    lines.append(f"  written against in memory, {Parity(**report['parity']).text}")
    if report["reference"]:
        lines.append(f"  ported against the original, {ReferenceCheck(**report['reference']).text}")
    lines.append(f"  {tensors['count']} tensors were read, see {TABLE_FILE}; PyTorch's own sums beside ours:")
    lines += [f"    {line}" for line in tensors["compare_in_pytorch"]]
    lines += [f"  note: {note}" for note in report["notes"]]
    return "\n".join([*lines, *(f"{name}: {path}" for name, path in report["outputs"].items())])


def _check_options(format_name: str, options: dict[str, Any]) -> None:
    if format_name not in FORMATS:
        raise ValueError(f"unknown format {format_name!r}; {nearest_name(format_name, FORMATS)}")
    names = list(inspect.signature(FORMATS[format_name].port).parameters)[1:]
    for name in options:
        if name not in names:
            raise ValueError(f"format {format_name} has no option {name!r}; {nearest_name(name, names)}")


def _met_reference(ported: Ported, format_name: str, reference: str | os.PathLike) -> ReferenceCheck:
    tf.config.experimental.enable_tensor_float_32_execution(False)  # its 10 bits would be all that is seen
    check = check_reference(reference, functools.partial(FORMATS[format_name].output, ported))
    if check.missed:
        worst = [f"out/{name} by {check.compared[name]['largest']:.2g}" for name in check.missed[:5]]
        raise ValueError(
            f"the ported network does not give the reference's numbers, so nothing was written: {check.text}: "
            f"{', '.join(worst)}; compare the value range, the options of --set and the mode (model.eval())"
        )
    return check


def _write_gan(
    ported: Ported, source: dict[str, str], out_dir: pathlib.Path, run_dir: pathlib.Path
) -> tuple[dict[str, str], Parity]:
    if run_dir.exists():
        raise ValueError(f"{run_dir} exists already; choose another --run_dir")
    model = ported.model
    (name,) = [name for name, gan_class in MODELS.items() if gan_class is type(model)]
    data = {"name": f"unknown, ported from {source['file']}", "split": "unknown", "notice": NOTICE, "licence": ""}
    data |= {"salt_fingerprint": "", "fingerprint": source["sha256"]}
    labels = tuple(f"label_{index}" for index in range(model.config.label_count))
    step = int(model.step)
    run = RunConfig(name, to_plain(model.config), labels, seed=0, batch_size=0, steps=step, data=data)
    version_dir = export_model(model, run, out_dir, {"step": step})
    parity = gan_parity(model, version_dir)
    _check(parity, version_dir)
    with atomic_path(run_dir) as folder:
        start_run(folder, run, resume=False)
        Checkpoints(folder).save(step, model.checkpoint_variables(), {"ported_from": source})
    return {"saved_model": str(version_dir), "run_dir": str(run_dir)}, parity


def _write_backbone(
    ported: Ported, format_name: str, source: dict[str, str], out_dir: pathlib.Path
) -> tuple[dict[str, str], Parity]:
    path = export_backbone(ported, out_dir / str(free_version(out_dir, None)), format_name, source)
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
