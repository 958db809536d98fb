"""What a training will do, from its arguments, its settings and its data, checked before anything is written."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import logging

from tfcxr import registry
from tfcxr.config import make_config, to_plain, typed_settings
from tfcxr.data.schema import DatasetInfo
from tfcxr.models import MODELS
from tfcxr.models.base import AdversarialModel
from tfcxr.models.model_config import AdversarialConfig, Stage
from tfcxr.models.pretrained import StoredRun
from tfcxr.precision import has_bfloat16
from tfcxr.training.arguments import TrainArguments
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.exports import check_export_steps, parse_export_steps
from tfcxr.training.judge import held_out_splits
from tfcxr.training.pretrained_start import earlier_data, with_stored_start
from tfcxr.training.run_folder import CONFIG_FILE, RunConfig, read_run, read_stored_run
from tfcxr.training.samples import SAMPLE_WATCHERS, SampleWatcher
from tfcxr.training.time_limit import UNLIMITED_STEPS
from tfcxr.training.training_data import TrainingData, find_training_data, labels_to_resume


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """A training whose arguments, settings and data were checked; nothing is written yet.

    Attributes:
      run: what config.json will hold.
      run_dir: its run folder.
      config: of the model.
      data: that it trains on.
      stages: of the training.
      is_timed: whether time alone ends it, so that `run.steps` means nothing yet.
      checkpoints: of the run folder.
      last: the checkpoint to go on from, None at the start.
      start: the run whose networks it begins with; None where it resumes, or begins with random ones.
      labels: chosen among those of the data set.
      watched_splits: whose real images the pictures stand beside, with commas between.
      export_dir: where SavedModels go.
      export_steps: steps after which it is exported, ascending.
    """

    run: RunConfig
    run_dir: pathlib.Path
    config: AdversarialConfig
    data: TrainingData
    stages: tuple[Stage, ...]
    is_timed: bool
    checkpoints: Checkpoints
    last: pathlib.Path | None
    start: StoredRun | None
    labels: tuple[str, ...]
    watched_splits: str
    export_dir: pathlib.Path
    export_steps: tuple[int, ...]

    @property
    def watcher_class(self) -> type[SampleWatcher]:
        """What watches its pictures."""
        return SAMPLE_WATCHERS[MODELS[self.run.model].kind]


def plan_training(arguments: TrainArguments, settings: dict[str, Any]) -> TrainingPlan:
    """Checks all that can be wrong before a run folder is made.

    Raises:
      FileNotFoundError: no such data folder, or no checkpoint in the run of `pretrained`.
      ValueError: an unknown model or setting, data that do not fit it, or steps at which nothing can be exported.
    """
    assert arguments.model  # filled in
    name, gan_class = registry.find(MODELS, arguments.model, "model")
    config_class = gan_class.config_class
    run_dir = pathlib.Path(arguments.run_dir or pathlib.Path("runs") / name)
    begun = read_run(run_dir) if arguments.resume and (run_dir / CONFIG_FILE).is_file() else None
    labels = arguments.labels
    if settings.get("precision") == "auto":
        settings = settings | {"precision": _automatic_precision(config_class, arguments.devices, begun)}
    elif begun is None and settings.get("precision") == "mixed_bfloat16" and not has_bfloat16(arguments.devices):
        logging.warning("this machine emulates bfloat16, many times slower than float32; precision=auto knows better")
    settings = typed_settings(config_class, settings)
    if arguments.conditions:
        if not config_class.reads_conditions():
            readers = ", ".join(other for other, found in MODELS.items() if found.config_class.reads_conditions())
            raise ValueError(
                f"{name} is told labels alone, so --conditions={','.join(arguments.conditions)} cannot be; choose a "
                f"model that reads them ({readers}), or leave them out"
            )
        settings = settings | {"conditions": arguments.conditions}
    checkpoints = Checkpoints(run_dir, arguments.keep_checkpoints, arguments.checkpoint_every)
    last = checkpoints.find()
    is_resumed, read_run_once = begun is not None and last is not None, functools.cache(read_stored_run)
    pretrained = settings.get("pretrained")
    if begun is not None and is_resumed and begun.settings.get("pretrained_sha256"):
        settings = with_stored_start(settings, begun)
    else:
        settings = gan_class.prepare_settings(settings, read_run_once)
    if begun is not None:
        labels = labels_to_resume(run_dir, begun, labels)
        settings = (begun.settings if begun.model == name else {}) | settings
    data = find_training_data(
        arguments.data_dir,
        settings.get(config_class.records_size),
        arguments.splits,
        labels,
        arguments.verify_checksums,
    )
    config = make_config(config_class, _fit_to_data(settings, data.info, len(data.choice.names), gan_class))
    is_timed = arguments.minutes is not None and arguments.steps is None
    if config.decay_last and is_timed:
        raise ValueError(
            f"decay_last={config.decay_last:g} lets the learning rate fall towards the last step, and with "
            f"--minutes={arguments.minutes:g} alone nobody knows which that is; give --steps, or leave out one of both"
        )
    batch_size = arguments.batch_size or (begun.batch_size if begun else config_class.usual_batch_size)
    steps = arguments.steps or (begun.steps if begun and begun.steps < UNLIMITED_STEPS else None)
    stages = config.stages(batch_size, UNLIMITED_STEPS if is_timed else steps)
    start = read_run_once(pretrained) if pretrained and not is_resumed else None
    run = RunConfig(
        model=name,
        settings=to_plain(config),
        label_names=data.choice.names if config.label_count else (),
        seed=arguments.seed,
        batch_size=batch_size,
        steps=stages[-1].end_step,
        data=data.description() | earlier_data(start, begun),
    )
    export_dir, export_steps = find_export_dir(arguments, run_dir), parse_export_steps(arguments.export_steps)
    check_export_steps(export_steps, run.steps, export_dir, begun is not None)
    return TrainingPlan(
        run=run,
        run_dir=run_dir,
        config=config,
        data=data,
        stages=stages,
        is_timed=is_timed,
        checkpoints=checkpoints,
        last=last,
        start=start,
        labels=labels,
        watched_splits=_watched_splits(arguments, data.info, name, SAMPLE_WATCHERS[gan_class.kind]),
        export_dir=export_dir,
        export_steps=export_steps,
    )


def find_export_dir(arguments: TrainArguments, run_dir: pathlib.Path) -> pathlib.Path:
    """Where the SavedModels of a run go."""
    return pathlib.Path(arguments.export_dir or pathlib.Path("saved_models") / run_dir.name)


def _automatic_precision(config_class: type[AdversarialConfig], devices: Sequence[str], begun: RunConfig | None) -> str:
    """The precision that "auto" stands for: that of a run that was begun, or bfloat16 where model and hardware have it.

    A run of bfloat16 is continued in it wherever it resumes, so that it ends with the same bits.
    """
    is_fast = has_bfloat16(devices)
    if begun is None:
        return "mixed_bfloat16" if config_class.trains_in_bfloat16 and is_fast else "float32"
    precision = begun.settings.get("precision", "float32")
    if precision == "mixed_bfloat16" and not is_fast:
        logging.warning("the run was begun in %s, which this machine emulates: it continues so, slowly", precision)
    return precision


def _fit_to_data(settings: dict, info: DatasetInfo, label_count: int, gan_class: type[AdversarialModel]) -> dict:
    """Adds what the data decide: size and labels; a model that reads no labels has none.

    Raises:
      ValueError: a setting that contradicts them.
    """
    config_class = gan_class.config_class
    facts = {
        config_class.records_size: info.image_size,
        "label_count": label_count if config_class.reads_labels(settings) else 0,
        "is_single_label": info.is_single_label,
    }
    for name, value in facts.items():
        if settings.get(name, value) != value:
            of_run = f" of pretrained={settings['pretrained']}" if settings.get("pretrained_sha256") else ""
            raise ValueError(
                f"{name}={settings[name]}{of_run} does not fit data set {info.name}, which has {name}={value}"
            )
    return settings | facts


def _watched_splits(
    arguments: TrainArguments, info: DatasetInfo, model: str, watcher_class: type[SampleWatcher]
) -> str:
    """Where the real images come from that samples are compared with.

    Raises:
      ValueError: the model is measured on held-out images, and there are none.
    """
    if not watcher_class.needs_held_out_images:
        return ",".join(arguments.splits)
    return held_out_splits(arguments, info, model)
