"""Trains a classifier on real patients, prints its AUC per label, and stores it for other commands.

    python -m tfcxr.train_classifier --data_dir=records/64 --classifier=densenet121 --out_dir=saved_models/densenet

    python -m tfcxr.train_classifier --data_dir=records/64 --classifier=discriminator --run_dir=runs/pggan \\
        --out_dir=saved_models/discriminator

OUT_DIR/1 gets a SavedModel (images -> features, logits, probabilities) that can be differentiated, classifier.json with
the thresholds by Youden's J on the validation images, scores.json, and the predictions on each test split. After an
interruption the same command resumes; once it is finished, it prints the table again. densenet121 is that of Segal et
al. 2021 and medfid that of Chetty 2023, with every setting they print; both begin with ImageNet weights, which
--set=initial_weights=imagenet asks for. `python -m tfcxr describe densenet121` lists the settings.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag
from tfcxr.config import make_config, parse_settings, to_plain
from tfcxr.evaluation.extractors import CLASSIFIERS
from tfcxr.startup import tensorflow_started

if TYPE_CHECKING:
    from tfcxr.classification.classifier_data import ClassifierData
    from tfcxr.classification.classifier_run import FittedNetwork

DISCRIMINATOR = "discriminator"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainClassifierArguments(Arguments):
    """The classifier, its data and its folder.

    Attributes:
      data_dir: Data folder of real patients, of one image size.
      classifier: Network to train; discriminator is that of --run_dir with its last layer replaced.
      out_dir: Folder of the classifier, such as saved_models/densenet; version 1 in it is written.
      labels: Labels to learn, in this order; all by default.
      train_split: Split to learn from.
      validation_split: Split that chooses the best epoch and the thresholds; empty keeps back patients of TRAIN_SPLIT.
      test_splits: Splits to test on.
      seed: Of weights, order of images and changes to them.
      run_dir: Run folder of a GAN, for --classifier=discriminator.
      checkpoint: Which checkpoint of the run: last, best or the number of a step.
      resamples: Bootstraps of the patients, for 95 % intervals.
      settings: Setting of the classifier, such as max_epochs=20; repeatable.
    """

    data_dir: str
    classifier: str = flag(choices=CLASSIFIERS, also=(DISCRIMINATOR,))
    out_dir: str
    labels: tuple[str, ...] = ()
    train_split: str = "train"
    validation_split: str = "validation"
    test_splits: tuple[str, ...] = ("test",)
    seed: int = flag(0, minimum=0)
    run_dir: str | None = None
    checkpoint: str = "last"
    resamples: int = flag(1000, minimum=1)
    settings: tuple[str, ...] = flag((), name="set", is_repeated=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.classifier == DISCRIMINATOR) != (self.run_dir is not None):
            raise ValueError(
                "--classifier=discriminator and --run_dir, the run folder of its GAN, go together; give both"
            )


def train_classifier(arguments: TrainClassifierArguments) -> pathlib.Path:
    """Trains, prints the table and returns the version's folder."""
    with tensorflow_started():
        from tfcxr.classification.classifier_data import load_classifier_data
        from tfcxr.classification.classifier_run import train_and_store
        from tfcxr.classification.classifier_scores import score_table

    a = arguments
    open_network = _open_discriminator if a.classifier == DISCRIMINATOR else _open_architecture
    config, settings, run, fit = open_network(a)
    data = load_classifier_data(
        a.data_dir, a.labels, a.train_split, a.validation_split, a.test_splits, config.validation_fraction, a.seed
    )
    request = {
        "classifier": a.classifier,
        "settings": settings,
        "seed": a.seed,
        "labels": list(data.label_names),
        "data": data.facts,
        "run": run,
    }
    notices = _patients_the_gan_saw(a.run_dir, data) if a.run_dir else []
    path, facts = train_and_store(
        pathlib.Path(a.out_dir), request, data, lambda folder: fit(data, folder), a.resamples, notices
    )
    for notice in facts["notices"]:
        print(f"note: {notice}")
    nan = float("nan")  # stored as null
    print(score_table({split: _with_nan(scores, nan) for split, scores in facts["auc"].items()}))
    print(f"wrote {path}")
    return path


Fit = Callable[["ClassifierData", pathlib.Path], "FittedNetwork"]


def _open_architecture(a: TrainClassifierArguments) -> tuple[Any, dict[str, Any], None, Fit]:
    from tfcxr.classification.classifier_run import fit_architecture
    from tfcxr.evaluation.extractors.classifier_config import make_classifier_config

    config = make_classifier_config(a.classifier, parse_settings(a.settings))
    return config, config.identity, None, lambda data, folder: fit_architecture(config, data, a.seed, folder)


def _open_discriminator(a: TrainClassifierArguments) -> tuple[Any, dict[str, Any], dict[str, Any], Fit]:
    from tfcxr.classification.classifier_run import fit_discriminator
    from tfcxr.classification.discriminator_network import DiscriminatorConfig
    from tfcxr.serving.saved_model import weights_sha256
    from tfcxr.training.run_folder import load_model

    config = make_config(DiscriminatorConfig, parse_settings(a.settings))
    assert a.run_dir is not None  # checked with the arguments
    model, run, state = load_model(a.run_dir, a.checkpoint)
    facts = {
        "model": run.model,
        "step": int(state["step"]),
        "discriminator_sha256": weights_sha256(model.discriminator.variables),
    }
    return config, to_plain(config), facts, lambda data, folder: fit_discriminator(model, config, data, a.seed, folder)


def _patients_the_gan_saw(run_dir: str, data: "ClassifierData") -> list[str]:
    """A sentence for each test split whose patients the GAN was trained on, without the labels."""
    import numpy as np

    from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE

    file = pathlib.Path(run_dir) / TRAINING_PATIENTS_FILE
    seen = np.array(file.read_text(encoding="utf-8").split() if file.is_file() else [], str)
    notices = []
    for split, test in data.tests.items():
        patients = np.unique(test.patient_keys)
        if count := int(np.isin(patients, seen).sum()):
            notices.append(f"the GAN was trained on {count} of the {len(patients)} patients of split {split!r}")
    return notices


def _with_nan(value: Any, nan: float) -> Any:
    if isinstance(value, dict):
        return {name: _with_nan(item, nan) for name, item in value.items()}
    return [_with_nan(item, nan) for item in value] if isinstance(value, list) else nan if value is None else value


if __name__ == "__main__":
    command_line.run(train_classifier)
