"""Exports the networks of a run folder as a SavedModel with a model card, or joins two exports to a cascade.

    python -m tfcxr.export --run_dir=runs/acgan --out_dir=saved_models/acgan

    python -m tfcxr.export --generator=saved_models/cgan --super_resolution=saved_models/srgan \\
        --out_dir=saved_models/cascade --min_realism=.9

A cascade draws, keeps what the generator's own critic believes, and enlarges it, all in one SavedModel.
"""

import os

from absl import flags

from tfcxr import command_line
from tfcxr.command_line import refuse_global_flags
from tfcxr.models.base import GAN
from tfcxr.serving.cascade import export_cascade
from tfcxr.serving.saved_model import export_model
from tfcxr.training.run_folder import load_model

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "Run folder of tfcxr.train.")
flags.DEFINE_string("generator", None, "Instead of --run_dir: an exported generator, for a cascade.")
flags.DEFINE_string("super_resolution", None, "With --generator: an exported super-resolution model.")
flags.DEFINE_float("min_realism", 0.9, "With --generator: the critic's score that an image must reach.", 0.0, 1.0)
flags.DEFINE_integer("max_tries", 100, "With --generator: candidates of an image.", lower_bound=1)
flags.DEFINE_string("out_dir", None, "Folder of the model's versions, such as saved_models/acgan.", required=True)
flags.DEFINE_string("checkpoint", "last", "Which checkpoint of the run: last, best or the number of a step.")
flags.DEFINE_integer("version", None, "Number of the version; the next free one by default.", lower_bound=1)
flags.DEFINE_integer(
    "chunk_rows", None, "Images computed at once; by image size by default, more for a GPU.", lower_bound=1
)


def main(argv: list[str]) -> None:
    """Writes the SavedModel and prints where it is."""
    if FLAGS.generator or FLAGS.super_resolution:
        if FLAGS.run_dir or not (FLAGS.generator and FLAGS.super_resolution):
            raise ValueError("a cascade needs --generator and --super_resolution, both exported, and no --run_dir")
        refuse_global_flags(
            ["checkpoint", "chunk_rows"], "they are of a run folder; a cascade joins models exported before"
        )
        gate = (FLAGS.min_realism, FLAGS.max_tries)
        print(export_cascade(FLAGS.generator, FLAGS.super_resolution, FLAGS.out_dir, *gate, FLAGS.version))
        return
    if not FLAGS.run_dir:
        raise ValueError("give --run_dir of a training, or --generator and --super_resolution for a cascade")
    refuse_global_flags(["min_realism", "max_tries"], "they are of a cascade; give --generator and --super_resolution")
    model, run, state = load_model(FLAGS.run_dir, FLAGS.checkpoint)
    if not isinstance(model, GAN):
        refuse_global_flags(["chunk_rows"], f"{FLAGS.run_dir} holds a {run.model}, which enlarges one image at a time")
    print(export_model(model, run, FLAGS.out_dir, state, FLAGS.version, FLAGS.run_dir, FLAGS.chunk_rows))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    command_line.run_main(main)
