"""Simulated readers answer a study over HTTP; or many simulated studies tell how often the intervals hold the truth.

    python -m tfcxr.reader_study simulate --study_dir=runs/readers --out_dir=runs/simulated --skill=1
    python -m tfcxr.reader_study simulate --study_dir=runs/readers --studies=1000 --out_dir=runs/coverage

The first copies the study, serves the copy on a free loopback port and leaves a study that `report` reads. --server
names one that runs already; the study must have no answers of people. The second passes the answers of each study
through the server's application within this process, or, with --without_server, straight to the analyses; Ctrl-C ends
it with the studies that are finished.
"""

import contextlib
import dataclasses
import json
import pathlib
import tempfile
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from absl import logging

import tfcxr
from tfcxr.command_line import Arguments, flag, refuse_flags
from tfcxr.data.atomic import write_atomically
from tfcxr.reader_study.answers import AnswerStore
from tfcxr.reader_study.design_file import Design, ImageOrigin, read_design, read_key
from tfcxr.reader_study.readings import Reading, readings
from tfcxr.reader_study.simulation.reader_model import ReaderSkill, SimulatedReaders
from tfcxr.reader_study.statistics.analysis import ANALYSES

if TYPE_CHECKING:
    from tfcxr.reader_study.simulation.coverage import Coverage

COVERAGE_FILE = "coverage.json"
DEFAULT = ReaderSkill()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulateArguments(Arguments):
    """Who answers what, and where.

    Attributes:
      study_dir: Folder of the study, with its links.
      out_dir: New folder for the answered copy of the study, or folder for coverage.json; "" keeps nothing.
      server: URL of a server that runs for study_dir, such as http://127.0.0.1:8600; "" starts one for a copy.
      workers: Readers that answer at once.
      seed: Of the readers, the looks of the images and the answers.
      skill: Mean d' of the readers; 0 is guessing, 1 is right in 69 % of unbiased answers before the spreads.
      reader_spread: Standard deviation of d' over readers.
      case_spread: Standard deviation over images of how synthetic each looks to every reader.
      bias: Criterion; above 0, readers call more images real.
      time_constant: Exposure after which 63 % of d' is reached, seconds.
      studies: Simulated studies for the coverage of the intervals, each with new readers; 0 answers the study once.
      without_server: With studies, give the answers to the analyses without the server's application.
      analyses: With studies, whose intervals are counted.
    """

    study_dir: str
    out_dir: str = ""
    server: str = ""
    workers: int = flag(8, minimum=1, maximum=1000)
    seed: int = flag(0, minimum=0)
    skill: float = DEFAULT.mean
    reader_spread: float = flag(DEFAULT.reader_spread, minimum=0)
    case_spread: float = flag(DEFAULT.case_spread, minimum=0)
    bias: float = DEFAULT.bias
    time_constant: float = flag(DEFAULT.time_constant, minimum=0.001)
    studies: int = flag(0, minimum=0)
    without_server: bool = False
    analyses: tuple[str, ...] = flag(("rates", "hype", "roc"), choices=ANALYSES)


def simulate(arguments: SimulateArguments) -> None:
    """Answers a study, or measures coverage; prints what came out beside the truth.

    Raises:
      FileNotFoundError: no study, or a part of it is missing.
      ValueError: flags that do not go together, a study with answers of people, an out_dir that is not empty, or what
        `simulate.simulate` and `coverage.measure_coverage` refuse.
      ConnectionError: no server answers.
    """
    skill = ReaderSkill(
        arguments.skill, arguments.reader_spread, arguments.case_spread, arguments.bias, arguments.time_constant
    )
    if arguments.studies:
        refuse_flags(arguments, ["server", "workers"], "--studies runs in this process; leave them out")
    else:
        refuse_flags(arguments, ["without_server", "analyses"], "they are of --studies; give it too")
    if arguments.server and urlsplit(arguments.server).scheme not in ("http", "https"):
        raise ValueError(f"--server must be a URL such as http://127.0.0.1:8600, got {arguments.server}")
    if arguments.server and arguments.out_dir:
        raise ValueError("--out_dir is for a copy, and --server answers the study itself; give one of them")
    folder = pathlib.Path(arguments.study_dir)
    design = read_design(folder)
    key = read_key(folder, design)
    if arguments.studies:
        _coverage(arguments, folder, design, key, skill)
    else:
        _answer_once(arguments, folder, design, key, skill)


