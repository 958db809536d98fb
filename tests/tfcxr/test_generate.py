"""The command python -m tfcxr.generate."""

import re

import cv2
import numpy as np
import pytest

from tfcxr.config import to_plain
from tfcxr.data.picture_folder import write_pictures
from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_dataset_info
from tfcxr.export import MIN_REALISM, ExportArguments
from tfcxr.generate import GenerateArguments, generate
from tfcxr.models.vanilla_gan import VanillaGAN, VanillaGANConfig
from tfcxr.serving.gate import Gate
from tfcxr.serving.saved_model import export_model
from tfcxr.training.run_folder import RunConfig
from tfcxr.training.sample_grid import CAPTION_HEIGHT


def arguments(saved_model, out_dir, **others):
    return GenerateArguments(saved_model=str(saved_model), out_dir=str(out_dir), **others)


def test_generates_a_cohort_like_a_real_split(tiny_export, disc_records, tmp_path, capsys):
    like = {"like": str(disc_records), "like_split": "validation", "preview": True}
    generate(arguments(tiny_export.parent, tmp_path / "cohort", **like))
    assert f"wrote 16 images (NORMAL 8, PNEUMONIA 8) to {tmp_path / 'cohort' / '32'}" in capsys.readouterr().out
    assert (tmp_path / "cohort" / "32" / "preview.png").is_file()
    generated, real = load_images(tmp_path / "cohort" / "32", "train"), load_images(disc_records, "validation")
    assert (generated.labels == real.labels).all()
    both = cv2.imread(str(tmp_path / "cohort" / "32" / "real_and_synthetic.png"), cv2.IMREAD_GRAYSCALE)
    assert both.shape == (2 * (CAPTION_HEIGHT + 128), 2 * 128)  # two labels, each image four times as large
    for row, images in enumerate((real, generated)):  # real above synthetic
        top = row * (CAPTION_HEIGHT + 128) + CAPTION_HEIGHT
        for column in range(2):
            first = images.images[images.labels[:, column] == 1][0, ..., 0]
            tile = both[top : top + 128, column * 128 : (column + 1) * 128]
            np.testing.assert_array_equal(tile, first.repeat(4, axis=0).repeat(4, axis=1))


@pytest.mark.parametrize("picture_format", ["png", "dicom"])
def test_pictures_are_those_of_the_records(tiny_export, tmp_path, capsys, picture_format):
    if picture_format == "dicom":
        pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    counts = {"counts": ("NORMAL=3", "PNEUMONIA=2"), "seed": 4}
    generate(arguments(tiny_export, tmp_path / "records", **counts))
    capsys.readouterr()
    generate(arguments(tiny_export, tmp_path / "pictures", format=picture_format, **counts))
    folder = tmp_path / "pictures" / picture_format
    assert capsys.readouterr().out == (
        f"generated 5 images (NORMAL 3, PNEUMONIA 2)\nwrote {folder}; labels.csv beside the pictures has their labels\n"
    )
    expected = write_pictures(tmp_path / "records" / "32", tmp_path / "converted", picture_format)
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 7 and [path.name for path in (tmp_path / "pictures").iterdir()] == [picture_format]
    assert all((folder / name).read_bytes() == (expected / name).read_bytes() for name in files)


def test_what_does_not_go_with_pictures(tiny_export, tmp_path):
    given = {"counts": ("NORMAL=3",), "format": "png"}
    refused = [
        ({"preview": True}, "--preview would have no effect: with --format=png each picture can be looked at"),
        ({"optimize": True, "classifier": "x"}, "wrong/SIZE --to=png --out_dir=FOLDER"),
        ({"format": "jpg"}, "--format=jpg is unknown; did you mean 'png'"),
        ({"counts": ("NORML=3",)}, "no label 'NORML'"),
    ]
    for others, message in refused:
        with pytest.raises(ValueError, match=re.escape(message)):
            generate(arguments(tiny_export, tmp_path / "wrong", **(given | others)))
    assert not (tmp_path / "wrong").exists()


