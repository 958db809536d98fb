"""ACGAN images train a VGG-16 that is tested on real patients.

    python experiments/singh2023_acgan_vgg16.py --variant=corrected --raw_dir=chest_xray --work_dir=runs/singh2023

Paper: Singh, Lala, Macwan, Chaurasia 2023, "Evaluating Auxiliary GANs for Realistic Chest X-ray Synthesis".
Data: Kaggle Chest X-ray Pneumonia (Kermany, Zhang, Goldbaum 2018), NORMAL and PNEUMONIA, at 64x64.
Paper's figures: accuracy .85 of a VGG-16 trained on 30,000 generated images; for NORMAL and PNEUMONIA precision .99 and
.81, recall .64 and 1.00, F1 .78 and .89, support 2,069 and 3,147; macro precision .90, recall .82, F1 .83.
Ours, `corrected`: AUC .956 (.943-.970) on patients held out, 1.01 of a VGG-16 trained on real images; accuracy .811.
`as_published` collapses to one picture per class.
Hardware and time: two CPU cores; 23 minutes of ACGAN and 52 of VGG-16 (`corrected`). README.md here has the rest.

`as_published` keeps the paper's network, losses, value range and early stopping; `corrected` is our recipe for the
same task. Where both differ from the paper, and why:
- Test images are of patients that neither the GAN nor the classifier has seen. The paper tests on the GAN's own
  training images, whose supports do not even match the data set.
- Counts are cut to what two CPU cores do in an hour or two: as many images are generated as there are training images
  (2,559 here) instead of 30,000, the VGG-16 sees `classifier_images` of them on each side, its learning rate is 1e-4
  instead of 1e-5, and it ends after 12 epochs instead of 60.
- A classifier trained on as many real images and one trained on both stand beside the one trained on synthetic images.
"""

import dataclasses
import pathlib

from tfcxr import command_line, experiment
from tfcxr.experiment import Command, ExperimentArguments, command, read_variant, training

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class SinghArguments(ExperimentArguments):
    """The flags; raw_dir holds train/ and test/."""

    work_dir: str = "runs/singh2023"


def commands(arguments: SinghArguments) -> list[Command]:
    """Records, training, cohort and verdict of a variant."""
    settings, folder = read_variant(__file__, arguments.variant), arguments.folder
    records, cohort, exports = pathlib.Path(arguments.work_dir) / "records", folder / "cohort", folder / "saved_model"
    real = records / "64"
    source = {"dataset": "chest_xray_pneumonia", "raw_dir": arguments.raw_dir}
    return [
        command("tfrecords_builder", **source, out_dir=records, image_sizes=[64], splits=SPLITS),
        training(__file__, arguments, "run", data_dir=real, export_dir=exports),
        command(
            "tfcxr.generate", saved_model=exports / "1", out_dir=cohort, like=real, like_split="train", preview=True
        ),
        command(
            "tfcxr.evaluate",
            protocols="tstr",
            synthetic_dir=cohort / "64",
            real_dir=real,
            test_splits=TEST_SPLITS,
            out_dir=folder / "report",
            classifier="vgg16",
            classifier_seeds=[0, 1, 2],
            settings={
                "tstr": {"images": settings["classifier_images"], "arms": settings["arms"]},
                "classifier": settings["classifier"],
            },
        ),
    ]


def main(arguments: SinghArguments) -> None:
    """Runs what is not finished of the chosen variant."""
    experiment.run(__file__, arguments, {"splits": SPLITS}, commands(arguments))


if __name__ == "__main__":
    command_line.run(main)
