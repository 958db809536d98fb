"""The stages of a study: commands that run one after the other, are skipped when they are finished, and are resumed.

`study.json` in the folder of a variant keeps the command of every stage that was begun, and the seconds it took.
"""

import dataclasses
import importlib
import json
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging

from tfcxr import command_line
from tfcxr.data.atomic import write_atomically
from tfcxr.studies.declaration import training_of

SMOKE = "smoke"  # the variant that tries all stages on little data
STATE_FILE = "study.json"
RECORDS, EXPORT = "{size}/dataset_info.json", "1/saved_model.pb"
# command -> the flag of the folder that it writes to, and what it writes there last
RESULTS = {
    "tfrecords_builder": ("out_dir", RECORDS),
    "tfrecords_builder imitate": ("out_dir", "**/*.*"),
    "tfcxr.train": ("export_dir", EXPORT),
    "tfcxr.export": ("out_dir", EXPORT),
    "tfcxr.train_classifier": ("out_dir", "1/classifier.json"),
    "tfcxr.generate": ("out_dir", RECORDS),
    "tfcxr.embed": ("out_dir", RECORDS),
    "tfcxr.evaluate": ("out_dir", "report.json"),
}
Launch = Callable[[Sequence[str]], int]  # the words after `python` -> exit status


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command of a study.

    Attributes:
      name: such as "train cgan".
      words: what follows `python`.
      folder: where it writes.
      result: pattern of what it writes there last.
      minutes: about how long it takes on two processor cores, None where nobody has measured it.
      may_fail: whether the study goes on where it ends with status 1, such as a gate that nothing passes.
    """

    name: str
    words: tuple[str, ...]
    folder: pathlib.Path
    result: str
    minutes: float | None = None
    may_fail: bool = False

    @property
    def line(self) -> str:
        """The command, for a shell."""
        return shlex.join(["python", *self.words])

    def is_finished(self) -> bool:
        """Whether its result is there, so that it is skipped when the study is run again."""
        return any(self.folder.glob(self.result))


@dataclasses.dataclass(frozen=True)
class Study:
    """A variant of a study, with its folders.

    Attributes:
      path: the study's file.
      variant: name in its VARIANTS.
      settings: of the variant, with what the user gave.
      raw_dir: folder of the raw data set.
      work_dir: for the records, which variants share, and a folder for each variant.
    """

    path: pathlib.Path
    variant: str
    settings: Mapping[str, Any]
    raw_dir: pathlib.Path
    work_dir: pathlib.Path

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.stem

    @property
    def folder(self) -> pathlib.Path:
        """Runs, models, cohorts, reports and the page of the variant."""
        return self.work_dir / self.variant

    @property
    def records(self) -> pathlib.Path:
        """Records of the raw data; smoke's are its own, the other variants share theirs."""
        return (self.folder if self.variant == SMOKE else self.work_dir) / "records"

    def stage(
        self,
        name: str,
        module: str,
        *,
        settings: Mapping[str, Any] | None = None,
        result: str = "",
        may_fail: bool = False,
        **flags: Any,
    ) -> Stage:
        """`python -m MODULE` with flags: None is left out, True is --name, values of a list are joined by commas.

        Args:
          name: of the stage; "minutes" of the variant may say how long stages take whose names begin so.
          module: one of `RESULTS`.
          settings: one --set=name=value each; a dictionary in it gives names such as classifier.learning_rate.
          result: what it writes last, where that is another file than usually.
          may_fail: see `Stage`.
          **flags: flag -> value.
        """
        given = {flag: value for flag, value in flags.items() if value is not None and value != []}
        words = [f"--{flag}" if value is True else f"--{flag}={_text(value)}" for flag, value in given.items()]
        for setting, value in (settings or {}).items():
            named = (
                {f"{setting}.{key}": part for key, part in value.items()}
                if isinstance(value, dict)
                else {setting: value}
            )
            words += [f"--set={key}={part}" for key, part in named.items()]
        folder_flag, usual_result = RESULTS[module]
        size = flags.get("image_sizes", ["*"])[-1]  # the largest is written last
        folder = pathlib.Path(flags[folder_flag])
        result = (result or usual_result).format(size=size)
        return Stage(name, ("-m", *module.split(), *words), folder, result, self._minutes(name), may_fail)

    def train(
        self, run: str, described: Mapping[str, Any], *, settings: Mapping[str, Any] | None = None, **flags: Any
    ) -> Stage:
        """Trains and exports what a part of the variant describes; `flags` and `settings` win over what it says.

        Args:
          run: name of the run folder, and of the exported model's folder in `saved_models`.
          described: with "model_name", see `declaration`.
        """
        training = training_of(described)
        flags = {"run_dir": self.folder / run, "export_dir": self.saved_model(run)} | flags
        both = {"precision": "float32"} | training.settings | dict(settings or {})
        return self.stage(f"train {run}", "tfcxr.train", settings=both, **(training.flags | flags), resume=True)

    def merge(self, name: str, data_dirs: Sequence[pathlib.Path], out_dir: pathlib.Path, image_size: int) -> Stage:
        """Joins data folders of one size to one in `out_dir`."""
        words = ("-m", "tfrecords_builder", "merge", *map(str, data_dirs), f"--out_dir={out_dir}")
        return Stage(name, words, out_dir, RECORDS.format(size=image_size), self._minutes(name))

    def saved_model(self, run: str) -> pathlib.Path:
        """Where a run of `train` is exported."""
        return self.folder / "saved_models" / run

    def _minutes(self, stage_name: str) -> float | None:
        measured = self.settings.get("minutes", {})
        return next((minutes for beginning, minutes in measured.items() if stage_name.startswith(beginning)), None)


