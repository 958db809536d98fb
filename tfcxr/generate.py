"""Generates a labelled synthetic cohort from an exported model, as TFRecords that read like real ones.

    python -m tfcxr.generate --saved_model=saved_models/acgan --out_dir=cohorts/acgan --counts=NORMAL=900,PNEUMONIA=900

    python -m tfcxr.generate --saved_model=saved_models/acgan/1 --out_dir=cohorts/like_real --like=records/64 \\
        --like_split=train --images=30000 --workers=2

    python -m tfcxr.generate --saved_model=saved_models/cgan --super_resolution=saved_models/srgan --min_realism=0.9 \\
        --out_dir=cohorts/cascade --counts=NORMAL=100,PNEUMONIA=100

    python -m tfcxr.generate --saved_model=saved_models/cgan --min_realism=quantile:.1 --calibrate_on=records/64 \\
        --out_dir=cohorts/calibrated --like=records/64

    python -m tfcxr.generate --saved_model=saved_models/cgan --max_copy_ratio=2 --copies_of=records/64 \\
        --out_dir=cohorts/no_copies --counts=NORMAL=100,PNEUMONIA=100

    python -m tfcxr.generate --saved_model=saved_models/acgan --out_dir=cohorts/pictures --format=dicom \\
        --counts=NORMAL=100,PNEUMONIA=100

    python -m tfcxr.generate --saved_model=saved_models/pggan --optimize --classifier=saved_models/densenet \\
        --like=records/64 --out_dir=cohorts/optimized

--format=png and --format=dicom write a file per image, each marked as synthetic, and labels.csv, all in a folder of
that name below --out_dir. The last command needs no labels of the generator: for each pseudo-patient a latent is
optimised until the classifier finds the labels (latent class optimisation, Segal et al. 2021). After an interruption
the same command resumes; whole shards are kept.
"""

import dataclasses
import pathlib
import shlex
from typing import TYPE_CHECKING

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag, refuse_flags
from tfcxr.data.picture_folder import PICTURE_FORMATS
from tfcxr.data.sizes import check_data_dirs
from tfcxr.sampling.cohort_workers import share_gpus
from tfcxr.serving.min_realism import check_calibration, parse_min_realism, path_and_splits, realism_text
from tfcxr.startup import tensorflow_started

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcxr.data.schema import DatasetInfo
    from tfcxr.sampling.cohort_labels import CohortLabels

