"""A grown PGGAN's last blocks learn another data set from a frozen DenseNet: how near does it come, and how fast.

    python experiments/li2025_transfer_pggan.py --variant=cpu --raw_dir=nih_64 --pretraining_raw_dir=chest_xray \\
        --work_dir=runs/li2025

Paper: Li, Guo, Zhang 2025, "Transfer-PGGAN".
Data there: CheXpert, frontal AP, Cardiomegaly, Pleural Effusion or Pneumothorax; the generator of Segal et al. 2021
(1024 px, NIH), whose last two of eight blocks learn; the critic is TorchXRayVision's DenseNet-121 (CheXpert), frozen,
with a head. One A100 of 40 GB, 30 epochs.

`as_published` and `corrected` need two files of the authors, ported first:

    python -m tfcxr.port --format=cxr_pggan --checkpoint=Final_Full_Model.pth --out=saved_models/cxr_pggan
    python -m tfcxr.port --format=xrv_densenet121 --checkpoint=densenet121-chex.pt --out=saved_models/xrv_chex
    python experiments/li2025_transfer_pggan.py --variant=as_published --raw_dir=CheXpert --work_dir=runs/li2025 \\
        --pretrained=runs/cxr_pggan --critic=saved_models/xrv_chex/1

`as_published` starts from the raw generator, shows generated images by tanh twice and real ones standardised, and lets
the frozen critic's batch statistics move; `corrected` starts from the averaged generator and treats both alike. The
paper's exclusion of images by view and labels is left to `tfrecords_builder`'s own flags.
`cpu` pretrains a small PGGAN on children's chests (`pretraining_raw_dir`), trains a small DenseNet on the labels of the
new set for its critic, and fine-tunes on adults: two blocks, and everything, side by side. It prints SSIM and Frechet
distance before and after with intervals, and after how many images each came how far.

SSIM is the paper's metric. `tfcxr.evaluation.metrics.pairwise_similarity` says why it is a poor one; the table shows a
blurred mean image beside the generators, so that one can see.
"""

import json
import pathlib

import numpy as np
from absl import flags

from tfcxr import command_line
from tfcxr.data.pipeline import load_images
from tfcxr.evaluation.extractors.backbone_training import (
    BackboneTrainingConfig,
    export_trained_backbone,
    train_backbone,
)
from tfcxr.evaluation.metrics.pairwise_similarity import similarity_to_real
from tfcxr.evaluation.metrics.structural_similarity import SimilarityMeasure
from tfcxr.experiment import Stage, claim_folder, read_variant, run_stages

PUBLISHED = {"ssim": {"pretrained": 0.3739, "fine_tuned": 0.5925}}

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

FLAGS = flags.FLAGS
if __name__ == "__main__":
    flags.DEFINE_enum("variant", "cpu", list(VARIANTS), "Which variant.")
    flags.DEFINE_string("dataset", "nih_chestxray14", "Data set of tfrecords_builder to fine-tune on.")
    flags.DEFINE_string("raw_dir", None, "Folder of its raw data.", required=True)
    flags.DEFINE_string("pretraining_raw_dir", None, "cpu: folder of chest_xray_pneumonia's raw data.")
    flags.DEFINE_string("pretrained", None, "Run folder of a grown or ported PGGAN, instead of pretraining here.")
    flags.DEFINE_string("critic", None, "Folder of a ported or trained DenseNet, instead of training one here.")
    flags.DEFINE_string(
        "extractor_data_dir", None, "Records that the judge of distances learns on; the new set's here."
    )
    flags.DEFINE_string("work_dir", "runs/li2025", "Folder for records, runs, models, cohorts and the table.")


def preparation(variant: str, dataset: str, raw_dir: str, pretraining_raw_dir: str | None, work_dir: pathlib.Path):
    """Records to fine-tune on; and, where the variant pretrains, those of the other set and the PGGAN grown on them."""
    settings = read_variant(__file__, variant)
    size, folder = settings["data_size"], work_dir / variant
    stages = [_records(dataset, raw_dir, work_dir / "records", str(size), SPLITS, size)]
    if pretraining_raw_dir is None:
        return stages
    sizes = ",".join(str(4 << power) for power in range(size.bit_length() - 2))
    other, pretraining = work_dir / "records_pretraining", settings["pretraining"]
    return [
        *stages,
        _records("chest_xray_pneumonia", pretraining_raw_dir, other, sizes, PRETRAINING_SPLITS, size),
        Stage(
            (
                *("-m", "tfcxr.train", "--model=pggan", f"--experiment={__file__}", f"--variant={variant}/pretraining"),
                *(f"--data_dir={other / str(size)}", f"--run_dir={folder / 'pretrained'}"),
                *(
                    f"--export_dir={folder / 'saved_models' / 'pretrained'}",
                    f"--batch_size={pretraining['batch_size']}",
                ),
                *(f"--sample_every={pretraining['sample_every']}", "--resume"),
            ),
            folder / "saved_models" / "pretrained" / "1" / "saved_model.pb",
        ),
    ]


