"""What the arms of train on synthetic, test on real learn from, and what is refused before any of them is trained."""

import itertools

import numpy as np

from tfcxr.evaluation import label_checks
from tfcxr.evaluation.cohorts import Cohorts, check_folders, load_cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.labelled_images import LabelledImages, join
from tfcxr.evaluation.metrics.image_diversity import scales_of

# name -> sides that it is trained on; `pretrained` starts from the finished arm `synthetic`
ARMS = {"real": ("real",), "synthetic": ("synthetic",), "both": ("synthetic", "real"), "pretrained": ("real",)}


def images_of_arm(arm: str, real: int, synthetic: int) -> int:
    """How many images it has learned from in the end, of the images on either side."""
    return {"real": real, "synthetic": synthetic}.get(arm, real + synthetic)


def load_sides(evaluation: Evaluation, arms: tuple[str, ...], images: int, synthetic_images: int = 0) -> Cohorts:
    """Loads the images of both sides, and refuses labels with which nothing can be learned or tested.

    Args:
      arms: that will be trained.
      images: of each side; 0 is as many as the smaller one has.
      synthetic_images: of the cohort, where `images` is to count real ones alone, 0 being all; 0 is as many as these.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` refuses, images too small for MS-SSIM, or labels with which nothing can be learned
        or tested.
    """
    check_folders(evaluation)
    real_info, (synthetic_info,) = evaluation.real_info, evaluation.synthetic_infos.values()
    names, is_single_label = evaluation.label_names, real_info.is_single_label
    splits = {"synthetic": evaluation.synthetic_splits or tuple(synthetic_info.splits), "real": evaluation.train_splits}
    infos = {"synthetic": synthetic_info, "real": real_info}
    folders = {"synthetic": f"--synthetic_dir={evaluation.synthetic_dir}", "real": f"--real_dir={evaluation.real_dir}"}
    available = {side: label_checks.images_of_splits(infos[side], splits[side], names) for side in infos}
    if synthetic_images > available["synthetic"]:
        count = available["synthetic"]
        raise ValueError(
            f"tstr.synthetic_images={synthetic_images} were asked for, but {folders['synthetic']} holds {count}; "
            "generate more, or ask for fewer"
        )
    for side, count in available.items():
        if images > count and not (synthetic_images and side == "synthetic"):
            raise ValueError(f"tstr.images={images} were asked for on each side, but {folders[side]} holds {count}")
    whole = {side: label_checks.counts_of_splits(infos[side], splits[side], names) for side in infos}
    _check_arms(evaluation, arms, whole)
    notices = label_checks.check_label_splits(evaluation, must_test=True)
    scales_of(real_info.image_size)  # refuses images too small for MS-SSIM
    real_images = images or (available["real"] if synthetic_images else min(available.values()))
    cohorts = load_cohorts(evaluation, names, real_images, arms != ("real",), synthetic_images)
    chosen = {"real": cohorts.real, "synthetic": cohorts.only_synthetic}
    counts = {
        side: label_checks.counts_of_labels(cohort.labels, names, is_single_label) for side, cohort in chosen.items()
    }
    notices += _check_arms(evaluation, arms, counts)
    for split, test in cohorts.tests.items():
        where = evaluation.test_split_flag(split)
        notices += label_checks.check_patients(where, test.labels, test.patient_keys, names)
    return cohorts.with_notices([*notices, *_check_kept_back(evaluation, arms, cohorts)])


def arm_images(evaluation: Evaluation, cohorts: Cohorts, arm: str, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """What an arm trains on and what it validates on, unread."""
    sides = {"synthetic": cohorts.only_synthetic, "real": cohorts.real}
    chosen = [sides[name] for name in ARMS[arm]]
    if cohorts.validation is not None:
        return join([side.labelled for side in chosen]), cohorts.validation.labelled
    training, validation = [], []
    for side in chosen:
        groups = side.patient_keys if side is cohorts.real else synthetic_patients(side.patient_keys)
        is_kept_back = split_off_validation(groups, evaluation.classifier.validation_fraction, seed)
        training.append(side.labelled.where(~is_kept_back))
        validation.append(side.labelled.where(is_kept_back))
    return join(training), join(validation)


def synthetic_patients(keys: np.ndarray) -> np.ndarray:
    """int [images], equal for the images of one pseudo-patient; an image without a key is a patient of its own."""
    _, first, of = np.unique(keys, return_index=True, return_inverse=True)
    return np.where(keys == "", np.arange(len(keys)), first[of])


def _check_arms(
    evaluation: Evaluation, arms: tuple[str, ...], counts: dict[str, label_checks.LabelCounts]
) -> list[str]:
    """What labels the arms cannot learn, of the counts of both sides.

    Raises:
      ValueError: an arm without a usable label.
    """
    folders = {"real": evaluation.train_splits_flag, "synthetic": f"--synthetic_dir={evaluation.synthetic_dir}"}
    notices = []
    for side in (side for side in folders if side in arms or "pretrained" in arms):
        notices += label_checks.check_labels(folders[side], counts[side], "learned")
    if "both" in arms:
        label_checks.check_labels(" and ".join(folders.values()), counts["real"] + counts["synthetic"], "learned")
    return notices


def _check_kept_back(evaluation: Evaluation, arms: tuple[str, ...], cohorts: Cohorts) -> list[str]:
    """What labels are missing where trainings keep back images of their own to validate on.

    Raises:
      ValueError: a training whose images have no label to learn, or that validates on images without a known one.
    """
    if cohorts.validation is not None:
        return []
    trainings, missing = [], set()
    for arm, seed in itertools.product(arms, evaluation.classifier_seeds):
        learned, kept_back = (
            label_checks.counts_of_labels(side.labels, cohorts.label_names, cohorts.is_single_label)
            for side in arm_images(evaluation, cohorts, arm, seed)
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
