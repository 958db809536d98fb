"""Embeds real images in a trained PGGAN and writes what it generates from their latent codes, as a cohort.

    python -m tfcxr.embed --run_dir=runs/pggan --data_dir=records/64 --splits=train --out_dir=cohorts/embedded

The baseline of Segal et al. 2021: the discriminator is retrained to regress z from generated images, then reads the
real ones. The regressor is kept in --regressor_dir and reused by the next call. After an interruption the same command
resumes.
"""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag
from tfcxr.config import parse_settings
from tfcxr.startup import tensorflow_started

if TYPE_CHECKING:
    from tfcxr.data.schema import DatasetInfo

REGRESSOR_FOLDER = "latent_regressor"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbedArguments(Arguments):
    """A run of a PGGAN and the real images.

    Attributes:
      run_dir: Run folder of a pggan.
      checkpoint: Which checkpoint of the run: last, best or the number of a step.
      data_dir: Data folder of the real images.
      splits: Splits to embed, each kept under its name, such as train,validation.
      out_dir: Folder to write the cohort to.
      regressor_dir: Keeps the retrained discriminator; RUN_DIR/latent_regressor by default.
      settings: Setting of the regressor, such as steps=600 or trains=last_layer; repeatable.
      preview: Write pairs.png, real over embedded images, beside the shards.
    """

    run_dir: str
    checkpoint: str = "last"
    data_dir: str
    splits: tuple[str, ...] = ("train",)
    out_dir: str
    regressor_dir: str | None = None
    settings: tuple[str, ...] = flag((), name="set", is_repeated=True)
    preview: bool = False


def embed(arguments: EmbedArguments) -> "DatasetInfo":
    """Trains or loads the regressor, writes the cohort and prints how close it comes."""
    with tensorflow_started():
        import tensorflow as tf

        from tfcxr.data.pipeline import find_data_dir
        from tfcxr.sampling.embedded_cohort import (
            check_cohort_folder,
            check_records,
            embed_cohort,
            stored_labels_for_model,
        )
        from tfcxr.sampling.embedded_pairs import compare_pairs, write_pairs
        from tfcxr.sampling.latent_embedding import open_embedder
        from tfcxr.training.run_folder import read_run

    a = arguments
    tf.config.experimental.enable_op_determinism()
    run = read_run(a.run_dir)
    data_dir = find_data_dir(a.data_dir, run.settings["image_size"])
    info = check_records(run, data_dir, a.splits)
    check_cohort_folder(a.out_dir, info)
    labels = stored_labels_for_model(run, info, data_dir, a.splits) if run.label_names else None
    regressor_dir = a.regressor_dir or pathlib.Path(a.run_dir) / REGRESSOR_FOLDER
    embedder = open_embedder(a.run_dir, regressor_dir, parse_settings(a.settings), a.checkpoint, labels)
    cohort = embed_cohort(embedder, data_dir, a.splits, a.out_dir)
    cohort_dir = pathlib.Path(a.out_dir) / str(cohort.image_size)
    print(f"wrote {cohort.images_written} images of {', '.join(a.splits)} to {cohort_dir}")
    print(f"cosine of z, held-out generated images: {embedder.cosine:.3f} (chance 0)")
    for split in a.splits:
        if cohort.splits[split].images > 1:
            pairs = compare_pairs(data_dir, cohort_dir, split)
            print(
                f"{split}: mean squared pixel difference {pairs.own:.4f} to its own image, {pairs.other:.4f} to "
                f"another; the mean image instead of any embedding has {pairs.mean_image:.4f}"
            )
    if a.preview:
        print(f"preview: {write_pairs(data_dir, cohort_dir, a.splits[0])}")
    return cohort


if __name__ == "__main__":
    command_line.run(embed)
