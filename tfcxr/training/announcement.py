"""What a user reads before the progress bar and after it: what is trained on what, and where the results are."""

import os
import pathlib
import shlex
from collections.abc import Sequence

from absl import logging

from tfcxr.models.base import AdversarialModel
from tfcxr.models.model_config import Stage
from tfcxr.training.run_folder import RunConfig
from tfcxr.training.samples import SampleWatcher
from tfcxr.training.training_data import TrainingData

NEXT_IMAGES = 100  # of the cohort that is proposed, per label


def announce_training(
    model: AdversarialModel,
    run: RunConfig,
    run_dir: str | os.PathLike,
    data: TrainingData,
    patients: int,
    stages: Sequence[Stage],
    samples: SampleWatcher,
    length: str,
) -> None:
    """Says what is trained on what, and what will be seen of it.

    Args:
      length: of the training, such as "1000 steps" or "40 minutes in steps".
    """
    config, info, names = model.config, data.info, ", ".join(data.choice.names)
    kind = "exclusive: each image has one" if info.is_single_label else "joint: an image may have several"
    logging.info(
        "data: %s in %s, split %s: %s images of %s patients, %d px, %s",
        *(info.name, data.folder, data.splits, f"{data.images:,}", f"{patients:,}", info.image_size),
        f"labels {names} ({kind})" if names else "no labels",
    )
    sizes = sorted({stage.batch_size for stage in stages})
    batch = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    if config.batches_per_step > 1:
        batch = f"{config.batches_per_step} x {batch}"
    logging.info(
        "model: %s, %s; %s of %s images in %s; run folder %s",
        *(run.model, _conditioning(model, names), length, batch, config.precision, run_dir),
    )
    for note in model.notes():
        logging.info("%s", note)
    logging.info("pictures: %s in %s", samples.schedule_text, samples.folder)
    logging.info("best checkpoint: the step with %s", samples.best_text)
    for metric in (*samples.metrics, *(samples.quality.metrics if samples.quality else ())):
        logging.info("%s: %s", metric.name, metric.meaning)


def announce_results(run: RunConfig, run_dir: str | os.PathLike, kind: str, version: pathlib.Path | None) -> None:
    """Says where pictures, curves and the exported model are, and which command goes on from there.

    Args:
      run: that has ended.
      run_dir: its run folder.
      kind: of the model, see `AdversarialModel.kind`.
      version: folder of the exported version, None where nothing was exported.
    """
    pictures = sorted((pathlib.Path(run_dir) / "samples").glob("step-*.png"))
    newest = f"{pictures[-1]} is the newest picture; " if pictures else ""
    logging.info("%scurves: tensorboard --logdir %s", newest, run_dir)
    if version is None:
        out_dir = pathlib.Path("saved_models") / pathlib.Path(run_dir).name
        words = ["python", "-m", "tfcxr.export", f"--run_dir={run_dir}", f"--out_dir={out_dir}"]
        logging.info("nothing was exported; next: %s", shlex.join(words))
        return
    logging.info("exported to %s; its README.md says what it is", version)
    if kind == "super_resolution":
        logging.info(
            "next: it enlarges the images of a generator of %d px: python -m tfcxr.generate "
            "--saved_model=saved_models/GENERATOR --super_resolution=%s ...",
            run.settings["image_size"] // run.settings["scale"],
            version,
        )
        return
    logging.info("next: %s", _cohort_command(run, version))


def _conditioning(model: AdversarialModel, names: str) -> str:
    """Whether the model reads the labels of the data, and how it would."""
    if model.config.label_count:
        return " and ".join(["conditional on the labels", *model.config.conditions])
    if not names:
        return "unconditional"
    can_read = model.config_class.reads_labels({"conditional": True})
    advice = "--set=conditional=True trains on them" if can_read else "the model takes none"
    return f"unconditional (the labels are not used; {advice})"


def _cohort_command(run: RunConfig, version: pathlib.Path) -> str:
    """Generates a small cohort of all labels, in a folder that the number of a later version keeps apart."""
    name = version.parent.name if version.name == "1" else f"{version.parent.name}-{version.name}"
    counts = ",".join(f"{label}={NEXT_IMAGES}" for label in run.label_names)
    images = f"--counts={counts}" if counts else f"--images={NEXT_IMAGES}"
    flags = [f"--saved_model={version}", f"--out_dir={pathlib.Path('cohorts') / name}", images, "--preview"]
    return shlex.join(["python", "-m", "tfcxr.generate", *flags])
