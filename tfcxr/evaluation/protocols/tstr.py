"""Train on synthetic, test on real (tstr): does a classifier learn from synthetic images what it learns from real ones?

For each seed one classifier is trained on N synthetic images, one on N images of real training patients and one on
both together (2N), and each is tested on real patients whom nobody has seen. The ratio of the synthetic to the real
AUC is the score (Singh, Lala, Macwan, Chaurasia 2023; Segal, Rubin, Rubin, Pantanowitz 2021, section "downstream").

Differs from the papers: a real-trained classifier with as many images stands beside the synthetic-trained one;
patients are kept apart; intervals resample patients; and diversity within each class is reported, because a generator
that has collapsed to one picture per class can still teach a classifier a good deal, which this score alone hides.

Each finished training is kept in `out_dir/arms`, so a killed evaluation continues where it stopped.
"""

import dataclasses
import io
import itertools
import json
import math
from typing import Any

import numpy as np
from absl import logging

from tfcxr.config import to_plain
from tfcxr.data.atomic import remove_temporary_files, write_atomically
from tfcxr.data.records import split_info
from tfcxr.evaluation.cohorts import Cohorts, load_cohorts, log_notices, read_descriptions, split_off_validation
from tfcxr.evaluation.diversity import (
    diversity_notices,
    diversity_rows,
    feature_diversity,
    feature_metrics,
    shown_sides,
)
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier import train_classifier
from tfcxr.evaluation.label_checks import (
    check_arms,
    check_label_splits,
    check_labels,
    check_patients,
    counts_of_labels,
    counts_of_splits,
    listed,
    missing_labels,
)
from tfcxr.evaluation.labelled_images import LabelledImages, join
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.classification import patient_resamples
from tfcxr.evaluation.metrics.image_diversity import scales_of
from tfcxr.evaluation.metrics.metric import ClassDiversity, LabelScore
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report.page import (
    cohort_table,
    estimate,
    metric_notes,
    number,
    picture,
    settings_table,
    software_text,
    table,
    text,
)
from tfcxr.evaluation.report.plain import json_key, json_text, plain_json, software_versions
from tfcxr.evaluation.report.plots import curves_plot, roc_plot, sample_grid
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.report.score_tables import arm_table, label_tables, threshold_tables
from tfcxr.evaluation.scores import ArmScores, ratio_summaries, score_arm, score_labels, score_text, youden_thresholds

VERSION = 2  # raise it when a change makes kept trainings wrong
ARMS = {"real": ("real",), "synthetic": ("synthetic",), "both": ("synthetic", "real")}  # name -> sides
BOOTSTRAP_SEED = 0
WEAK_AUC = 0.7  # a classifier that learns less than this from real images says little about synthetic ones
COLLAPSE_RATIO = 0.5  # of the real images' diversity, below which the verdict says so

DIVERSITY_TEXT = """A generator that makes one picture per class can still train a fair classifier. Here two images of
one class are compared. Ratios near 1 mean that synthetic images vary as real ones do; a ratio far below 1 means
collapse."""
INTERVAL_TEXT = """The test patients were resampled with replacement {resamples} times, with all their images, and with
the same draws for every arm and seed. In each resample a score is the mean over the classifier's seeds; the interval is
the middle 95 % of these means. It covers which patients were tested, not the classifier's random start (that is the
range over seeds) nor the choice of training images. A ratio compares both arms on the same resampled patients."""
SHARED_VALIDATION_TEXT = """Every arm stopped, and chose its threshold, on the same real validation patients, so the
synthetic arm saw them too."""
OWN_VALIDATION_TEXT = """Each arm kept back a share of its own training images (real ones by patient) to stop and to
choose its threshold."""


