"""Train on synthetic, test on real (tstr): does a classifier learn from synthetic images what it learns from real ones?

For each seed one classifier is trained on N synthetic images, one on N images of real training patients and one on
both together (2N), and each is tested on real patients whom nobody has seen (Singh, Lala, Macwan, Chaurasia 2023;
Segal, Rubin, Rubin, Pantanowitz 2021, section "downstream"). The verdict is in `tstr_verdict.py`.

Differs from the papers: a real-trained classifier with as many images stands beside the synthetic-trained one;
patients are kept apart; intervals resample patients; and diversity within each class is reported, because a generator
that has collapsed to one picture per class can still teach a classifier a good deal, which this score alone hides.

Each finished training is kept in `out_dir/arms`, so a killed evaluation continues where it stopped.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from tfcxr.config import to_plain
from tfcxr.data.atomic import remove_temporary_files
from tfcxr.evaluation import diversity, kept, label_checks
from tfcxr.evaluation.cohorts import Cohorts, check_folders, load_cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier import train_classifier
from tfcxr.evaluation.labelled_images import LabelledImages, join
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.classification import patient_resamples
from tfcxr.evaluation.metrics.image_diversity import scales_of
from tfcxr.evaluation.metrics.metric import ClassDiversity, LabelScore
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.protocols.tstr_verdict import verdict
from tfcxr.evaluation.report import html, plots, score_tables
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.scores import score_arm, score_labels, shares_of_real, youden_thresholds

VERSION = 2  # raise it when a change makes kept trainings wrong
ARMS = {"real": ("real",), "synthetic": ("synthetic",), "both": ("synthetic", "real")}  # name -> sides
BOOTSTRAP_SEED = 0

DIVERSITY_TEXT = """A generator that makes one picture per class can still train a fair classifier. Here two images of
one class are compared. Ratios near 1 mean that synthetic images vary as real ones do; a ratio far below 1 means
collapse."""
INTERVAL_TEXT = """The test patients were resampled with replacement {resamples} times, with all their images, and with
the same draws for every arm and seed. In each resample a score is the mean over the classifier's seeds; the interval is
the middle 95 % of these means. It covers which patients were tested, not the classifier's random start (that is the
range over seeds) nor the choice of training images. A share compares both arms on the same resampled patients."""
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
    for index, (seed, arm) in enumerate(runs, start=1):
        description = f"{index} of {len(runs)}: {arm}, seed {seed}"
        trainings[arm].append(_find_or_train(evaluation, cohorts, arm, seed, description))
    by_seed = [item["feature_diversity"] for item in trainings.get("real", [])]
    rows = diversity.diversity_rows(cohorts, by_seed, settings.diversity_pairs)
    tests = {split: _score(settings, cohorts, split, trainings) for split in cohorts.tests}
    finished = [item for items in trainings.values() for item in items]
    data = {
        "version": VERSION,
        "label_names": cohorts.label_names,
        "is_single_label": cohorts.is_single_label,
        "images_per_side": len(cohorts.real.images),
        "tests": tests,
        "diversity": rows,
        "trainings": [
            {name: value for name, value in item.items() if name not in ("arrays", "key", "feature_diversity")}
            for item in finished
        ],
        "bootstrap": {"unit": "patient", "resamples": settings.bootstrap_resamples, "seed": BOOTSTRAP_SEED},
        "seconds": sum(item["seconds"] for item in finished),
    }
    architecture = evaluation.classifier.architecture
    return Findings(
        title="Train on synthetic, test on real",
        verdict=verdict(architecture, tests, rows),
        data=data,
        introduction=f"{len(cohorts.real.images)} training images per side, {html.text(architecture)}, "
        f"{_trainings_per_arm(evaluation.classifier_seeds)}.",
        parts=_page_parts(kept.plain_json(data), cohorts, trainings),
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=[*cohorts.notices, *diversity.diversity_notices(rows)],
    )


def _load(evaluation: Evaluation, settings: TSTRSettings) -> Cohorts:
    """Loads as many images of either side, and refuses labels with which nothing can be learned or tested."""
    check_folders(evaluation)
    real_info, (synthetic_info,) = evaluation.real_info, evaluation.synthetic_infos.values()
    names, is_single_label = evaluation.label_names, real_info.is_single_label
    splits = {"synthetic": evaluation.synthetic_splits or tuple(synthetic_info.splits), "real": evaluation.train_splits}
    infos = {"synthetic": synthetic_info, "real": real_info}
    folders = {"synthetic": f"--synthetic_dir={evaluation.synthetic_dir}", "real": f"--real_dir={evaluation.real_dir}"}
    available = {side: label_checks.images_of_splits(infos[side], splits[side], names) for side in infos}
    for side, count in available.items():
        if settings.images > count:
            raise ValueError(
                f"tstr.images={settings.images} were asked for on each side, but {folders[side]} holds {count}"
            )
    whole = {side: label_checks.counts_of_splits(infos[side], splits[side], names) for side in infos}
    _check_arms(evaluation, settings, whole)
    notices = label_checks.check_label_splits(evaluation, must_test=True)
    scales_of(real_info.image_size)  # refuses images too small for MS-SSIM
    count, uses_generator = settings.images or min(available.values()), settings.arms != ("real",)
    cohorts = load_cohorts(evaluation, names, count, uses_generator)
    chosen = {"real": cohorts.real, "synthetic": cohorts.only_synthetic}
    counts = {
        side: label_checks.counts_of_labels(cohort.labels, names, is_single_label) for side, cohort in chosen.items()
    }
    notices += _check_arms(evaluation, settings, counts)
    for split, test in cohorts.tests.items():
        where = evaluation.test_split_flag(split)
        notices += label_checks.check_patients(where, test.labels, test.patient_keys, names)
    return cohorts.with_notices([*notices, *_check_kept_back(evaluation, settings, cohorts)])


def _check_arms(
    evaluation: Evaluation, settings: TSTRSettings, counts: dict[str, label_checks.LabelCounts]
) -> list[str]:
    """What labels the arms cannot learn, of the counts of both sides.

    Raises:
      ValueError: an arm without a usable label.
    """
    folders = {"real": evaluation.train_splits_flag, "synthetic": f"--synthetic_dir={evaluation.synthetic_dir}"}
    notices = []
    for side in (side for side in folders if side in settings.arms):
        notices += label_checks.check_labels(folders[side], counts[side], "learned")
    if "both" in settings.arms:
        label_checks.check_labels(" and ".join(folders.values()), counts["real"] + counts["synthetic"], "learned")
    return notices


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
    trainings, missing = [], set()
    for arm, seed in itertools.product(settings.arms, evaluation.classifier_seeds):
        sides = _arm_images(evaluation, cohorts, arm, seed)
        learned, kept_back = (
            label_checks.counts_of_labels(side.labels, cohorts.label_names, cohorts.is_single_label) for side in sides
        )
        label_checks.check_labels(f"what arm {arm}, seed {seed}, trains on", learned, "learned")
        if not kept_back.has_known:
            raise ValueError(
                f"what arm {arm}, seed {seed}, keeps back to validate on holds no known label; raise tstr.images or "
                "give --validation_splits"
            )
        if kept_back.missing:
            trainings.append(f"{arm} (seed {seed})")
            missing.update(kept_back.missing)
    if not trainings:
        return []
    which, what = label_checks.listed(trainings), label_checks.listed(sorted(missing))
    return [
        f"what the trainings {which} keep back to validate on holds no {what}: their end, and the threshold of what is "
        "missing (.5), are chosen without it; tstr.images or --validation_splits can give more"
    ]


def _find_or_train(evaluation: Evaluation, cohorts: Cohorts, arm: str, seed: int, description: str) -> dict[str, Any]:
    """One training's curves, thresholds and predictions, from `out_dir/arms` where they are kept, else made now."""
    sides = {
        "synthetic": cohorts.only_synthetic,
        "real": cohorts.real,
        "validation": cohorts.validation,
        **{f"test/{split}": test for split, test in cohorts.tests.items()},
    }
    depends_on = {
        "version": VERSION,
        "arm": arm,
        "seed": seed,
        "classifier": to_plain(evaluation.classifier),
        "cohorts": {name: cohort and cohort.identity for name, cohort in sides.items()},
        "feature_diversity": [metric.name for metric in diversity.feature_metrics()],
        "software": kept.software_versions(),
    }
    path, key = evaluation.out_dir / "arms" / f"{arm}-seed{seed}.json", kept.key_of(depends_on)
    if found := kept.find(path, key):
        logging.info("%s is taken from %s", description, path)
        facts, arrays = found
        return {**facts, "arrays": arrays}
    training, validation = _arm_images(evaluation, cohorts, arm, seed)
    is_single_label, images = cohorts.is_single_label, len(training.images)
    logging.info("%s: training on %d images", description, images)
    classifier = train_classifier(evaluation.classifier, training, validation, is_single_label, seed, description)
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
        "feature_diversity": diversity.feature_diversity(cohorts, classifier) if arm == "real" else None,
    }
    arrays = {f"test/{split}": classifier.predict(test.images)[0] for split, test in cohorts.tests.items()}
    return {**kept.keep(path, key, facts, arrays), "arrays": arrays}