RECORDS = "tfrecord"
CHANGE_NO_IMAGE = ("out_dir", "batch_size", "max_tries", "workers")
OF_OPTIMIZATION = (
    "classifier",
    "severity",
    "suppress_others",
    "optimize_rate",
    "optimize_steps",
    "optimize_tries",
    "optimize_batch",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateArguments(Arguments):
    """A model, the labels of a cohort, and how it is generated.

    Attributes:
      saved_model: An exported version, or the folder of its versions for the newest.
      out_dir: Folder to write the cohort to.
      format: What the images are written as.
      counts: Images per label or joint labels: NORMAL=1000,PNEUMONIA=500 or Effusion+Cardiomegaly=5,No Finding=20; of a
        model that reads conditions also Mass+sex=F+age=60=5.
      shares: With --images: the share of the images with each label: Effusion=.6,Mass=.1.
      like: Data folder, or folder of builds, whose joint labels are used instead, at its prevalence.
      like_split: Split of --like.
      images: Images with --shares or --like, by default as many as the split holds; or of a model without labels.
      seed: Of the cohort: of its images and of the order of its labels.
      truncation: Below 1 images vary less, above 1 more; a PGGAN's vary at most as at 1.
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
      workers: Processes that generate, each with --threads threads, and a GPU of its own where there are several;
        changes no image.
      shard_images: Images per shard, at most.
      preview: Write a captioned preview.png beside the shards; with --like also real_and_synthetic.png, a real image of
        each label above a synthetic one.
      optimize: Optimise latents until --classifier finds the labels; writes optimization.html beside the shards.
      classifier: With --optimize: a classifier of tfcxr.train_classifier, whose labels the cohort gets.
      severity: With --optimize: how far classes exceed their thresholds; 0 stops at them.
      suppress_others: With --optimize: keep classes that are not asked for below their thresholds; often fails.
      optimize_rate: With --optimize: learning rate of Adam.
      optimize_steps: With --optimize: gradient steps per latent, at most.
      optimize_tries: With --optimize: latents per pseudo-patient, at most.
      optimize_batch: With --optimize: latents optimised at once; changes no image.
    """

    saved_model: str
    out_dir: str
    format: str = flag(RECORDS, choices=(RECORDS, *PICTURE_FORMATS))
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
    workers: int = flag(1, minimum=1)
    shard_images: int = flag(2000, minimum=1)
    preview: bool = False
    optimize: bool = False
    classifier: str | None = None
    severity: float = flag(1.0, minimum=0.0)
    suppress_others: bool = False
    optimize_rate: float = 0.05
    optimize_steps: int = flag(200, minimum=1)
    optimize_tries: int = flag(10, minimum=1)
    optimize_batch: int = flag(256, minimum=1)


def generate(arguments: GenerateArguments) -> None:
    """Chooses the labels, generates the cohort and prints what it holds.

    Raises:
      ValueError: flags that do not fit each other or the model, or see `generate_cohort` and `optimize_cohort`.
      ImportError: --format=dicom, and pydicom is not installed.
    """
    calibrated = path_and_splits(arguments.calibrate_on)[0] if arguments.calibrate_on else None
    check_data_dirs(arguments.like, arguments.copies_of, calibrated)
    check_calibration(arguments.calibrate_on, parse_min_realism(arguments.min_realism))
    if not arguments.like:
        refuse_flags(arguments, ["like_split"], "it is the split of --like; give --like=DATA_FOLDER too")
    if not arguments.optimize:
        refuse_flags(arguments, OF_OPTIMIZATION, "it goes with --optimize; without it no latent is optimised")
    if arguments.workers > 1:
        share_gpus()
    if arguments.format != RECORDS:
        _generate_pictures(arguments)
    elif arguments.optimize:
        _generate_optimized(arguments)
    else:
        _generate_records(arguments)


def _generate_pictures(a: GenerateArguments) -> None:
    if a.optimize:
        raise ValueError(
            f"--optimize writes records and a page about them: leave --format={a.format} out, then run python -m tfcxr "
            f"convert {a.out_dir}/SIZE --to={a.format} --out_dir=FOLDER"
        )
    refuse_flags(a, ["preview"], f"with --format={a.format} each picture can be looked at")
    with tensorflow_started():
        from tfcxr.sampling.cohort_pictures import write_cohort_pictures

    chosen = {name: value for name, value in dataclasses.asdict(a).items() if name not in CHANGE_NO_IMAGE}

    def generate_to(folder: pathlib.Path) -> None:
        _generate_records(dataclasses.replace(a, out_dir=str(folder)))

    folder = write_cohort_pictures(a.out_dir, a.format, chosen, generate_to)
    print(f"wrote {folder}; labels.csv beside the pictures has their labels")


def _generate_records(a: GenerateArguments) -> None:
    with tensorflow_started():
        from tfcxr.sampling.cohort import generate_cohort
        from tfcxr.sampling.cohort_options import CohortOptions
        from tfcxr.serving.copy_check import open_copy_check
        from tfcxr.serving.gate_calibration import make_gate
        from tfcxr.serving.loaded_model import LoadedModel, load_generating_model

    options = CohortOptions(a.seed, a.truncation, a.batch_size, a.shard_images, a.workers)
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
        gate = make_gate(model, parse_min_realism(a.min_realism), a.max_tries, copies, a.calibrate_on)
    super_resolution = LoadedModel(a.super_resolution) if a.super_resolution else None
    facts = model.description
    labels = _labels(a, facts.label_names, facts.is_single_label, model.path, facts.condition_names)
    info = generate_cohort(model, labels, a.out_dir, options, gate, super_resolution)
    data_dir = _print_written(a, info)
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
    _print_next(a, info, data_dir)


def _generate_optimized(a: GenerateArguments) -> None:
    """The labelled cohort of a generator that need not know labels."""
    refuse_flags(
        a,
        ["workers"],
        "with --optimize the latents of all pseudo-patients are optimised in one batch; leave it out",
    )
    refuse_flags(
        a,
        ["truncation", "min_realism", "calibrate_on", "max_copy_ratio", "copies_of", "max_tries", "super_resolution"]
        + ["batch_size"],
        "with --optimize a classifier chooses the images, at the generator's own size; generate without it, or leave "
        "them out (--optimize_batch says how many latents are optimised at once)",
    )
    if a.classifier is None:
        raise ValueError("--optimize needs a classifier of python -m tfcxr.train_classifier: --classifier=FOLDER")
    with tensorflow_started():
        from tfcxr.backbones.stored_classifier import StoredClassifier
        from tfcxr.sampling.latent_optimization import OptimizationSettings
        from tfcxr.sampling.optimization_page import PAGE_FILE
        from tfcxr.sampling.optimized_cohort import optimize_cohort
        from tfcxr.sampling.patient_optimizer import OptimizedCohortOptions
        from tfcxr.serving.loaded_model import load_generating_model

    settings = OptimizationSettings(a.optimize_rate, a.optimize_steps, a.optimize_batch)
    options = OptimizedCohortOptions(
        a.seed, a.severity, a.suppress_others, a.optimize_tries, a.shard_images, optimization=settings
    )
    model, classifier = load_generating_model(a.saved_model), StoredClassifier(a.classifier)
    labels = _labels(a, classifier.label_names, classifier.is_single_label, classifier.path)
    info = optimize_cohort(model, classifier, labels, a.out_dir, options)
    data_dir = _print_written(a, info)
    targets = info.provenance["optimization"]["targets"]
    print(f"pseudo-patients {info.splits['train'].patients}; latents that reached their thresholds:")
    for name, target in targets.items():
        print(
            f"  {name}: {target['patients']} of {target['tries']} ({target['failures']} failed), "
            f"{target['median_steps']:g} steps (median)"
        )
    print(f"page: {data_dir / PAGE_FILE}")
    _print_next(a, info, data_dir)


def _print_written(a: GenerateArguments, info: "DatasetInfo") -> pathlib.Path:
    data_dir = pathlib.Path(a.out_dir) / str(info.image_size)
    positives = ", ".join(f"{name} {counts['positive']}" for name, counts in info.splits["train"].labels.items())
    done, where = ("wrote", f" to {data_dir}") if a.format == RECORDS else ("generated", "")
    print(f"{done} {info.images_written} images ({positives or 'no labels'}){where}")
    return data_dir


def _print_next(a: GenerateArguments, info: "DatasetInfo", data_dir: pathlib.Path) -> None:
    if a.format != RECORDS:
        return
    from tfcxr.sampling.cohort_preview import write_cohort_preview, write_real_and_synthetic

    if a.like:
        real = [f"--synthetic_dir={data_dir}", f"--real_dir={a.like}", f"--out_dir=runs/verdict_{info.name}"]
        print(f"next: python -m tfcxr.evaluate {shlex.join(real)}")
    if a.preview:
        print(f"preview: {write_cohort_preview(data_dir)}")
        if a.like and (compared := write_real_and_synthetic(data_dir, a.like, a.like_split)):
            print(f"real above synthetic: {compared}")


def _labels(
    a: GenerateArguments,
    names: "Sequence[str]",
    is_single_label: bool,
    path: pathlib.Path,
    conditions: "Sequence[str]" = (),
) -> "CohortLabels":
    """The labels that the flags ask for, of a generator or classifier at `path` that knows `names` and conditions."""
    from tfcxr.data.sizes import stored_sizes
    from tfcxr.sampling import cohort_labels

    if not names:
        how = (
            f"{path} makes images without labels; give their number as --images=1000, or let a classifier choose them: "
            "--optimize --classifier=FOLDER"
        )
        refuse_flags(a, ["counts", "shares", "like"], how)
        if a.images is None:
            raise ValueError(how)
        return cohort_labels.no_labels(a.images)
    if (bool(a.counts), bool(a.shares), bool(a.like)).count(True) != 1:
        kind = "exactly one per image" if is_single_label else "any number per image"
        raise ValueError(
            f"{path} has the labels {', '.join(names)} ({kind}); give one of --counts=LABEL=COUNT,..., "
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
    return cohort_labels.labels_like(
        like, a.like_split, names, is_single_label, a.images, a.seed, conditions, may_have_others=a.optimize
    )


if __name__ == "__main__":
    command_line.run(generate)
