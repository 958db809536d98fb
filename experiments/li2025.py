"""A grown PGGAN's last blocks learn another data set from a frozen critic: how near does it come, and how fast.

Paper: Li, Guo, Zhang 2025, "Transfer-PGGAN".
Data: CheXpert, frontal AP, Cardiomegaly, Pleural Effusion or Pneumothorax; the generator of Segal et al. 2021 (1024 px,
NIH), whose last two of eight blocks learn; the critic is TorchXRayVision's DenseNet-121 (CheXpert), frozen.
One A100 of 40 GB, 30 epochs of 73,752 images in batches of 32: about 69,150 generator steps, since the notebook takes
one real batch for both critic steps.

`as_published`, `as_in_paper` and `corrected` need two files of the authors, ported first, and given as settings:

    python -m tfcxr.port --format=cxr_pggan --checkpoint=Final_Full_Model.pth --out_dir=saved_models/cxr_pggan
    python -m tfcxr.port --format=xrv_densenet121 --checkpoint=densenet121-chex.pt --out_dir=saved_models/xrv_chex
    python -m tfcxr.study li2025 --variant=as_published --raw_dir=CheXpert --work_dir=runs/li2025 \\
        --set=pretrained=runs/cxr_pggan --set=critic=saved_models/xrv_chex/1

`as_published` shows the critic generated images by tanh twice and real ones standardised, as the authors' notebook
does; `as_in_paper` both by tanh, as the paper says. Both start from the raw generator and let the frozen critic's
batch statistics move. `corrected` starts from the averaged generator and treats both alike. `cpu` pretrains a small
PGGAN on another set (`pretraining_raw_dir`, such as children's chests), trains a DenseNet-121 on the labels of the new
set for its critic, takes another network beside it where `keras_critic` names a .keras file, such as ImageNet's
Xception, and fine-tunes: the last block, two, three, and everything, side by side.

SSIM is the paper's metric, a poor one (`tfcxr.evaluation.metrics.pairwise_similarity` says why): distances stand beside
it. What the images teach is asked by giving them labels through latent class optimisation with the critic's labels.
"""

from tfcxr.studies.page import Results, Row
from tfcxr.studies.stages import Stage, Study, sizes_to

