"""A PGGAN grown on radiographs, its cohort judged, and real images embedded in it as a baseline.

    python experiments/segal2021_pggan.py --variant=cpu --raw_dir=nih_64 --work_dir=runs/segal2021

Paper: Segal, D. Rubin, G. Rubin, Pantanowitz 2021, "Evaluating the Clinical Realism of Synthetic Chest X-Rays Generated
Using Progressively Growing GANs".
Data there: NIH ChestX-ray14, 112,120 images of 30,805 patients, three equal channels, grown to 1024 px on four GPUs.

One command builds the records of every size, grows the generator, exports it, draws a cohort, measures its distance
from patients held out, and writes the embedded cohort of the training images (the discriminator retrained to tell z).
Stopped at any moment it goes on where it was. What ran here, how long and with what result stands in README.md here.

`as_published` has the schedule of the paper as data: 800,000 images at 4 px, 1,600,000 at each size to 512, half of
them while the new block fades in, 2,000,000 at 1024; batches of 16 a GPU (64) to 128 px, then 14, 8 and 3; WGAN-GP with
one critic step, lambda 10, drift .001, Adam 1e-3 (0, .99); the averaged generator's new block starts from weights of
its own. `corrected` copies them from the trained one, takes both networks' gradients from one batch of fakes, and draws
grey images. `cpu` is `corrected` with fewer channels, ends at 64 px, and sees 296,000 images in all: hours, not days.
The paper's evaluation by findings, prevalence and readers is not part of this file.
"""

import pathlib

from absl import flags

from tfcxr import command_line
from tfcxr.experiment import Stage, claim_folder, read_variant, run_stages

PUBLISHED = {
    "fid": {"stratified halves": 0.53, "by sex": 7.87, "synthetic, 100,000 images": 8.02},
    "tstr_auc": {"embedded": 0.604, "class generated": 0.878, "real": 0.947},
    "hype_infinity": "33 % (24-43)",
}

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

FLAGS = flags.FLAGS
if __name__ == "__main__":
    flags.DEFINE_enum("variant", "cpu", list(VARIANTS), "Which variant.")
    flags.DEFINE_string("dataset", "nih_chestxray14", "Data set of tfrecords_builder.")
    flags.DEFINE_string("raw_dir", None, "Folder of the raw data set.", required=True)
    flags.DEFINE_string("work_dir", "runs/segal2021", "Folder for records, runs, models, cohorts and reports.")


def stages(variant: str, dataset: str, raw_dir: str, work_dir: pathlib.Path) -> list[Stage]:
    """The commands of one variant, in order."""
    settings = read_variant(__file__, variant)
    image_size, folder = settings["model"]["image_size"], work_dir / variant
    size = str(image_size)
    records = work_dir / "records" / size
    sizes = ",".join(str(4 << power) for power in range(image_size.bit_length() - 2))
    return [
        Stage(
            (
                *("-m", "tfrecords_builder", f"--dataset={dataset}", f"--raw_dir={raw_dir}"),
                *(f"--out_dir={work_dir / 'records'}", f"--image_sizes={sizes}", f"--splits={SPLITS}"),
                "--split_by=hash",
            ),
            records / "dataset_info.json",
        ),
        Stage(
            (
                *("-m", "tfcxr.train", "--model=pggan", f"--experiment={__file__}", f"--variant={variant}"),
                *(f"--data_dir={records}", f"--run_dir={folder / 'pggan'}", "--resume"),
                *(f"--export_dir={folder / 'saved_models' / 'pggan'}", f"--batch_size={settings['batch_size']}"),
                f"--sample_every={settings['sample_every']}",
            ),
            folder / "saved_models" / "pggan" / "1" / "saved_model.pb",
        ),
        Stage(
            (
                *("-m", "tfcxr.generate", f"--saved_model={folder / 'saved_models' / 'pggan'}"),
                *(f"--out_dir={folder / 'cohort'}", f"--like={records}", "--preview"),
            ),
            folder / "cohort" / size / "dataset_info.json",
        ),
        Stage(
            (
                *("-m", "tfcxr.evaluate", "--protocols=distribution_distance"),
                *(f"--synthetic_dir={folder / 'cohort' / size}", f"--real_dir={records}", "--test_splits=held_out"),
                *("--validation_splits=validation", "--classifier=small_cnn", f"--out_dir={folder / 'verdict'}"),
            ),
            folder / "verdict" / "report.json",
        ),
        Stage(
            (
                *("-m", "tfcxr.embed", f"--run_dir={folder / 'pggan'}", f"--data_dir={records}", "--splits=train"),
                *(f"--out_dir={folder / 'embedded'}", "--preview"),
            ),
            folder / "embedded" / size / "dataset_info.json",
        ),
    ]


def main(argv: list[str]) -> None:
    """Runs what is not finished of the chosen variant."""
    work_dir = pathlib.Path(FLAGS.work_dir)
    chosen = {"dataset": FLAGS.dataset, "splits": SPLITS}
    claim_folder(work_dir / FLAGS.variant, chosen | read_variant(__file__, FLAGS.variant))
    run_stages(stages(FLAGS.variant, FLAGS.dataset, FLAGS.raw_dir, work_dir))


if __name__ == "__main__":
    command_line.run_main(main)
