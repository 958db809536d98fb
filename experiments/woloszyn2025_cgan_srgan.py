"""A CGAN draws small radiographs, a gate keeps those its critic believes, an SRGAN enlarges them.

    python experiments/woloszyn2025_cgan_srgan.py --variant=corrected --dataset=chest_xray_pneumonia \\
        --raw_dir=chest_xray --sizes=64,256 --work_dir=runs/woloszyn2025

Paper: Woloszyn 2025, "Memory-Efficient Deep Learning for High-Resolution Synthetic Chest X-ray Generation".
Data there: ChestX-ray8, 5,000 images each of No Finding, Mass and Pneumonia, CLAHE, at 128 and at 512 px
(`--dataset=chestxray8 --sizes=128,512 --only_labels="No Finding,Mass,Pneumonia"`, the defaults).

One command builds the records of both sizes, trains both models apart from each other, exports them and the cascade of
both, draws a gated and enlarged cohort with its picture, and compares the CGAN's plain images with real patients.
Stopped at any moment it goes on where it was. What ran here, how long and with what result stands in README.md here.

The paper publishes no learning rates, batch size, slopes, CLAHE values or content loss: those of both variants are
ours.
`as_published` has what is published: label input to both networks, up-sampling convolutions, LeakyReLU, dropout in
the discriminator, the conditional log loss, no penalty, a gate at .9. Its steps are 500 epochs of 15,000 images.
`corrected` adds R1 = .1, without which the discriminator wins on few images, and an averaged generator, and has the
steps that two CPU cores do in an hour. Its gate is at .5: a critic in balance rates few real images at .9 (README.md).
"""

import pathlib

from absl import flags

from tfcxr import command_line
from tfcxr.experiment import Stage, claim_folder, read_variant, run_stages

PUBLISHED = {
    "accepted_at_least": 0.9,
    "seconds_for_one_image_a_class": 1.0,
    "gpu": "GTX 1050 Ti, 4 GB",
    "hours": 12,
    "epochs": 500,
}

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

FLAGS = flags.FLAGS
if __name__ == "__main__":
    flags.DEFINE_enum("variant", "corrected", list(VARIANTS), "Which variant.")
    flags.DEFINE_string("dataset", "chestxray8", "Data set of tfrecords_builder.")
    flags.DEFINE_string("raw_dir", None, "Folder of the raw data set.", required=True)
    flags.DEFINE_list("only_labels", [], "Labels to draw; all of the data set by default.")
    flags.DEFINE_list("sizes", ["128", "512"], "Pixels that the CGAN draws, and those that the SRGAN learns from.")
    flags.DEFINE_string("work_dir", "runs/woloszyn2025", "Folder for records, runs, models, cohorts and report.")


def stages(
    variant: str, dataset: str, raw_dir: str, only_labels: list[str], sizes: list[str], work_dir: pathlib.Path
) -> list[Stage]:
    """The commands of one variant, in order."""
    settings = read_variant(__file__, variant)
    records, folder = work_dir / "records", work_dir / variant
    small, large = sizes
    cgan, srgan, cascade = (folder / "saved_models" / name for name in ("cgan", "srgan", "cascade"))
    scale = settings["srgan"]["model"]["scale"]
    plain, enlarged = folder / "cohort", folder / "cohort_enlarged"
    gate = (f"--min_realism={settings['min_realism']}", f"--max_tries={settings['max_tries']}")
    label_filter = (f"--only_labels={','.join(only_labels)}",) if only_labels else ()
    built = Stage(
        (
            *("-m", "tfrecords_builder", f"--dataset={dataset}", f"--raw_dir={raw_dir}", f"--out_dir={records}"),
            *(f"--image_sizes={small},{large}", f"--splits={SPLITS}", "--clahe", *label_filter),
        ),
        records / large / "dataset_info.json",
    )
    trained = [
        Stage(
            (
                *("-m", "tfcxr.train", f"--model={name}", f"--experiment={__file__}", f"--variant={variant}/{name}"),
                *(f"--data_dir={records / size}", f"--run_dir={folder / name}", f"--export_dir={saved_model}"),
                *(f"--steps={settings[name]['steps']}", f"--batch_size={settings[name]['batch_size']}", "--resume"),
            ),
            saved_model / "1" / "saved_model.pb",
        )
        for name, size, saved_model in (("cgan", small, cgan), ("srgan", large, srgan))
    ]
    joined = Stage(
        (
            *("-m", "tfcxr.export", f"--generator={cgan}", f"--super_resolution={srgan}"),
            *(f"--out_dir={cascade}", *gate),
        ),
        cascade / "1" / "saved_model.pb",
    )
    like_real = (f"--like={records / small}", "--like_split=train")
    drawn = [
        Stage(
            ("-m", "tfcxr.generate", f"--saved_model={cgan}", f"--out_dir={plain}", *like_real, "--preview"),
            plain / small / "dataset_info.json",
        ),
        Stage(
            (
                *("-m", "tfcxr.generate", f"--saved_model={cgan}", f"--super_resolution={srgan}", *gate),
                *(f"--out_dir={enlarged}", *like_real, f"--images={settings['images']}", "--preview"),
            ),
            enlarged / str(int(small) * scale) / "dataset_info.json",
        ),
    ]
    judged = Stage(
        (
            *("-m", "tfcxr.evaluate", "--protocols=tstr,distribution_distance"),
            *(f"--synthetic_dir={plain / small}", f"--real_dir={records / small}", "--test_splits=held_out"),
            *(f"--out_dir={folder / 'report'}", "--classifier=small_cnn", "--classifier_seeds=0,1,2"),
        ),
        folder / "report" / "report.json",
    )
    return [built, *trained, joined, *drawn, judged]


def main(argv: list[str]) -> None:
    """Runs the chosen variant."""
    if len(FLAGS.sizes) != 2 or not all(size.isdecimal() for size in FLAGS.sizes):
        raise ValueError(f"--sizes expects two numbers such as 128,512, got {','.join(FLAGS.sizes)}")
    work_dir = pathlib.Path(FLAGS.work_dir)
    chosen = {"dataset": FLAGS.dataset, "sizes": FLAGS.sizes, "only_labels": FLAGS.only_labels, "splits": SPLITS}
    claim_folder(work_dir / FLAGS.variant, chosen | read_variant(__file__, FLAGS.variant))
    run_stages(stages(FLAGS.variant, FLAGS.dataset, FLAGS.raw_dir, FLAGS.only_labels, FLAGS.sizes, work_dir))


if __name__ == "__main__":
    command_line.run_main(main)