def sizes_to(image_size: int) -> list[int]:
    """4, 8, 16 and so on to `image_size`, which a growing model is trained on."""
    return [4 << power for power in range(image_size.bit_length() - 2)]


def run_apart(words: Sequence[str]) -> int:
    """Runs a command in a process of its own; what it prints is seen at once."""
    return subprocess.run([sys.executable, *words]).returncode


def run_here(words: Sequence[str]) -> int:
    """Runs a command in this process, which spares it the start of TensorFlow."""
    _, module, *flags = words
    try:
        if module == "tfrecords_builder":
            importlib.import_module(f"{module}.__main__").start([module, *flags])
        else:
            command_line.run(getattr(importlib.import_module(module), module.rpartition(".")[2]), [module, *flags])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def run_stages(study: Study, stages: Sequence[Stage], launch: Launch = run_apart) -> None:
    """Runs what is not finished, one after the other, and ends at the first failure that is no result.

    Raises:
      ValueError: a stage was begun by another command, so its folder holds something else; the difference is named.
      SystemExit: a stage failed (with its exit status) or did not write its result.
    """
    for stage in stages:
        _check_same_command(study, stage)
    for number, stage in enumerate(stages, start=1):
        where = f"stage {number} of {len(stages)}, {stage.name}"
        if stage.is_finished():
            logging.info("%s: done before", where)
            continue
        if stage.may_fail and _kept(study, stage).get("failed"):
            logging.info("%s: failed before, which is a result too", where)
            continue
        logging.info("%s%s: %s", where, _time_left(study, stages), stage.line)
        seconds, begun = _kept(study, stage).get("seconds", 0.0), time.monotonic()
        _keep(study, stage, seconds)
        status = launch(stage.words)
        is_result = status == 1 and stage.may_fail
        _keep(study, stage, seconds + time.monotonic() - begun, is_result)
        if is_result:
            logging.warning("%s ended with status 1, which is a result too; the study goes on without it", where)
            continue
        if status:
            how = (
                f"was stopped by signal {-status}; the same command resumes the study there"
                if status < 0
                else f"ended with status {status}, for the reason above; mend it, and the study goes on there"
            )
            print(f"{where} {how}", file=sys.stderr)
            raise SystemExit(status if status > 0 else 128 - status)
        if not stage.is_finished():
            raise SystemExit(
                f"{where}: {stage.folder / stage.result} is not finished; run the study again to resume it"
            )


def seconds_of(study: Study, stage: Stage) -> float | None:
    """How long a stage took, over all its runs; None where it is not known."""
    return _kept(study, stage).get("seconds") if stage.is_finished() else None


def _time_left(study: Study, stages: Sequence[Stage]) -> str:
    """In brackets, by the stages' estimates and how long finished ones took against theirs."""
    left = [stage for stage in stages if not (stage.is_finished() or _kept(study, stage).get("failed"))]
    if any(stage.minutes is None for stage in left):
        return ""
    taken = [(seconds_of(study, stage), stage.minutes) for stage in stages]
    known = [(seconds / 60, minutes) for seconds, minutes in taken if seconds is not None and minutes]
    pace = sum(took for took, _ in known) / sum(minutes for _, minutes in known) if known else 1.0
    return f" (about {time_text(pace * sum(stage.minutes or 0 for stage in left))} left)"


def time_text(minutes: float) -> str:
    """As "40 seconds", "25 minutes", "3.5 hours" or "12 days"."""
    if minutes < 1.5:
        return f"{round(60 * minutes)} seconds"
    if minutes < 100:
        return f"{round(minutes)} minutes"
    return f"{minutes / 60:.1f} hours" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"


def _state_path(study: Study, stage: Stage) -> pathlib.Path:
    """What variants share is kept beside their folders."""
    is_own = study.folder in (stage.folder, *stage.folder.parents)
    return (study.folder if is_own else study.work_dir) / STATE_FILE


def _kept(study: Study, stage: Stage) -> dict[str, Any]:
    return _read_state(_state_path(study, stage)).get(stage.name, {})


def _keep(study: Study, stage: Stage, seconds: float, failed: bool = False) -> None:
    path = _state_path(study, stage)
    state = _read_state(path)
    state[stage.name] = {"command": list(_placeless(study, stage)), "seconds": round(seconds, 1), "failed": failed}
    write_atomically(path, json.dumps(state, indent=2) + "\n")


def _read_state(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: {"command": entry["command"], "seconds": entry["seconds"], "failed": entry.get("failed", False)}
            for name, entry in state.items()
        }
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); choose another --work_dir") from error


def _placeless(study: Study, stage: Stage) -> tuple[str, ...]:
    """The command without the place of the work folder, which may be moved, and with the whole path of the raw data."""
    work_dir, raw_dir = str(study.work_dir), str(study.raw_dir)
    placed = (word.replace(f"={raw_dir}", f"={study.raw_dir.resolve()}") for word in stage.words)
    return tuple(word.replace(f"{work_dir}/", "WORK_DIR/") for word in placed)


def _check_same_command(study: Study, stage: Stage) -> None:
    before, now = _kept(study, stage).get("command"), list(_placeless(study, stage))
    if before in (None, now) or not stage.folder.exists():  # what failed at once has left nothing to mix up
        return
    ours, theirs = ([word for word in words if word not in others] for words, others in ((now, before), (before, now)))
    raise ValueError(
        f"{stage.folder} holds {stage.name!r} of other settings: it was begun with {shlex.join(theirs) or 'less'}, now "
        f"it has {shlex.join(ours) or 'less'}; choose another --work_dir, or give the same flags"
    )


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
