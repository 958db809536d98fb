"""A CGAN generates small radiographs, a gate keeps those its discriminator believes, an SRGAN enlarges them.

Paper: Woloszyn 2025, "Memory-Efficient Deep Learning for High-Resolution Synthetic Chest X-ray Generation".
Data: ChestX-ray8, 5,000 images each of No Finding, Mass and Pneumonia, resized, then CLAHE, at 128 and at 512 px.

The paper publishes no learning rates, batch size, slopes, CLAHE values or content loss: ours stand in both variants.
`as_published` has what is published: 5,000 images of each label where they exist, label input to both networks,
up-sampling convolutions, LeakyReLU, dropout in the discriminator, the conditional log loss, no penalty, a gate at .9;
its steps are 500 epochs of 15,000 images. `corrected` adds R1 = .1, without which the discriminator wins on few images,
an averaged generator, a gate at the .1 quantile of held-out real images, and age and sex as conditions, which the paper
names as future work. A discriminator in balance rates few real images at .9.
"""

from tfcxr.data.records import read_dataset_info
from tfcxr.studies.page import Results, Row
from tfcxr.studies.stages import Stage, Study

VARIANTS = {
    "as_published": {
        "dataset": "chestxray8",
        "reader": {"exclusive": False},
        "only_labels": [],
        "sizes": [128, 512],
        "splits": "train=.7,validation=.1,held_out=.2",
        "clahe": "after_resize",
        "conditions": [],
        "cgan": {
            "model_name": "cgan",
            "model": {
                "generator_filters": 256,
                "discriminator_filters": 64,
                "generator_learning_rate": 2e-4,
                "discriminator_learning_rate": 2e-4,
                "dropout": 0.4,
                "r1_gamma": 0.0,
                "ema_decay": 0.0,
                "fake_labels": "batch",
            },
            "batch_size": 64,
            "steps": 117000,
        },
        "srgan": {
            "model_name": "srgan",
            "model": {"scale": 4, "residual_blocks": 16, "content_loss": "vgg19"},
            "batch_size": 16,
            "steps": 100000,
        },
        "min_realism": "0.9",
        "max_tries": 1000,
        "images": 1000,
        "classifier": {},
        "seeds": [0, 1, 2],
    },
    "corrected": {
        "dataset": "chestxray8",
        "reader": {},
        "only_labels": [],
        "sizes": [64, 256],
        "splits": "train=.7,validation=.1,held_out=.2",
        "clahe": "after_resize",
        "conditions": ["sex", "age"],
        "cgan": {
            "model_name": "cgan",
            "model": {
                "generator_filters": 256,
                "discriminator_filters": 64,
                "generator_learning_rate": 2e-4,
                "discriminator_learning_rate": 2e-4,
                "precision": "auto",
            },
            "batch_size": 32,
            "steps": 3000,
        },
        "srgan": {
            "model_name": "srgan",
            "model": {"scale": 4, "precision": "auto"},
            "batch_size": 8,
            "steps": 1200,
        },
        "min_realism": "quantile:.1",
        "max_tries": 1000,
        "images": 100,
        "classifier": {"max_epochs": 12, "balance_classes": "weights"},
        "seeds": [0, 1, 2],
        "minutes": {
            "build records": 2,
            "draw figure 1": 0.1,
            "train cgan": 20,
            "train srgan": 10,
            "export cascade": 0.5,
            "generate": 0.5,
            "evaluate": 2,
        },
    },
    "smoke": {
        "dataset": "chestxray8",
        "reader": {"exclusive": False},
        "only_labels": [],
        "phantom_images": 240,
        "phantom_image_size": 64,
        "sizes": [32, 64],
        "splits": "train=.6,validation=.2,held_out=.2",
        "clahe": "after_resize",
        "conditions": ["sex", "age"],
        "cgan": {
            "model_name": "cgan",
            "model": {"generator_filters": 16, "discriminator_filters": 8, "latent_size": 8},
            "batch_size": 8,
            "steps": 4,
        },
        "srgan": {
            "model_name": "srgan",
            "model": {"scale": 2, "residual_blocks": 1, "filters": 8, "crop_size": 32, "warmup_steps": 2},
            "batch_size": 2,
            "steps": 3,
        },
        "min_realism": "0.1",
        "max_tries": 1000,
        "images": 9,
        "classifier": {"max_epochs": 1},
        "tstr": {"arms": "real,synthetic", "bootstrap_resamples": 50, "diversity_pairs": 20},
        "seeds": [0],
        "minutes": {},
    },
}


