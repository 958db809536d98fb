"""What a training is asked for, as the flags of `tfcxr.train`."""

import dataclasses

from tfcxr.command_line import Arguments, flag
from tfcxr.data.conditions import CONDITIONS
from tfcxr.models import MODELS


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainArguments(Arguments):
    """What is trained, on which data, and where it goes.

    Attributes:
      model: Name of the GAN, or the file of your own; acgan by default.
      data_dir: Data folder of tfrecords_builder; without it phantom radiographs are used.
      splits: Splits to train on, such as fold_1,fold_2.
      labels: Labels to train on, such as Effusion,No Finding; all by default. Of exclusive classes, images of others
        are left out.
      conditions: Fields of a record that the networks read beside the labels: sex, age, view. A cgan can.
      validation_splits: Splits that super-resolution, and a generator with --quality_extractor, is measured on while it
        trains.
      run_dir: Run folder; runs/MODEL by default.
      export_dir: Where the SavedModel goes; saved_models/NAME OF THE RUN by default.
      export: Export the generator at the end.
      export_steps: Steps after which the model is exported too, such as 1000,2000,4000, as versions EXPORT_DIR/1000 and
        so on; the end's is then EXPORT_DIR/STEPS.
      experiment: Experiment file to take the model, its settings and its training from.
      variant: Variant of the experiment, such as corrected (the default) or corrected/cgan.
      settings: Setting of the model, name=value; repeatable. python -m tfcxr describe MODEL lists them.
      steps: Training steps in all; by default 1000, or a growing model's whole schedule.
      minutes: Train for this long, over all runs of a resumed training; with --steps, until the first of both is over.
      batch_size: Images per step over all replicas, with several critic steps per critic step; by default what python
        -m tfcxr describe MODEL says.
      seed: Of weights, noise and data order.
      cache: Keep the decoded images in memory. Worth it where they are PNGs, or on a disk that seeks slowly.
      devices: Devices to train on, such as GPU:0,GPU:1; all GPUs by default.
      local_workers: Try several workers on this machine: start so many processes that train together. Several machines
        do so by TF_CONFIG.
      log_every: Steps between lines of metrics.jsonl.
      sample_every: Steps between sample pictures; by default 500, and pictures at steps 50, 100 and 200 too.
      quality_extractor: Frozen network that judges the images at each sample: a .keras file or the folder of a
        SavedModel, with options such as xception.keras:precision=bfloat16. KID and coverage against --validation_splits
        are logged, and the best checkpoint is that of the smallest KID.
      quality_images: With --quality_extractor: compare at most so many images.
      stop_when_flat: With --quality_extractor: end training when KID has stopped falling.
      checkpoint_every: Steps between checkpoints.
      keep_checkpoints: How many of the newest checkpoints are kept; the best one stays beside them.
      resume: Continue the run in --run_dir.
      deterministic: Same bits in every run; on GPUs it costs speed.
      verify_checksums: Check the SHA-256 of every shard first.
    """

    model: str | None = flag(None, choices=MODELS, takes_file=True)
    data_dir: str | None = None
    splits: tuple[str, ...] = ("train",)
    labels: tuple[str, ...] = ()
    conditions: tuple[str, ...] = flag((), choices=CONDITIONS)
    validation_splits: tuple[str, ...] = ("validation",)
    run_dir: str | None = None
    export_dir: str | None = None
    export: bool = True
    export_steps: tuple[str, ...] = ()
    experiment: str | None = None
    variant: str | None = None
    settings: tuple[str, ...] = flag((), name="set", is_repeated=True)
    steps: int | None = flag(None, minimum=1)
    minutes: float | None = flag(None, minimum=0.001)
    batch_size: int | None = flag(None, minimum=1)
    seed: int = 0
    cache: bool = False
    devices: tuple[str, ...] = ()
    local_workers: int = flag(1, minimum=1)
    log_every: int = flag(50, minimum=1)
    sample_every: int | None = flag(None, minimum=1)
    quality_extractor: str | None = None
    quality_images: int = flag(256, minimum=16)
    stop_when_flat: bool = False
    checkpoint_every: int = flag(500, minimum=1)
    keep_checkpoints: int = flag(3, minimum=1)
    resume: bool = False
    deterministic: bool = True
    verify_checksums: bool = False