@dataclasses.dataclass(frozen=True)
class TSTRSettings:
    """What is trained and how it is scored.

    Attributes:
      images: to train on, synthetic and real; 0 is as many as the smaller side has.
      arms: what to train on, some of real, synthetic, both.
      bootstrap_resamples: of the test patients, for the intervals.
      diversity_pairs: image pairs per class for diversity.
    """

    images: int = 0
    arms: tuple[str, ...] = tuple(ARMS)
    bootstrap_resamples: int = 1000
    diversity_pairs: int = 1000

    def __post_init__(self) -> None:
        if not self.arms or len(set(self.arms)) != len(self.arms):
            raise ValueError(f"tstr.arms expects one or more different values, got {list(self.arms)}")
        if unknown := [arm for arm in self.arms if arm not in ARMS]:
            raise ValueError(f"unknown arm {unknown[0]!r} in tstr.arms; valid names: {', '.join(ARMS)}")
        for name, least in (("images", 0), ("bootstrap_resamples", 1), ("diversity_pairs", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"tstr.{name} must be {least} or more, got {getattr(self, name)}")


def run(evaluation: Evaluation, settings: TSTRSettings) -> Findings:
    """Trains what is not trained yet and tests it.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` and `train_classifier` refuse, images too small for MS-SSIM, or labels with which
        nothing can be learned or tested.
    """
    cohorts = _load(evaluation, settings)
    folder = evaluation.out_dir / "arms"
    folder.mkdir(parents=True, exist_ok=True)
    remove_temporary_files(folder)
    trainings: dict[str, list[dict[str, Any]]] = {arm: [] for arm in settings.arms}
    runs = list(itertools.product(evaluation.classifier_seeds, settings.arms))
    for number_of_run, (seed, arm) in enumerate(runs, start=1):
        trainings[arm].append(_find_or_train(evaluation, cohorts, arm, seed, f"{number_of_run} of {len(runs)}"))
    scores = _scores(settings, cohorts, trainings)
    diversity = diversity_rows(
        cohorts, [item["feature_diversity"] for item in trainings.get("real", [])], settings.diversity_pairs
    )
    tests = {
        split: {
            **cohorts.tests[split].facts,
            "arms": {arm: arm_scores.summary for arm, arm_scores in by_arm.items()},
            "ratios_to_real": {
                arm: ratio_summaries(by_arm[arm], by_arm["real"])
                for arm in by_arm
                if arm != "real" and "real" in by_arm
            },
        }
        for split, by_arm in scores.items()
    }
    data = {
        "label_names": cohorts.label_names,
        "is_single_label": cohorts.is_single_label,
        "images_per_side": len(cohorts.real.images),
        "tests": tests,
        "diversity": diversity,
        "trainings": [
            {name: value for name, value in item.items() if name not in ("arrays", "key", "feature_diversity")}
            for finished in trainings.values()
            for item in finished
        ],
        "passport": {
            "classifier": to_plain(evaluation.classifier),
            "classifier_seeds": evaluation.classifier_seeds,
            "cohorts": {
                "synthetic": cohorts.only_synthetic.facts,
                "real": cohorts.real.facts,
                "validation": cohorts.validation.facts if cohorts.validation else None,
            },
            "bootstrap": {"unit": "patient", "resamples": settings.bootstrap_resamples, "seed": BOOTSTRAP_SEED},
            "software": software_versions(),
        },
        "seconds": {"training": sum(item["seconds"] for finished in trainings.values() for item in finished)},
    }
    architecture = evaluation.classifier.architecture
    return Findings(
        title="Train on synthetic, test on real",
        version=VERSION,
        verdict=verdict(architecture, tests, diversity),
        shared_patients=cohorts.shared_patients,
        notices=[*cohorts.notices, *diversity_notices(diversity)],
        data=data,
        introduction=f"{data['images_per_side']} training images per side, {text(architecture)}, "
        f"{len(evaluation.classifier_seeds)} trainings per arm.",
        parts=page_parts(plain_json(data), cohorts, trainings),
    )


def _load(evaluation: Evaluation, settings: TSTRSettings) -> Cohorts:
    """Loads as many images of either side, and refuses labels with which nothing can be learned or tested."""
    descriptions = read_descriptions(evaluation)
    real_info, (synthetic_info,) = descriptions.real, descriptions.synthetic.values()
    names, is_single_label = real_info.label_names, real_info.is_single_label
    splits = {"synthetic": evaluation.synthetic_splits or tuple(synthetic_info.splits), "real": evaluation.train_splits}
    infos = {"synthetic": synthetic_info, "real": real_info}
    folders = {"synthetic": f"--synthetic_dir={evaluation.synthetic_dir}", "real": f"--real_dir={evaluation.real_dir}"}
    available = {side: sum(split_info(infos[side], split).images for split in splits[side]) for side in infos}
    for side, count in available.items():
        if settings.images > count:
            raise ValueError(
                f"tstr.images={settings.images} were asked for on each side, but {folders[side]} holds {count}"
            )
    whole = {side: counts_of_splits(infos[side], splits[side], names) for side in infos}
    check_arms(evaluation, settings.arms, whole, is_single_label)
    notices = check_label_splits(evaluation, real_info, descriptions.test, must_test=True)
    scales_of(real_info.image_size)  # refuses images too small for MS-SSIM
    cohorts = load_cohorts(
        evaluation,
        descriptions,
        names,
        settings.images or min(available.values()),
        uses_generator=settings.arms != ("real",),
    )
    chosen = {"real": cohorts.real, "synthetic": cohorts.only_synthetic}
    counts = {side: counts_of_labels(cohort.labels, names) for side, cohort in chosen.items()}
    notices += check_arms(evaluation, settings.arms, counts, is_single_label)
    for split, test in cohorts.tests.items():
        notices += check_patients(evaluation.test_split_flag(split), test.labels, test.patient_keys, names)
    notices += _check_kept_back(evaluation, settings, cohorts)
    cohorts = dataclasses.replace(cohorts, notices=(*cohorts.notices, *notices))
    log_notices(cohorts.notices)
    return cohorts


def _arm_images(evaluation: Evaluation, cohorts: Cohorts, arm: str, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """What an arm trains on and what it validates on, unread."""
    sides = {"synthetic": cohorts.only_synthetic, "real": cohorts.real}
    chosen = [sides[name] for name in ARMS[arm]]
    if cohorts.validation is not None:
        return join([side.labelled for side in chosen]), cohorts.validation.labelled
    training, validation = [], []
    for side in chosen:
        groups = side.patient_keys if side is cohorts.real else np.arange(len(side.images))
        is_kept_back = split_off_validation(groups, evaluation.classifier.validation_fraction, seed)
        training.append(side.labelled.where(~is_kept_back))
        validation.append(side.labelled.where(is_kept_back))
    return join(training), join(validation)


def _check_kept_back(evaluation: Evaluation, settings: TSTRSettings, cohorts: Cohorts) -> list[str]:
    """What labels are missing where trainings keep back images of their own to validate on.

    Raises:
      ValueError: a training whose images have no label to learn, or that validates on images without a known one.
    """
    if cohorts.validation is not None:
        return []
    names, trainings, missing = cohorts.label_names, [], set()
    for arm, seed in itertools.product(settings.arms, evaluation.classifier_seeds):
        training, kept_back = _arm_images(evaluation, cohorts, arm, seed)
        where = f"what arm {arm}, seed {seed}, trains on"
        check_labels(where, counts_of_labels(training.labels, names), cohorts.is_single_label, "learned")
        counts = counts_of_labels(kept_back.labels, names)
        if not any(map(sum, counts.values())):
            raise ValueError(
                f"what arm {arm}, seed {seed}, keeps back to validate on holds no known label; raise tstr.images or "
                "give --validation_splits"
            )
        if lacking := missing_labels(counts, cohorts.is_single_label):
            trainings.append(f"{arm} (seed {seed})")
            missing.update(lacking)
    if not trainings:
        return []
    return [
        f"what the trainings {listed(trainings)} keep back to validate on holds no {listed(sorted(missing))}: their "
        "end, and the threshold of what is missing (.5), are chosen without it; tstr.images or --validation_splits can "
        "give more"
    ]


def _find_or_train(evaluation: Evaluation, cohorts: Cohorts, arm: str, seed: int, number_of_run: str) -> dict[str, Any]:
    """One training's curves, thresholds and predictions, from `out_dir/arms` where they are kept, else made now."""
    sides = {
        "synthetic": cohorts.only_synthetic,
        "real": cohorts.real,
        "validation": cohorts.validation,
        **{f"test/{split}": test for split, test in cohorts.tests.items()},
    }
    key = json_key(
        {
            "version": VERSION,
            "arm": arm,
            "seed": seed,
            "classifier": to_plain(evaluation.classifier),
            "cohorts": {name: cohort and cohort.identity for name, cohort in sides.items()},
            "feature_diversity": [metric.name for metric in feature_metrics()],
            "software": software_versions(),
        }
    )
    facts_path = evaluation.out_dir / "arms" / f"{arm}-seed{seed}.json"
    arrays_path = facts_path.with_suffix(".npz")
    if facts_path.is_file() and arrays_path.is_file():
        facts = json.loads(facts_path.read_text(encoding="utf-8"))
        if facts["key"] == key:
            logging.info("%s: %s, seed %d is taken from %s", number_of_run, arm, seed, facts_path)
            with np.load(arrays_path) as arrays:
                return {**facts, "arrays": dict(arrays)}
        logging.info("%s was made from other data or settings and is made again", facts_path)
    facts, arrays = _train(evaluation, cohorts, arm, seed, number_of_run)
    facts = plain_json({"key": key, **facts})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    facts_path.unlink(missing_ok=True)  # never old facts beside new arrays
    write_atomically(arrays_path, buffer.getvalue())
    write_atomically(facts_path, json_text(facts))
    return {**facts, "arrays": arrays}


def _train(
    evaluation: Evaluation, cohorts: Cohorts, arm: str, seed: int, number_of_run: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    training, validation = _arm_images(evaluation, cohorts, arm, seed)
    is_single_label, images = cohorts.is_single_label, len(training.images)
    logging.info("%s: training on %d images (%s), seed %d", number_of_run, images, arm, seed)
    classifier = train_classifier(
        evaluation.classifier, training, validation, is_single_label, seed, f"{number_of_run}: {arm}, seed {seed}"
    )
    probability, _ = classifier.predict(validation.images)
    fit = classifier.fit
    facts = {
        "arm": arm,
        "seed": seed,
        "training_images": images,
        "validation_images": len(validation.images),
        **dataclasses.asdict(fit),
        "images_per_second": images * len(fit.curves["loss"]) / fit.seconds,
        "thresholds": youden_thresholds(validation.labels, probability, is_single_label),
        "feature_diversity": feature_diversity(cohorts, classifier) if arm == "real" else None,
    }
    return facts, {f"test/{split}": classifier.predict(test.images)[0] for split, test in cohorts.tests.items()}


def _scores(
    settings: TSTRSettings, cohorts: Cohorts, trainings: dict[str, list[dict[str, Any]]]
) -> dict[str, dict[str, ArmScores]]:
    """Scores by test split and arm; the arms of one split share their resampled patients."""
    scores: dict[str, dict[str, ArmScores]] = {}
    for split, test in cohorts.tests.items():
        logging.info("resampling the patients of %s %d times", split, settings.bootstrap_resamples)
        resamples = patient_resamples(test.patient_keys, settings.bootstrap_resamples, BOOTSTRAP_SEED)
        scores[split] = {
            arm: score_arm(
                cohorts.label_names,
                cohorts.is_single_label,
                test.labels,
                [item["arrays"][f"test/{split}"] for item in finished],
                [item["thresholds"] for item in finished],
                resamples,
            )
            for arm, finished in trainings.items()
        }
    return scores


def verdict(architecture: str, tests: dict[str, Any], diversity: list[dict[str, Any]]) -> list[str]:
    """One sentence per test set by the first `LabelScore`, and one on diversity."""
    sentences = []
    headline = metrics_of(LabelScore)[0]
    score, title = headline.name, headline.title
    for split, test in tests.items():
        arms = test["arms"]
        if "synthetic" in arms and "real" in arms:
            ratio = test["ratios_to_real"]["synthetic"][score]
            has_ratio = math.isfinite(ratio["mean"])
            sentences.append(
                f"On real patients of {split}, {architecture} trained on synthetic images reaches "
                f"{title} {score_text(arms['synthetic'][score])}, trained on as many real ones "
                f"{score_text(arms['real'][score])}: "
                f"{f'a ratio of {score_text(ratio)}' if has_ratio else f'there is no ratio to an {title} of 0'}."
            )
        else:
            scores = ", ".join(f"{arm} {score_text(summary[score])}" for arm, summary in arms.items())
            sentences.append(f"On real patients of {split}, {architecture} reaches {title}: {scores}.")
        if "real" in arms and arms["real"][score]["mean"] < WEAK_AUC:
            sentences.append(
                f"The classifier trained on real images is itself weak on {split}, so the comparison says little: "
                "give it more images, more epochs (classifier.patience, classifier.max_epochs) or another "
                "classifier.learning_rate."
            )
    spread = metrics_of(ClassDiversity)[0]
    ratios = [row[f"{spread.name}_ratio"] for row in diversity if row[f"{spread.name}_ratio"] is not None]
    if ratios:
        lowest = min(ratios)
        sentences.append(
            f"Within a class, synthetic images differ from each other {lowest:.2f} times as much as real ones "
            f"({spread.spread_title.removeprefix('ratio of ')}, the least diverse class)"
            f"{': the generator has collapsed' if lowest < COLLAPSE_RATIO else ''}."
        )
    return sentences


def page_parts(report: dict[str, Any], cohorts: Cohorts, trainings: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Its part of the page, of plain data."""
    names = report["label_names"]
    grids = {"Synthetic": cohorts.only_synthetic, "Real": cohorts.real}
    return [
        *(_test_part(report, split, test.labels, trainings) for split, test in cohorts.tests.items()),
        _diversity_part(report["diversity"]),
        "<h2>Training curves</h2>",
        "<p class=small>Solid: validation loss. Dashed: training loss. Dot: the epoch that was kept.</p>",
        picture(curves_plot(report["trainings"]), "training curves"),
        "<h2>Training images</h2>",
        *(
            f"<h3>{side}</h3>{picture(sample_grid(cohort.images, cohort.labels, names), f'{side.lower()} images')}"
            for side, cohort in grids.items()
        ),
        _method_part(report),
    ]


def _test_part(
    report: dict[str, Any], split: str, labels: np.ndarray, trainings: dict[str, list[dict[str, Any]]]
) -> str:
    test, names, is_single_label = report["tests"][split], report["label_names"], report["is_single_label"]
    arms = test["arms"]
    columns = score_labels(names, is_single_label)
    headline = metrics_of(LabelScore)[0]
    legends = {arm: f"{arm} ({headline.title} {number(scores[headline.name]['mean'])})" for arm, scores in arms.items()}
    probabilities = {arm: [item["arrays"][f"test/{split}"] for item in trainings[arm]] for arm in arms}
    positives = ", ".join(f"{count} {text(name)}" for name, count in test["positives"].items())
    images = {arm: report["images_per_side"] * len(ARMS[arm]) for arm in arms}
    scored_label = names[columns[0]] if len(columns) == 1 else ""
    return "".join(
        [
            f"<h2>Test on {text(split)}</h2>",
            f"<p class=small>{test['images']} images of {test['patients']} patients of {text(test['name'])}; "
            f"{positives}.</p>",
            arm_table(arms, test["ratios_to_real"], images, scored_label),
            label_tables(arms, [names[column] for column in columns]) if len(columns) > 1 else "",
            picture(roc_plot(names, columns, labels, probabilities, legends), "ROC curves"),
            threshold_tables(arms, names, is_single_label),
        ]
    )


def _diversity_part(diversity: list[dict[str, Any]]) -> str:
    header, metrics = ["class"], metrics_of(ClassDiversity)
    for metric in metrics:
        first, *more = ({"test": "real, test"}.get(side, side) for side in shown_sides(metric))
        header += [f"{text(metric.title)} {first}", *more, text(metric.spread_title)]
    rows = []
    for row in diversity:
        cells = [text(row["label"])]
        for metric in metrics:
            for side in shown_sides(metric):
                found = row[f"{side}_{metric.name}"]
                cells.append(estimate({"mean": found[0], "interval": found[1:]} if found else None, metric.format))
            cells.append(number(row[f"{metric.name}_ratio"]))
        rows.append(cells)
    notes = f"<p>{DIVERSITY_TEXT} {metric_notes(ClassDiversity)}</p>"
    return f"<h2>Diversity within a class</h2>{notes}{table(header, rows)}"


def _method_part(report: dict[str, Any]) -> str:
    passport = report["passport"]
    cohorts = {**passport["cohorts"], **{f"test: {split}": test for split, test in report["tests"].items()}}
    validation = SHARED_VALIDATION_TEXT if passport["cohorts"]["validation"] else OWN_VALIDATION_TEXT
    intervals = INTERVAL_TEXT.format(resamples=passport["bootstrap"]["resamples"])
    return (
        f"<h2>How it was done</h2><p><strong>Intervals.</strong> {intervals} {metric_notes(LabelScore)}</p>"
        f"<p><strong>Thresholds.</strong> {validation} No threshold was chosen on test images. "
        "Tables of classes and confusion are means over seeds.</p>"
        f"<p><strong>Time.</strong> {report['seconds']['training']:.0f} seconds of training. "
        f"<strong>Software.</strong> {software_text(passport['software'])}.</p>"
        + cohort_table(cohorts)
        + settings_table("classifier", passport["classifier"])
    )


TSTR = Protocol(
    name="tstr",
    question="what does a classifier trained on synthetic images score on real patients, beside one trained on as many "
    "real images?",
    settings_class=TSTRSettings,
    run=run,
    unused=("extractor_dir",),
    uses_every_seed=True,
)
