"""Generates a labelled synthetic cohort from an exported model, as TFRecords that read like real ones.

    python -m tfcxr.generate --saved_model=saved_models/acgan --out_dir=cohorts/acgan --counts=NORMAL=900,PNEUMONIA=900

    python -m tfcxr.generate --saved_model=saved_models/acgan/1 --out_dir=cohorts/like_real --like=records/64 \\
        --like_split=train --images=30000

    python -m tfcxr.generate --saved_model=saved_models/cgan --super_resolution=saved_models/srgan --min_realism=0.9 \\
        --out_dir=cohorts/cascade --counts=NORMAL=100,PNEUMONIA=100

    python -m tfcxr.generate --saved_model=saved_models/cgan --min_realism=quantile:.1 --calibrate_on=records/64 \\
        --out_dir=cohorts/calibrated --like=records/64

    python -m tfcxr.generate --saved_model=saved_models/cgan --max_copy_ratio=2 --copies_of=records/64 \\
        --out_dir=cohorts/no_copies --counts=NORMAL=100,PNEUMONIA=100

After an interruption the same command resumes; whole shards are kept.
"""

import dataclasses
import pathlib
import shlex
from typing import TYPE_CHECKING

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag, refuse_flags
from tfcxr.data.sizes import check_data_dirs
from tfcxr.serving.min_realism import check_calibration, parse_min_realism, path_and_splits, realism_text
from tfcxr.startup import tensorflow_started

if TYPE_CHECKING:
    from tfcxr.data.schema import DatasetInfo
    from tfcxr.sampling.cohort_labels import CohortLabels
    from tfcxr.serving.loaded_model import LoadedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateArguments(Arguments):
    """A model, the labels of a cohort, and how it is generated.

    Attributes:
      saved_model: An exported version, or the folder of its versions for the newest.
      out_dir: Folder to write the cohort to.
      counts: Images per label or joint labels: NORMAL=1000,PNEUMONIA=500 or Effusion+Cardiomegaly=5,No Finding=20; of a
        model that reads conditions also Mass+sex=F+age=60=5.
      shares: With --images: the share of the images with each label: Effusion=.6,Mass=.1.
      like: Data folder, or folder of builds, whose joint labels are used instead, at its prevalence.
      like_split: Split of --like.
      images: Images with --shares or --like, by default as many as the split holds; or of a model without labels.
      seed: Of the cohort: of its images and of the order of its labels.
      truncation: Below 1 images vary less.
      min_realism: Keep only images that the discriminator rates so, such as 0.9; with quantile:.1, as high as all but
        0.1 of held-out real images. All are kept by default.
      calibrate_on: With --min_realism=quantile: records of held-out real images, or the folder of their builds, with
        splits such as records/64:validation; by default all splits that the model was not trained on.
      max_copy_ratio: Keep only images at most so many times as near to a training image as held-out images usually
        are, such as 2; all by default.
      copies_of: With --max_copy_ratio: records that the model was trained on, or the folder of their builds.
      max_tries: Candidates per image with --min_realism or --max_copy_ratio.
      super_resolution: An exported super-resolution model that enlarges the images.
      batch_size: Images generated at once.
      shard_images: Images per shard, at most.
      preview: Write a captioned preview.png beside the shards; with --like also real_and_synthetic.png, a real image of
        each label above a synthetic one.
    """

    saved_model: str
    out_dir: str
    counts: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    like: str | None = None
    like_split: str = "train"
    images: int | None = flag(None, minimum=1)
    seed: int = flag(0, minimum=0)
    truncation: float = 1.0
    min_realism: str | float | None = None
    calibrate_on: str | None = None
    max_copy_ratio: float | None = flag(None, minimum=1.0)
    copies_of: str | None = None
    max_tries: int = flag(100, minimum=1)
    super_resolution: str | None = None
    batch_size: int = flag(64, minimum=1)
    shard_images: int = flag(2000, minimum=1)
    preview: bool = False


