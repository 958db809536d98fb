"""A CGAN generates small radiographs, a gate keeps those its discriminator believes, an SRGAN enlarges them.

    python experiments/woloszyn2025_cgan_srgan.py --variant=corrected --dataset=chest_xray_pneumonia \\
        --raw_dir=chest_xray --sizes=64,256 --work_dir=runs/woloszyn2025

Paper: Woloszyn 2025, "Memory-Efficient Deep Learning for High-Resolution Synthetic Chest X-ray Generation".
Data there: ChestX-ray8, 5,000 images each of No Finding, Mass and Pneumonia, CLAHE, at 128 and at 512 px
(`--dataset=chestxray8 --sizes=128,512 --only_labels="No Finding,Mass,Pneumonia"`, the defaults).
Paper's figures: a gate at .9; one image of each class in under a second; 500 epochs in 12 hours on a GTX 1050 Ti
of 4 GB.
Ours, part by part, on children's chests: the CGAN at 64 px has AUC .982, .992 of real images; SRGAN 34.9 dB against
bicubic 33.3; a gate at .9 passes nothing; one image of each class 1.2 s at 256 px. `as_published` was not run.
Hardware and time: two CPU cores, 18 minutes of CGAN and 10 of SRGAN. README.md here has the rest.

Both models are trained apart from each other. The cohort of the cascade is gated and enlarged; what is compared with
real patients are the CGAN's plain images.

The paper publishes no learning rates, batch size, slopes, CLAHE values or content loss: ours stand in both variants.
`as_published` has what is published: label input to both networks, up-sampling convolutions, LeakyReLU, dropout in
the discriminator, the conditional log loss, no penalty, a gate at .9. Its steps are 500 epochs of 15,000 images.
`corrected` adds R1 = .1, without which the discriminator wins on few images, and an averaged generator, and has the
steps that two CPU cores do in an hour. Its gate is at .5: a discriminator in balance rates few real images at .9.
"""

import dataclasses
import pathlib

from tfcxr import command_line, experiment
from tfcxr.experiment import Command, ExperimentArguments, command, read_variant, training

SPLITS = "train=.7,validation=.1,held_out=.2"

VARIANTS = {
    "as_published": {
        "cgan": {
            "model_name": "cgan",
            "model": {"dropout": 0.4, "r1_gamma": 0.0, "ema_decay": 0.0, "fake_labels": "batch"},
            "batch_size": 64,
            "steps": 117000,
        },
        "srgan": {
            "model_name": "srgan",
            "model": {"scale": 4, "residual_blocks": 16, "content_loss": "vgg19"},
            "batch_size": 16,
            "steps": 100000,
        },
        "min_realism": 0.9,
        "max_tries": 1000,
        "images": 1000,
    },
    "corrected": {
        "cgan": {
            "model_name": "cgan",
            "model": {"precision": "mixed_bfloat16"},
            "batch_size": 32,
            "steps": 3000,
        },
        "srgan": {
            "model_name": "srgan",
            "model": {"scale": 4, "precision": "mixed_bfloat16"},
            "batch_size": 8,
            "steps": 3000,
        },
        "min_realism": 0.5,
        "max_tries": 1000,
        "images": 100,
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WoloszynArguments(ExperimentArguments):
    """The flags.

    Attributes:
      dataset: Data set of tfrecords_builder.
      only_labels: Labels to generate; all of the data set by default.
      sizes: Pixels of the CGAN's images, and of those that the SRGAN learns from.
    """

    dataset: str = "chestxray8"
    only_labels: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ("128", "512")
    work_dir: str = "runs/woloszyn2025"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.sizes) != 2 or not all(size.isdecimal() for size in self.sizes):
            raise ValueError(f"--sizes expects two numbers such as 128,512, got {','.join(self.sizes)}")


def commands(arguments: WoloszynArguments) -> list[Command]:
    """Records, both trainings, the cascade, both cohorts and the verdict of a variant."""
    settings, folder = read_variant(__file__, arguments.variant), arguments.folder
    small, large = arguments.sizes
    records, exports = pathlib.Path(arguments.work_dir) / "records", folder / "saved_models"
    source = {"dataset": arguments.dataset, "raw_dir": arguments.raw_dir, "only_labels": arguments.only_labels or None}
    gate = {name: settings[name] for name in ("min_realism", "max_tries")}
    pair = {"saved_model": exports / "cgan", "super_resolution": exports / "srgan"}
    like_real = {"like": records / small, "like_split": "train", "preview": True}
    return [
        command("tfrecords_builder", **source, out_dir=records, image_sizes=[small, large], splits=SPLITS, clahe=True),
        training(__file__, arguments, "cgan", "cgan", data_dir=records / small),
        training(__file__, arguments, "srgan", "srgan", data_dir=records / large),
        command("tfcxr.export", **pair, out_dir=exports / "cascade", **gate),
        command("tfcxr.generate", saved_model=exports / "cgan", out_dir=folder / "cohort", **like_real),
        command(
            "tfcxr.generate", **pair, **gate, out_dir=folder / "cohort_enlarged", images=settings["images"], **like_real
        ),
        command(
            "tfcxr.evaluate",
            protocols=["tstr", "distances"],
            synthetic_dir=folder / "cohort" / small,
            real_dir=records / small,
            test_splits="held_out",
            out_dir=folder / "report",
            classifier="small_cnn",
            classifier_seeds=[0, 1, 2],
        ),
    ]


def main(arguments: WoloszynArguments) -> None:
    """Runs what is not finished of the chosen variant."""
    experiment.run(__file__, arguments, {"splits": SPLITS}, commands(arguments))


if __name__ == "__main__":
    command_line.run(main)
