"""A grown PGGAN's last blocks learn another data set from a frozen DenseNet: how near does it come, and how fast.

    python experiments/li2025_transfer_pggan.py --variant=cpu --raw_dir=nih_64 --pretraining_raw_dir=chest_xray \\
        --work_dir=runs/li2025

Paper: Li, Guo, Zhang 2025, "Transfer-PGGAN".
Data there: CheXpert, frontal AP, Cardiomegaly, Pleural Effusion or Pneumothorax; the generator of Segal et al. 2021
(1024 px, NIH), whose last two of eight blocks learn; the critic is TorchXRayVision's DenseNet-121 (CheXpert), frozen,
with a head. One A100 of 40 GB, 30 epochs.
Paper's figures: SSIM .3739 of the pretrained generator, .5925 of the fine-tuned one.
Ours, `cpu`: Frechet distance 14.7 -> 9.9 (real images 1.0) with two blocks, 13.8 with all; SSIM .300 -> .284, where a
blurred mean image has .532. The other variants were not run.
Hardware and time: two CPU cores, 6.5 minutes after the pretraining. README.md here has the rest.

`as_published` and `corrected` need two files of the authors, ported first:

    python -m tfcxr.port --format=cxr_pggan --checkpoint=Final_Full_Model.pth --out_dir=saved_models/cxr_pggan
    python -m tfcxr.port --format=xrv_densenet121 --checkpoint=densenet121-chex.pt --out_dir=saved_models/xrv_chex
    python experiments/li2025_transfer_pggan.py --variant=as_published --raw_dir=CheXpert --work_dir=runs/li2025 \\
        --pretrained=runs/cxr_pggan --critic=saved_models/xrv_chex/1

`as_published` starts from the raw generator, shows generated images by tanh twice and real ones standardised, and lets
the frozen critic's batch statistics move; `corrected` starts from the averaged generator and treats both alike. The
paper's exclusion of images by view and labels is left to `tfrecords_builder`'s own flags.
`cpu` pretrains a small PGGAN on children's chests (`pretraining_raw_dir`), trains a small DenseNet on the labels of the
new set for its critic, and fine-tunes on adults: two blocks, and everything, side by side. It prints SSIM before and
after with intervals, and how near each came after how many images; `ranking/report.html` has the Frechet distances.

SSIM is the paper's metric. `tfcxr.evaluation.metrics.pairwise_similarity` says why it is a poor one; the table shows a
blurred mean image beside the generators, so that one can see.
"""

import dataclasses
import json
import pathlib

import numpy as np

from tfcxr import command_line, experiment
from tfcxr.data.pipeline import load_images
from tfcxr.evaluation.extractors.backbone_training import (
    BackboneTrainingConfig,
    export_trained_backbone,
    train_backbone,
)
from tfcxr.evaluation.metrics.pairwise_similarity import similarity_to_real
from tfcxr.evaluation.metrics.structural_similarity import SimilarityMeasure
from tfcxr.experiment import Command, ExperimentArguments, command, read_variant, training

VARIANTS = {
    "as_published": {
        "image_size": 1024,
        "data_size": 256,
        "batch_size": 32,
        "steps": 34500,
        "sample_every": 1000,
        "model_name": "transfer_pggan",
        "model": {
            "starts_from": "generator",
            "ema_decay": 0.0,
            "value_handling": "as_published",
            "moves_batch_statistics": True,
        },
        "tunings": {"last_two": {}},
    },
    "corrected": {
        "image_size": 1024,
        "data_size": 256,
        "batch_size": 32,
        "steps": 34500,
        "sample_every": 1000,
        "model_name": "transfer_pggan",
        "model": {},
        "tunings": {"last_two": {}},
    },
    "cpu": {
        "image_size": 64,
        "data_size": 64,
        "batch_size": 16,
        "steps": 400,
        "sample_every": 50,
        "model_name": "transfer_pggan",
        "model": {"critic_size": 64, "critic_head": 128, "ema_decay": 0.99, "precision": "mixed_bfloat16"},
        "tunings": {
            "last_two": {},
            "everything": {"trained_blocks": (0, 1, 2, 3), "trains_base": True},
        },
        "pretraining": {
            "batch_size": 16,
            "sample_every": 500,
            "model_name": "pggan",
            "model": {
                "latent_size": 128,
                "channel_base": 2048,
                "channel_max": 128,
                "stage_images": [16000, 40000, 64000, 40000, 20000],
                "precision": "mixed_bfloat16",
            },
        },
        "critic": {"growth_rate": 12, "block_config": (3, 6, 12, 8), "initial_filters": 24, "max_epochs": 8},
    },
}

