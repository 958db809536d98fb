"""Exports the generator and discriminator of a run folder as a SavedModel with a model card.

python -m tfcxr.export --run_dir=runs/acgan --out_dir=saved_models/acgan
"""

import os

from absl import flags

from tfcxr import command_line
from tfcxr.serving.saved_model import export_model
from tfcxr.training.run_folder import load_model

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "Run folder of tfcxr.train.", required=True)
flags.DEFINE_string("out_dir", None, "Folder of the model's versions, such as saved_models/acgan.", required=True)
flags.DEFINE_enum("checkpoint", "last", ["last", "best"], "Which checkpoint of the run.")
flags.DEFINE_integer("version", None, "Number of the version; the next free one by default.", lower_bound=1)
flags.DEFINE_integer(
    "chunk_rows", None, "Images computed at once; by image size by default, more for a GPU.", lower_bound=1
)


def main(argv: list[str]) -> None:
    """Reads the checkpoint, writes the SavedModel and prints where it is."""
    model, run, state = load_model(FLAGS.run_dir, FLAGS.checkpoint)
    print(export_model(model, run, FLAGS.out_dir, state, FLAGS.version, FLAGS.run_dir, FLAGS.chunk_rows))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    command_line.run(main)
