"""ACGAN images train a VGG-16 that is tested on real patients.

    python experiments/singh2023_acgan_vgg16.py --variant=corrected --raw_dir=chest_xray --work_dir=runs/singh2023

Paper: Singh, Lala, Macwan, Chaurasia 2023, "Evaluating Auxiliary GANs for Realistic Chest X-ray Synthesis".
Data: Kaggle Chest X-ray Pneumonia (Kermany, Zhang, Goldbaum 2018), NORMAL and PNEUMONIA, at 64x64.

One command builds the records, trains, exports, draws the cohort and trains and tests the classifiers; stopped at any
moment it goes on where it was. `as_published` keeps the paper's network, losses, value range and early stopping;
`corrected` is our recipe for the same task. What ran, for how long and with what result stands in README.md here.

Where both differ from the paper, and why:
- Test images are of patients that neither the GAN nor the classifier has seen. The paper tests on the GAN's own
  training images, whose supports (2,069 and 3,147) do not even match the data set.
- Counts are cut to what two CPU cores do in an hour or two: as many images are drawn as there are training images
  (2,559 here) instead of 30,000, the VGG-16 sees `classifier_images` of them a side, its learning rate is 1e-4
  instead of 1e-5, and it ends after 12 epochs instead of 60.
- A real-trained classifier on as many images and one on both stand beside the synthetic-trained one.
"""

import pathlib

from absl import flags

from tfcxr import command_line
from tfcxr.experiment import Stage, claim_folder, read_variant, run_stages

PUBLISHED = {
    "accuracy": 0.85,
    "precision": {"0": 0.99, "1": 0.81},
    "recall": {"0": 0.64, "1": 1.00},
    "f1": {"0": 0.78, "1": 0.89},
    "support": {"0": 2069, "1": 3147},
    "macro": {"precision": 0.90, "recall": 0.82, "f1": 0.83},
    "generated_images": 30000,
}

SPLITS = "train=.7,validation=.1,held_out=.2"
TEST_SPLITS = "held_out,test"  # patients of the published `train` folder kept apart, and the published `test` folder

VARIANTS = {
    "as_published": {
        "model_name": "acgan",
        "model": {
            "channels": 3,
            "output": "sigmoid",
            "generator_dense_units": [1024],
            "generator_filters": 256,
            "normalization": "layer",
            "initializer": "glorot",
            "discriminator_kernel_size": 5,
            "dropout": 0.4,
            "l2": 6e-9,
            "adversarial_loss": "least_squares",
            "fake_labels": "balanced",
            "r1_gamma": 0.0,
            "generator_learning_rate": 1e-4,
            "discriminator_learning_rate": 1e-4,
            "beta_1": 0.9,
            "ema_decay": 0.0,
            "precision": "mixed_bfloat16",
        },
        "batch_size": 16,
        "steps": 2000,
        "classifier_images": 1000,
        "arms": "real,synthetic",
        "classifier": {"precision": "mixed_bfloat16", "learning_rate": 1e-4, "max_epochs": 12},
    },
    "corrected": {
        "model_name": "acgan",
        "model": {"r1_interval": 4, "precision": "mixed_bfloat16"},
        "batch_size": 32,
        "steps": 3000,
        "classifier_images": 1000,
        "arms": "real,synthetic,both",
        "classifier": {
            "precision": "mixed_bfloat16",
            "learning_rate": 1e-4,
            "max_epochs": 12,
            "balance_classes": "weights",
        },
    },
}

FLAGS = flags.FLAGS
if __name__ == "__main__":
    flags.DEFINE_enum("variant", "corrected", list(VARIANTS), "Which variant.")
    flags.DEFINE_string("raw_dir", None, "Folder of the raw data set, with train/ and test/.", required=True)
    flags.DEFINE_string("work_dir", "runs/singh2023", "Folder for records, run, model, cohort and report.")


def stages(variant: str, raw_dir: str, work_dir: pathlib.Path) -> list[Stage]:
    """The commands of one variant, in order."""
    settings = read_variant(__file__, variant)
    records, folder = work_dir / "records", work_dir / variant
    run_dir, saved_model, cohort, report = folder / "run", folder / "saved_model", folder / "cohort", folder / "report"
    return [
        Stage(
            (
                *("-m", "tfrecords_builder", "--dataset=chest_xray_pneumonia", f"--raw_dir={raw_dir}"),
                *(f"--out_dir={records}", "--image_sizes=64", f"--splits={SPLITS}"),
            ),
            records / "64" / "dataset_info.json",
        ),
        Stage(
            (
                *("-m", "tfcxr.train", f"--model={settings['model_name']}", f"--experiment={__file__}"),
                *(f"--variant={variant}", f"--data_dir={records / '64'}", f"--run_dir={run_dir}"),
                *(f"--export_dir={saved_model}", f"--steps={settings['steps']}"),
                *(f"--batch_size={settings['batch_size']}", "--resume"),
            ),
            saved_model / "1" / "saved_model.pb",
        ),
        Stage(
            (
                *("-m", "tfcxr.generate", f"--saved_model={saved_model / '1'}", f"--out_dir={cohort}"),
                *(f"--like={records / '64'}", "--like_split=train", "--preview"),
            ),
            cohort / "64" / "dataset_info.json",
        ),
        Stage(
            (
                *("-m", "tfcxr.evaluate", "--protocols=tstr", f"--synthetic_dir={cohort / '64'}"),
                *(
                    f"--real_dir={records / '64'}",
                    f"--test_splits={TEST_SPLITS}",
                    f"--set=tstr.arms={settings['arms']}",
                ),
                *(f"--out_dir={report}", "--classifier=vgg16", "--classifier_seeds=0,1,2"),
                f"--set=tstr.images={settings['classifier_images']}",
                *(f"--set=classifier.{name}={value}" for name, value in settings["classifier"].items()),
            ),
            report / "report.json",
        ),
    ]


def main(argv: list[str]) -> None:
    """Runs the chosen variant."""
    work_dir = pathlib.Path(FLAGS.work_dir)
    claim_folder(work_dir / FLAGS.variant, read_variant(__file__, FLAGS.variant) | {"splits": SPLITS})
    run_stages(stages(FLAGS.variant, FLAGS.raw_dir, work_dir))


if __name__ == "__main__":
    command_line.run_main(main)
