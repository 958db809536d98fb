"""Eleven trainings on a small set: vanilla GAN, WGAN-GP and StyleGAN2, ranked by a distance, with t-tests of all pairs.

    python experiments/chetty2023_small_data.py --variant=corrected --raw_dir=chest_xray --work_dir=runs/chetty2023

Paper: Chetty 2023, "Evaluating GANs on Small Medical Datasets".
Data there: 2,618 lateral elbow radiographs at 256x256, three channels. Here: the NORMAL class of Kaggle Chest X-ray
Pneumonia at 64x64, grey, some 700 training images, for no elbow set was at hand.

One command builds the records, trains all eleven, exports them, draws a cohort from each, and prints the table and the
pairwise t-tests; stopped at any moment it goes on where it was. What ran, for how long and with what result stands in
README.md here.

Where both variants differ from the paper:
- The distance is by a small classifier trained on the same children's chests, NORMAL against PNEUMONIA, on patients
  whom no generator has seen, not MedFID's Inception-v3. Both are Frechet distances; their numbers do not compare.
- One grey channel. Steps are cut to what two CPU cores do in an hour (`corrected`).
- t-tests are of draws from one training each, and adjusted for 55 pairs (Holm); the paper tests each pair at 5 %.
`as_published` keeps the batch normalisation epsilon of .8, plain weights (no averaging) in the perceptrons, no drift
term, and StyleGAN2's settings with steps of some 8,400 times 64 images. `corrected` has an epsilon of 1e-5, averaged
generators, drift .001, adaptive augmentation, and bfloat16.
"""

import pathlib

from absl import flags

from tfcxr import command_line
from tfcxr.experiment import Stage, claim_folder, read_variant, run_stages

PUBLISHED = {
    "best": "StyleGAN2 near 8,400 iterations of 64 images, unstable after",
    "medfid_validation": {"blur": 0.816, "noise": 0.898, "salt_and_pepper": 0.998, "black_blocks": 0.438},
}

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
IMAGES_A_DRAW = 200

FLAGS = flags.FLAGS
if __name__ == "__main__":
    flags.DEFINE_enum("variant", "corrected", list(VARIANTS), "Which variant.")
    flags.DEFINE_string("raw_dir", None, "Folder of the raw data set, with train/ and test/.", required=True)
    flags.DEFINE_integer("image_size", 64, "Pixels.", lower_bound=32)
    flags.DEFINE_string("work_dir", "runs/chetty2023", "Folder for records, runs, models, cohorts and the ranking.")


def stages(variant: str, raw_dir: str, image_size: int, work_dir: pathlib.Path) -> list[Stage]:
    """The commands of one variant, in order; `--split_by=hash` gives both record sets the same division of patients."""
    built = [
        Stage(
            (
                *("-m", "tfrecords_builder", "--dataset=chest_xray_pneumonia", f"--raw_dir={raw_dir}"),
                *(f"--out_dir={work_dir / name}", f"--image_sizes={image_size}", f"--splits={SPLITS}"),
                *("--split_by=hash", *label_filter),
            ),
            work_dir / name / str(image_size) / "dataset_info.json",
        )
        for name, label_filter in (("records", ("--only_labels=NORMAL",)), ("records_both", ()))
    ]
    settings = read_variant(__file__, variant)
    folder = work_dir / variant
    runs = [
        stage
        for run, (model, learning_rate, beta_1, beta_2) in RUNS.items()
        for stage in (
            Stage(
                (
                    *("-m", "tfcxr.train", f"--model={model}", f"--experiment={__file__}"),
                    *(f"--variant={variant}/{model}", f"--data_dir={work_dir / 'records' / str(image_size)}"),
                    *(f"--run_dir={folder / run}", f"--export_dir={folder / 'saved_models' / run}"),
                    *(f"--steps={settings[model]['steps']}", f"--batch_size={settings[model]['batch_size']}"),
                    f"--sample_every={max(1, settings[model]['steps'] // 3)}",
                    *(f"--set={side}_learning_rate={learning_rate}" for side in ("generator", "discriminator")),
                    *(f"--set=beta_1={beta_1}", f"--set=beta_2={beta_2}", "--resume"),
                ),
                folder / "saved_models" / run / "1" / "saved_model.pb",
            ),
            Stage(
                (
                    *("-m", "tfcxr.generate", f"--saved_model={folder / 'saved_models' / run / '1'}"),
                    *(f"--out_dir={folder / 'cohorts' / run}", f"--images={DRAWS * IMAGES_A_DRAW}"),
                ),
                folder / "cohorts" / run / str(image_size) / "dataset_info.json",
            ),
        )
    ]
    size, cohorts = str(image_size), folder / "cohorts"
    ranking = Stage(
        (
            *("-m", "tfcxr.evaluate", "--protocols=cohort_ranking", f"--real_dir={work_dir / 'records' / size}"),
            f"--synthetic_dir={','.join(f'{run}={cohorts / run / size}' for run in RUNS)}",
            *("--test_splits=held_out", "--classifier=small_cnn", "--classifier_seeds=0", f"--out_dir={folder}"),
            *(f"--extractor_dir={work_dir / 'extractor'}", "--set=classifier.max_epochs=12"),
            f"--set=cohort_ranking.extractor_data_dir={work_dir / 'records_both' / size}",
            f"--set=cohort_ranking.draws={DRAWS}",
        ),
        folder / "report.json",
    )
    return [*built, *runs, ranking]


def main(argv: list[str]) -> None:
    """Runs what is not finished of the chosen variant; the ranking is in report.html of its folder."""
    work_dir = pathlib.Path(FLAGS.work_dir)
    chosen = {"image_size": FLAGS.image_size, "splits": SPLITS, "runs": {name: list(run) for name, run in RUNS.items()}}
    claim_folder(work_dir / FLAGS.variant, chosen | read_variant(__file__, FLAGS.variant))
    run_stages(stages(FLAGS.variant, FLAGS.raw_dir, FLAGS.image_size, work_dir))


if __name__ == "__main__":
    command_line.run_main(main)
