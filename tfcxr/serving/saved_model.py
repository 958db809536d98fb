"""A trained model -> `saved_models/<name>/<version>/`, a SavedModel that loads where tfcxr is not installed.

Its functions and signatures are those of `tfcxr.serving.signatures`. Beside `saved_model.pb` stand `model.json` (see
`ModelDescription`), `README.md` (the model card) and, for a model trained from a run folder, `training_patients.txt`
(one salted patient key per line), by which an evaluation refuses to test on patients that the model has seen.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

import tfcxr
from tfcxr.data.atomic import atomic_path, remove_temporary_files
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE
from tfcxr.models.base import AdversarialModel
from tfcxr.serving.example_request import example_request
from tfcxr.serving.golden import golden_pictures
from tfcxr.serving.model_card import CARD_FILE, DESCRIPTION_FILE, ModelDescription, card_text, read_description
from tfcxr.serving.served import SERVED, Served, served_variables
from tfcxr.serving.signatures import signatures_of
from tfcxr.serving.warmup import write_warmup_requests
from tfcxr.training.run_folder import RunConfig

GOLDEN_SEEDS = (1, 2)
OF_A_RUN = ("model", "label_names", "batch_size", "seed", "settings", "data")  # equal in all exports of one run


def export_model(
    model: AdversarialModel,
    run: RunConfig,
    out_dir: str | os.PathLike,
    state: dict[str, Any],
    version: int | None = None,
    run_dir: str | os.PathLike | None = None,
    chunk_rows: int | None = None,
) -> pathlib.Path:
    """Writes a SavedModel with its model card; the version's folder appears only when it is whole.

    Args:
      model: the trained model, of any precision and strategy; call this outside the strategy's scope.
      run: what it was trained with.
      out_dir: `saved_models/<name>`.
      state: with "step", the steps that it was trained.
      version: a number from 1; the next free one where None.
      run_dir: the run folder, whose `training_patients.txt` is copied where there is one.
      chunk_rows: images computed at once; by image size where None (4 up to 64 px, 2 from 128 px). More is
        faster on a GPU and slower for single pictures. Enlarging has two rows at a time.

    Returns:
      `out_dir/<version>`.

    Raises:
      ValueError: the version exists already or is below 1, or label names that do not fit the model.
      OSError: no space or permission.
    """
    out_dir = pathlib.Path(out_dir)
    version = free_version(out_dir, version)
    model = _float32_copy(model)
    served = SERVED[model.kind](model, run.label_names, chunk_rows)
    description = ModelDescription(
        model=run.model,
        name=out_dir.resolve().name,
        version=version,
        label_names=run.label_names,
        is_single_label=model.config.is_single_label,
        image_size=model.config.image_size,
        channels=model.config.channels,
        latent_size=served.latent_size,
        steps=int(state["step"]),
        batch_size=run.batch_size,
        seed=run.seed,
        settings=run.settings,
        data=run.data,
        weights_sha256=weights_sha256(served_variables(model)),
        chunk_rows=served.chunk_rows,
        tfcxr_version=tfcxr.__version__,
        tensorflow_version=tf.__version__,
        kind=served.kind,
        scale=served.scale,
    )
    patients = pathlib.Path(run_dir) / TRAINING_PATIENTS_FILE if run_dir is not None else None
    keys = patients.read_text(encoding="utf-8") if patients is not None and patients.is_file() else None
    return write_version(out_dir, served, description, keys)


def free_version(out_dir: str | os.PathLike, version: int | None) -> int:
    """`version`, or the next free one where None.

    Raises:
      ValueError: it exists already or is below 1.
    """
    out_dir = pathlib.Path(out_dir)
    if version is None:
        version = 1 + _newest_version(out_dir)
    if version < 1:
        raise ValueError(f"a version is a number from 1, got {version}")
    if (out_dir / str(version)).exists():
        raise ValueError(f"{out_dir} holds version {version} already; choose another, or none for the next free one")
    return version


def write_version(
    out_dir: str | os.PathLike, served: Served, description: ModelDescription, patients: str | None
) -> pathlib.Path:
    """Writes `out_dir/<version>`, which appears only when it is whole.

    It holds the SavedModel, `model.json` with golden pictures that the written SavedModel drew, warm-up requests, the
    card and the training patients.

    Raises:
      OSError: no space or permission.
    """
    path = pathlib.Path(out_dir) / str(description.version)
    newest = _newest_version(path.parent)
    remove_temporary_files(path.parent)
    with atomic_path(path) as folder:
        _save(served, folder)
        write_warmup_requests(folder, description.name, served)
        functions = tf.saved_model.load(str(folder)).signatures
        golden = _golden_pictures(served, functions["serving_default"])
        description = dataclasses.replace(description, golden=golden)
        (folder / DESCRIPTION_FILE).write_text(description.to_json(), encoding="utf-8")
        (folder / CARD_FILE).write_text(card_text(description, served, functions), encoding="utf-8")
        if patients is not None:
            (folder / TRAINING_PATIENTS_FILE).write_text(patients, encoding="utf-8")
    former = path.with_name(str(newest))
    if newest < description.version and (former / DESCRIPTION_FILE).is_file():
        _tell_other_run(path, description, read_description(former))
    return path


def weights_sha256(variables: Sequence[Any]) -> str:
    """SHA-256 over shape and little-endian float32 values of exported weights, in order."""
    digest = hashlib.sha256()
    for variable in variables:
        values = np.ascontiguousarray(variable, dtype="<f4")
        digest.update(json.dumps(values.shape).encode())
        digest.update(values.data)
    return digest.hexdigest()


def _newest_version(out_dir: pathlib.Path) -> int:
    """The highest number of a version, 0 where there is none."""
    present = out_dir.iterdir() if out_dir.is_dir() else ()
    return max((int(path.name) for path in present if path.name.isdigit()), default=0)


def _tell_other_run(path: pathlib.Path, description: ModelDescription, former: ModelDescription) -> None:
    """Says that a version follows one of another run, since whoever names their folder now gets this one."""
    if all(vars(former)[name] == vars(description)[name] for name in OF_A_RUN):
        return
    logging.warning(
        "%s is now the newest version of %s; version %d before it is of another run: %s on %s, %d steps, seed %d. "
        "--export_dir (of train) or --out_dir (of export) keeps runs apart",
        *(path, path.parent, former.version),
        *(former.model, former.data.get("name", "unnamed data"), former.steps, former.seed),
    )


def _float32_copy(model: AdversarialModel) -> AdversarialModel:
    """The same weights in a model that computes in float32, in plain variables of one device."""
    copy = type(model)(model.config.for_inference(), seed=model.seed)
    for target, source in zip(served_variables(copy), served_variables(model), strict=True):
        target.assign(np.asarray(source))
    for name, variable in model.state.items():
        copy.state[name].assign(np.asarray(variable))
    return copy


def _golden_pictures(served: Served, draw: Callable[..., dict[str, tf.Tensor]]) -> tuple[dict[str, Any], ...]:
    """Pictures of two requests by the SavedModel that was just written, whose `serving_default` is `draw`."""
    (signature,) = (one for one in signatures_of(served.kind).values() if one.name == "serving_default")
    requests = [example_request(signature, served, 1, seed) for seed in GOLDEN_SEEDS]
    as_tensors = lambda inputs: {name: tf.constant(value) for name, value in inputs.items()}  # noqa: E731
    return golden_pictures(requests, lambda inputs: draw(**as_tensors(inputs))["image"].numpy())


def _save(served: Served, folder: pathlib.Path) -> None:
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # it would tell of the temporary folder
    try:
        tf.saved_model.save(served, str(folder), signatures=served.signatures())
    except tf.errors.OpError as error:
        raise OSError(f"could not write the SavedModel: {error.message}") from error
    finally:
        logger.setLevel(level)
