"""Re-identification: would an attacker recognise a training patient in a synthetic image?

The attacker is a network trained to tell two images of one patient from images of two (Packhaeuser et al. 2022; see
`extractors/patient_network.py`), on real training patients with several images. How well it does on held-out patients
is the ceiling: an attacker that cannot recognise real patients proves nothing.

A synthetic image is claimed for a training patient where the network's best match among the training images passes a
threshold, which real images of held-out patients pass in `false_claims` of the cases. The same threshold then asks how
often synthetic images are claimed for held-out patients, whom the generator never saw, beside equally many training
images (the mean over all disjoint parts of them): a cohort that shows typical patients is claimed for both alike.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from tfcxr.config import check_range
from tfcxr.data.stored_images import StoredImages
from tfcxr.data.training_patients import read_training_patients
from tfcxr.evaluation.cohorts import Cohort, Cohorts, check_folders, load_cohorts
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.patient_network import (
    PatientNetwork,
    PatientNetworkConfig,
    draw_pairs,
    find_or_train_network,
    images_by_patient,
)
from tfcxr.evaluation.metrics.classification import patient_resamples, percentile_interval, roc_auc
from tfcxr.evaluation.protocols import reidentification_verdict as verdict
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html, plots
from tfcxr.evaluation.report.report import Findings

SEED = 0
BLOCK_VALUES = 2**25  # of a block of differences, float32


@dataclasses.dataclass(frozen=True)
class ReidentificationSettings(PatientNetworkConfig):
    """How the network is trained, and what it is asked.

    Attributes:
      images: synthetic images and held-out images, each, at most.
      false_claims: share of held-out real images that are claimed for a training patient, which sets the threshold.
      min_patients: with several images, in the training data and in the test split.
      resamples: bootstraps by patient.
      pairs: claims shown.
    """

    images: int = 2000
    false_claims: float = 0.01
    min_patients: int = 20
    resamples: int = 1000
    pairs: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "images", "pairs", minimum=1)
        check_range(self, "false_claims", above=0, below=0.5)
        check_range(self, "min_patients", minimum=5)
        check_range(self, "resamples", minimum=100)

    @property
    def training(self) -> PatientNetworkConfig:
        """What the network depends on."""
        names = [field.name for field in dataclasses.fields(PatientNetworkConfig)]
        return PatientNetworkConfig(**{name: getattr(self, name) for name in names})


def run(evaluation: Evaluation, settings: ReidentificationSettings) -> Findings:
    """Trains the network, measures its ceiling, and lets it claim synthetic images.

    Where no patient has several images, nothing is trained and the findings say so.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` refuses, too few patients with several images, too few held-out images for the
        threshold, or a generator that saw none of the training patients.
    """
    check_folders(evaluation, same_labels=False)
    cohorts = load_cohorts(evaluation, evaluation.labels)
    split, test = max(cohorts.tests.items(), key=lambda item: len(item[1].images))
    frame: dict[str, Any] = {
        "title": "Re-identification",
        "cohorts": cohorts.facts,
        "shared_patients": cohorts.shared_patients,
        "notices": cohorts.notices,
    }
    sides = {evaluation.train_splits_flag: cohorts.real, evaluation.test_split_flag(split): test}
    several = {side: len(images_by_patient(cohort.patient_keys)) for side, cohort in sides.items()}
    if alone := [side for side, patients in several.items() if not patients]:
        said = f"Nothing can be said: every patient of {' and of '.join(alone)} has one image, so nobody is seen twice."
        return Findings(**frame, verdict=[said], data={"version": verdict.VERSION}, introduction="", parts=[])
    _check_numbers(several, len(test.images), evaluation.test_split_flag(split), settings)
    known = cohorts.real.images.where(is_known := _is_known(evaluation, cohorts.real))
    network = find_or_train_network(evaluation, cohorts.real, settings.training)
    result, claims = _measure(network, cohorts, known, test, settings)
    data = {"version": verdict.VERSION, "split": split, "training_images": int(is_known.sum()), **result}
    data |= {"network": network.facts, "false_claims": settings.false_claims}
    return Findings(
        **frame,
        verdict=verdict.sentences(data),
        data=data,
        introduction=f"{result['images']} synthetic images against {len(known)} images of patients the generator was "
        f"trained on, by {html.text(evaluation.classifier.architecture)}.",
        parts=_page_parts(data, claims, cohorts, known),
        scores=verdict.scores(data, cohorts),
    )


def _check_numbers(several: Mapping[str, int], held_out: int, split: str, settings: ReidentificationSettings) -> None:
    for side, patients in several.items():
        if patients < settings.min_patients:
            raise ValueError(
                f"re-identification needs {settings.min_patients} patients with two or more images, but {side} has "
                f"{patients}; give larger splits, or --set=reidentification.min_patients={max(5, patients)} for a "
                "rough answer"
            )
    if min(held_out, settings.images) < 1 / settings.false_claims:
        raise ValueError(
            f"a threshold at {settings.false_claims:.0%} false claims needs {1 / settings.false_claims:.0f} held-out "
            f"images, but {min(held_out, settings.images)} of {split} are used; give a larger split, or "
            "--set=reidentification.false_claims=0.05"
        )


def _is_known(evaluation: Evaluation, real: Cohort) -> np.ndarray:
    """bool [images]: of patients the generator was trained on; all where it is not known which these are."""
    info = evaluation.synthetic_infos[evaluation.cohort_name]
    patients = read_training_patients(evaluation.synthetic_dir, info)
    if patients is None:
        return np.ones(len(real.images), bool)
    is_known = np.isin(real.patient_keys, sorted(patients.keys))
    if not is_known.any():
        raise ValueError(
            f"the generator of {evaluation.synthetic_dir} was trained on none of the patients of "
            f"{evaluation.train_splits_flag}, so none of them could be recognised; name the splits it was trained on"
        )
    return is_known


def _measure(
    network: PatientNetwork, cohorts: Cohorts, known: StoredImages, test: Cohort, settings: ReidentificationSettings
) -> tuple[dict[str, Any], np.ndarray]:
    """The numbers, and the claims that are shown: int [pairs, 2], synthetic image and known image."""
    random = np.random.default_rng(SEED)
    of_synthetic, of_test = (
        np.sort(random.permutation(len(side.images))[: settings.images]) for side in (cohorts.only_synthetic, test)
    )
    synthetic = network.embed(cohorts.only_synthetic.images.where(of_synthetic))
    held_out, training = network.embed(test.images), network.embed(known)
    shuffled = random.permutation(len(training))
    size = min(len(training), len(test.images))
    made = _best_matches(network, synthetic, training[shuffled], size, "synthetic images")
    real = _best_matches(network, held_out[of_test], training, len(training), "held-out images")[:, 0]
    threshold = float(np.quantile(real, 1 - settings.false_claims, method="higher"))
    of_training = (made[:, : len(training) // size] > threshold).mean(axis=1)
    some = random.permutation(len(held_out))[:size]
    of_held_out = (_best_matches(network, synthetic, held_out[some], size, "chance")[:, 0] > threshold).astype(float)
    more = of_training - of_held_out
    half = 1.96 * more.std() / np.sqrt(len(more))
    shown = np.argsort(-made.max(axis=1), kind="stable")[: settings.pairs]
    match = [network.logits(synthetic[row], training).argmax() for row in shown]
    result = {
        "images": len(synthetic),
        "threshold": threshold,
        "claimed": _claimed(made.max(axis=1), real, threshold, test.patient_keys[of_test], settings),
        "searched_alike": {
            "images": size,
            "training": float(of_training.mean()),
            "held_out": float(of_held_out.mean()),
            "difference": {"mean": float(more.mean()), "interval": [more.mean() - half, more.mean() + half]},
        },
        **_ceiling(network, held_out, test.patient_keys, threshold, settings),
    }
    return result, np.stack([of_synthetic[shown], np.array(match)], axis=1)


def _best_matches(
    network: PatientNetwork, rows: np.ndarray, gallery: np.ndarray, part: int, description: str
) -> np.ndarray:
    """The largest logit of each row among each part of the gallery, float32 [rows, parts]; the last may be smaller."""
    size, found = max(1, BLOCK_VALUES // gallery.size), []
    for start in tqdm(range(0, len(rows), size), desc=f"matching {description}", leave=False):
        logits = network.logits(rows[start : start + size, None], gallery[None])
        found.append(np.maximum.reduceat(logits, np.arange(0, len(gallery), part), axis=1))
    return np.concatenate(found)


def _ceiling(
    network: PatientNetwork,
    held_out: np.ndarray,
    patient_keys: np.ndarray,
    threshold: float,
    settings: ReidentificationSettings,
) -> dict[str, Any]:
    """How well pairs of held-out patients are told apart, with intervals by patient."""
    first, second, is_same = draw_pairs(patient_keys, SEED)
    logits = network.logits(held_out[first], held_out[second])
    counts = patient_resamples(patient_keys, settings.resamples, SEED)
    weights = counts[:, first] * np.where(is_same, 1, counts[:, second])
    low, high = percentile_interval(roc_auc(is_same, logits, weights))
    weights, is_found = weights[:, is_same], logits[is_same] > threshold
    recognised = percentile_interval((weights @ is_found) / np.maximum(weights.sum(axis=1), 1))
    return {
        "same_patient_auc": {"mean": float(roc_auc(is_same, logits)[0]), "interval": [low, high]},
        "same_patient_found": {"mean": float(is_found.mean()), "interval": list(recognised)},
        "pairs": {"of one patient": int(is_same.sum()), "of two patients": int((~is_same).sum())},
        "held_out_images": len(held_out),
    }


def _claimed(
    synthetic: np.ndarray,
    held_out: np.ndarray,
    threshold: float,
    patient_keys: np.ndarray,
    settings: ReidentificationSettings,
) -> dict[str, Any]:
    """Share of synthetic images that pass the threshold; held-out patients, who set it, are resampled as well."""
    order = np.argsort(held_out)
    counts = patient_resamples(patient_keys, settings.resamples, SEED)[:, order].cumsum(axis=1)
    places = (counts >= (1 - settings.false_claims) * counts[:, -1:]).argmax(axis=1)
    below = np.searchsorted(np.sort(synthetic), held_out[order][places], side="right")
    shares = np.random.default_rng(SEED).binomial(len(synthetic), 1 - below / len(synthetic)) / len(synthetic)
    return {"mean": float((synthetic > threshold).mean()), "interval": list(percentile_interval(shares))}


def _page_parts(data: Mapping[str, Any], claims: np.ndarray, cohorts: Cohorts, known: StoredImages) -> list[str]:
    images = np.concatenate([cohorts.only_synthetic.images[claims[:, 0]], known[claims[:, 1]]])
    sides = np.repeat(np.eye(2, dtype=np.float32), len(claims), axis=0)
    grid = plots.sample_grid(images, sides, ["synthetic", "best match"], len(claims))
    return [
        verdict.table(data),
        f"<h3>Best matches</h3>{html.picture(grid, 'synthetic images and their best matches')}",
        f"<h2>How it was done</h2><p>{html.text((__doc__ or '').partition(chr(10) * 2)[2])}</p>",
    ]


REIDENTIFICATION = Protocol(
    name="reidentification",
    question="would a network that recognises patients claim synthetic images for patients the generator was trained "
    "on, more often than for patients nobody trained on?",
    settings_class=ReidentificationSettings,
    run=run,
    unused=("extractor",),
)
