"""A PGGAN grown on radiographs; its images given findings by optimising z; classifiers of them tested on real patients.

Paper: Segal, D. Rubin, G. Rubin, Pantanowitz 2021, "Evaluating the Clinical Realism of Synthetic Chest X-Rays Generated
Using Progressively Growing GANs".
Data: NIH ChestX-ray14, 112,120 images of 30,805 patients, three equal channels, grown to 1024 px on four GPUs.

Stages: records; the PGGAN, which makes images without labels; a DenseNet-121 and the retrained discriminator as
classifiers; a cohort of random z (prevalences, distances); cohorts by latent class optimisation with each of the two
classifiers (Algorithm 1); the embedding baseline; a DCGAN whose z is optimised too; and Table 2: the AUC of a
classifier trained on embedded, on class-generated and on real images.

`as_published` has the schedule as data: 800,000 images at 4 px, 1,600,000 at each size to 512, 800,000 of them
while the new block fades in, 2,000,000 at 1024; batches of 16 per GPU (64) to 128 px, then 14, 8 and 3; WGAN-GP, one
critic step, lambda 10, drift .001, Adam 1e-3 (0, .99); the GAN trains on all images, test patients too. `corrected` has
the paper's network, grey, trained on the training patients alone. `cpu` is `corrected` with fewer channels, ends at
64 px, and sees 192,000 images in all.
The study's readers are not part of this command.
"""

from tfcxr.studies.page import Results, Row
from tfcxr.studies.stages import Stage, Study, sizes_to

# The paper compares with a DCGAN and gives no settings: networks of Radford et al. 2016 here, trained as a WGAN-GP.
VARIANTS = {
    "as_published": {
        "extends": "corrected",
        "gan_splits": ["train", "validation", "held_out"],
        "pggan": {"model": {"channels": 3, "average_growth": "fresh", "update_order": "alternating"}},
    },
    "corrected": {
        "dataset": "nih_chestxray14",
        "reader": {},
        "second_raw_dir": "",
        "splits": "train=.7,validation=.1,held_out=.2",
        "gan_splits": ["train"],
        "labels": [],
        "pggan": {
            "model_name": "pggan",
            "model": {
                "image_size": 1024,
                "stage_images": [800000, 1600000, 1600000, 1600000, 1600000, 1600000, 1600000, 1600000, 2000000],
                "fading_images": [800000, 800000, 800000, 800000, 800000, 800000, 800000, 800000],
                "batch_sizes": [64, 64, 64, 64, 64, 64, 56, 32, 12],
            },
            "batch_size": 64,
            "sample_every": 5000,
        },
        "dcgan": {
            "model_name": "wgan_gp",
            "model": {
                "filters": 64,
                "initializer": "he",
                "upsampling": "transpose",
                "image_layer": "transpose",
                "critic_steps": 5,
                "generator_learning_rate": 1e-4,
                "discriminator_learning_rate": 1e-4,
                "beta_1": 0.5,
                "conditional": False,
                "label_count": 0,
            },
            "batch_size": 64,
            "steps": 20000,
        },
        "classifier_name": "densenet121",
        "classifier": {"initial_weights": "imagenet"},
        "discriminator": {},
        "embedding": {},
        "optimization": {},
        "judge": "densenet121",
        "judged": {"initial_weights": "imagenet"},
        "seeds": [0, 1, 2],
        "generated_images": 130000,
        "optimized_images": 20000,
        "protocols": ["distances", "prevalence"],
    },
    "cpu": {
        "dataset": "nih_chestxray14",
        "reader": {},
        "second_raw_dir": "",
        "splits": "train=.6,validation=.15,held_out=.25",
        "gan_splits": ["train"],
        "labels": ["No Finding", "Pneumonia", "Infiltration", "Effusion", "Atelectasis"],
        "pggan": {
            "model_name": "pggan",
            "model": {
                "image_size": 64,
                "latent_size": 128,
                "channel_base": 2048,
                "channel_max": 128,
                "stage_images": [16000, 40000, 64000, 40000, 32000],
                "precision": "auto",
            },
            "batch_size": 16,
            "sample_every": 2000,
        },
        "dcgan": {
            "model_name": "wgan_gp",
            "model": {
                "filters": 32,
                "initializer": "he",
                "upsampling": "transpose",
                "image_layer": "transpose",
                "critic_steps": 5,
                "generator_learning_rate": 1e-4,
                "discriminator_learning_rate": 1e-4,
                "beta_1": 0.5,
                "conditional": False,
                "label_count": 0,
                "precision": "auto",
            },
            "batch_size": 32,
            "steps": 600,
        },
        "classifier_name": "densenet121",
        "classifier": {"max_epochs": 12},
        "discriminator": {"max_epochs": 12},
        "embedding": {},
        "optimization": {"optimize_tries": 1000},
        "judge": "small_cnn",
        "judged": {"max_epochs": 12, "balance_classes": "weights"},
        "seeds": [0, 1, 2],
        "generated_images": 2000,
        "optimized_images": 900,
        "protocols": ["distances", "prevalence"],
    },
    "smoke": {
        "dataset": "nih_chestxray14",
        "reader": {},
        "second_raw_dir": "",
        "phantom_images": 320,
        "phantom_image_size": 32,
        "splits": "train=.5,validation=.25,held_out=.25",
        "gan_splits": ["train"],
        "labels": ["No Finding", "Cardiomegaly"],
        "pggan": {
            "model_name": "pggan",
            "model": {
                "image_size": 32,
                "latent_size": 8,
                "channel_base": 128,
                "channel_max": 8,
                "first_size": 32,
                "stage_images": [16],
            },
            "batch_size": 8,
        },
        "dcgan": {
            "model_name": "wgan_gp",
            "model": {
                "filters": 4,
                "latent_size": 8,
                "initializer": "he",
                "upsampling": "transpose",
                "image_layer": "transpose",
                "conditional": False,
                "label_count": 0,
            },
            "batch_size": 8,
            "steps": 2,
        },
        "classifier_name": "small_cnn",
        "classifier": {"max_epochs": 1},
        "discriminator": {"max_epochs": 1},
        "embedding": {"steps": 20},
        "optimization": {"optimize_steps": 30, "optimize_rate": 0.3, "optimize_tries": 50, "severity": 0.0},
        "judge": "small_cnn",
        "judged": {"max_epochs": 1},
        "tstr": {"bootstrap_resamples": 50, "diversity_pairs": 20},
        "seeds": [0],
        "generated_images": 60,
        "optimized_images": 60,
        "protocols": ["distances", "prevalence"],
        "compared": ["embedded", "class_generated"],
        "class_distances": {"images": 8, "permutations": 99},
    },
}