def _score(
    settings: TSTRSettings, cohorts: Cohorts, split: str, trainings: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """One test split's scores by arm; the arms share their resampled patients."""
    test = cohorts.tests[split]
    logging.info("resampling the patients of %s %d times", split, settings.bootstrap_resamples)
    resamples = patient_resamples(test.patient_keys, settings.bootstrap_resamples, BOOTSTRAP_SEED)
    by_arm = {}
    for arm, finished in trainings.items():
        probabilities = [item["arrays"][f"test/{split}"] for item in finished]
        thresholds = [item["thresholds"] for item in finished]
        names, is_single_label = cohorts.label_names, cohorts.is_single_label
        by_arm[arm] = score_arm(names, is_single_label, test.labels, probabilities, thresholds, resamples)
    others = {arm: scores for arm, scores in by_arm.items() if arm != "real" and "real" in by_arm}
    return {
        **test.facts,
        "arms": {arm: scores.summary for arm, scores in by_arm.items()},
        "shares_of_real": {arm: shares_of_real(scores, by_arm["real"]) for arm, scores in others.items()},
    }


def _trainings_per_arm(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"1 training per arm (seed {seeds[0]})"
    return f"{len(seeds)} trainings per arm (seeds {', '.join(map(str, seeds))})"


def _page_parts(report: dict[str, Any], cohorts: Cohorts, trainings: dict[str, list[dict[str, Any]]]) -> list[str]:
    names = report["label_names"]
    grids = [
        f"<h3>{side}</h3>"
        + html.picture(plots.sample_grid(cohort.images, cohort.labels, names), f"{side.lower()} images")
        for side, cohort in (("Synthetic", cohorts.only_synthetic), ("Real", cohorts.real))
    ]
    validation = OWN_VALIDATION_TEXT if cohorts.validation is None else SHARED_VALIDATION_TEXT
    intervals = INTERVAL_TEXT.format(resamples=report["bootstrap"]["resamples"])
    return [
        *(_test_part(report, split, test.labels, trainings) for split, test in cohorts.tests.items()),
        f"<h2>Diversity within a class</h2><p>{DIVERSITY_TEXT}</p>",
        diversity.diversity_table(report["diversity"]),
        "<h2>Training curves</h2>",
        "<p class=small>Solid: validation loss. Dashed: training loss. Dot: the epoch that was kept.</p>",
        html.picture(plots.curves_plot(report["trainings"]), "training curves"),
        "<h2>Training images</h2>",
        *grids,
        f"<h2>How it was done</h2><p><strong>Intervals.</strong> {intervals} {html.metric_notes(LabelScore)} "
        f"{html.metric_notes(ClassDiversity)}</p>",
        f"<p><strong>Thresholds.</strong> {validation} No threshold was chosen on test images. Tables of classes and "
        f"confusion are means over seeds, in whole images. <strong>Time.</strong> {report['seconds']:.0f} seconds of "
        "training.</p>",
    ]


def _test_part(
    report: dict[str, Any], split: str, labels: np.ndarray, trainings: dict[str, list[dict[str, Any]]]
) -> str:
    test, names, is_single_label = report["tests"][split], report["label_names"], report["is_single_label"]
    arms, columns, headline = test["arms"], score_labels(names, is_single_label), metrics_of(LabelScore)[0]
    title = headline.title if len(columns) == 1 else f"mean {headline.title}"  # it stands in the first label's panel
    legends = {arm: f"{arm} ({title} {html.number(scores[headline.name]['mean'])})" for arm, scores in arms.items()}
    probabilities = {arm: [item["arrays"][f"test/{split}"] for item in trainings[arm]] for arm in arms}
    positives = ", ".join(f"{count} {html.text(name)}" for name, count in test["positives"].items())
    images = {arm: report["images_per_side"] * len(ARMS[arm]) for arm in arms}
    scored_label = names[columns[0]] if len(columns) == 1 else ""
    return (
        f"<h2>Real patients of {html.text(split)}</h2><p class=small>{test['images']} images of {test['patients']} "
        f"patients of {html.text(test['name'])}; {positives}.</p>"
        + score_tables.arm_table(arms, test["shares_of_real"], images, scored_label)
        + (score_tables.label_tables(arms, [names[column] for column in columns]) if len(columns) > 1 else "")
        + html.picture(plots.roc_plot(names, columns, labels, probabilities, legends), "ROC curves")
        + score_tables.threshold_tables(arms, names, is_single_label)
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
