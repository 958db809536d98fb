"""ACGAN images train a VGG-16 that is tested on real patients.

Paper: Singh, Lala, Macwan, Chaurasia 2023, "Evaluating Auxiliary GANs for Realistic Chest X-ray Synthesis".
Data: Kaggle Chest X-ray Pneumonia (Kermany, Zhang, Goldbaum 2018), NORMAL and PNEUMONIA, at 64x64.

`as_published` keeps the paper's network, losses, value range, judge (30,000 images, Adam 1e-5, 60 epochs, patience 2)
and test images: those that the GAN learned from. The paper's one sigmoid is a softmax of two here, which is the same
function with the same loss. `corrected` is our recipe for the same task; its test images are of patients that neither
the GAN nor the classifier has seen, and a classifier trained on as many real images stands beside it.
"""

from tfcxr.studies.page import Results, Row
from tfcxr.studies.stages import Stage, Study

VARIANTS = {
    "as_published": {
        "dataset": "chest_xray_pneumonia",
        "splits": "train=1",
        "test_splits": ["train", "test"],
        "acgan": {
            "model_name": "acgan",
            "model": {
                "channels": 3,
                "output": "sigmoid",
                "generator_dense_units": [1024],
                "generator_filters": 256,
                "image_layer": "transpose",
                "normalization": "layer",
                "initializer": "glorot",
                "discriminator_filters": 64,
                "discriminator_kernel_size": 5,
                "dropout": 0.4,
                "l2": 6e-9,
                "generator_l2": "projection",
                "adversarial_loss": "least_squares",
                "fake_labels": "balanced",
                "r1_gamma": 0.0,
                "generator_learning_rate": 1e-4,
                "discriminator_learning_rate": 1e-4,
                "beta_1": 0.9,
                "ema_decay": 0.0,
            },
            "batch_size": 16,
            "steps": 2000,
            "sample_every": 100,
        },
        "log_every": 1,
        "generated_images": 30000,
        "arms": "synthetic",
        "classifier": {"learning_rate": 1e-5, "max_epochs": 60, "patience": 2},
        "classifier_name": "vgg16",
        "classifier_images": 30000,
        "seeds": [0],
        "other_dataset": "chestxray8",
        "other_raw_dir": "",
        "minutes": {"build records": 1, "train acgan": 18, "generate cohort": 4},
    },
    "corrected": {
        "dataset": "chest_xray_pneumonia",
        "splits": "train=.7,validation=.1,held_out=.2",
        "test_splits": ["held_out", "test"],
        "acgan": {
            "model_name": "acgan",
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
        "log_every": 50,
        "generated_images": 0,
        "arms": "real,synthetic,both",
        "classifier": {
            "precision": "auto",
            "learning_rate": 1e-4,
            "max_epochs": 12,
            "balance_classes": "weights",
        },
        "classifier_name": "vgg16",
        "classifier_images": 1000,
        "seeds": [0, 1, 2],
        "other_dataset": "chestxray8",
        "other_raw_dir": "",
        "minutes": {"build records": 1, "train acgan": 23, "generate cohort": 2, "evaluate": 52},
    },
    "smoke": {
        "dataset": "chest_xray_pneumonia",
        "splits": "train=.6,validation=.2,held_out=.2",
        "test_splits": ["held_out", "test"],
        "phantom_images": 120,
        "phantom_image_size": 32,
        "image_size": 32,
        "acgan": {
            "model_name": "acgan",
            "model": {
                "image_layer": "transpose",
                "normalization": "layer",
                "generator_filters": 32,
                "discriminator_filters": 8,
                "latent_size": 8,
            },
            "batch_size": 8,
            "steps": 4,
            "sample_every": 2,
        },
        "log_every": 1,
        "generated_images": 40,
        "arms": "real,synthetic",
        "tstr": {"bootstrap_resamples": 50, "diversity_pairs": 20},
        "classifier": {"max_epochs": 1},
        "classifier_name": "small_cnn",
        "classifier_images": 40,
        "seeds": [0],
        "other_dataset": "chestxray8",
        "other_raw_dir": "",
        "minutes": {
            "draw phantoms": 0.1,
            "build records": 0.1,
            "train acgan": 0.4,
            "generate cohort": 0.1,
            "evaluate": 0.3,
        },
    },
}


PAPER_TABLE_1 = {
    "NORMAL": {"precision": 0.99, "recall": 0.64, "f1": 0.78},
    "PNEUMONIA": {"precision": 0.81, "recall": 1.00, "f1": 0.89},
}


def stages(study: Study) -> list[Stage]:
    """Records, ACGAN, cohort, judge."""
    s, size = study.settings, study.settings.get("image_size", 64)
    is_published = study.variant == "as_published"
    records = study.records.with_name("records_as_published") if is_published else study.records
    real, cohort = records / str(size), study.folder / "cohort"
    build = {"image_sizes": [size], "splits": s["splits"]}
    made = [
        study.stage(
            "build records", "tfrecords_builder", dataset=s["dataset"], raw_dir=study.raw_dir, out_dir=records, **build
        ),
        study.train("acgan", s["acgan"], data_dir=real, log_every=s["log_every"]),
        study.stage(
            "generate cohort",
            "tfcxr.generate",
            saved_model=study.saved_model("acgan"),
            out_dir=cohort,
            like=real,
            images=s["generated_images"] or None,
            preview=True,
        ),
    ]
    test_dirs, test_splits, other_raw_dir = [f"children={real}"], list(s["test_splits"]), s["other_raw_dir"]
    if study.variant == "smoke":
        other_raw_dir = study.folder / "other_raw"
        drawn = {"images": s["phantom_images"], "image_size": s["phantom_image_size"], "seed": 1}
        made.append(
            study.stage(
                "draw phantoms of another set",
                "tfrecords_builder imitate",
                dataset=s["other_dataset"],
                out_dir=other_raw_dir,
                **drawn,
            )
        )
    if other_raw_dir:
        other = records.with_name("records_other")
        made.append(
            study.stage(
                "build records of another set",
                "tfrecords_builder",
                dataset=s["other_dataset"],
                raw_dir=other_raw_dir,
                out_dir=other,
                image_sizes=[size],
                splits="other=1",
                only_labels=["No Finding", "Pneumonia"],
                settings={"exclusive": False},
            )
        )
        test_dirs.append(f"adults={other / str(size)}")
        test_splits.append("other")
    judged = {
        "synthetic_dir": cohort / str(size),
        "classifier": s["classifier_name"],
        "classifier_seeds": s["seeds"],
        "allow_shared_patients": is_published or None,
        "settings": {
            "tstr": {"images": s["classifier_images"], "arms": s["arms"]} | s.get("tstr", {}),
            "classifier": s["classifier"],
        },
    }
    made.append(
        study.stage(
            "evaluate",
            "tfcxr.evaluate",
            protocols="tstr",
            real_dir=real,
            test_dir=test_dirs if other_raw_dir else None,
            test_splits=test_splits,
            label_map=["Pneumonia:PNEUMONIA", "No Finding:NORMAL"] if other_raw_dir else None,
            out_dir=study.folder / "report",
            **judged,
        )
    )
    return made


def rows(study: Study) -> list[Row]:
    """Every table and figure of the paper."""
    results = Results(study.folder)
    splits = sorted({row["split"] for row in results.scores("report", protocol="tstr", metric="auc", label="")})
    own = [split for split in splits if split.endswith(study.settings["test_splits"][0])]
    tstr = {"protocol": "tstr", "subject": "synthetic", "split": own[0] if own else "", "group": ""}

    def score(metric: str, label: str = ""):
        return results.score("report", metric=metric, label=label, **tstr)

    tested = (
        "tested on the GAN's own training images, as the paper does"
        if study.variant == "as_published"
        else "patients that no network has seen"
    )
    real = results.score("report", **(tstr | {"subject": "real"}), metric="auc", label="")
    losses = [
        Row(
            "printed losses",
            f"{network}, {part}, epoch {epoch}",
            paper,
            results.logged("acgan", 1 + epoch, f"{network}_{part}"),  # the first step is logged as 1
            "one 'epoch' is taken as one step: 2,000 real epochs do not fit the printed numbers",
        )
        for network, part, epoch, paper in (
            ("discriminator", "adversarial", 0, 0.494),
            ("discriminator", "class", 0, 0.700),
            ("generator", "adversarial", 0, 0.163),
            ("generator", "class", 0, 0.664),
            ("discriminator", "adversarial", 1900, 0.225),
            ("discriminator", "class", 1900, 0.017),
            ("generator", "adversarial", 1900, 0.354),
            ("generator", "class", 1900, 0.003),
        )
    ]
    return [
        Row(
            "method",
            "generator with LayerNormalization, last layer transposed, sigmoid",
            "described",
            "as_published",
            "",
        ),
        Row(
            "method",
            "discriminator of kernel 5, two heads",
            "described",
            "as_published",
            "filters and strides are ours",
        ),
        Row("method", "Adam 1e-4, batch 16, 2,000 'epochs'", "described", "as_published", "taken as 2,000 steps"),
        Row("method", "weight decay 6e-9", "said", "as_published", "taken as L2; it may be a decay of the rate"),
        Row(
            "method",
            "judge: VGG-16, 30,000 images, Adam 1e-5",
            "described",
            "as_published",
            "corrected has fewer images",
        ),
        Row(
            "method",
            "VGG-16 from ImageNet",
            "said once",
            "--set=classifier.initial_weights=imagenet",
            "said otherwise too",
        ),
        Row("Table 1", "accuracy, threshold .5", 0.85, score("accuracy_at_half"), tested),
        *(
            Row("Table 1", f"macro {metric}", paper, score(f"macro_{metric}_at_half"), tested)
            for metric, paper in (("precision", 0.90), ("recall", 0.82), ("f1", 0.83))
        ),
        *(
            Row("Table 1", f"{metric} of {label}", paper, score(f"{metric}_at_half", label), tested)
            for label, papers in PAPER_TABLE_1.items()
            for metric, paper in papers.items()
        ),
        Row(
            "Table 1",
            "support",
            "2,069 NORMAL, 3,147 PNEUMONIA",
            "report/report.html",
            "do not fit the set's 1,341, 3,875",
        ),
        Row("figure", "confusion matrix", "shown", "report/report.html", ""),
        *(
            Row(
                "Table 2" if other.startswith("adults") else "",
                f"AUC on {other}",
                "other data sets, by name" if other.startswith("adults") else "not given",
                results.score("report", **(tstr | {"split": other}), metric="auc", label=""),
                "labels are mapped to the study's two" if other.startswith("adults") else "the published test folder",
            )
            for other in splits
            if other not in own
        ),
        Row("", "AUC", "not given", score("auc"), "what a threshold hides"),
        Row("", "AUC of the same classifier trained on real images", "not given", real, "the ceiling"),
        *losses,
        Row(
            "Figure: pictures at 0, 1000, 1900",
            "samples",
            "given",
            results.file("acgan/samples/*.png"),
            "all in samples/",
        ),
        Row("section 3", "LayerNormalization prevents mode collapse", "said", "see experiments/singh2023.md", ""),
    ]