def build_stages(study: Study) -> list[Stage]:
    """Records of the raw folder, or of two of the same kind, merged."""
    s = study.settings
    model = s["pggan"]["model"]
    sizes = [size for size in sizes_to(model["image_size"]) if size >= model.get("first_size", 4)]
    source = {"dataset": s["dataset"], "image_sizes": sizes, "splits": s["splits"], "split_by": "hash"}
    source["settings"] = s["reader"]
    if not s["second_raw_dir"]:
        return [
            study.stage("build records", "tfrecords_builder", raw_dir=study.raw_dir, out_dir=study.records, **source)
        ]
    parts = {"first": study.raw_dir, "second": s["second_raw_dir"]}
    folders = {name: study.records.with_name(f"{study.records.name}_{name}") for name in parts}
    made = [
        study.stage(f"build {name} records", "tfrecords_builder", raw_dir=raw_dir, out_dir=folders[name], **source)
        for name, raw_dir in parts.items()
    ]
    made.append(study.merge("merge records", list(folders.values()), study.records, sizes[-1]))
    return made


def stages(study: Study) -> list[Stage]:
    """From the raw images to Table 2."""
    s, folder = study.settings, study.folder
    size, labels = s["pggan"]["model"]["image_size"], s["labels"]
    real, cohorts = study.records / str(size), folder / "cohorts"
    judged = {"real_dir": real, "test_splits": "held_out", "validation_splits": "validation", "labels": labels}
    judged |= {"classifier": s["judge"], "settings": {"classifier": s["judged"]}}
    if s["gan_splits"] != ["train"]:
        judged["allow_shared_patients"] = True
    trained = {"data_dir": real, "labels": labels, "test_splits": ["held_out"]}
    optimized = {"optimize": True, "like": real, "images": s["optimized_images"], "preview": True}
    optimized |= s["optimization"]
    made = [
        *build_stages(study),
        study.train("pggan", s["pggan"], data_dir=real, splits=s["gan_splits"]),
        study.stage(
            "train densenet",
            "tfcxr.train_classifier",
            classifier=s["classifier_name"],
            out_dir=folder / "saved_models" / "densenet",
            settings=s["classifier"],
            **trained,
        ),
        study.stage(
            "train discriminator as classifier",
            "tfcxr.train_classifier",
            classifier="discriminator",
            run_dir=folder / "pggan",
            out_dir=folder / "saved_models" / "discriminator",
            settings=s["discriminator"],
            **trained,
        ),
        study.stage(
            "generate random cohort",
            "tfcxr.generate",
            saved_model=study.saved_model("pggan"),
            out_dir=cohorts / "random",
            images=s["generated_images"],
            preview=True,
        ),
        study.train("dcgan", s["dcgan"], data_dir=real, splits=s["gan_splits"]),
    ]
    made += [
        study.stage(
            f"optimize {generator} by {classifier}",
            "tfcxr.generate",
            saved_model=study.saved_model(generator),
            classifier=folder / "saved_models" / classifier,
            out_dir=cohorts / f"{generator}_{classifier}",
            **optimized,
        )
        for generator, classifier in (("pggan", "densenet"), ("pggan", "discriminator"), ("dcgan", "densenet"))
    ]
    made.append(
        study.stage(
            "embed real images",
            "tfcxr.embed",
            run_dir=folder / "pggan",
            data_dir=real,
            splits="train",
            out_dir=cohorts / "embedded",
            settings=s["embedding"],
            preview=True,
        )
    )
    made.append(
        study.stage(
            "evaluate random cohort",
            "tfcxr.evaluate",
            protocols=s["protocols"],
            synthetic_dir=cohorts / "random" / str(size),
            classifier_seeds=[0],
            out_dir=folder / "random",
            **judged,
        )
    )
    settings = judged["settings"] | {"class_distances": s.get("class_distances", {})}
    made.append(
        study.stage(
            "table 1",
            "tfcxr.evaluate",
            protocols="class_distances",
            synthetic_dir=cohorts / "pggan_densenet" / str(size),
            classifier_seeds=[0],
            out_dir=folder / "table_1",
            **(judged | {"settings": settings}),
        )
    )
    compared = {
        "embedded": "embedded",
        "class_generated": "pggan_densenet",
        "by_discriminator": "pggan_discriminator",
        "dcgan": "dcgan_densenet",
    }
    compared = {name: cohort for name, cohort in compared.items() if name in s.get("compared", compared)}
    settings = judged["settings"] | {"tstr": {"arms": "real,synthetic"} | s.get("tstr", {})}
    made.append(
        study.stage(
            "table 2",
            "tfcxr.evaluate",
            protocols="tstr",
            synthetic_dir=[f"{name}={cohorts / cohort / str(size)}" for name, cohort in compared.items()],
            classifier_seeds=s["seeds"],
            out_dir=folder / "table_2",
            **(judged | {"settings": settings}),
        )
    )
    return made