def stages(study: Study) -> list[Stage]:
    """Records, both trainings, the cascade, both cohorts and the verdict."""
    s, folder = study.settings, study.folder
    small, large = s["sizes"]
    exports = folder / "saved_models"
    real = study.records / str(small)
    gate = {"min_realism": s["min_realism"], "max_tries": s["max_tries"]}
    if s["min_realism"].startswith("quantile"):
        gate["calibrate_on"] = f"{real}:held_out"
    pair = {"saved_model": study.saved_model("cgan"), "super_resolution": study.saved_model("srgan")}
    like = {"like": real, "like_split": "train", "preview": True}
    return [
        study.stage(
            "build records",
            "tfrecords_builder",
            dataset=s["dataset"],
            raw_dir=study.raw_dir,
            out_dir=study.records,
            image_sizes=[small, large],
            splits=s["splits"],
            only_labels=s["only_labels"],
            max_images_per_label=5000,
            clahe=s["clahe"],
            settings=s["reader"] if s["dataset"] == "chestxray8" else {},
        ),
        study.stage(
            "draw figure 1",
            "tfrecords_builder",
            dataset=s["dataset"],
            raw_dir=study.raw_dir,
            out_dir=folder / "figure_1",
            image_sizes=[small],
            clahe=s["clahe"],
            preview=3,
            result="preview.png",
        ),
        study.train("cgan", s["cgan"], data_dir=real, conditions=s["conditions"]),
        study.train("srgan", s["srgan"], data_dir=study.records / str(large)),
        study.stage("export cascade", "tfcxr.export", **pair, out_dir=exports / "cascade", **gate),
        study.stage(
            "generate cohort", "tfcxr.generate", saved_model=pair["saved_model"], out_dir=folder / "cohort", **like
        ),
        study.stage(
            "generate gated, enlarged cohort",
            "tfcxr.generate",
            **pair,
            **gate,
            **like,
            images=s["images"],
            out_dir=folder / "cohort_enlarged",
            may_fail=True,  # no image may pass
        ),
        study.stage(
            "evaluate",
            "tfcxr.evaluate",
            protocols=["tstr", "distances"],
            synthetic_dir=folder / "cohort" / str(small),
            real_dir=real,
            test_splits="held_out",
            out_dir=folder / "report",
            classifier="small_cnn",
            classifier_seeds=s["seeds"],
            settings={"classifier": s["classifier"], "tstr": s.get("tstr", {})},
        ),
    ]


def rows(study: Study) -> list[Row]:
    """Every table and figure of the paper."""
    results = Results(study.folder)
    tstr = {"protocol": "tstr", "split": "held_out", "group": "", "label": "", "metric": "auc"}
    return [
        Row(
            "section 3",
            "images of each label",
            "5,000",
            "see dataset_info.json",
            "NIH has 1,431 of Pneumonia",
        ),
        Row("figure 1", "before and after CLAHE", "shown", results.file("figure_1/preview.png"), ""),
        Row(
            "figure 3",
            "2x3 grid of real over synthetic",
            "shown",
            results.file("cohort/*/real_and_synthetic.png"),
            "the caption says real above, the text the reverse",
        ),
        Row(
            "method", "resize, then CLAHE", "described", f"--clahe={study.settings['clahe']}", "CLAHE's values are ours"
        ),
        Row(
            "method",
            "CGAN with label input, log loss; SRGAN apart",
            "described",
            "train cgan, train srgan",
            "rates are ours",
        ),
        Row(
            "method", "two exported models", "described", "saved_models/cgan, srgan, cascade", "the cascade joins both"
        ),
        Row(
            "section 4",
            "an image of each class in under a second",
            "said",
            "experiments/woloszyn2025.md",
            "measured by hand",
        ),
        Row("section 4", "12 hours on a 4 GB card", "said", "experiments/woloszyn2025.md", "no such card here"),
        Row(
            "future work",
            "age and sex as conditions",
            "named",
            f"--conditions={','.join(study.settings['conditions'])}",
            "",
        ),
        Row(
            "future work", "anatomical constraints", "named", "not built", "needs segmentations, which no set here has"
        ),
        Row(
            "section 4",
            "gate",
            "realism of .9",
            f"{study.settings['min_realism']}: {_passed(study)}",
            "a discriminator in balance rates few real images at .9",
        ),
        Row("", "AUC, trained on synthetic", "not given", results.score("report", subject="synthetic", **tstr), ""),
        Row("", "AUC, trained on real", "not given", results.score("report", subject="real", **tstr), "the ceiling"),
    ]


def _passed(study: Study) -> str:
    """The share of candidates that the gate let through."""
    described = next(study.folder.glob("cohort_enlarged/*/dataset_info.json"), None)
    if described is None:
        return "too few candidates passed, see the log"
    gate = read_dataset_info(described.parent).provenance["realism_gate"]
    return f"{gate['acceptance_rate']:.1%} of {gate['tries']:,} candidates passed"