@pytest.mark.thorough
def test_a_gate_and_an_enlargement(tiny_export, tiny_enlarger, tmp_path, capsys):
    counts = {"counts": ("NORMAL=3", "PNEUMONIA=2")}
    generate(arguments(tiny_export, tmp_path / "all", **counts, min_realism=0.0, super_resolution=str(tiny_enlarger)))
    printed = capsys.readouterr().out
    assert f"wrote 5 images (NORMAL 3, PNEUMONIA 2) to {tmp_path / 'all' / '64'}" in printed
    assert "realism of 0 and more: 100.0% of candidates (NORMAL 3, PNEUMONIA 2 tries)" in printed
    info = read_dataset_info(tmp_path / "all" / "64")
    assert info.provenance["realism_gate"]["max_tries"] == 100 and info.provenance["super_resolution"]["scale"] == 2
    with pytest.raises(ValueError, match="reached realism 1 in 2 tries, the best had"):
        generate(arguments(tiny_export, tmp_path / "none", **counts, min_realism=1.0, max_tries=2))
    assert not list((tmp_path / "none").glob("32/*"))


@pytest.mark.thorough
def test_what_a_model_cannot_do_is_said(tiny_export, tiny_enlarger, disc_records, tmp_path):
    config = VanillaGANConfig(image_size=32, latent_size=8, generator_units=(8,), discriminator_units=(8,))
    run = RunConfig("vanilla_gan", to_plain(config), (), 3, 4, 7, {"name": "discs"})
    unlabelled = export_model(VanillaGAN(config, seed=3), run, tmp_path / "unlabelled", {"step": 7})
    (tmp_path / "backbone" / "1").mkdir(parents=True)
    for name in ("backbone.json", "saved_model.pb"):
        (tmp_path / "backbone" / "1" / name).write_text("{}")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "saved_model.pb").write_text("")
    counts = {"counts": ("NORMAL=3", "PNEUMONIA=2")}
    refused = [
        (tiny_enlarger.parent, counts,
         f"{tiny_enlarger} is a super-resolution model (srgan): it enlarges images and generates none. Give an "
         f"exported generator as --saved_model and this one as --super_resolution={tiny_enlarger.parent}, or join"),
        (tiny_enlarger, {"images": 3}, "is a super-resolution model"),
        (tmp_path / "backbone", counts, "1 is no exported model but a backbone, which reads"),
        (tmp_path / "foreign", counts, "foreign is no exported model but a SavedModel"),
        (disc_records, counts, f"{disc_records} is no exported model but a data folder"),
        (unlabelled, counts,
         f"--counts would have no effect: {unlabelled} makes images without labels; give their number as"),
        (unlabelled, {}, f"{unlabelled} makes images without labels; give their number as --images"),
        (tiny_export, counts | {"like_split": "test"}, "--like_split would have no effect: it is the split of --like"),
        (tiny_export, {},
         f"{tiny_export} has the labels NORMAL, PNEUMONIA (exactly one per image); give one of --counts=LABEL=COUNT"),
        (tiny_export, {"shares": ("NORMAL=1",)}, "--shares needs the number of images in all: --images=200"),
        (tiny_export, {"shares": ("NORMAL=.5",), "images": 4}, "so shares must add up to 1"),
        (tiny_export, {"counts": ("NORMAL+PNEUMONIA=2",)}, "so NORMAL+PNEUMONIA cannot be generated"),
        (tiny_export, counts | {"images": 3}, "--images would have no effect: it goes with --shares and --like; with"),
        (tiny_export, counts | {"max_tries": 2}, "--max_tries would have no effect: it goes with --min_"),
        (tiny_export, counts | {"copies_of": str(disc_records)}, "--copies_of would have no effect: it goes with"),
        (tiny_export, counts | {"max_copy_ratio": 2.0}, "--max_copy_ratio needs the records that the model"),
        (tiny_export, counts | {"max_copy_ratio": 2.0, "copies_of": str(disc_records)},
         f"--copies_of={disc_records} holds other images than tiny/1 was trained on: expected the split train of discs "
         "with fingerprint 0123, got discs with "),
        (tiny_export, counts | {"super_resolution": str(tiny_export)}, "expected an exported super-resolution model"),
    ]  # fmt: skip
    for saved_model, others, message in refused:
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
            generate(arguments(saved_model, tmp_path / "wrong", **others))
    assert not (tmp_path / "wrong").exists()