PAPER_TABLE_2 = {  # label -> AUC of embedded, class generated, real
    "": (0.604, 0.878, 0.947),
    "Atelectasis": (0.646, 0.851, 0.923),
    "Cardiomegaly": (0.602, 0.907, 0.968),
    "Consolidation": (0.675, 0.928, 0.963),
    "Edema": (0.746, 0.941, 0.985),
    "Emphysema": (0.51, 0.901, 0.972),
    "Fibrosis": (0.63, 0.868, 0.961),
    "Hernia": (0.611, 0.951, 0.986),
    "Infiltration": (0.596, 0.796, 0.847),
    "Mass": (0.516, 0.825, 0.936),
    "No Finding": (0.605, 0.861, 0.932),
    "Nodule": (0.543, 0.748, 0.909),
    "Effusion": (0.636, 0.903, 0.954),
    "Pleural_Thickening": (0.583, 0.881, 0.954),
    "Pneumonia": (0.595, 0.932, 0.975),
    "Pneumothorax": (0.568, 0.877, 0.947),
}
PAPER_TABLE_1 = {  # label -> FID against No Finding
    "Atelectasis": 19.90,
    "Cardiomegaly": 14.23,
    "Consolidation": 42.45,
    "Edema": 59.40,
    "Emphysema": 19.56,
    "Fibrosis": 9.72,
    "Hernia": 15.96,
    "Infiltration": 20.05,
    "Mass": 10.06,
    "Nodule": 6.22,
    "Effusion": 23.90,
    "Pleural_Thickening": 13.05,
    "Pneumonia": 32.05,
    "Pneumothorax": 18.00,
}