SPLITS = "train=.6,held_out=.4"
PRETRAINING_SPLITS = "train=.7,validation=.1,held_out=.2"
DRAWS = 5
IMAGES_PER_DRAW = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiArguments(ExperimentArguments):
    """The flags.

    Attributes:
      dataset: Data set of tfrecords_builder to fine-tune on.
      pretraining_raw_dir: Of cpu, folder of chest_xray_pneumonia's raw data.
      pretrained: Run folder of a grown or ported PGGAN, instead of pretraining here.
      critic: Folder of a ported or trained DenseNet, instead of training one here.
      extractor_data_dir: Records that the extractor of the distances is trained on; the new set's by default.
    """

    variant: str = "cpu"
    dataset: str = "nih_chestxray14"
    pretraining_raw_dir: str | None = None
    pretrained: str | None = None
    critic: str | None = None
    extractor_data_dir: str | None = None
    work_dir: str = "runs/li2025"

    def __post_init__(self) -> None:
        super().__post_init__()
        settings = read_variant(__file__, self.variant)
        if not self.pretrained and not (self.pretraining_raw_dir and "pretraining" in settings):
            raise ValueError(
                "give --pretrained, a run folder of tfcxr.port, or with --variant=cpu --pretraining_raw_dir"
            )
        if not self.critic and "critic" not in settings:
            raise ValueError("give --critic, a folder that tfcxr.port wrote, such as saved_models/xrv_chex/1")

    @property
    def records(self) -> pathlib.Path:
        """Data folder of the new set."""
        return pathlib.Path(self.work_dir) / "records" / str(read_variant(__file__, self.variant)["data_size"])


def preparation(arguments: LiArguments) -> list[Command]:
    """Records to fine-tune on; and, where the variant pretrains, those of the other set and the PGGAN grown on them."""
    records = arguments.records
    source = {"dataset": arguments.dataset, "raw_dir": arguments.raw_dir, "splits": SPLITS, "split_by": "hash"}
    commands = [command("tfrecords_builder", **source, out_dir=records.parent, image_sizes=[records.name])]
    if arguments.pretrained:
        return commands
    other = pathlib.Path(arguments.work_dir) / "records_pretraining"
    source |= {"dataset": "chest_xray_pneumonia", "raw_dir": arguments.pretraining_raw_dir}
    source |= {"splits": PRETRAINING_SPLITS, "image_sizes": experiment.sizes_to(int(records.name))}
    return [
        *commands,
        command("tfrecords_builder", **source, out_dir=other),
        training(__file__, arguments, "pretrained", "pretraining", data_dir=other / records.name),
    ]


def tuning(arguments: LiArguments) -> list[Command]:
    """Fine-tuning in each way, a cohort of each generator, the pretrained one's too, and their ranking."""
    settings, folder = read_variant(__file__, arguments.variant), arguments.folder
    pretrained, exports = arguments.pretrained or folder / "pretrained", folder / "saved_models"
    starts = {"pretrained": pretrained, "critic_weights": arguments.critic or folder / "critic"}
    commands = [
        training(__file__, arguments, name, data_dir=arguments.records, settings=starts | changes)
        for name, changes in settings["tunings"].items()
    ]
    commands.append(command("tfcxr.export", run_dir=pretrained, out_dir=exports / "pretrained"))
    cohorts = {name: folder / "cohorts" / name for name in ("pretrained", *settings["tunings"])}
    commands += [
        command(
            "tfcxr.generate", saved_model=exports / name, out_dir=cohort, images=DRAWS * IMAGES_PER_DRAW, preview=True
        )
        for name, cohort in cohorts.items()
    ]
    if settings["image_size"] == settings["data_size"]:
        cohorts = {name: cohort / arguments.records.name for name, cohort in cohorts.items()}
        settings = {
            "classifier": {"max_epochs": 8},
            "ranking": {"draws": DRAWS, "extractor_data_dir": arguments.extractor_data_dir or arguments.records},
        }
        commands.append(experiment.ranking(arguments, cohorts, real_dir=arguments.records, settings=settings))
    return commands


