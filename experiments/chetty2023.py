"""Eleven trainings on a small set: vanilla GAN, WGAN-GP and StyleGAN2, ranked by a distance, with t-tests of all pairs.

Paper: Chetty 2023, "Evaluating GANs on Small Medical Datasets".
Data: 2,618 lateral elbow radiographs at 256x256, three channels. MURA does not say which of its elbows those are:
`--set=dataset=mura --set=reader={"body_parts":"elbow"}` takes all. Any set can stand in, such as the NORMAL class of
chest_xray_pneumonia.

MedFID, the paper's distance, is the Frechet distance by `medfid`, an Inception-v3 trained by python -m
tfcxr.train_classifier --classifier=medfid: on MURA and LERA as published (see tfrecords_builder/datasets/mura.py), or,
as here by default, on the labels of the set itself. Their numbers do not compare.
`as_published` keeps the batch normalisation epsilon of .8, plain weights (no averaging) in the perceptrons, no drift
term, and 8,200 steps. `corrected` has an epsilon of 1e-5, averaged generators, drift .001, adaptive augmentation.
t-tests are of draws from one training each: plain at 5 %, as published, and adjusted for all pairs (Holm).
"""

from tfcxr.evaluation.image_distortions import CHETTY2023_PEARSON
from tfcxr.studies.page import Results, Row
from tfcxr.studies.stages import Stage, Study

# run -> (model, learning rate, beta 1, beta 2), the paper's tables
RUNS = {
    "vanilla_1": ("vanilla_gan", 2e-3, 0.5, 0.999),
    "vanilla_2": ("vanilla_gan", 2e-4, 0.5, 0.9),
    "vanilla_3": ("vanilla_gan", 1e-3, 0.5, 0.9),
    "vanilla_4": ("vanilla_gan", 1e-3, 0.5, 0.999),
    "vanilla_5": ("vanilla_gan", 1e-4, 0.5, 0.9),
    "wgan_gp_1": ("wgan_gp", 1e-4, 0.5, 0.9),
    "wgan_gp_2": ("wgan_gp", 5e-5, 0.5, 0.9),
    "wgan_gp_3": ("wgan_gp", 1e-3, 0.5, 0.9),
    "wgan_gp_4": ("wgan_gp", 2e-4, 0.5, 0.9),
    "wgan_gp_5": ("wgan_gp", 2e-3, 0.5, 0.9),
    "stylegan2": ("stylegan2", 2.5e-3, 0.0, 0.99),
}
ALL_RUNS = list(RUNS)

