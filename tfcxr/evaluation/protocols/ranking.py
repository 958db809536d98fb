"""Ranking: which of several synthetic cohorts is nearest to real patients, and which differ at all?

Each extractor describes every image. Each cohort is divided into equal independent draws, and each draw has its
distance from the same held-out real images; pairs of cohorts are compared by t-tests over their draws (Chetty 2023). A
draw's distance says what sampling from one generator does; that another training of the same settings
would give another generator, it cannot say.

Cohorts of one run at several steps are named RUN@STEP, such as --synthetic_dir=wgan@1000=FOLDER,wgan@2000=FOLDER: their
distances are drawn over the steps with standard deviations of the draws, the step of the least distance is named, and
the t-tests compare the last step of each run.

Beside the distances stand diversity (so that a collapsed generator is seen) and the floor: real training images, drawn
alike, against the same held-out ones.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from tfcxr.data.records import read_dataset_info
from tfcxr.data.sizes import find_size
from tfcxr.evaluation import kept, label_checks
from tfcxr.evaluation.cohorts import (
    Cohort,
    Cohorts,
    check_alike,
    check_folders,
    load_cohort,
    load_cohorts,
)
from tfcxr.evaluation.diversity import SEED, spread_ratio
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.extractors import open_extractors
from tfcxr.evaluation.feature_distances import distances_of_draws
from tfcxr.evaluation.metrics import distance_metrics, metrics_of
from tfcxr.evaluation.metrics.image_diversity import scales_of
from tfcxr.evaluation.metrics.kernel_distance import MIN_IMAGES
from tfcxr.evaluation.metrics.metric import ClassDiversity
from tfcxr.evaluation.metrics.pairwise_tests import pairwise_t_tests
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.protocols.ranking_page import page_parts, report_scores
from tfcxr.evaluation.protocols.ranking_steps import compared_cohorts, step_sentences
from tfcxr.evaluation.protocols.ranking_verdict import LEVEL, REAL, verdict
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.shared_patients import refuse_shared_patients, training_leaks

VERSION = 2
DIVERSITY_PAIRS = 500


@dataclasses.dataclass(frozen=True)
class RankingSettings:
    """How cohorts are compared.

    Attributes:
      draws: equal parts that each cohort is divided into, two or more.
      extractor_data_dir: labelled real images that the extractor is trained on, where they are others than --real_dir;
        none of its patients may be in the test split.
      extractor_splits: of that folder.
    """

    draws: int = 10
    extractor_data_dir: str = ""
    extractor_splits: tuple[str, ...] = ("train",)

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise ValueError(f"a t-test needs two draws or more, got ranking.draws={self.draws}")


def run(evaluation: Evaluation, settings: RankingSettings) -> Findings:
    """Measures every cohort; distances are from the test split, the floor is of the training splits.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: fewer than two cohorts, several test splits, what `load_cohorts` refuses, too few images, no label
        that the extractor could learn, or test patients that a generator or the extractor has seen.
    """
    cohorts, extractor_data, is_single_label = _load(evaluation, settings)
    ((split, test),) = cohorts.tests.items()
    sizes = [len(cohort.images) // settings.draws for cohort in cohorts.synthetic.values()]
    per_draw = min(len(test.images), *sizes)
    if per_draw < MIN_IMAGES:
        raise ValueError(
            f"{settings.draws} draws need {MIN_IMAGES} images each or more, the smallest cohort or split "
            f"{split!r} gives {per_draw}"
        )
    if len(cohorts.real.images) < 2:
        raise ValueError(
            f"diversity needs two images, but {evaluation.train_splits_flag} holds {len(cohorts.real.images)}"
        )
    scales_of(test.images.shape[1])  # refuses images too small for MS-SSIM
    seed, names = evaluation.classifier_seeds[0], tuple(extractor_data.facts["label_names"])
    learned_from = dataclasses.replace(
        cohorts, real=extractor_data, validation=None, label_names=names, is_single_label=is_single_label
    )
    extractors = open_extractors(evaluation, learned_from)
    spreads = [metric for metric in metrics_of(ClassDiversity) if metric.reads == "images"]
    sides, random = {**cohorts.synthetic, REAL: cohorts.real}, np.random.default_rng(seed)
    orders = {name: random.permutation(len(side.images)) for name, side in sides.items()}
    diversity = {
        name: {
            metric.name: metric.measure(side.images.where(orders[name]), DIVERSITY_PAIRS, SEED) for metric in spreads
        }
        for name, side in tqdm(sides.items(), desc="diversity", unit="cohort", leave=False)
    }
    ratios = {
        name: {f"{m.name}_ratio": spread_ratio(m, found[m.name], diversity[REAL][m.name]) for m in spreads}
        for name, found in diversity.items()
    }
    found: dict[str, dict[str, Any]] = {}
    for extractor in tqdm(extractors, desc="ranking", unit="extractor", leave=False):
        real_features, distances = extractor.features_of(test), {}
        for name, side in sides.items():
            draws = settings.draws if name != REAL else min(settings.draws, len(side.images) // per_draw)
            if draws >= 1:
                features = extractor.features_of(side)[orders[name][: draws * per_draw]]
                distances[name] = distances_of_draws(np.split(features, draws), real_features, seed)
        found[extractor.name] = _ranked(distances, ratios, list(cohorts.synthetic)) | {"passport": extractor.passport}
    notices = list(cohorts.notices)
    if all(REAL not in ranked["distances"] for ranked in found.values()):
        notices.append(f"there is no floor: the {REAL} are fewer than the {per_draw} of a draw")
    if not any(spread.spread(diversity[REAL][spread.name].mean) > spread.least_spread for spread in spreads):
        notices.append(f"the {REAL} are all the same, so that diversity has no ratio to them")
    data = {"version": VERSION, "extractors": found, "images_per_draw": per_draw, "seed": seed}
    verdicts = {}
    for name, ranked in found.items():
        rows = [row for row in ranked["table"] if row["cohort"] in (REAL, *ranked["compared"])]
        verdicts[name] = [
            *verdict(rows, ranked["tests"], split, per_draw),
            *step_sentences(ranked["table"]),
        ]
    if len(verdicts) > 1:
        verdicts = {name: [f"By {name}: {said[0]}", *said[1:]] for name, said in verdicts.items()}
    page = kept.plain_json(data)
    return Findings(
        title="Ranking of cohorts",
        verdict=[sentence for said in verdicts.values() for sentence in said],
        data=data,
        introduction=f"{per_draw} images per draw; mean and standard deviation over draws.",
        parts=[part for name, ranked in page["extractors"].items() for part in page_parts(name, ranked)],
        cohorts={**cohorts.facts, "extractor training": extractor_data.facts},
        shared_patients=cohorts.shared_patients,
        notices=notices,
        scores=report_scores(found, per_draw, {"version": VERSION, "draws": settings.draws}, test),
    )


def _ranked(
    distances: Mapping[str, Mapping[str, np.ndarray]], ratios: Mapping[str, Mapping[str, float]], names: Sequence[str]
) -> dict[str, Any]:
    """The table, the nearest first, and the tests of all pairs, of distances by cohort and metric, float [draws].

    Of a run with several steps, the last one is in the tests.
    """
    rows = []
    for name, by_metric in distances.items():
        row = {"cohort": name, "draws": min(map(len, by_metric.values())), **ratios[name]}
        for metric, values in by_metric.items():
            row[f"{metric}_mean"] = float(np.mean(values))
            row[f"{metric}_deviation"] = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        rows.append(row)
    headline, compared = distance_metrics()[0], compared_cohorts(names)
    rows.sort(key=lambda row: row[f"{headline.name}_mean"])
    tests = {
        metric.name: [
            dataclasses.asdict(pair)
            for pair in pairwise_t_tests({name: distances[name][metric.name] for name in compared}, LEVEL)
        ]
        for metric in distance_metrics()
    }
    return {"table": rows, "compared": compared, "tests": tests, "distances": distances}


def _load(evaluation: Evaluation, settings: RankingSettings) -> tuple[Cohorts, Cohort, bool]:
    """The cohorts, the extractor's training patients, and whether these have exclusive labels."""
    if len(evaluation.synthetic_dirs) < 2:
        raise ValueError(
            f"a ranking needs two cohorts or more, got {len(evaluation.synthetic_dirs)}; give "
            "--synthetic_dir=NAME=FOLDER,NAME=FOLDER"
        )
    if len(evaluation.test_sets) > 1:
        raise ValueError(f"a ranking takes one test split of one data set, got {', '.join(evaluation.test_sets)}")
    check_folders(evaluation, same_labels=False)
    folder, splits = evaluation.real_dir, settings.extractor_splits
    if settings.extractor_data_dir:
        folder = find_size(settings.extractor_data_dir, evaluation.real_info.image_size)
    info = read_dataset_info(folder)
    if info.is_synthetic:
        raise ValueError(f"{folder} holds synthetic images ({info.name}), expected real patients")
    check_alike(evaluation, folder, info, same_labels=False)
    names = evaluation.labels or info.label_names
    where = f"split {','.join(splits)} of {folder}"
    if evaluation.trains_extractor:
        label_checks.check_extractor_labels(where, label_checks.counts_of_splits(info, splits, names))
    cohorts = load_cohorts(evaluation, evaluation.labels)
    extractor_data = load_cohort(folder, info, splits, names)
    test_infos = {name: test.info for name, test in evaluation.test_sets.items()}
    shared = training_leaks(extractor_data, None, cohorts.tests, info, test_infos, "extractor's training")
    shared = [sentence for sentence in shared if sentence not in cohorts.shared_patients]
    refuse_shared_patients(shared, evaluation)
    cohorts = cohorts.with_notices(())
    return (
        dataclasses.replace(cohorts, shared_patients=(*cohorts.shared_patients, *shared)),
        extractor_data,
        info.is_single_label,
    )


RANKING = Protocol(
    name="ranking",
    question="which of several cohorts (--synthetic_dir=NAME=FOLDER,NAME=FOLDER) is nearest to the real patients of "
    "one test split, and which differ, in the eyes of each --extractor?",
    settings_class=RankingSettings,
    run=run,
    unused=("validation_splits",),
    takes_several=True,
)