def _answer_once(
    arguments: SimulateArguments, folder: pathlib.Path, design: Design, key: dict[str, ImageOrigin], skill: ReaderSkill
) -> None:
    # SciPy and httpx take half a second to import, which --help and mistakes do not wait for
    from tfcxr.reader_study.simulation.simulate import copy_study, refuse_people
    from tfcxr.reader_study.simulation.simulate import simulate as simulate_study
    from tfcxr.reader_study.simulation.true_values import true_values

    with contextlib.ExitStack() as stack:
        if arguments.server:
            refuse_people(folder, design)
            url = arguments.server.rstrip("/")
        else:
            from tfcxr.reader_study.server.app import create_app  # of the serving extra
            from tfcxr.reader_study.server.study_server import StudyServer

            copy = pathlib.Path(arguments.out_dir or stack.enter_context(tempfile.TemporaryDirectory()))
            copy_study(folder, copy)
            folder, url = copy, stack.enter_context(StudyServer(create_app(copy))).address
        started = time.monotonic()
        model = SimulatedReaders(design, key, skill, arguments.seed)
        visits = simulate_study(folder, design, key, model, url, seed=str(arguments.seed), workers=arguments.workers)
        seconds = time.monotonic() - started
        with AnswerStore(folder, design) as store:
            found = readings(design, key, store.rows())
    requests = sum(len(visit.requests) for visit in visits.values())
    print(
        f"{len(visits)} simulated readers answered {sum(visit.finished for visit in visits.values())} items in "
        f"{seconds:.1f} s; all {requests} acknowledged rows are stored"
    )
    for name, truth in true_values(design, key, skill).items():
        if (share := _share(found, name)) is not None:
            print(f"{name}: {share:.3f} in this study, {truth:.3f} over all readers and images of the model")
    if arguments.server or arguments.out_dir:
        print(f"next: python -m tfcxr.reader_study report --study_dir={folder}")


def _coverage(
    arguments: SimulateArguments, folder: pathlib.Path, design: Design, key: dict[str, ImageOrigin], skill: ReaderSkill
) -> None:
    from tfcxr.reader_study.simulation.coverage import (
        answers_through_app,
        coverage_lines,
        direct_answers,
        measure_coverage,
    )
    from tfcxr.reader_study.simulation.simulate import read_tokens

    if arguments.without_server:
        simulation = direct_answers(design)
    else:
        from tfcxr.reader_study.server.app import create_app

        simulation = answers_through_app(folder, design, key, read_tokens(folder, design), create_app)
    started = time.monotonic()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)  # the application tells of every reader who has finished
    try:
        coverages = measure_coverage(
            design, key, skill, simulation, studies=arguments.studies, seed=arguments.seed, analyses=arguments.analyses
        )
    finally:
        logging.set_verbosity(verbosity)
    content = {
        "tfcxr": tfcxr.__version__,
        "design_checksum": design.checksum,
        "skill": dataclasses.asdict(skill),
        "studies": max(coverage.studies for coverage in coverages.values()),
        "seed": arguments.seed,
        "passes_through_server": not arguments.without_server,
        "seconds": round(time.monotonic() - started, 1),
        "intervals": {path: _facts(coverage) for path, coverage in coverages.items()},
    }
    print("\n".join(coverage_lines(coverages)))
    if arguments.out_dir:
        path = pathlib.Path(arguments.out_dir) / COVERAGE_FILE
        write_atomically(path, json.dumps(content, indent=1) + "\n")
        print(f"written to {path}")


def _facts(coverage: "Coverage") -> dict[str, object]:
    return dataclasses.asdict(coverage) | {"rate": dataclasses.asdict(coverage.rate)}


def _share(found: list[Reading], name: str) -> float | None:
    """The plain share of a rate in `true_values`; None for what is no share of answers."""
    first = [reading for reading in found if not reading.repeat_of]
    counted = [reading for reading in first if reading.exposure_seconds is None] or first  # as `true_values` has it
    if name == "pairs_right":
        counted = [reading for reading in counted if reading.kind == "pair"]
    elif name in ("real_called_real", "synthetic_called_synthetic"):
        is_synthetic = name.startswith("synthetic")
        counted = [reading for reading in counted if reading.kind != "pair" and reading.is_synthetic == is_synthetic]
    else:
        return None
    return sum(reading.is_correct for reading in counted) / len(counted) if counted else None
