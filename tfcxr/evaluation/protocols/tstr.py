"""Train on synthetic, test on real (tstr): does a classifier learn from synthetic images what it learns from real ones?

For each seed one classifier is trained on N synthetic images, one on N images of real training patients and one on
both together (2N), and each is tested on real patients whom nobody has seen (Singh, Lala, Macwan, Chaurasia 2023;
Segal, Rubin, Rubin, Pantanowitz 2021, section "downstream"). A fourth is the synthetic-trained one, fine-tuned on the
real images. The real-trained one is also tested on the synthetic images (GAN-test; Shmelkov, Schmid, Alahari 2018).

Differs from the papers: a real-trained classifier with as many images stands beside the synthetic-trained one;
patients are kept apart; intervals resample patients; and diversity within each class is reported, because a generator
that has collapsed to one picture per class can still teach a classifier a good deal, which this score alone hides.

Each finished training is kept in `out_dir/arms`, so a killed evaluation continues where it stopped; the
predictions on test patients lie in `out_dir/predictions`.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from tfcxr.data.atomic import remove_temporary_files
from tfcxr.evaluation import diversity, kept
from tfcxr.evaluation.cohorts import Cohorts
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.protocols.tstr_arms import ARMS, arm_images, load_sides
from tfcxr.evaluation.protocols.tstr_cohorts import PREDICTIONS_FOLDER, side_by_side
from tfcxr.evaluation.protocols.tstr_page import page_parts
from tfcxr.evaluation.protocols.tstr_scores import BOOTSTRAP_SEED, report_scores, score_gan_test, score_test
from tfcxr.evaluation.protocols.tstr_verdict import verdict
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.trainings import Training, TrainingTask, find_or_train, write_predictions

VERSION = 3  # raise it when a change makes kept trainings wrong
ARMS_FOLDER = "arms"


@dataclasses.dataclass(frozen=True)
class TSTRSettings:
    """What is trained and how it is scored.

    Attributes:
      images: to train on, synthetic and real; 0 is as many as the smaller side has.
      synthetic_images: to train on, where these are to be others than the real ones, of which 0 is then all; 0 is as
        many as real ones.
      arms: what to train on, some of real, synthetic, both, pretrained (on synthetic, then fine-tuned on real).
      fine_tuning_epochs: of pretrained on real images, at most; 0 is classifier.max_epochs.
      fine_tuning_rate: its learning rate, as a share of classifier.learning_rate.
      bootstrap_resamples: of the test patients, for the intervals.
      diversity_pairs: image pairs per class for diversity.
    """

    images: int = 0
    synthetic_images: int = 0
    arms: tuple[str, ...] = tuple(ARMS)
    fine_tuning_epochs: int = 0
    fine_tuning_rate: float = 0.1
    bootstrap_resamples: int = 1000
    diversity_pairs: int = 1000

    def __post_init__(self) -> None:
        if not self.arms or len(set(self.arms)) != len(self.arms):
            raise ValueError(f"tstr.arms expects one or more different values, got {list(self.arms)}")
        if unknown := [arm for arm in self.arms if arm not in ARMS]:
            raise ValueError(f"unknown arm {unknown[0]!r} in tstr.arms; valid names: {', '.join(ARMS)}")
        if not 0 < self.fine_tuning_rate <= 1:
            raise ValueError(f"tstr.fine_tuning_rate must be above 0 and at most 1, got {self.fine_tuning_rate}")
        for name, least in (
            ("images", 0),
            ("synthetic_images", 0),
            ("fine_tuning_epochs", 0),
            ("bootstrap_resamples", 1),
            ("diversity_pairs", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"tstr.{name} must be {least} or more, got {getattr(self, name)}")


def run(evaluation: Evaluation, settings: TSTRSettings) -> Findings:
    """Trains what is not trained yet and tests it.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_sides` and `train_classifier` refuse.
    """
    starts = ("synthetic",) if "pretrained" in settings.arms and "synthetic" not in settings.arms else ()
    cohorts = load_sides(evaluation, (*settings.arms, *starts), settings.images, settings.synthetic_images)
    real_images, synthetic_images = len(cohorts.real.images), len(cohorts.only_synthetic.images)
    folder = evaluation.out_dir / ARMS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    remove_temporary_files(folder)
    trainings: dict[str, list[Training]] = {arm: [] for arm in settings.arms}
    runs = list(itertools.product(evaluation.classifier_seeds, settings.arms))
    for index, (seed, arm) in enumerate(runs, start=1):
        logging.info("training %d of %d", index, len(runs))
        trainings[arm].append(_find_or_train(evaluation, settings, cohorts, arm, seed))
    seen = [_seen_by_real(evaluation, cohorts, training) for training in trainings.get("real", [])]
    rows = diversity.diversity_rows(cohorts, [found for found, _ in seen], settings.diversity_pairs)
    names, is_single_label, resamples = cohorts.label_names, cohorts.is_single_label, settings.bootstrap_resamples
    tests = {split: score_test(cohorts, split, trainings, resamples) for split in cohorts.tests}
    for split, test in cohorts.tests.items():
        path = evaluation.out_dir / PREDICTIONS_FOLDER / f"{evaluation.cohort_name}-{split}.npz"
        write_predictions(
            path, test, names, {arm: [one.predictions[split] for one in trainings[arm]] for arm in trainings}
        )
    probabilities = [probability for _, probability in seen]
    gan_test = (
        score_gan_test(names, is_single_label, cohorts.only_synthetic, probabilities, resamples) if seen else None
    )
    finished = [{"arm": arm, **one.facts} for arm, items in trainings.items() for one in items]
    data = {
        "version": VERSION,
        "label_names": names,
        "is_single_label": is_single_label,
        "images_per_side": real_images,
        "synthetic_images": synthetic_images,
        "tests": tests,
        "gan_test": gan_test,
        "diversity": rows,
        "trainings": [{name: value for name, value in item.items() if name != "key"} for item in finished],
        "bootstrap": {"unit": "patient", "resamples": resamples, "seed": BOOTSTRAP_SEED},
        "seconds": sum(item["seconds"] for item in finished),
    }
    architecture = evaluation.classifier.architecture
    return Findings(
        title="Train on synthetic, test on real",
        verdict=verdict(architecture, tests, rows, "as many" if real_images == synthetic_images else f"{real_images}"),
        data=data,
        introduction=f"{synthetic_images} synthetic and {real_images} real training images, {html.text(architecture)}, "
        f"{_trainings_per_arm(evaluation.classifier_seeds)}.",
        parts=page_parts(kept.plain_json(data), cohorts, trainings),
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=[*cohorts.notices, *diversity.diversity_notices(rows)],
        scores=report_scores(tests, gan_test, _passport(evaluation, settings, cohorts)),
    )


def _passport(evaluation: Evaluation, settings: TSTRSettings, cohorts: Cohorts) -> dict[str, Any]:
    """All that every score depends on, beside the test split."""
    synthetic_images = len(cohorts.only_synthetic.images)
    others = {} if synthetic_images == len(cohorts.real.images) else {"synthetic_images": synthetic_images}
    return others | {
        "protocol": f"tstr {VERSION}",
        "classifier": evaluation.classifier.identity,
        "classifier_seeds": list(evaluation.classifier_seeds),
        "real": cohorts.real.facts["sha256"],
        "validation": cohorts.validation and cohorts.validation.facts["sha256"],
        "images_per_side": len(cohorts.real.images),
        "label_names": list(cohorts.label_names),
        "fine_tuning": [settings.fine_tuning_epochs, settings.fine_tuning_rate],
    }


def _find_or_train(evaluation: Evaluation, settings: TSTRSettings, cohorts: Cohorts, arm: str, seed: int) -> Training:
    """One training, from `out_dir/arms` where it is kept, else made now.

    The real arm depends on no cohort, so that all cohorts of an `out_dir` share it.
    """
    config, start = evaluation.classifier, None
    sides = {"real": cohorts.real.identity, "synthetic": cohorts.only_synthetic.identity}
    depends_on = {"version": VERSION, "arm": arm, "sides": {side: sides[side] for side in ARMS[arm]}}
    if arm == "pretrained":
        start = _find_or_train(evaluation, settings, cohorts, "synthetic", seed)
        epochs, rate = settings.fine_tuning_epochs or config.max_epochs, settings.fine_tuning_rate
        config = dataclasses.replace(config, max_epochs=epochs, learning_rate=rate * config.learning_rate)
    task = TrainingTask(
        config,
        seed,
        *arm_images(evaluation, cohorts, arm, seed),
        start=start,
        keeps_weights=arm in ("real", "synthetic"),
    )
    real, synthetic = len(cohorts.real.images), len(cohorts.only_synthetic.images)
    of_both = f"{real}" if real == synthetic else f"{synthetic}-and-{real}"
    images = {"real": f"{real}", "synthetic": f"{synthetic}"}.get(arm, of_both)
    name = f"real-{images}" if arm == "real" else f"{evaluation.cohort_name}-{arm}-{images}"
    path = evaluation.out_dir / ARMS_FOLDER / f"{name}-seed{seed}.json"
    return find_or_train(path, task, cohorts, depends_on, f"{arm}, seed {seed}")


def _seen_by_real(
    evaluation: Evaluation, cohorts: Cohorts, training: Training
) -> tuple[diversity.FeatureDiversity, np.ndarray]:
    """What a classifier of real images sees in the cohort: diversity of features, and probabilities of each image."""
    path = training.path.with_name(f"{evaluation.cohort_name}-seen-by-{training.path.stem}.json")
    metrics = [metric.name for metric in diversity.feature_metrics()]
    key = kept.key_of(
        {"training": training.facts["key"], "cohort": cohorts.only_synthetic.identity, "metrics": metrics}
    )
    if found := kept.find(path, key):
        return found[0]["feature_diversity"], found[1]["probability"]
    classifier = training.open(evaluation.classifier, cohorts)
    probability, _ = classifier.predict(cohorts.only_synthetic.images)
    facts = {"feature_diversity": diversity.feature_diversity(cohorts, classifier)}
    return kept.keep(path, key, facts, {"probability": probability})["feature_diversity"], probability


def _trainings_per_arm(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"1 training per arm (seed {seeds[0]})"
    return f"{len(seeds)} trainings per arm (seeds {', '.join(map(str, seeds))})"


TSTR = Protocol(
    name="tstr",
    question="what does a classifier trained on synthetic images score on real patients, beside one trained on as many "
    "real images?",
    settings_class=TSTRSettings,
    run=run,
    unused=("extractor", "extractor_dir"),
    uses_every_seed=True,
    side_by_side=side_by_side,
)
