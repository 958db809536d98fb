"""Eleven trainings on a small set: vanilla GAN, WGAN-GP and StyleGAN2, ranked by a distance, with t-tests of all pairs.

    python experiments/chetty2023_small_data.py --variant=corrected --raw_dir=chest_xray --work_dir=runs/chetty2023

Paper: Chetty 2023, "Evaluating GANs on Small Medical Datasets".
Data there: 2,618 lateral elbow radiographs at 256x256, three channels. Here: the NORMAL class of Kaggle Chest X-ray
Pneumonia at 64x64, grey, some 700 training images, for no elbow set was at hand.
Paper's figures: StyleGAN2 is best near 8,400 iterations of 64 images, and unstable after; MedFID's validation has blur
.816, noise .898, salt and pepper .998, black blocks .438.
Ours, `corrected`: Frechet distance of StyleGAN2 2.9, of the best WGAN-GP 15.8, of the best vanilla GAN 39.2 (real
images 1.1). `as_published` was not run.
Hardware and time: two CPU cores, 24 minutes for all of it. README.md here has the rest.

Where both variants differ from the paper:
- The distance is by a small classifier trained on the same children's chests, NORMAL against PNEUMONIA, on patients
  whom no generator has seen, not MedFID's Inception-v3. Both are Frechet distances; their numbers do not compare.
- One grey channel. Steps are cut to what two CPU cores do in an hour (`corrected`).
- t-tests are of draws from one training each, and adjusted for 55 pairs (Holm); the paper tests each pair at 5 %.
`as_published` keeps the batch normalisation epsilon of .8, plain weights (no averaging) in the perceptrons, no drift
term, and StyleGAN2's settings with steps of some 8,400 times 64 images. `corrected` has an epsilon of 1e-5, averaged
generators, drift .001, adaptive augmentation, and bfloat16.
"""

import dataclasses
import pathlib

from tfcxr import command_line, experiment
from tfcxr.command_line import flag
from tfcxr.experiment import Command, ExperimentArguments, command, read_variant, training

# run -> (model, learning rate, beta 1, beta 2), the paper's tables
RUNS = {
    "vanilla_1": ("vanilla_gan", 2e-3, 0.5, 0.999),
    "vanilla_2": ("vanilla_gan", 2e-4, 0.5, 0.9),
    "vanilla_3": ("vanilla_gan", 1e-3, 0.5, 0.9),
    "vanilla_4": ("vanilla_gan", 1e-3, 0.5, 0.999),
    "vanilla_5": ("vanilla_gan", 1e-4, 0.5, 0.9),
    "wgan_gp_1": ("wgan_gp", 1e-4, 0.5, 0.9),
    "wgan_gp_2": ("wgan_gp", 5e-5, 0.5, 0.9),
    "wgan_gp_3": ("wgan_gp", 1e-3, 0.5, 0.9),
    "wgan_gp_4": ("wgan_gp", 2e-4, 0.5, 0.9),
    "wgan_gp_5": ("wgan_gp", 2e-3, 0.5, 0.9),
    "stylegan2": ("stylegan2", 2.5e-3, 0.0, 0.99),
}

VARIANTS = {
    "as_published": {
        "vanilla_gan": {
            "model_name": "vanilla_gan",
            "model": {"batch_normalization_epsilon": 0.8, "ema_decay": 0.0},
            "batch_size": 64,
            "steps": 8200,
        },
        "wgan_gp": {
            "model_name": "wgan_gp",
            "model": {
                "architecture": "perceptron",
                "initializer": "uniform",
                "batch_normalization_epsilon": 0.8,
                "drift_weight": 0.0,
                "ema_decay": 0.0,
            },
            "batch_size": 64,
            "steps": 1640,
        },
        "stylegan2": {
            "model_name": "stylegan2",
            "model": {"conditional": False, "label_count": 0, "r1_gamma": 0.8192, "ema_kimg": 5.0},
            "batch_size": 16,
            "steps": 33600,
        },
    },
    "corrected": {
        "vanilla_gan": {
            "model_name": "vanilla_gan",
            "model": {"precision": "mixed_bfloat16"},
            "batch_size": 64,
            "steps": 1000,
        },
        "wgan_gp": {
            "model_name": "wgan_gp",
            "model": {"architecture": "perceptron", "initializer": "uniform", "precision": "mixed_bfloat16"},
            "batch_size": 64,
            "steps": 400,
        },
        "stylegan2": {
            "model_name": "stylegan2",
            "model": {
                "conditional": False,
                "label_count": 0,
                "r1_gamma": 0.8192,
                "ema_kimg": 5.0,
                "adaptive_augmentation": True,
                "latent_size": 128,
                "style_size": 128,
                "channel_base": 2048,
                "channel_max": 128,
                "precision": "mixed_bfloat16",
            },
            "batch_size": 16,
            "steps": 1000,
        },
    },
}

SPLITS = "train=.7,validation=.1,held_out=.2"
DRAWS = 10
IMAGES_PER_DRAW = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChettyArguments(ExperimentArguments):
    """The flags.

    Attributes:
      image_size: Pixels.
    """

    image_size: int = flag(64, minimum=32)
    work_dir: str = "runs/chetty2023"


def commands(arguments: ChettyArguments) -> list[Command]:
    """Both record sets, with one division of patients by hash; each run's training and cohort; the ranking."""
    settings, folder, size = read_variant(__file__, arguments.variant), arguments.folder, arguments.image_size
    normal, both = (pathlib.Path(arguments.work_dir) / name for name in ("records", "records_both"))
    source = {"dataset": "chest_xray_pneumonia", "raw_dir": arguments.raw_dir, "splits": SPLITS, "split_by": "hash"}
    commands = [
        command("tfrecords_builder", **source, out_dir=normal, image_sizes=[size], only_labels="NORMAL"),
        command("tfrecords_builder", **source, out_dir=both, image_sizes=[size]),
    ]
    for run, (model, learning_rate, beta_1, beta_2) in RUNS.items():
        rates = {"generator_learning_rate": learning_rate, "discriminator_learning_rate": learning_rate}
        exports = folder / "saved_models" / run
        commands += [
            training(
                __file__,
                arguments,
                run,
                part=model,
                data_dir=normal / str(size),
                sample_every=max(1, settings[model]["steps"] // 3),
                settings=rates | {"beta_1": beta_1, "beta_2": beta_2},
            ),
            command(
                "tfcxr.generate",
                saved_model=exports / "1",
                out_dir=folder / "cohorts" / run,
                images=DRAWS * IMAGES_PER_DRAW,
            ),
        ]
    cohorts = {run: folder / "cohorts" / run / str(size) for run in RUNS}
    settings = {
        "classifier": {"max_epochs": 12},
        "ranking": {"draws": DRAWS, "extractor_data_dir": both / str(size)},
    }
    ranked = experiment.ranking(arguments, cohorts, real_dir=normal / str(size), settings=settings)
    return [*commands, ranked]


def main(arguments: ChettyArguments) -> None:
    """Runs what is not finished of the chosen variant; its last command ranks the cohorts."""
    experiment.run(__file__, arguments, {"splits": SPLITS, "runs": RUNS}, commands(arguments))


if __name__ == "__main__":
    command_line.run(main)
