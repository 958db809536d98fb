"""Judges a synthetic cohort by what it is worth to real patients, and writes a report.

    python -m tfcxr.evaluate --synthetic_dir=cohort/64 --real_dir=records/64 --test_splits=test --out_dir=runs/eval

Protocols, one or several at once in one --out_dir:

- synthetic_train_real_test (report.html, report.json): scores of a classifier trained on synthetic images, on as many
  real ones and on both, tested on real patients;
- distribution_distance (distances.html, distances.json): Frechet and kernel distance between synthetic and real images
  by the features of a classifier trained on real ones, beside what real images give against each other.

A killed evaluation goes on where it stopped when the same command is run again. Settings of the classifier are changed
with --set, such as --set learning_rate=1e-4 --set precision=mixed_bfloat16.
"""

import pathlib

from absl import flags, logging

from tfcxr import command_line
from tfcxr.command_line import nearest_name, refuse_global_flags
from tfcxr.config import parse_settings
from tfcxr.protocols import PROTOCOLS, REPORT_FILES, distribution_distance, synthetic_train_real_test
from tfcxr.protocols.classifier import CLASSIFIERS, make_classifier_config
from tfcxr.protocols.settings import ARMS, EvaluationSettings

flags.DEFINE_list("protocols", ["synthetic_train_real_test"], f"Of: {', '.join(PROTOCOLS)}.")
flags.DEFINE_string("synthetic_dir", None, "Data folder of the synthetic cohort, such as cohort/64.", required=True)
flags.DEFINE_string("real_dir", None, "Data folder of the real patients, such as records/64.", required=True)
flags.DEFINE_string("out_dir", None, "Folder of the reports and of finished trainings.", required=True)
flags.DEFINE_string("test_dir", None, "Data folder of the test splits, where it is another than --real_dir.")
flags.DEFINE_list("synthetic_splits", [], "Splits of the cohort; all where left out.")
flags.DEFINE_list("train_split", ["train"], "Splits of real training patients.")
flags.DEFINE_list(
    "validation_split",
    [],
    "Splits of --real_dir on which every training's end and threshold are chosen; "
    "where left out, each training keeps back a share of its own images.",
)
flags.DEFINE_list("test_splits", ["test"], "Splits of real test patients; each is reported by itself.")
flags.DEFINE_string("classifier", "vgg16", f"Of: {', '.join(CLASSIFIERS)}.")
flags.DEFINE_integer(
    "images",
    0,
    "Images to train on, synthetic and real; 0 is as many as the smaller side has. Of synthetic_train_real_test only.",
)
flags.DEFINE_integer(
    "distance_images",
    0,
    "Images to compare on each side, no more than the smallest split holds; 0 is, for each split, as many as the "
    "smaller side has. Of distribution_distance only.",
)
flags.DEFINE_list(
    "classifier_seeds",
    ["0", "1", "2"],
    "One training of each arm for each; distribution_distance trains its extractor with the first.",
)
flags.DEFINE_list("arms", list(ARMS), "What to train on: synthetic, real, both. Of synthetic_train_real_test only.")
flags.DEFINE_integer(
    "bootstrap_resamples",
    1000,
    "Resamples of the test patients for the intervals. Of synthetic_train_real_test only.",
)
flags.DEFINE_integer("diversity_pairs", 1000, "Image pairs a class for MS-SSIM. Of synthetic_train_real_test only.")
flags.DEFINE_string(
    "extractor_dir",
    None,
    "Folder of trained feature extractors, which several evaluations may share so that their distances compare; "
    "extractor/ of --out_dir where left out. Of distribution_distance only.",
)
flags.DEFINE_bool(
    "allow_shared_patients",
    False,
    "Go on where test patients were trained on; the report is marked NOT patient-disjoint.",
)
flags.DEFINE_bool("overwrite", False, "Replace reports in --out_dir; trainings that still fit are used again.")
flags.DEFINE_multi_string("set", [], "A classifier setting, name=value.")

FLAGS_OF_PROTOCOL = {
    synthetic_train_real_test.PROTOCOL: ("images", "arms", "bootstrap_resamples", "diversity_pairs"),
    distribution_distance.PROTOCOL: ("distance_images", "extractor_dir"),
}


def main(argv: list[str]) -> None:
    values = flags.FLAGS
    for name in values.protocols:
        if name not in PROTOCOLS:
            raise ValueError(f"unknown protocol {name!r}; {nearest_name(name, PROTOCOLS)}")
    for name, of_protocol in FLAGS_OF_PROTOCOL.items():
        if name not in values.protocols:
            asked = ",".join(values.protocols)
            refuse_global_flags(
                of_protocol, f"only {name} has a use for it, and --protocols={asked} does not ask for that"
            )
    if set(values.protocols) == {distribution_distance.PROTOCOL} and len(values.classifier_seeds) > 1:
        refuse_global_flags(["classifier_seeds"], "distribution_distance trains one extractor; give it one seed")
    settings = _settings()
    names = list(dict.fromkeys(values.protocols))
    finished = [name for name in names if (settings.out_dir / REPORT_FILES[name][0]).exists()]
    for name in names:
        if name in finished and len(finished) < len(names) and not settings.overwrite:
            logging.info("%s is there and kept; set --overwrite to replace it", REPORT_FILES[name][0])
            continue
        report = PROTOCOLS[name](settings)
        if not report["is_patient_disjoint"]:
            print("NOT patient-disjoint: " + "; ".join(report["shared_patients"]) + ".")
        print(*report["verdict"], sep="\n")
        print(f"Report: {settings.out_dir / REPORT_FILES[name][1]}")


def _settings() -> EvaluationSettings:
    """What the flags ask for; every protocol takes from it what it needs."""
    values = flags.FLAGS
    try:
        seeds = tuple(int(seed) for seed in values.classifier_seeds)
    except ValueError as error:
        raise ValueError(
            f"--classifier_seeds expects whole numbers such as 0,1,2, got {values.classifier_seeds}"
        ) from error
    classifier = parse_settings(values["set"].value)
    if values.validation_split and "validation_fraction" in classifier:
        raise ValueError(
            "--set=validation_fraction would have no effect: with --validation_split, nothing is kept back of the "
            "training images; leave out one of them"
        )
    return EvaluationSettings(
        synthetic_dir=pathlib.Path(values.synthetic_dir),
        real_dir=pathlib.Path(values.real_dir),
        test_dir=pathlib.Path(values.test_dir) if values.test_dir else None,
        out_dir=pathlib.Path(values.out_dir),
        classifier=make_classifier_config(values.classifier, classifier),
        synthetic_splits=tuple(values.synthetic_splits),
        train_splits=tuple(values.train_split),
        validation_splits=tuple(values.validation_split),
        test_splits=tuple(values.test_splits),
        images=values.images,
        distance_images=values.distance_images,
        classifier_seeds=seeds,
        arms=tuple(values.arms),
        bootstrap_resamples=values.bootstrap_resamples,
        diversity_pairs=values.diversity_pairs,
        allow_shared_patients=values.allow_shared_patients,
        overwrite=values.overwrite,
        extractor_dir=pathlib.Path(values.extractor_dir) if values.extractor_dir else None,
    )


if __name__ == "__main__":
    command_line.run_main(main)
