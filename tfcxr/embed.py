"""Embeds real images in a trained PGGAN and writes what it draws of their latent codes, as a cohort.

    python -m tfcxr.embed --run_dir=runs/pggan --data_dir=records/64 --splits=train --out_dir=cohorts/embedded

The baseline of Segal et al. 2021: the discriminator is retrained to tell z from generated images, then reads the real
ones. The regressor is kept in --regressor_dir and used again by the next call. Interrupted, the same command goes on.
"""

import os
import pathlib

import tensorflow as tf
from absl import flags

from tfcxr import command_line
from tfcxr.config import parse_settings
from tfcxr.data.pipeline import find_data_dir
from tfcxr.sampling.embedded_cohort import (
    check_cohort_folder,
    check_records,
    embed_cohort,
    stored_labels_to_draw,
)
from tfcxr.sampling.embedded_pairs import compare_pairs, write_pairs
from tfcxr.sampling.latent_embedding import open_embedder
from tfcxr.training.run_folder import read_run

REGRESSOR_FOLDER = "latent_regressor"

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "Run folder of a pggan.", required=True)
flags.DEFINE_string("checkpoint", "last", "Which checkpoint of the run: last, best or the number of a step.")
flags.DEFINE_string("data_dir", None, "Data folder of the real images.", required=True)
flags.DEFINE_list("splits", ["train"], "Splits to embed, each kept under its name, such as train,validation.")
flags.DEFINE_string("out_dir", None, "Folder to write the cohort to.", required=True)
flags.DEFINE_string("regressor_dir", None, "Keeps the retrained discriminator; RUN_DIR/latent_regressor by default.")
flags.DEFINE_multi_string("set", [], "Setting of the regressor, such as steps=600 or trains=last_layer; repeatable.")
flags.DEFINE_bool("preview", False, "Write pairs.png, real over embedded images, beside the shards.")


def main(argv: list[str]) -> None:
    """Trains or loads the regressor, writes the cohort and prints how close it comes."""
    tf.config.experimental.enable_op_determinism()
    run = read_run(FLAGS.run_dir)
    data_dir = find_data_dir(FLAGS.data_dir, run.settings["image_size"])
    info = check_records(run, data_dir, FLAGS.splits)
    check_cohort_folder(FLAGS.out_dir, info)
    labels = stored_labels_to_draw(run, info, data_dir, FLAGS.splits) if run.label_names else None
    regressor_dir = FLAGS.regressor_dir or pathlib.Path(FLAGS.run_dir) / REGRESSOR_FOLDER
    embedder = open_embedder(FLAGS.run_dir, regressor_dir, parse_settings(FLAGS.set), FLAGS.checkpoint, labels)
    cohort = embed_cohort(embedder, data_dir, FLAGS.splits, FLAGS.out_dir)
    cohort_dir = pathlib.Path(FLAGS.out_dir) / str(cohort.image_size)
    print(f"wrote {cohort.images_written} images of {', '.join(FLAGS.splits)} to {cohort_dir}")
    print(f"cosine of z, held-out generated images: {embedder.cosine:.3f} (chance 0)")
    for split in FLAGS.splits:
        if cohort.splits[split].images > 1:
            pairs = compare_pairs(data_dir, cohort_dir, split)
            print(
                f"{split}: mean squared pixel difference {pairs.own:.4f} to its own image, {pairs.other:.4f} to "
                f"another; the mean image instead of any embedding has {pairs.mean_image:.4f}"
            )
    if FLAGS.preview:
        print(f"preview: {write_pairs(data_dir, cohort_dir, FLAGS.splits[0])}")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    command_line.run_main(main)
