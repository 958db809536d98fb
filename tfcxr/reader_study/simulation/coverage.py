"""How often the report's 95 % intervals hold the truth, over simulated studies whose truth is known.

Each study draws new readers, new images' looks and new answers for the same design. Its answers pass through the
server's application in this process (Starlette's TestClient: routes, checks, SQLite; no socket), or go to the analyses
directly. The analyses are the report's own; an interval is known by its path in `Analysis.numbers`, and its truth by
`true_values`.
"""

import csv
import dataclasses
import gc
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from scipy.special import betaincinv
from tqdm import tqdm

from tfcxr.reader_study.answers import Answer, AnswerStore
from tfcxr.reader_study.design_file import IMAGES_FOLDER, LINKS_FILE, Design, ImageOrigin, write_study
from tfcxr.reader_study.readings import readings
from tfcxr.reader_study.simulation.http_reader import HttpReader
from tfcxr.reader_study.simulation.reader_model import ReaderSkill, SimulatedReaders
from tfcxr.reader_study.simulation.true_values import VALUES, true_values
from tfcxr.reader_study.statistics.analysis import ANALYSES, Estimate

# name in an analysis -> name in `true_values`; all other names are looked up as they are
OTHER_NAMES = {
    "real_errors": "real_called_synthetic",
    "synthetic_errors": "synthetic_called_real",
    "average": "auc",
    "average_by_pseudovalues": "auc",
}
# parts of `numbers` that are no estimates of a population value: published ones, and those of parts of a study
LEFT_OUT = ("segal2021", "by_", "readers", "groups")
Simulation = Callable[[SimulatedReaders], Sequence[Answer]]


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Of one interval.

    Attributes:
      truth: what it should hold.
      studies: that have this interval.
      covered: intervals that hold the truth.
      too_high: intervals wholly above it.
      mean_value: of the estimate over studies, to be compared with the truth.
      mean_width: of the intervals.
    """

    truth: float
    studies: int
    covered: int
    too_high: int
    mean_value: float
    mean_width: float

    @property
    def rate(self) -> Estimate:
        """Share of intervals that hold the truth, with its exact 95 % interval (Clopper & Pearson 1934)."""
        hits, misses = self.covered, self.studies - self.covered
        low = float(betaincinv(hits, misses + 1, 0.025)) if hits else 0.0
        high = float(betaincinv(hits + 1, misses, 0.975)) if misses else 1.0
        return Estimate(hits / self.studies, low, high, self.studies)


def measure_coverage(
    design: Design,
    key: Mapping[str, ImageOrigin],
    skill: ReaderSkill,
    simulation: Simulation,
    *,
    studies: int,
    seed: int,
    analyses: Sequence[str] = ("rates", "hype", "roc"),
) -> dict[str, Coverage]:
    """Simulates studies, analyses each, and counts which intervals hold the truth.

    Args:
      simulation: what readers answer: `direct_answers` or `answers_through_app` of the design.
      studies: their number; study i is drawn by (seed, i).
      analyses: names in `ANALYSES`.

    Returns:
      Path of an interval, such as "rates/simple/pairs_right/wilson_over_answers" -> its coverage. After Ctrl-C, of the
      studies that are finished.

    Raises:
      ValueError: the design has nothing with a known truth, or no analysis has an interval for it.
    """
    truths = true_values(design, key, skill)
    if not truths:
        raise ValueError("no item has a true rate: a staircase's exposures follow the answers; add items without one")
    found: dict[str, list[Estimate]] = {}
    numbers = tqdm(range(studies), desc="studies", unit="study", leave=False)
    try:
        for number in numbers:
            answers = simulation(SimulatedReaders(design, key, skill, (seed, number)))
            of_study = readings(design, key, answers)
            for name in analyses:
                analysis = ANALYSES[name](of_study)
                for path, estimate in _estimates(analysis.numbers if analysis else {}):
                    if _truth_name(path) in truths:
                        found.setdefault("/".join((name, *path)), []).append(estimate)
    except KeyboardInterrupt:
        if not found:
            raise
        logging.warning("stopped after %d of %d studies; what follows is of these", numbers.n, studies)
    if not found:
        raise ValueError(f"{', '.join(analyses)} have no interval for {', '.join(truths)}; name other --analyses")
    return {
        path: _coverage(estimates, truths[_truth_name(tuple(path.split("/")[1:]))])
        for path, estimates in sorted(found.items())
    }


def direct_answers(design: Design) -> Simulation:
    """Final answers without a server."""

    def answers(simulated: SimulatedReaders) -> list[Answer]:
        return [
            Answer(
                request=f"{reader}/{item}",
                reader=reader,
                item=item,
                event="final",
                answer=simulated.answer(reader, item, design.items[item].exposure_seconds),
                elapsed_seconds=simulated.seconds(reader, item),
            )
            for reader, facts in design.readers.items()
            for item in facts.items
        ]

    return answers


def answers_through_app(
    folder: pathlib.Path,
    design: Design,
    key: Mapping[str, ImageOrigin],
    tokens: Mapping[str, str],
    make_app: Callable[[pathlib.Path], Any],
) -> Simulation:
    """Answers that were stored by the server's application; each study gets a folder of its own for that time.

    Args:
      folder: of the study whose images are shown.
      tokens: reader -> token of the reader's link.
      make_app: of a study's folder, such as `app.create_app`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of Starlette ask for httpx2, older ones know httpx alone
        from starlette.testclient import TestClient  # of the serving extra

    def answers(simulated: SimulatedReaders) -> list[Answer]:
        with tempfile.TemporaryDirectory(prefix="tfcxr_simulated_") as name:
            copy = pathlib.Path(name)
            _link_study(folder, copy, design, key, tokens)
            with TestClient(make_app(copy)) as client:
                for reader, token in tokens.items():
                    HttpReader(client, token, reader, simulated, design, key).visit(is_complete=False)
            with AnswerStore(copy, design) as store:
                rows = store.rows()
        gc.collect()  # closes the application's file, which refers to itself; 1,000 open ones are too many
        return rows

    return answers


