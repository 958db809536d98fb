"""Reproduces a published study: from raw images to its last table, stage by stage, and prints its page.

    python -m tfcxr.study singh2023 --variant=smoke --work_dir=runs/singh2023
    python -m tfcxr.study singh2023 --variant=corrected --raw_dir=chest_xray --work_dir=runs/singh2023

A study is a file in experiments/: its protocol as data, its stages, and the paper's tables row by row; one without a
paper has a table of its own. `as_published` keeps the paper's settings, oddities included; `corrected` is what we would
do; `smoke` runs every stage on a few phantom radiographs, drawn in the layout of the data set, in minutes. The page has
the paper's figures, ours, the difference and why.

--dry_run lists the stages with their commands and estimates. Killed at any moment, the same command resumes.
"""

import dataclasses
import pathlib

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag
from tfcxr.registry import load_plugin
from tfcxr.studies.declaration import find_study, read_variant, study_files, with_given
from tfcxr.studies.page import paper_table, write_page
from tfcxr.studies.stages import SMOKE, Stage, Study, run_apart, run_here, run_stages, time_text

RAW = "raw"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyArguments(Arguments):
    """Which study, and where.

    Attributes:
      names: The study: a file in experiments/ by its name, or a path.
      variant: as_published, corrected, smoke, or another variant of the file.
      raw_dir: Folder of the raw data set; smoke draws phantom radiographs where it is left out.
      work_dir: Folder for records, runs, models, cohorts, reports and the page.
      settings: Setting of the variant, such as image_size=256 or cgan.steps=500; repeatable.
      dry_run: List the stages with their commands and estimates, and run nothing.
    """

    names: tuple[str, ...] = flag((), is_positional=True)
    variant: str = "corrected"
    raw_dir: str | None = None
    work_dir: str | None = None
    settings: tuple[str, ...] = flag((), name="set", is_repeated=True)
    dry_run: bool = False


def study(arguments: StudyArguments) -> pathlib.Path | None:
    """Runs what is not finished, then writes and prints the page.

    Returns:
      the page's path, None for a dry run.

    Raises:
      FileNotFoundError: no such study or raw folder.
      ValueError: no study named, an unknown name, variant or setting, no --raw_dir, or what `run_stages` refuses.
      SystemExit: a stage failed.
    """
    if len(arguments.names) != 1:
        raise ValueError(f"expected one study, got {len(arguments.names)}; there are {', '.join(study_files())}")
    path = find_study(arguments.names[0])
    settings = with_given(read_variant(path, arguments.variant), arguments.settings)
    work_dir = pathlib.Path(arguments.work_dir or pathlib.Path("runs") / path.stem)
    if arguments.raw_dir is None and arguments.variant != SMOKE and not arguments.dry_run:
        raise ValueError(
            f"--raw_dir is required: the raw data of {settings.get('dataset', 'the study')}, see python -m "
            f"tfrecords_builder describe {settings.get('dataset', '')}. --variant={SMOKE} needs none"
        )
    raw_dir = pathlib.Path(arguments.raw_dir or work_dir / arguments.variant / RAW)
    if arguments.raw_dir and not raw_dir.is_dir():
        raise FileNotFoundError(f"--raw_dir={raw_dir} does not exist; expected the folder of the raw data set")
    chosen = Study(path, arguments.variant, settings, raw_dir, work_dir)
    declared = load_plugin(str(path))
    stages = declared.stages(chosen)
    if arguments.raw_dir is None and arguments.variant == SMOKE:
        stages = [_drawing(chosen), *stages]
    if arguments.dry_run:
        _list(stages)
        return None
    run_stages(chosen, stages, run_here if arguments.variant == SMOKE else run_apart)
    has_paper = hasattr(declared, "rows")
    table = paper_table(declared.rows(chosen)) if has_paper else declared.table(chosen)
    pictures = declared.pictures(chosen) if hasattr(declared, "pictures") else {}
    page = write_page(chosen, declared.__doc__ or "", stages, table, pictures)
    print(page.read_text(encoding="utf-8"))
    print(f"page: {page.with_suffix('.html')}")
    return page


def _drawing(study: Study) -> Stage:
    facts = {name: study.settings[f"phantom_{name}"] for name in ("images", "image_size")}
    return study.stage(
        "draw phantoms", "tfrecords_builder imitate", dataset=study.settings["dataset"], out_dir=study.raw_dir, **facts
    )


def _list(stages: list[Stage]) -> None:
    for number, stage in enumerate(stages, start=1):
        minutes = "time unknown" if stage.minutes is None else f"about {time_text(stage.minutes)}"
        print(f"{number:>2}. {stage.name} ({'finished' if stage.is_finished() else minutes})\n    {stage.line}")
    known = [stage.minutes for stage in stages if stage.minutes is not None and not stage.is_finished()]
    unknown = sum(stage.minutes is None and not stage.is_finished() for stage in stages)
    parts = [f"about {time_text(sum(known))} on two processor cores"] if known else []
    parts += [f"{unknown} stages whose time nobody has measured"] if unknown else []
    print(f"left: {', and '.join(parts) or 'nothing'}")


if __name__ == "__main__":
    command_line.run(study)
