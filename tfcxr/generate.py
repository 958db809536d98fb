"""Draws a labelled synthetic cohort from an exported model, as TFRecords that read like real ones.

    python -m tfcxr.generate --saved_model=saved_models/acgan --out_dir=cohorts/acgan --counts=NORMAL=900,PNEUMONIA=900

    python -m tfcxr.generate --saved_model=saved_models/acgan/1 --out_dir=cohorts/like_real --like=records/64 \\
        --like_split=train --images=30000

Interrupted, the same command goes on with the shards that are finished.
"""

import os
import pathlib

from absl import flags

from tfcxr import command_line
from tfcxr.sampling.cohort import CohortOptions, generate_cohort
from tfcxr.sampling.label_plan import LabelPlan, parse_counts, plan_counts, plan_like, plan_unlabelled
from tfcxr.sampling.preview import write_preview
from tfcxr.serving.loaded_model import LoadedModel

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "saved_model", None, "An exported version, or the folder of its versions for the newest.", required=True
)
flags.DEFINE_string("out_dir", None, "Folder to write the cohort to.", required=True)
flags.DEFINE_list("counts", [], "Images a label, each with that label alone: NORMAL=1000,PNEUMONIA=500.")
flags.DEFINE_string("like", None, "Data folder whose joint labels are drawn instead, at its prevalence.")
flags.DEFINE_string("like_split", "train", "Split of --like.")
flags.DEFINE_integer("images", None, "Images with --like, by default as many as the split holds.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of the cohort: of its images and of the order of its labels.", lower_bound=0)
flags.DEFINE_float("truncation", 1.0, "Scales the noise; below 1 images vary less.")
flags.DEFINE_integer("batch_size", 64, "Images drawn at once.", lower_bound=1)
flags.DEFINE_integer("shard_images", 2000, "At most so many images a shard.", lower_bound=1)
flags.DEFINE_bool("preview", False, "Write a captioned preview.png beside the shards.")


def main(argv: list[str]) -> None:
    """Plans the labels, draws the cohort and prints what it holds."""
    options = CohortOptions(FLAGS.seed, FLAGS.truncation, FLAGS.batch_size, FLAGS.shard_images)
    model = LoadedModel(FLAGS.saved_model)
    info = generate_cohort(model, _plan(model), FLAGS.out_dir, options)
    data_dir = pathlib.Path(FLAGS.out_dir) / str(info.image_size)
    positives = ", ".join(f"{name} {counts['positive']}" for name, counts in info.splits["train"].labels.items())
    print(f"wrote {info.images_written} images ({positives or 'no labels'}) to {data_dir}")
    if model.description.channels == 3:
        print("the model draws 3 channels; they were turned to grey by luma")
    if FLAGS.preview:
        print(f"preview: {write_preview(data_dir)}")


def _plan(model: LoadedModel) -> LabelPlan:
    label_names = model.description.label_names
    if not label_names:
        if FLAGS.counts or FLAGS.like or FLAGS.images is None:
            raise ValueError("the model draws images without labels; give their number as --images=1000, and no labels")
        return plan_unlabelled(FLAGS.images)
    if bool(FLAGS.counts) == bool(FLAGS.like):
        raise ValueError("give either --counts=LABEL=COUNT,... or --like=DATA_FOLDER")
    if FLAGS.counts:
        if FLAGS.images is not None:
            raise ValueError("--images goes with --like; with --counts the counts say how many")
        return plan_counts(parse_counts(FLAGS.counts), label_names, FLAGS.seed)
    return plan_like(
        FLAGS.like, FLAGS.like_split, label_names, model.description.is_single_label, FLAGS.images, FLAGS.seed
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    command_line.run(main)