VARIANTS = {
    "as_published": {
        "extends": "corrected",
        "tuning": {
            "model": {
                "starts_from": "generator",
                "ema_decay": 0.0,
                "value_handling": "as_published",
                "moves_batch_statistics": True,
            },
        },
        "tuned": ["last_two"],
    },
    "as_in_paper": {
        "extends": "as_published",
        "tuning": {"model": {"value_handling": "as_in_paper"}},
    },
    "corrected": {
        "dataset": "chexpert",
        "reader": {
            "projection": "AP",
            "uncertain": "as_is",
            "require_any": "Cardiomegaly,Pleural Effusion,Pneumothorax",
        },
        "image_size": 1024,
        "data_size": 256,
        "splits": "train=.8,held_out=.2",
        "pretrained": "",
        "critic": "",
        "tuning": {
            "model_name": "transfer_pggan",
            "model": {},
            "batch_size": 32,
            "steps": 69150,
            "sample_every": 1000,
        },
        "tunings": {
            "last_one": {"trained_blocks": [-1]},
            "last_two": {},
            "last_four": {"trained_blocks": [-4, -3, -2, -1]},
        },
        "tuned": ["last_one", "last_two", "last_four"],
        "images": 2000,
        "classifier": {},
        "seeds": [0],
    },
    "cpu": {
        "dataset": "nih_chestxray14",
        "reader": {},
        "image_size": 64,
        "data_size": 64,
        "splits": "train=.6,held_out=.4",
        "pretrained": "",
        "critic": "",
        "pretraining_dataset": "chest_xray_pneumonia",
        "pretraining_raw_dir": "",
        "pretraining_splits": "train=.7,validation=.1,held_out=.2",
        "pretraining": {
            "model_name": "pggan",
            "model": {
                "latent_size": 128,
                "channel_base": 2048,
                "channel_max": 128,
                "stage_images": [16000, 40000, 64000, 40000, 20000],
                "precision": "auto",
            },
            "batch_size": 16,
            "sample_every": 2000,
        },
        "tuning": {
            "model_name": "transfer_pggan",
            "model": {"critic_size": 64, "critic_head": 128, "ema_decay": 0.99, "precision": "auto"},
            "batch_size": 16,
            "steps": 400,
            "sample_every": 100,
        },
        "tunings": {
            "last_one": {"trained_blocks": [-1]},
            "last_two": {},
            "last_three": {"trained_blocks": [-3, -2, -1]},
            "everything": {"trained_blocks": [0, 1, 2, 3], "trains_base": True},
        },
        "tuned": ["last_one", "last_two", "last_three", "everything"],
        "keras_critic": "",
        "critic_classifier": "densenet121",
        "critic_training": {"max_epochs": 12},
        "images": 1500,
        "classifier": {"max_epochs": 8},
        "seeds": [0],
        "minutes": {"build records": 1, "train pretrained": 65},
    },
    "smoke": {
        "dataset": "chexpert",
        "reader": {
            "projection": "AP",
            "uncertain": "as_is",
            "require_any": "Cardiomegaly,Pleural Effusion,Pneumothorax",
        },
        "phantom_images": 300,
        "phantom_image_size": 32,
        "image_size": 32,
        "data_size": 32,
        "splits": "train=.6,held_out=.4",
        "pretrained": "",
        "critic": "",
        "pretraining_dataset": "chexpert",
        "pretraining_raw_dir": "",
        "pretraining_splits": "train=.6,held_out=.4",
        "pretraining": {
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
        "tuning": {
            "model_name": "transfer_pggan",
            "model": {"critic_size": 32, "critic_head": 8, "ema_decay": 0.99},
            "batch_size": 4,
            "steps": 2,
            "sample_every": 1,
        },
        "tunings": {"last_two": {}},
        "tuned": ["last_two"],
        "keras_critic": "",
        "critic_classifier": "small_cnn",
        "critic_training": {"max_epochs": 1},
        "images": 60,
        "classifier": {"max_epochs": 1},
        "seeds": [0],
    },
}


def stages(study: Study) -> list[Stage]:
    """Records, pretraining and critic where none are given, the tunings, their cohorts, and what these are worth."""
    s, folder, size = study.settings, study.folder, study.settings["data_size"]
    real = study.records / str(size)
    made = [
        study.stage(
            "build records",
            "tfrecords_builder",
            dataset=s["dataset"],
            raw_dir=study.raw_dir,
            out_dir=study.records,
            image_sizes=[size],
            splits=s["splits"],
            split_by="hash",
            settings=s["reader"],
        )
    ]
    if "pretraining" not in s and not (s["pretrained"] and s["critic"]):
        raise ValueError(
            "give --set=pretrained=RUN_FOLDER and --set=critic=FOLDER, which python -m tfcxr.port writes; or "
            "--variant=cpu, which pretrains a small PGGAN of its own"
        )
    pretrained, critic = s["pretrained"] or folder / "pretrained", s["critic"] or folder / "saved_models" / "critic"
    if not s["pretrained"]:
        made += _pretraining(study)
    if not s["critic"]:
        made.append(
            study.stage(
                "train critic",
                "tfcxr.train_classifier",
                classifier=s["critic_classifier"],
                data_dir=real,
                validation_split="",
                test_splits=["held_out"],
                out_dir=critic,
                settings=s["critic_training"],
            )
        )
    critic_weights = s["critic"] or f"{critic}/1/network.keras:layer=features"
    starts = {"pretrained": pretrained, "critic_weights": critic_weights}
    critics = {"": starts}
    if s.get("keras_critic"):
        critics["_keras_critic"] = {"pretrained": pretrained, "critic_weights": s["keras_critic"]}
    cohorts = {}
    for suffix, start in critics.items():
        tuning = dict(s["tuning"])
        if suffix:  # a network of its own size
            tuning["model"] = {name: value for name, value in tuning["model"].items() if name != "critic_size"}
        for name in s["tuned"]:
            if suffix and name != "last_two":  # what another critic changes is asked of the paper's two blocks
                continue
            run = f"{name}{suffix}"
            made.append(study.train(run, tuning, data_dir=real, settings=start | s["tunings"][name]))
            cohorts[run] = study.saved_model(run)
    if s["pretrained"]:
        made.append(
            study.stage(
                "export pretrained", "tfcxr.export", run_dir=pretrained, out_dir=study.saved_model("pretrained")
            )
        )
    cohorts = {"pretrained": study.saved_model("pretrained"), **cohorts}
    made += [
        study.stage(
            f"generate {name}",
            "tfcxr.generate",
            saved_model=saved_model,
            out_dir=folder / "cohorts" / name,
            images=s["images"],
            preview=True,
        )
        for name, saved_model in cohorts.items()
    ]
    if s["image_size"] == size:  # a report compares images of one size
        made.append(
            study.stage(
                "evaluate",
                "tfcxr.evaluate",
                protocols=["ranking", "similarity"],
                synthetic_dir=[f"{name}={folder / 'cohorts' / name / str(size)}" for name in cohorts],
                real_dir=real,
                test_splits="held_out",
                classifier="small_cnn",
                classifier_seeds=s["seeds"],
                out_dir=folder / "report",
                settings={
                    "classifier": s["classifier"],
                    "ranking": {"draws": 5},
                    "similarity": {"is_multiscale": False},
                },
            )
        )
    return made


def _pretraining(study: Study) -> list[Stage]:
    """A PGGAN grown on another set; smoke has the same phantoms for both."""
    s, other = study.settings, study.folder / "records_pretraining"
    raw_dir = s["pretraining_raw_dir"] or (study.raw_dir if study.variant == "smoke" else "")
    if not raw_dir:
        raise ValueError("give --set=pretraining_raw_dir=FOLDER, or --set=pretrained=RUN_FOLDER of a grown PGGAN")
    first_size = s["pretraining"]["model"].get("first_size", 4)
    sizes = [size for size in sizes_to(s["data_size"]) if size >= first_size]
    source = {"dataset": s["pretraining_dataset"], "raw_dir": raw_dir, "splits": s["pretraining_splits"]}
    source["split_by"] = "hash"
    return [
        study.stage("build records to pretrain on", "tfrecords_builder", **source, out_dir=other, image_sizes=sizes),
        study.train("pretrained", s["pretraining"], data_dir=other / str(sizes[-1])),
    ]


def rows(study: Study) -> list[Row]:
    """Every table and figure of the paper."""
    results = Results(study.folder)
    ssim = {"protocol": "similarity", "metric": "ssim_to_real", "split": "held_out"}
    frechet = {"protocol": "ranking", "metric": "frechet"}
    why = "pairing and N are not given; a blurred mean image beats every generator"
    made = [
        Row(
            "section 4",
            "SSIM of the pretrained generator",
            0.3739,
            results.score("report", cohort="pretrained", **ssim),
            why,
        ),
        Row(
            "section 4",
            "SSIM of the fine-tuned generator",
            0.5925,
            results.score("report", cohort="last_two", **ssim),
            why,
        ),
    ]
    keras_critic = ["last_two_keras_critic"] if study.settings.get("keras_critic") else []
    for name in ("pretrained", *study.settings["tuned"], *keras_critic):
        found = results.score("report", subject=name, **frechet)
        made.append(
            Row("", f"Frechet distance of {name}", "avoided", found, "by a classifier of the real training images")
        )
    made += [
        Row("method", "CheXpert: AP, any of three findings", "73,752 images", "build records", "see dataset_info.json"),
        Row("method", "last two blocks and their toRGB learn", "described", "tuning last_two", ""),
        Row("method", "critic: frozen DenseNet-121, Dense 512, LeakyReLU, Dense 1", "described", "train last_two", ""),
        Row("method", "WGAN-GP 20, 2 critic steps, Adam (.5, .9)", "described", "defaults of transfer_pggan", ""),
        Row(
            "method", "real images' range: notebook and paper", "differ", "as_published, as_in_paper", "corrected: one"
        ),
        Row(
            "figure 2",
            "samples at epochs 20 and 30",
            "shown",
            results.file("last_two/samples/*.png"),
            "all in samples/",
        ),
        Row("section 4", "50 images inspected", "by the authors", results.file("cohorts/last_two/*/preview.png"), ""),
        Row("future work", "more unfrozen blocks", "named", "the rows of each tuning above", ""),
        Row("future work", "downstream classification", "named", "experiments/li2025.md", ""),
    ]
    return made