def tuning(variant: str, pretrained: pathlib.Path, critic: pathlib.Path, work_dir: pathlib.Path) -> list[Stage]:
    """Fine-tuning in each way, and a cohort of each generator, the pretrained one's too."""
    settings = read_variant(__file__, variant)
    records, folder = work_dir / "records" / str(settings["data_size"]), work_dir / variant
    saved_models = folder / "saved_models"
    stages = [
        Stage(
            (
                *("-m", "tfcxr.train", "--model=transfer_pggan", f"--experiment={__file__}", f"--variant={variant}"),
                *(f"--data_dir={records}", f"--run_dir={folder / name}", f"--export_dir={saved_models / name}"),
                *(f"--steps={settings['steps']}", f"--batch_size={settings['batch_size']}"),
                *(f"--set=pretrained={pretrained}", f"--set=critic_weights={critic}"),
                *(f"--set={key}={value!r}" for key, value in changes.items()),
                *(f"--sample_every={settings['sample_every']}", "--resume"),
            ),
            saved_models / name / "1" / "saved_model.pb",
        )
        for name, changes in settings["tunings"].items()
    ]
    if not (saved_models / "pretrained").exists():
        command = ("-m", "tfcxr.export", f"--run_dir={pretrained}", f"--out_dir={saved_models / 'pretrained'}")
        stages.append(Stage(command, saved_models / "pretrained" / "1" / "saved_model.pb"))
    return stages + [
        Stage(
            (
                *("-m", "tfcxr.generate", f"--saved_model={saved_models / name}", "--preview"),
                *(f"--out_dir={folder / 'cohorts' / name}", f"--images={DRAWS * 300}"),
            ),
            folder / "cohorts" / name / str(settings["image_size"]) / "dataset_info.json",
        )
        for name in ("pretrained", *settings["tunings"])
    ]


def train_critic(variant: str, data_dir: pathlib.Path, folder: pathlib.Path) -> None:
    """A small DenseNet on the labels of the new set's training patients, unless it is there."""
    if folder.exists():
        return
    config = BackboneTrainingConfig(**read_variant(__file__, variant)["critic"])
    export_trained_backbone(train_backbone(config, data_dir, validation_split=""), folder)


def compare(variant: str, work_dir: pathlib.Path, extractor_data_dir: pathlib.Path) -> str:
    """SSIM and Frechet distance of every cohort, and how fast each tuning came nearer; returns the tables."""
    settings = read_variant(__file__, variant)
    size, folder = str(settings["image_size"]), work_dir / variant
    real_dir = work_dir / "records" / size
    cohorts = {name: folder / "cohorts" / name / size for name in ("pretrained", *settings["tunings"])}
    real = load_images(real_dir, "held_out")
    count, measure = len(real.images), SimilarityMeasure(data_range=255)
    sets = {name: load_images(path, "train", max_images=count).images for name, path in cohorts.items()}
    mean = np.round(load_images(real_dir, "train").images.mean(axis=0)).astype(np.uint8)
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
    command = (
        *("-m", "tfcxr.evaluate", "--protocols=cohort_ranking", f"--real_dir={real_dir}", "--test_splits=held_out"),
        f"--synthetic_dir={','.join(f'{name}={path}' for name, path in cohorts.items())}",
        *("--classifier=small_cnn", "--classifier_seeds=0", f"--out_dir={folder}"),
        *(f"--extractor_dir={work_dir / 'extractor'}", "--set=classifier.max_epochs=8"),
        f"--set=cohort_ranking.extractor_data_dir={extractor_data_dir}",
        f"--set=cohort_ranking.draws={DRAWS}",
    )
    run_stages([Stage(command, folder / "report.json")])
    return "\n".join([*lines, "", *_progress(settings, folder)])


def _records(dataset: str, raw_dir: str, out_dir: pathlib.Path, sizes: str, splits: str, size: int) -> Stage:
    return Stage(
        (
            *("-m", "tfrecords_builder", f"--dataset={dataset}", f"--raw_dir={raw_dir}", f"--out_dir={out_dir}"),
            *(f"--image_sizes={sizes}", f"--splits={splits}", "--split_by=hash"),
        ),
        out_dir / str(size) / "dataset_info.json",
    )


def _progress(settings: dict, folder: pathlib.Path) -> list[str]:
    """The sliced Wasserstein distance to training images as it was logged, a column for each tuning."""
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


def main(argv: list[str]) -> None:
    """Runs what is not finished of the chosen variant and prints the tables."""
    work_dir = pathlib.Path(FLAGS.work_dir)
    folder, settings = work_dir / FLAGS.variant, read_variant(__file__, FLAGS.variant)
    if not FLAGS.pretrained and not (FLAGS.pretraining_raw_dir and "pretraining" in settings):
        raise ValueError("give --pretrained, a run folder of tfcxr.port, or with --variant=cpu --pretraining_raw_dir")
    if not FLAGS.critic and "critic" not in settings:
        raise ValueError("give --critic, a folder that tfcxr.port wrote, such as saved_models/xrv_chex/1")
    chosen = {name: FLAGS[name].value for name in ("dataset", "pretrained", "critic", "extractor_data_dir")}
    chosen["splits"] = SPLITS
    claim_folder(folder, chosen | settings)
    pretraining = None if FLAGS.pretrained else FLAGS.pretraining_raw_dir
    run_stages(preparation(FLAGS.variant, FLAGS.dataset, FLAGS.raw_dir, pretraining, work_dir))
    records = work_dir / "records" / str(settings["data_size"])
    critic = pathlib.Path(FLAGS.critic or folder / "critic")
    if not FLAGS.critic:
        train_critic(FLAGS.variant, records, critic)
    pretrained = pathlib.Path(FLAGS.pretrained or folder / "pretrained")
    run_stages(tuning(FLAGS.variant, pretrained, critic, work_dir))
    if settings["image_size"] != settings["data_size"]:
        print(f"the cohorts are in {folder / 'cohorts'}; build records of {settings['image_size']} px to compare them")
        return
    print(compare(FLAGS.variant, work_dir, pathlib.Path(FLAGS.extractor_data_dir or records)))


if __name__ == "__main__":
    command_line.run_main(main)