def coverage_lines(coverages: Mapping[str, Coverage]) -> list[str]:
    """A line per interval for the terminal."""
    width = max(map(len, coverages))
    lines = [f"{'interval':<{width}}  truth   mean  width  covered (95 % interval)"]
    for path, coverage in coverages.items():
        rate = coverage.rate
        lines.append(
            f"{path:<{width}}  {coverage.truth:.3f}  {coverage.mean_value:.3f}  {coverage.mean_width:.3f}  "
            f"{100 * rate.value:.1f} % ({100 * rate.low:.1f}-{100 * rate.high:.1f})"
        )
    return lines


def _link_study(
    folder: pathlib.Path,
    copy: pathlib.Path,
    design: Design,
    key: Mapping[str, ImageOrigin],
    tokens: Mapping[str, str],
) -> None:
    write_study(copy, design, dict(key))
    (copy / IMAGES_FOLDER).symlink_to((folder / IMAGES_FOLDER).resolve(), target_is_directory=True)
    with (copy / LINKS_FILE).open("w", encoding="utf-8", newline="") as file:
        rows = [(name, design.readers[name].group, f"/r/{token}") for name, token in tokens.items()]
        csv.writer(file).writerows([("reader", "group", "path"), *rows])


def _estimates(numbers: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Estimate]]:
    for name, value in numbers.items():
        if name.startswith(LEFT_OUT):
            continue
        if isinstance(value, Estimate):
            yield (*path, name), value
        elif isinstance(value, Mapping):
            yield from _estimates(value, (*path, name))


def _truth_name(path: tuple[str, ...]) -> str:
    """The name in `true_values` of an interval, such as "pairs_right" of ("simple", "pairs_right", "wilson")."""
    return next((OTHER_NAMES.get(name, name) for name in path if OTHER_NAMES.get(name, name) in VALUES), "")


def _coverage(estimates: Sequence[Estimate], truth: float) -> Coverage:
    low, high = (np.array([getattr(estimate, end) for estimate in estimates]) for end in ("low", "high"))
    return Coverage(
        truth=truth,
        studies=len(estimates),
        covered=int(((low <= truth) & (truth <= high)).sum()),  # an end that is not a number covers nothing
        too_high=int((low > truth).sum()),
        mean_value=float(np.mean([estimate.value for estimate in estimates])),
        mean_width=float(np.mean(high - low)),
    )