VARIANTS = {
    "as_published": {
        "dataset": "mura",
        "reader": {"body_parts": "elbow"},
        "only_labels": [],
        "image_size": 256,
        "splits": "train=.7,validation=.1,held_out=.2",
        "runs": [],
        "vanilla_gan": {
            "model_name": "vanilla_gan",
            "model": {"batch_normalization_epsilon": 0.8, "ema_decay": 0.0, "channels": 3},
            "batch_size": 64,
            "steps": 8200,
        },
        "wgan_gp": {
            "model_name": "wgan_gp",
            "model": {
                "architecture": "perceptron",
                "critic_steps": 5,
                "initializer": "uniform",
                "batch_normalization_epsilon": 0.8,
                "drift_weight": 0.0,
                "ema_decay": 0.0,
                "channels": 3,
            },
            "batch_size": 64,
            "steps": 1640,
        },
        "stylegan2": {
            "model_name": "stylegan2",
            "model": {
                "conditional": False,
                "label_count": 0,
                "r1_gamma": 0.8192,
                "ema_half_life": 5000.0,
                "channels": 3,
            },
            "batch_size": 16,
            "steps": 33600,
        },
        "snapshots": 4,
        "medfid_classifier": "medfid",
        "medfid": {"initial_weights": "imagenet"},
        "draws": 10,
        "images_per_draw": 200,
        "distorted_images": 1,
    },
    "corrected": {
        "dataset": "chest_xray_pneumonia",
        "reader": {},
        "only_labels": ["NORMAL"],
        "image_size": 64,
        "splits": "train=.7,validation=.1,held_out=.2",
        "runs": [],
        "vanilla_gan": {
            "model_name": "vanilla_gan",
            "model": {"precision": "auto"},
            "batch_size": 64,
            "steps": 1000,
        },
        "wgan_gp": {
            "model_name": "wgan_gp",
            "model": {"architecture": "perceptron", "critic_steps": 5, "initializer": "uniform", "precision": "auto"},
            "batch_size": 64,
            "steps": 400,
        },
        "stylegan2": {
            "model_name": "stylegan2",
            "model": {
                "conditional": False,
                "label_count": 0,
                "r1_gamma": 0.8192,
                "ema_half_life": 5000.0,
                "adaptive_augmentation": True,
                "latent_size": 128,
                "style_size": 128,
                "channel_base": 2048,
                "channel_max": 128,
                "precision": "auto",
            },
            "batch_size": 16,
            "steps": 1000,
        },
        "snapshots": 4,
        "medfid_classifier": "medfid",
        "medfid": {"input_size": 96, "fine_tuned_from": 0, "max_epochs": 6, "patience": 3, "dense_units": "(256, 256)"},
        "draws": 10,
        "images_per_draw": 60,
        "distorted_images": 60,
        "minutes": {
            "build": 0.1,
            "train medfid": 16,
            "train vanilla": 2,
            "train wgan_gp": 3,
            "train stylegan2": 18,
            "generate": 0.2,
            "ranking": 1,
            "over iterations": 3,
            "distortions": 0.5,
        },
    },
    "smoke": {
        "dataset": "mura",
        "reader": {"body_parts": "elbow,finger,forearm,hand,shoulder,wrist"},
        "only_labels": ["normal"],
        "phantom_images": 240,
        "phantom_image_size": 32,
        "image_size": 32,
        "splits": "train=.6,validation=.2,held_out=.2",
        "runs": ["wgan_gp_3", "stylegan2"],
        "vanilla_gan": {"model_name": "vanilla_gan", "model": {"generator_units": [8, 8]}, "batch_size": 8, "steps": 4},
        "wgan_gp": {
            "model_name": "wgan_gp",
            "model": {"architecture": "perceptron", "critic_steps": 2},
            "batch_size": 8,
            "steps": 2,
        },
        "stylegan2": {
            "model_name": "stylegan2",
            "model": {
                "conditional": False,
                "label_count": 0,
                "latent_size": 8,
                "style_size": 8,
                "channel_base": 128,
                "channel_max": 8,
                "path_length_weight": 0.0,
            },
            "batch_size": 4,
            "steps": 1,
        },
        "snapshots": 2,
        "medfid_classifier": "small_cnn",
        "medfid": {"max_epochs": 1},
        "draws": 2,
        "images_per_draw": 8,
        "distorted_images": 8,
    },
}


def runs_of(study: Study) -> list[str]:
    """The trainings of a variant: all, or those that it names."""
    return study.settings["runs"] or ALL_RUNS