def rows(study: Study) -> list[Row]:
    """Every table and figure of the paper."""
    results = Results(study.folder)
    labels = study.settings["labels"]
    auc = {"protocol": "tstr", "metric": "auc", "split": "held_out", "group": ""}
    scale = "another network and N: not the paper's scale"
    classes = {"protocol": "class_distances", "subject": "real", "group": ""}

    def distance(what: str, label: str = "", **fields: str):
        return results.score("table_1", metric=f"frechet_{what}", label=label, **(classes | fields))

    frechet = {"protocol": "distances", "metric": "frechet", "split": "held_out", "label": "", "group": ""}
    by_synthetic = results.score("random", **frechet)
    made = [
        Row("Table 1", "FID of stratified halves", "0.53", distance("halves"), scale),
        Row("Table 1", "FID of women from men", "7.87", distance("between_sexes"), scale),
        Row(
            "Table 1",
            "FID of synthetic images (100,000)",
            "8.02",
            by_synthetic,
            scale,
        ),
    ]
    for label, paper in PAPER_TABLE_1.items():
        is_in = not labels or label in labels
        ours = distance("from_no_finding", label) if is_in else "left out"
        why = scale if is_in else "too few images"
        made.append(Row("Table 1", f"FID of {label} from No Finding", f"{paper:g}", ours, why))
    for label, (embedded, generated, real) in PAPER_TABLE_2.items():
        if labels and label not in ("", *labels):
            made.append(
                Row("Table 2", f"AUC, {label}", f"{embedded}, {generated}, {real}", "left out", "too few images")
            )
            continue
        name = label or "mean of the labels"
        for cohort, subject, paper in (
            ("embedded", "synthetic", embedded),
            ("class_generated", "synthetic", generated),
            ("class_generated", "real", real),
        ):
            ours = results.score("table_2", cohort=cohort, subject=subject, label=label, **auc)
            what = "real" if subject == "real" else cohort.replace("_", " ")
            why = "as many real images as the cohort has" if subject == "real" else ""
            made.append(Row("Table 2", f"AUC, {name}, trained on {what}", paper, ours, why))
    made += [
        Row(
            "method",
            "network, equalised rates, fade-in, minibatch stddev",
            "described",
            "train pggan",
            "ported weights agree",
        ),
        Row("method", "fading images at 1,024 px", "800,000 of 2,000,000", "as_published: fading_images", ""),
        Row(
            "method",
            "GAN on all images",
            "described",
            f"splits {', '.join(study.settings['gan_splits'])}",
            "corrected: training",
        ),
        Row(
            "method",
            "replacement labels for the classifier",
            "described",
            "--set=reader.labels_csv=FILE",
            "not published here",
        ),
        Row(
            "method",
            "iterative stratification by patient",
            "described",
            "records of as_published by split_by",
            "by hash here",
        ),
        Row("method", "DenseNet-121, jitter, weights, plateau", "described", "train densenet", "ours: patience, batch"),
        Row(
            "method", "z from a normal truncated at .7, Youden + |N(1, 1)|, N(0, .2)", "described", "optimize pggan", ""
        ),
        Row("section 3", "optimising a DCGAN's z", "intractable", "cohorts/dcgan_densenet/*/optimization.html", ""),
        Row(
            "section 3",
            "discriminator against DenseNet as optimiser",
            "better on smaller input",
            "cohorts/*/optimization.html",
            "",
        ),
        Row(
            "section 3",
            "what rises together",
            "Cardiomegaly -> Effusion, ...",
            "cohorts/pggan_densenet/*/optimization.html",
            "",
        ),
        Row("figure", "prevalence, real and 130,000 generated", "shown", "random/report.html", ""),
        Row("figure", "map and clustering of class distances", "shown", "table_1/report.html", ""),
        Row(
            "section 4",
            "readers: HYPE 33 %, real called real 73 %",
            "8 radiologists",
            "not part of this command",
            "needs people",
        ),
        Row(
            "section 3",
            "embedding by reconstruction loss",
            "better to look at, took days",
            "not built",
            "days per cohort",
        ),
    ]
    return made
