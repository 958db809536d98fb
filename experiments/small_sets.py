"""Few real images: does a generator of 100, 200 or 500 of them help a classifier of the same images?

A study of ours, not of a paper. Data: Kaggle Chest X-ray Pneumonia (Kermany, Zhang, Goldbaum 2018), NORMAL and
PNEUMONIA, at 64 px. A share of the patients is the small set; generator and classifiers see nothing else, and patients
held out of the train folder test them.

Each set trains one generator for every recipe of `recipes`: a CGAN without and with differentiable augmentation (Zhao,
Liu, Lin, Zhu, Han 2020), a StyleGAN2 with adaptive augmentation (Karras et al. 2020). The frontier then trains
classifiers on the real images, alone and with synthetic ones added, by every seed: p of other patients by the paired
bootstrap (Holm), p of other seeds by a paired t-test. Distances are by `judges` that no generator learned from, such as
`--set=judges=xception=xception.keras:precision=bfloat16`.
"""

import json
import math

from tfcxr.studies.page import Results, Table
from tfcxr.studies.pictures import side_by_side
from tfcxr.studies.stages import Stage, Study

SHOWN = 6  # images of each label

VARIANTS = {
    "corrected": {
        "dataset": "chest_xray_pneumonia",
        "image_size": 64,
        "shares": {"100": 0.027, "200": 0.054, "500": 0.135},
        "held_out": 0.3,
        "training_minutes": 15.0,
        "sample_every": 500,
        "recipes": ["cgan", "cgan_augmented", "stylegan2_ada"],
        "cgan": {"model_name": "cgan", "model": {"precision": "auto"}, "batch_size": 8},
        "cgan_augmented": {
            "model_name": "cgan",
            "model": {"augmentations": ["brightness", "contrast", "translation"], "precision": "auto"},
            "batch_size": 8,
        },
        "stylegan2_ada": {
            "model_name": "stylegan2",
            "model": {
                "channel_base": 1024,
                "channel_max": 128,
                "latent_size": 128,
                "style_size": 128,
                "path_length_weight": 0.0,
                "style_mixing": 0.0,
                "adaptive_augmentation": True,
                "precision": "auto",
            },
            "batch_size": 8,
        },
        "judges": [],
        "images": 1000,
        "classifier_name": "small_cnn",
        "classifier": {"max_epochs": 30, "balance_classes": "weights"},
        "seeds": [0, 1, 2, 3, 4],
        "frontier": {"ratios": "0,1", "real_images": "0"},
    },
    "smoke": {
        "dataset": "chest_xray_pneumonia",
        "phantom_images": 240,
        "phantom_image_size": 32,
        "image_size": 32,
        "shares": {"60": 0.3},
        "held_out": 0.3,
        "training_minutes": 0.01,
        "sample_every": 1,
        "recipes": ["cgan_augmented"],
        "cgan_augmented": {
            "model_name": "cgan",
            "model": {
                "latent_size": 8,
                "generator_filters": 32,
                "discriminator_filters": 8,
                "augmentations": ["brightness", "translation"],
            },
            "batch_size": 8,
        },
        "judges": [],
        "images": 100,
        "classifier_name": "small_cnn",
        "classifier": {"max_epochs": 1},
        "seeds": [0, 1],
        "frontier": {"ratios": "0,1", "real_images": "0", "bootstrap_resamples": 50},
        "distances": {"images": 8},
        "memorization": {"false_alarms": 0.05},
    },
}


def runs_of(study: Study) -> dict[str, tuple[str, str]]:
    """Name of a training -> how many real images it has, about, and its recipe."""
    s = study.settings
    return {f"{recipe}_{count}": (count, recipe) for count in s["shares"] for recipe in s["recipes"]}


def stages(study: Study) -> list[Stage]:
    """Records of each small set, the trainings and cohorts, a report for each."""
    s, folder, size = study.settings, study.folder, str(study.settings["image_size"])
    made = []
    for count, share in s["shares"].items():
        rest = 1.0 - share - s["held_out"]
        made.append(
            study.stage(
                f"build records of {count}",
                "tfrecords_builder",
                dataset=s["dataset"],
                raw_dir=study.raw_dir,
                out_dir=study.records / count,
                image_sizes=[s["image_size"]],
                splits=f"small={share:g},rest={rest:g},held_out={s['held_out']:g}",
                split_by="hash",
            )
        )
    for run, (count, recipe) in runs_of(study).items():
        real = study.records / count / size
        timed = {"minutes": s["training_minutes"], "sample_every": s["sample_every"]}
        made += [
            study.train(run, s[recipe], data_dir=real, splits=["small"], **timed),
            study.stage(
                f"generate {run}",
                "tfcxr.generate",
                saved_model=study.saved_model(run),
                out_dir=folder / "cohorts" / run,
                like=real,
                like_split="small",
                images=s["images"],
            ),
            study.stage(
                f"evaluate {run}",
                "tfcxr.evaluate",
                protocols=["frontier", "distances", "memorization"],
                synthetic_dir=f"{run}={folder / 'cohorts' / run / size}",
                real_dir=real,
                train_splits="small",
                test_splits=["held_out", "test"],
                classifier=s["classifier_name"],
                classifier_seeds=s["seeds"],
                extractor=["trained", *s["judges"]],
                out_dir=folder / "reports" / run,
                settings={
                    "classifier": s["classifier"],
                    **{name: s.get(name, {}) for name in ("frontier", "distances", "memorization")},
                },
            ),
        ]
    return made


def pictures(study: Study) -> dict[str, bytes]:
    """Images of equal seeds side by side."""
    size = str(study.settings["image_size"])
    cohorts = {run: study.folder / "cohorts" / run / size for run in runs_of(study)}
    return {"side_by_side.png": side_by_side(cohorts, SHOWN)}


def table(study: Study) -> Table:
    """For each training its distance, near copies, and what its images add to the AUC on each test set."""
    results = Results(study.folder)
    header = ["training", "real images", "tested on", "AUC of real images alone", "synthetic added", "gain in AUC"]
    header += ["p, patients (Holm)", "p, seeds", "kernel distance by judge", "near copies of training images"]
    cells = []
    for run in runs_of(study):
        report = study.folder / "reports" / run
        protocols = json.loads((report / "report.json").read_text(encoding="utf-8"))["protocols"]
        of_run = {"split": "held_out", "label": "", "group": ""}
        kernels = results.scores(f"reports/{run}", protocol="distances", metric="kernel", **of_run)
        judged = "; ".join(
            f"{row['extractor']} {float(row['value']):.3g} (real {float(row['of_real']):.3g})" for row in kernels
        )
        copies = results.score(
            f"reports/{run}", protocol="memorization", metric="copies", extractor="trained", **of_run
        )
        for split, test in protocols["frontier"][run]["tests"].items():
            alone = next(cell for cell in test["cells"] if not cell["ratio"])
            for cell in (cell for cell in test["cells"] if cell["ratio"]):
                gain = cell["gain"]
                low, high = gain["interval"]
                by_seed = gain["p_by_seed"] if gain["p_by_seed"] is not None else math.nan
                cells.append(
                    [
                        run,
                        str(cell["real_images"]),
                        split,
                        f"{alone['score']['mean']:.3f}",
                        str(cell["synthetic_images"]),
                        f"{gain['mean']:+.3f} ({low:+.3f} to {high:+.3f})",
                        f"{gain['adjusted_p']:.3f}",
                        f"{by_seed:.3f}",
                        judged,
                        str(copies),
                    ]
                )
    return Table(header, cells)
