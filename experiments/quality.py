"""All families of GAN on one set for equal time, judged by networks that trained none of them.

A study of ours, not of a paper. Data: Kaggle Chest X-ray Pneumonia (Kermany, Zhang, Goldbaum 2018), NORMAL and
PNEUMONIA, at 64 px; patients held out of its train folder and its published test folder are reported side by side.

Every family trains for `training_minutes`, with its defaults and what `VARIANTS` says beside them, and draws equally
many images. `judges` are extractors that no generator learned from, such as ImageNet's Xception:
`--set=judges=xception=xception.keras:precision=bfloat16`. Without one a classifier of the real images judges alone, and
it does not see texture. The first judge that is a file watches the trainings too, which gives a curve of its kernel
distance over the images seen. The PGGAN has no labels; its images get theirs by latent class optimisation.

Larger images: `--set=image_size=256 --set=families=cgan,cgan_enlarged` compares a CGAN of that size with one of a
quarter of it whose images an SRGAN enlarges, each with half of the time; its curve is that of the small images.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from tfcxr.command_line import name_and_path
from tfcxr.studies.page import Results, Table
from tfcxr.studies.pictures import curves, side_by_side
from tfcxr.studies.stages import Stage, Study, seconds_of, sizes_to, time_text

SHOWN = 6  # images of each label
TEST_SPLITS = ("held_out", "test")
DISTANCES = {"kernel distance": "kernel", "precision": "feature_precision", "coverage": "coverage"}

VARIANTS = {
    "corrected": {
        "dataset": "chest_xray_pneumonia",
        "splits": "train=.7,validation=.1,held_out=.2",
        "image_size": 64,
        "training_minutes": 40.0,
        "sample_every": 500,
        "families": ["acgan", "acgan_layer", "cgan", "wgan_gp", "stylegan2", "pggan", "vanilla_gan"],
        "acgan": {"model_name": "acgan", "model": {"precision": "auto"}, "batch_size": 8},
        "acgan_layer": {
            "model_name": "acgan",
            "model": {"normalization": "layer", "precision": "auto"},
            "batch_size": 8,
        },
        "cgan": {"model_name": "cgan", "model": {"precision": "auto"}, "batch_size": 8},
        "wgan_gp": {
            "model_name": "wgan_gp",
            "model": {"conditional": True, "label_count": 2, "precision": "auto"},
            "batch_size": 8,
        },
        "stylegan2": {
            "model_name": "stylegan2",
            "model": {
                "channel_base": 1024,
                "channel_max": 128,
                "latent_size": 128,
                "style_size": 128,
                "path_length_weight": 0.0,
                "style_mixing": 0.0,
                "precision": "auto",
            },
            "batch_size": 8,
        },
        "pggan": {
            "model_name": "pggan",
            "model": {
                "channel_base": 2048,
                "channel_max": 128,
                "latent_size": 128,
                "stage_images": [8000, 16000, 24000, 32000, 10000000],
                "precision": "auto",
            },
            "batch_size": 16,
        },
        "vanilla_gan": {
            "model_name": "vanilla_gan",
            "model": {"conditional": True, "label_count": 2, "precision": "auto"},
            "batch_size": 64,
        },
        "cgan_enlarged": {
            "model_name": "cgan",
            "model": {"precision": "auto"},
            "batch_size": 8,
            "enlarged_by": "srgan",
        },
        "srgan": {
            "model_name": "srgan",
            "model": {"scale": 4, "precision": "auto"},
            "batch_size": 4,
        },
        "judges": [],
        "images": 1000,
        "optimization": {},
        "classifier_name": "small_cnn",
        "classifier": {"max_epochs": 8, "balance_classes": "weights"},
        "seeds": [0, 1],
    },
    "smoke": {
        "dataset": "chest_xray_pneumonia",
        "splits": "train=.4,validation=.3,held_out=.3",
        "phantom_images": 240,
        "phantom_image_size": 64,
        "image_size": 64,
        "training_minutes": 0.01,
        "sample_every": 1,
        "families": ["cgan", "pggan", "cgan_enlarged"],
        "cgan": {
            "model_name": "cgan",
            "model": {"latent_size": 8, "generator_filters": 32, "discriminator_filters": 8},
            "batch_size": 8,
        },
        "pggan": {
            "model_name": "pggan",
            "model": {
                "latent_size": 8,
                "channel_base": 128,
                "channel_max": 8,
                "first_size": 64,
                "stage_images": [10000000],
            },
            "batch_size": 8,
        },
        "cgan_enlarged": {
            "model_name": "cgan",
            "model": {"latent_size": 8, "generator_filters": 32, "discriminator_filters": 8},
            "batch_size": 8,
            "enlarged_by": "srgan",
        },
        "srgan": {
            "model_name": "srgan",
            "model": {"scale": 2, "residual_blocks": 1, "filters": 8, "discriminator_filters": 8},
            "batch_size": 4,
        },
        "judges": [],
        "images": 40,
        "optimization": {"optimize_steps": 30, "optimize_rate": 0.3, "optimize_tries": 50, "severity": 0.0},
        "classifier_name": "small_cnn",
        "classifier": {"max_epochs": 1},
        "seeds": [0],
        "tstr": {"bootstrap_resamples": 50, "diversity_pairs": 20},
        "distances": {"images": 8},
        "memorization": {"false_alarms": 0.05},
    },
}


def watching_judge(study: Study) -> tuple[str, str] | None:
    """Name and path of the judge that watches the trainings; "trained" exists only when they are over."""
    for judge in study.settings["judges"]:
        if judge != "trained":
            name, path = name_and_path(judge)
            return name or pathlib.Path(path.partition(":")[0]).stem, path
    return None


def stages(study: Study) -> list[Stage]:
    """Records, a training of each family, cohorts, one report."""
    s, folder, size = study.settings, study.folder, study.settings["image_size"]
    labelling = folder / "saved_models" / "labelling_classifier"
    sizes = {size} | {
        size // s[of["enlarged_by"]]["model"]["scale"] for of in families_of(study) if "enlarged_by" in of
    }
    if any(grows(described) and "first_size" not in described["model"] for described in families_of(study)):
        sizes |= set(sizes_to(size))
    made = [
        study.stage(
            "build records",
            "tfrecords_builder",
            dataset=s["dataset"],
            raw_dir=study.raw_dir,
            out_dir=study.records,
            image_sizes=sorted(sizes),
            splits=s["splits"],
            split_by="hash",
        )
    ]
    real = study.records / str(size)
    if any(map(grows, families_of(study))):
        made.append(
            study.stage(
                "train classifier that labels",
                "tfcxr.train_classifier",
                classifier=s["classifier_name"],
                data_dir=real,
                test_splits=["held_out"],
                out_dir=labelling,
                settings=s["classifier"],
            )
        )
    for family in s["families"]:
        made += stages_of(study, family, labelling)
    settings = {"classifier": s["classifier"], "tstr": {"arms": "real,synthetic"} | s.get("tstr", {})}
    made.append(
        study.stage(
            "evaluate",
            "tfcxr.evaluate",
            protocols=["tstr", "distances", "memorization"],
            synthetic_dir=[f"{family}={folder_of(study, family)}" for family in s["families"]],
            real_dir=real,
            validation_splits="validation",
            test_splits=TEST_SPLITS,
            classifier=s["classifier_name"],
            classifier_seeds=s["seeds"],
            extractor=["trained", *s["judges"]],
            out_dir=folder / "report",
            settings=settings | {name: s.get(name, {}) for name in ("distances", "memorization")},
        )
    )
    return made


def families_of(study: Study) -> list[Mapping[str, Any]]:
    """What the variant says of each family."""
    return [study.settings[family] for family in study.settings["families"]]


def grows(described: Mapping[str, Any]) -> bool:
    """Whether it is a PGGAN, which has no labels here."""
    return described["model_name"] == "pggan"


def stages_of(study: Study, family: str, labelling: pathlib.Path) -> list[Stage]:
    """The training of one family, of its enlarger where it has one, and its cohort."""
    s, described, size = study.settings, study.settings[family], study.settings["image_size"]
    _, extractor = watching_judge(study) or ("", None)
    watched: dict[str, Any] = {"quality_extractor": extractor, "sample_every": s["sample_every"]}
    minutes, real, enlarger = s["training_minutes"], study.records / str(size), described.get("enlarged_by")
    own_size = size // s[enlarger]["model"]["scale"] if enlarger else size
    minutes /= 2 if enlarger else 1
    made = [study.train(family, described, data_dir=study.records / str(own_size), minutes=minutes, **watched)]
    how: dict[str, Any] = {"classifier": labelling, "optimize": True} | s["optimization"] if grows(described) else {}
    if enlarger:
        made.append(study.train(f"{family}_{enlarger}", s[enlarger], data_dir=real, minutes=minutes))
        how["super_resolution"] = study.saved_model(f"{family}_{enlarger}")
    made.append(
        study.stage(
            f"generate {family}",
            "tfcxr.generate",
            saved_model=study.saved_model(family),
            out_dir=folder_of(study, family).parent,
            like=real,
            images=s["images"],
            **how,
        )
    )
    return made


def folder_of(study: Study, family: str) -> pathlib.Path:
    """The cohort of a family."""
    return study.folder / "cohorts" / family / str(study.settings["image_size"])


def run_of(study: Study, family: str) -> dict[str, Any]:
    """The configuration of a training, with the real images that a step takes as "images_per_step"."""
    run = json.loads((study.folder / family / "config.json").read_text(encoding="utf-8"))
    return run | {"images_per_step": run["batch_size"] * run["settings"].get("critic_steps", 1)}


def samples(study: Study, family: str) -> list[dict[str, float]]:
    """What a training logged at each of its samples."""
    lines = (study.folder / family / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if "sliced_wasserstein" in line]


def pictures(study: Study) -> dict[str, bytes]:
    """Images of equal seeds side by side, and the kernel distance over the real images that were seen."""
    families = study.settings["families"]
    made = {"side_by_side.png": side_by_side({family: folder_of(study, family) for family in families}, SHOWN)}
    if judge := watching_judge(study):
        points = {}
        for family in families:
            images = run_of(study, family)["images_per_step"]
            points[family] = [(images * sample["step"], sample["kid"]) for sample in samples(study, family)]
        made["curves.png"] = curves(points, "real images seen", f"kernel distance by {judge[0]}")
    return made


def table(study: Study) -> Table:
    """What each family reached on held-out patients, N, interval and what real images have among them."""
    results, s = Results(study.folder), study.settings
    judges = sorted({row["extractor"] for row in results.scores("report", protocol="distances", metric="kernel")})
    columns = [(f"{title}, {judge}", metric, judge) for judge in judges for title, metric in DISTANCES.items()]
    header = ["family", "real images seen", "training", *(title for title, *_ in columns)]
    header += [f"AUC on {split} of a classifier of its images" for split in TEST_SPLITS]
    header += ["alike within a class, MS-SSIM (real)", "nearer to training than 1 % of held-out images are"]
    times = {stage.name: seconds_of(study, stage) for stage in stages(study)}
    cells = []
    for family in s["families"]:
        of_family = {"cohort": family, "split": "held_out", "label": "", "group": ""}
        run, last = run_of(study, family), next(reversed(samples(study, family)), {})
        alike = [
            f"{value:.2f} ({last[name.replace('ms_ssim/', 'ms_ssim_real/')]:.2f})"
            for name, value in last.items()
            if name.startswith("ms_ssim/")
        ]
        row = [family, f"{run['steps'] * run['images_per_step']:,}", time_text((times[f"train {family}"] or 0.0) / 60)]
        for _, metric, judge in columns:
            row.append(str(results.score("report", protocol="distances", metric=metric, extractor=judge, **of_family)))
        for split in TEST_SPLITS:
            tstr = of_family | {"split": split, "metric": "auc", "subject": "synthetic"}
            row.append(str(results.score("report", protocol="tstr", **tstr)))
        copies = of_family | {"metric": "copies", "extractor": "trained"}
        row += ["; ".join(alike), str(results.score("report", protocol="memorization", **copies))]
        cells.append(row)
    return Table(header, cells)