def test_flags_show_the_defaults_of_the_gate():
    """They are written in the commands, which must not import TensorFlow for `--help`."""
    gate, flags = Gate(), ExportArguments(out_dir="x")
    assert (MIN_REALISM, flags.max_tries) == (gate.min_realism, gate.max_tries)
    assert GenerateArguments(saved_model="x", out_dir="x").max_tries == gate.max_tries


def test_a_share_of_the_images_has_a_label(tiny_export, tmp_path, capsys):
    generate(arguments(tiny_export, tmp_path / "cohort", images=8, shares=("NORMAL=.25", "PNEUMONIA=.75")))
    assert "wrote 8 images (NORMAL 2, PNEUMONIA 6)" in capsys.readouterr().out
    plan = read_dataset_info(tmp_path / "cohort" / "32").provenance["label_plan"]
    assert plan["shares"] == {"NORMAL": 0.25, "PNEUMONIA": 0.75}


@pytest.mark.thorough
def test_a_generator_without_labels_gets_those_of_a_classifier(
    unlabelled_export, make_classifier, disc_records, tmp_path, capsys
):
    classifier = make_classifier(tmp_path / "classifier" / "1", {"PNEUMONIA": 0.6, "NORMAL": 0.6}, is_single_label=True)
    given = {"optimize": True, "classifier": str(classifier.parent), "optimize_rate": 0.2, "severity": 0.0}
    generate(arguments(unlabelled_export, tmp_path / "cohort", like=str(disc_records), like_split="test", **given))
    printed, data_dir = capsys.readouterr().out, tmp_path / "cohort" / "32"
    assert f"wrote 16 images (PNEUMONIA 8, NORMAL 8) to {data_dir}" in printed
    assert f"page: {data_dir / 'optimization.html'}" in printed and (data_dir / "optimization.html").is_file()
    assert "  NORMAL: 2 of " in printed and f"--synthetic_dir={data_dir} --real_dir={disc_records}" in printed
    assert read_dataset_info(data_dir).provenance["label_plan"]["split"] == "test"


def test_what_does_not_go_with_the_optimisation(unlabelled_export, tiny_classifier, disc_records, tmp_path):
    given = {"optimize": True, "classifier": str(tiny_classifier), "counts": ("NORMAL=3",)}
    refused = [
        ({"optimize": True, "counts": ("NORMAL=3",)}, "--optimize needs a classifier of python -m tfcxr.train_classif"),
        (
            {"classifier": str(tiny_classifier), "images": 3},
            "--classifier would have no effect: it goes with --optimize",
        ),
        (given | {"min_realism": 0.9}, "--min_realism would have no effect: with --optimize a classifier chooses"),
        (given | {"super_resolution": "x"}, "--super_resolution would have no effect: with --optimize"),
        (
            given | {"workers": 2},
            "--workers would have no effect: with --optimize the latents of all pseudo-patients are",
        ),
        (given | {"truncation": 0.7}, "--truncation would have no effect: with --optimize"),
        (given | {"counts": ("NORML=3",)}, "the model has no label 'NORML'; did you mean 'NORMAL'"),
        (given | {"counts": (), "like": str(disc_records)}, "Edema, Mass occurs on one side only"),
        (given | {"counts": ("Edema=3",)}, "1 has no threshold for Edema: its validation images"),
    ]
    for others, message in refused:
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
            generate(arguments(unlabelled_export, tmp_path / "wrong", **others))
    with pytest.raises(ValueError, match="let a classifier choose them: --optimize --classifier=FOLDER"):
        generate(arguments(unlabelled_export, tmp_path / "wrong"))
    assert not (tmp_path / "wrong").exists()
