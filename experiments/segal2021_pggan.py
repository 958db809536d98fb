"""A PGGAN grown on radiographs, its cohort evaluated, and real images embedded in it as a baseline.

    python experiments/segal2021_pggan.py --variant=cpu --raw_dir=nih_64 --work_dir=runs/segal2021

Paper: Segal, D. Rubin, G. Rubin, Pantanowitz 2021, "Evaluating the Clinical Realism of Synthetic Chest X-Rays Generated
Using Progressively Growing GANs".
Data there: NIH ChestX-ray14, 112,120 images of 30,805 patients, three equal channels, grown to 1024 px on four GPUs.
Paper's figures: FID .53 between stratified halves, 7.87 by sex, 8.02 of 100,000 synthetic images; AUC of a classifier
trained on embedded images .604, on generated ones .878, on real ones .947; HYPE-infinity 33 % (24-43).
Ours: grown to 64 px on children's chests by li2025's pretraining; 1024 px was not trained.
Hardware and time: two CPU cores, 65 minutes for 180,000 images at 4 to 64 px. README.md here has the rest.

The embedded cohort is of the training images: the discriminator is retrained to regress z from images.

`as_published` has the schedule of the paper as data: 800,000 images at 4 px, 1,600,000 at each size to 512, half of
them while the new block fades in, 2,000,000 at 1024; batches of 16 per GPU (64) to 128 px, then 14, 8 and 3; WGAN-GP
with one critic step, lambda 10, drift .001, Adam 1e-3 (0, .99); the averaged generator's new block starts from weights
of its own. `corrected` copies them from the trained one, takes both networks' gradients from one batch of fakes, and
generates grey images. `cpu` is `corrected` with fewer channels, ends at 64 px, and sees 296,000 images in all: hours,
not days. The paper's evaluation by findings, prevalence and readers is not part of this file.
"""

import dataclasses
import pathlib

from tfcxr import command_line, experiment
from tfcxr.experiment import Command, ExperimentArguments, command, read_variant, training

VARIANTS = {
    "as_published": {
        "batch_size": 64,
        "sample_every": 5000,
        "model_name": "pggan",
        "model": {
            "image_size": 1024,
            "channels": 3,
            "stage_images": [800000, 1600000, 1600000, 1600000, 1600000, 1600000, 1600000, 1600000, 2000000],
            "batch_sizes": [64, 64, 64, 64, 64, 64, 56, 32, 12],
            "average_growth": "fresh",
            "update_order": "alternating",
        },
    },
    "corrected": {
        "batch_size": 64,
        "sample_every": 5000,
        "model_name": "pggan",
        "model": {
            "image_size": 1024,
            "stage_images": [800000, 1600000, 1600000, 1600000, 1600000, 1600000, 1600000, 1600000, 2000000],
            "batch_sizes": [64, 64, 64, 64, 64, 64, 56, 32, 12],
        },
    },
    "cpu": {
        "batch_size": 16,
        "sample_every": 500,
        "model_name": "pggan",
        "model": {
            "image_size": 64,
            "latent_size": 128,
            "channel_base": 2048,
            "channel_max": 128,
            "stage_images": [16000, 40000, 64000, 80000, 96000],
            "precision": "mixed_bfloat16",
        },
    },
}

SPLITS = "train=.6,validation=.1,held_out=.3"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegalArguments(ExperimentArguments):
    """The flags.

    Attributes:
      dataset: Data set of tfrecords_builder.
    """

    variant: str = "cpu"
    dataset: str = "nih_chestxray14"
    work_dir: str = "runs/segal2021"


def commands(arguments: SegalArguments) -> list[Command]:
    """Records, training, cohort, distance and embedded cohort of a variant."""
    size, folder = read_variant(__file__, arguments.variant)["model"]["image_size"], arguments.folder
    records, exports = pathlib.Path(arguments.work_dir) / "records", folder / "saved_models" / "pggan"
    real, run_dir, sizes = records / str(size), folder / "pggan", experiment.sizes_to(size)
    source = {"dataset": arguments.dataset, "raw_dir": arguments.raw_dir}
    return [
        command("tfrecords_builder", **source, out_dir=records, image_sizes=sizes, splits=SPLITS, split_by="hash"),
        training(__file__, arguments, "pggan", data_dir=real),
        command("tfcxr.generate", saved_model=exports, out_dir=folder / "cohort", like=real, preview=True),
        command(
            "tfcxr.evaluate",
            protocols="distances",
            synthetic_dir=folder / "cohort" / str(size),
            real_dir=real,
            test_splits="held_out",
            validation_splits="validation",
            classifier="small_cnn",
            out_dir=folder / "verdict",
        ),
        command(
            "tfcxr.embed", run_dir=run_dir, data_dir=real, splits="train", out_dir=folder / "embedded", preview=True
        ),
    ]


def main(arguments: SegalArguments) -> None:
    """Runs what is not finished of the chosen variant."""
    experiment.run(__file__, arguments, {"splits": SPLITS}, commands(arguments))


if __name__ == "__main__":
    command_line.run(main)