def generate(arguments: GenerateArguments) -> "DatasetInfo":
    """Chooses the labels, generates the cohort and prints what it holds.

    Raises:
      ValueError: flags that do not fit each other or the model, or see `generate_cohort`.
    """
    calibrated = path_and_splits(arguments.calibrate_on)[0] if arguments.calibrate_on else None
    check_data_dirs(arguments.like, arguments.copies_of, calibrated)
    min_realism = parse_min_realism(arguments.min_realism)
    check_calibration(arguments.calibrate_on, min_realism)
    with tensorflow_started():
        from tfcxr.sampling.cohort import CohortOptions, generate_cohort
        from tfcxr.sampling.cohort_preview import write_cohort_preview, write_real_and_synthetic
        from tfcxr.serving.copy_check import open_copy_check
        from tfcxr.serving.gate_calibration import make_gate
        from tfcxr.serving.loaded_model import LoadedModel, load_generating_model

    a = arguments
    options = CohortOptions(a.seed, a.truncation, a.batch_size, a.shard_images)
    if not a.like:
        refuse_flags(a, ["like_split"], "it is the split of --like; give --like=DATA_FOLDER too")
    if a.max_copy_ratio is None:
        refuse_flags(a, ["copies_of"], "it goes with --max_copy_ratio; without it no image is compared")
    elif a.copies_of is None:
        raise ValueError("--max_copy_ratio needs the records that the model was trained on: --copies_of=records/64")
    is_gated = (a.min_realism, a.max_copy_ratio) != (None, None)
    if not is_gated:
        refuse_flags(a, ["max_tries"], "it goes with --min_realism or --max_copy_ratio; every image is kept")
    model = load_generating_model(a.saved_model)
    copies = None
    if a.copies_of and a.max_copy_ratio:
        copies = open_copy_check(a.copies_of, model.description, a.max_copy_ratio)
    gate = None
    if is_gated:
        gate = make_gate(model, min_realism, a.max_tries, copies, a.calibrate_on)
    super_resolution = LoadedModel(a.super_resolution) if a.super_resolution else None
    info = generate_cohort(model, _labels(a, model), a.out_dir, options, gate, super_resolution)
    data_dir = pathlib.Path(a.out_dir) / str(info.image_size)
    positives = ", ".join(f"{name} {counts['positive']}" for name, counts in info.splits["train"].labels.items())
    print(f"wrote {info.images_written} images ({positives or 'no labels'}) to {data_dir}")
    if log := info.provenance.get("realism_gate"):
        tries = ", ".join(f"{name} {counts['tries']}" for name, counts in log["tries_by_label"].items())
        limit = realism_text(log["min_realism"])
        print(f"realism of {limit} and more: {log['acceptance_rate']:.1%} of candidates ({tries} tries)")
    if log := info.provenance.get("copy_gate"):
        print(
            f"copy ratio of {log['max_copy_ratio']:g} and less: {log['copies_refused']} of {log['tries']} candidates "
            "were refused as too near a training image"
        )
    if model.description.channels == 3:
        print("the model makes 3 channels; they were turned to grey by luma")
    if a.like:
        real = shlex.join(
            [f"--synthetic_dir={data_dir}", f"--real_dir={a.like}", f"--out_dir=runs/verdict_{model.description.name}"]
        )
        print(f"next: python -m tfcxr.evaluate {real}")
    if a.preview:
        print(f"preview: {write_cohort_preview(data_dir)}")
        if a.like and (compared := write_real_and_synthetic(data_dir, a.like, a.like_split)):
            print(f"real above synthetic: {compared}")
    return info


def _labels(a: GenerateArguments, model: "LoadedModel") -> "CohortLabels":
    from tfcxr.data.sizes import stored_sizes
    from tfcxr.sampling import cohort_labels

    names, is_single_label = model.description.label_names, model.description.is_single_label
    conditions = model.description.condition_names
    if not names:
        how = f"{model.path} makes images without labels; give their number as --images=1000"
        refuse_flags(a, ["counts", "shares", "like"], how)
        if a.images is None:
            raise ValueError(how)
        return cohort_labels.no_labels(a.images)
    if (bool(a.counts), bool(a.shares), bool(a.like)).count(True) != 1:
        kind = "exactly one per image" if is_single_label else "any number per image"
        raise ValueError(
            f"{model.path} has the labels {', '.join(names)} ({kind}); give one of --counts=LABEL=COUNT,..., "
            "--shares=LABEL=SHARE,... with --images, and --like=DATA_FOLDER"
        )
    if a.counts:
        refuse_flags(a, ["images"], "it goes with --shares and --like; with --counts the counts say how many")
        counts = cohort_labels.parse_counts(a.counts)
        return cohort_labels.counted_labels(counts, names, is_single_label, a.seed, conditions)
    if a.shares:
        if a.images is None:
            raise ValueError("--shares needs the number of images in all: --images=200")
        shares = cohort_labels.parse_shares(a.shares)
        return cohort_labels.shared_labels(shares, a.images, names, is_single_label, a.seed)
    like = next(iter(stored_sizes(a.like or "").values()), a.like or "")  # every size has the same labels
    return cohort_labels.labels_like(like, a.like_split, names, is_single_label, a.images, a.seed, conditions)


if __name__ == "__main__":
    command_line.run(generate)