def train_critic(arguments: LiArguments) -> None:
    """A small DenseNet on the labels of the new set's training patients, unless it is there."""
    folder = arguments.folder / "critic"
    if not arguments.critic and not folder.exists():
        config = BackboneTrainingConfig(**read_variant(__file__, arguments.variant)["critic"])
        export_trained_backbone(train_backbone(config, arguments.records, validation_split=""), folder)


def similarity_table(arguments: LiArguments) -> list[str]:
    """SSIM of every cohort, and of the mean training image, to held-out images."""
    settings, folder = read_variant(__file__, arguments.variant), arguments.folder
    real = load_images(arguments.records, "held_out")
    count, measure = len(real.images), SimilarityMeasure(data_range=255)
    sets = {
        name: load_images(folder / "cohorts" / name / str(settings["image_size"]), "train", max_images=count).images
        for name in ("pretrained", *settings["tunings"])
    }
    mean = np.round(load_images(arguments.records, "train").images.mean(axis=0)).astype(np.uint8)
    sets["the mean of all training images"] = np.repeat(mean[None], count, axis=0)
    lines = ["| cohort | SSIM to held-out images | ratio to real against real |", "| --- | --- | --- |"]
    for name, images in sets.items():
        found = similarity_to_real(
            images,
            real.images,
            pairing="random",
            measure=measure,
            real_groups=real.patient_keys,
        )
        to_real = f"{found.to_real.mean:.3f} ({found.to_real.low:.3f}-{found.to_real.high:.3f})"
        lines.append(f"| {name} | {to_real} | {found.ratio:.2f} ({found.ratio_low:.2f}-{found.ratio_high:.2f}) |")
    return lines


def progress_table(arguments: LiArguments) -> list[str]:
    """The sliced Wasserstein distance to training images as it was logged, a column for each tuning."""
    settings, folder = read_variant(__file__, arguments.variant), arguments.folder
    curves = {}
    for name in settings["tunings"]:
        text = (folder / name / "metrics.jsonl").read_text(encoding="utf-8")
        logged = [json.loads(line) for line in text.splitlines()]
        curves[name] = {line["step"]: line["sliced_wasserstein"] for line in logged if "sliced_wasserstein" in line}
    images = settings["batch_size"] * 2  # two critic steps
    header = "| real images seen | " + " | ".join(f"{name}: sliced Wasserstein distance" for name in curves) + " |"
    rows = [
        f"| {step * images} | " + " | ".join(f"{curve[step]:.1f}" for curve in curves.values()) + " |"
        for step in next(iter(curves.values()))
    ]
    return [header, "| --- " * (len(curves) + 1) + "|", *rows]


def main(arguments: LiArguments) -> None:
    """Runs what is not finished of the chosen variant and prints SSIM and the progress of the tunings."""
    experiment.run(__file__, arguments, {"splits": SPLITS}, preparation(arguments))
    train_critic(arguments)
    experiment.run_commands(tuning(arguments))
    settings = read_variant(__file__, arguments.variant)
    if settings["image_size"] != settings["data_size"]:
        cohorts, size = arguments.folder / "cohorts", settings["image_size"]
        print(f"the cohorts are in {cohorts}; build records of {size} px to compare them")
    else:
        print(*similarity_table(arguments), "", *progress_table(arguments), sep="\n")


if __name__ == "__main__":
    command_line.run(main)