def snapshot_steps(study: Study, run: str) -> list[int]:
    """The steps whose generators are exported, evenly up to the last."""
    s = study.settings
    steps, count = s[RUNS[run][0]]["steps"], min(s["snapshots"], s[RUNS[run][0]]["steps"])
    return [steps * number // count for number in range(1, count + 1)]


def stages(study: Study) -> list[Stage]:
    """Records, MedFID's network, each run's training and cohorts, the ranking, the curve, the distortions."""
    s, folder, size = study.settings, study.folder, study.settings["image_size"]
    one_class, both = study.records, study.records.with_name(f"{study.records.name}_all_labels")
    source = {"dataset": s["dataset"], "raw_dir": study.raw_dir, "splits": s["splits"], "split_by": "hash"}
    source |= {"image_sizes": [size], "settings": s["reader"]}
    made = [
        study.stage("build records", "tfrecords_builder", **source, out_dir=one_class, only_labels=s["only_labels"]),
        study.stage("build records of all labels", "tfrecords_builder", **source, out_dir=both),
        study.stage(
            "train medfid",
            "tfcxr.train_classifier",
            classifier=s["medfid_classifier"],
            data_dir=both / str(size),
            test_splits=["held_out"],
            out_dir=folder / "saved_models" / "medfid",
            settings=s["medfid"],
        ),
    ]
    cohorts, curve = {}, {}
    for run in runs_of(study):
        model, learning_rate, beta_1, beta_2 = RUNS[run]
        rates = {"generator_learning_rate": learning_rate, "discriminator_learning_rate": learning_rate}
        steps = snapshot_steps(study, run)
        made.append(
            study.train(
                run,
                s[model],
                data_dir=one_class / str(size),
                export_steps=steps,
                result=f"{steps[-1]}/saved_model.pb",
                settings=rates | {"beta_1": beta_1, "beta_2": beta_2},
            )
        )
        for step in steps:
            cohort = folder / "cohorts" / f"{run}@{step}"
            made.append(
                study.stage(
                    f"generate {run}@{step}",
                    "tfcxr.generate",
                    saved_model=study.saved_model(run) / str(step),
                    out_dir=cohort,
                    images=s["draws"] * s["images_per_draw"],
                )
            )
            curve[f"{run}@{step}"] = cohort / str(size)
        cohorts[run] = curve[f"{run}@{steps[-1]}"]
    ranking = {
        "protocols": "ranking",
        "real_dir": one_class / str(size),
        "test_splits": "held_out",
        "classifier": "small_cnn",
        "classifier_seeds": [0],
        "extractor": [f"medfid={folder / 'saved_models' / 'medfid'}"],
        "settings": {"ranking": {"draws": s["draws"]}},
    }
    for name, of in (("ranking", cohorts), ("over iterations", curve)):
        made.append(
            study.stage(
                name,
                "tfcxr.evaluate",
                synthetic_dir=[f"{cohort}={path}" for cohort, path in of.items()],
                out_dir=folder / name.replace(" ", "_"),
                **ranking,
            )
        )
    distortions = {"preset": "chetty2023", "images": s["distorted_images"]}
    ranking |= {"protocols": "distortions", "settings": {"distortions": distortions}}
    made.append(
        study.stage(
            "distortions",
            "tfcxr.evaluate",
            synthetic_dir=next(iter(cohorts.values())),
            out_dir=folder / "distortions",
            **ranking,
        )
    )
    return made


def rows(study: Study) -> list[Row]:
    """Every table and figure of the paper."""
    results, s = Results(study.folder), study.settings
    ranked = [
        Row(
            "figures 3, 6, 7",
            f"MedFID of {run} at its last step",
            "StyleGAN2: least 20, 26 at 8,400" if run == "stylegan2" else "shown",
            results.score("ranking", subject=run, protocol="ranking", metric="frechet"),
            "another network and other images: not the paper's scale",
        )
        for run in runs_of(study)
    ]
    accuracy = "MedFID's network: accuracy before and after its second phase"
    return [
        Row("method", "five settings of two GANs, StyleGAN2", "described", "RUNS and VARIANTS of the file", ""),
        Row(
            "method", "epsilon of .8, unused clip value .01", "in the base code", "as_published", "the clip is left out"
        ),
        Row("method", accuracy, ".347, .518", "saved_models/medfid/1/scores.json", "AUC per label, of other classes"),
        Row("method", "7 body parts of MURA and LERA", "described", "tfrecords_builder/datasets/mura.py", "not here"),
        *ranked,
        Row(
            "figures 3, 6, 7", "MedFID over iterations", "shown", "over_iterations/report.html", "mean and sd of draws"
        ),
        Row(
            "Table 3",
            "which pairs differ at 5 %",
            "vanilla: all but 2-5; WGAN-GP: 1-2, 2-4, 2-5; StyleGAN2: from WGAN-GP 2 alone",
            results.sentence("ranking", "Pairs of cohorts"),
            "both tables: ranking/report.html",
        ),
        *[
            Row(
                "validation",
                f"Pearson's correlation of MedFID with the strength of {distortion}",
                published,
                results.score("distortions", subject=f"frechet: {distortion}", metric="pearson"),
                "on one image, as published" if s["distorted_images"] == 1 else "another network and other images",
            )
            for distortion, (published, _) in CHETTY2023_PEARSON.items()
        ],
    ]
