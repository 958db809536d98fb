"""Draws a labelled synthetic cohort from an exported model, as TFRecords that read like real ones.

    python -m tfcxr.generate --saved_model=saved_models/acgan --out_dir=cohorts/acgan --counts=NORMAL=900,PNEUMONIA=900

    python -m tfcxr.generate --saved_model=saved_models/acgan/1 --out_dir=cohorts/like_real --like=records/64 \\
        --like_split=train --images=30000

    python -m tfcxr.generate --saved_model=saved_models/cgan --super_resolution=saved_models/srgan --min_realism=0.9 \\
        --out_dir=cohorts/cascade --counts=NORMAL=100,PNEUMONIA=100

Interrupted, the same command goes on with the shards that are finished.
"""

import os
import pathlib

from absl import flags

from tfcxr import command_line
from tfcxr.command_line import refuse_global_flags
from tfcxr.sampling.cohort import CohortOptions, generate_cohort
from tfcxr.sampling.label_plan import LabelPlan, parse_counts, plan_counts, plan_like, plan_unlabelled
from tfcxr.sampling.preview import write_preview
from tfcxr.serving.cascade_parts import RealismGate
from tfcxr.serving.loaded_cascade import load_drawing_model
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
flags.DEFINE_float(
    "min_realism", None, "Keep only images that the critic rates so, such as 0.9; without, all.", 0.0, 1.0
)
flags.DEFINE_integer("max_tries", None, "Candidates of an image with --min_realism, by default 100.", lower_bound=1)
flags.DEFINE_string("super_resolution", None, "An exported super-resolution model that enlarges the images.")
flags.DEFINE_integer("batch_size", 64, "Images drawn at once.", lower_bound=1)
flags.DEFINE_integer("shard_images", 2000, "At most so many images a shard.", lower_bound=1)
flags.DEFINE_bool("preview", False, "Write a captioned preview.png beside the shards.")


def main(argv: list[str]) -> None:
    """Plans the labels, draws the cohort and prints what it holds."""
    options = CohortOptions(FLAGS.seed, FLAGS.truncation, FLAGS.batch_size, FLAGS.shard_images)
    if not FLAGS.like:
        refuse_global_flags(["like_split"], "it is the split of --like; give --like=DATA_FOLDER too")
    gate = _gate()
    model = load_drawing_model(FLAGS.saved_model)
    super_resolution = FLAGS.super_resolution and LoadedModel(FLAGS.super_resolution)
    info = generate_cohort(model, _plan(model), FLAGS.out_dir, options, gate, super_resolution)
    data_dir = pathlib.Path(FLAGS.out_dir) / str(info.image_size)
    positives = ", ".join(f"{name} {counts['positive']}" for name, counts in info.splits["train"].labels.items())
    print(f"wrote {info.images_written} images ({positives or 'no labels'}) to {data_dir}")
    if gate := info.provenance.get("realism_gate"):
        shown = ", ".join(f"{name} {counts['tries']}" for name, counts in gate["tries_by_label"].items())
        print(
            f"realism of {gate['min_realism']:g} and more: {gate['acceptance_rate']:.1%} of candidates ({shown} tries)"
        )
    if model.description.channels == 3:
        print("the model draws 3 channels; they were turned to grey by luma")
    if FLAGS.preview:
        print(f"preview: {write_preview(data_dir)}")


def _gate() -> RealismGate | None:
    if FLAGS.min_realism is None:
        if FLAGS.max_tries is not None:
            raise ValueError("--max_tries goes with --min_realism; without it every image is kept")
        return None
    return RealismGate(FLAGS.min_realism, RealismGate.max_tries if FLAGS.max_tries is None else FLAGS.max_tries)


def _plan(model: LoadedModel) -> LabelPlan:
    label_names = model.description.label_names
    if not label_names:
        how = f"{model.path} draws images without labels; give their number as --images=1000"
        refuse_global_flags(["counts", "like"], how)
        if FLAGS.images is None:
            raise ValueError(how)
        return plan_unlabelled(FLAGS.images)
    if bool(FLAGS.counts) == bool(FLAGS.like):
        raise ValueError(
            f"{model.path} draws {', '.join(label_names)}; give either --counts=LABEL=COUNT,... or --like=DATA_FOLDER"
        )
    if FLAGS.counts:
        if FLAGS.images is not None:
            raise ValueError("--images goes with --like; with --counts the counts say how many")
        return plan_counts(parse_counts(FLAGS.counts), label_names, FLAGS.seed)
    return plan_like(
        FLAGS.like, FLAGS.like_split, label_names, model.description.is_single_label, FLAGS.images, FLAGS.seed
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    command_line.run_main(main)
