"""Phantom radiographs in the files and tables of a published data set, to try its reader or a study without the data.

imitate("chexpert", "raw/chexpert", images=60, image_size=64, seed=0)

The layouts are those that the readers in `tfrecords_builder/datasets` describe. What a phantom lacks (a body part, a
finding that is not drawn) is in the table alone, so nothing can be learned of it. A file beside them says what they
are, and records that are built of them carry its notice and the phantom's source, not the data set's.
"""

import csv
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence

import cv2
from tqdm import tqdm

from tfcxr.data.atomic import atomic_path
from tfrecords_builder.datasets.chexpert_labels import OBSERVATIONS
from tfrecords_builder.datasets.mura import BODY_PARTS
from tfrecords_builder.datasets.phantom import Phantom
from tfrecords_builder.datasets.reader import IMITATION_FILE, RawExample

NIH_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position")
PREVALENCE = 0.12  # of each finding, so that about half of the images have none
CHEXPERT_NAMES = {"Effusion": "Pleural Effusion", "Mass": "Lung Lesion", "Nodule": "Lung Lesion"}  # of findings
Write = Callable[[str, RawExample], None]  # path below the folder, and what is drawn there


def imitate(dataset: str, folder: str | os.PathLike, images: int, image_size: int, seed: int) -> pathlib.Path:
    """Draws the images and writes the tables; the folder appears when all of it is there.

    Args:
      dataset: one of `LAYOUTS`.
      images: how many; patients have 1 to 4 each.
      image_size: pixels.

    Raises:
      FileExistsError: something is in the folder.
    """
    folder = pathlib.Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; choose another --out_dir, or remove it")
    phantom = Phantom(images=images, image_size=image_size, seed=seed, prevalence=PREVALENCE)
    examples = list(phantom.examples())
    with atomic_path(folder) as temporary, tqdm(total=len(examples), unit="img", desc=f"drawing {dataset}") as progress:
        root = pathlib.Path(temporary)
        root.mkdir(exist_ok=True)
        (root / IMITATION_FILE).write_text(Phantom.notice + "\n", encoding="utf-8")

        def write(path: str, example: RawExample) -> None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(root / path), phantom.read_image(example).pixels):
                raise OSError(f"could not write {folder / path}")
            progress.update()

        LAYOUTS[dataset](root, examples, write)
    return folder


def _chest_xray_pneumonia(root: pathlib.Path, examples: Sequence[RawExample], write: Write) -> None:
    for number, example in enumerate(examples):
        split = "test" if _patient(example) % 5 == 4 else "train"
        if _findings(example):
            write(f"chest_xray/{split}/PNEUMONIA/person{_patient(example)}_virus_{number}.jpeg", example)
        else:
            write(f"chest_xray/{split}/NORMAL/IM-{_patient(example):04d}-{number:04d}.jpeg", example)


def _nih(root: pathlib.Path, examples: Sequence[RawExample], write: Write) -> None:
    rows = []
    for number, example in enumerate(examples):
        name = f"{_patient(example):08d}_{number:03d}.png"
        write(f"images/{name}", example)
        findings = "|".join(_findings(example)) or "No Finding"
        rows.append([name, findings, _patient(example), int(example.age), example.sex, example.view])
    _write_table(root / "Data_Entry_2017.csv", [NIH_COLUMNS, *rows])


def _chexpert(root: pathlib.Path, examples: Sequence[RawExample], write: Write) -> None:
    rows = []
    for number, example in enumerate(examples):
        path = f"CheXpert-v1.0/train/patient{_patient(example):05d}/study{number}/view1_frontal.jpg"
        write(path, example)
        found = {CHEXPERT_NAMES.get(name, name) for name in _findings(example) or ["No Finding"]}
        values = ["1.0" if name in found else "" for name in OBSERVATIONS]
        sex = "Female" if example.sex == "F" else "Male"
        rows.append([path, sex, int(example.age), "Frontal", example.view, *values])
    columns = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS)
    _write_table(root / "CheXpert-v1.0" / "train.csv", [columns, *rows])


def _mura(root: pathlib.Path, examples: Sequence[RawExample], write: Write) -> None:
    paths, studies = [], []
    for number, example in enumerate(examples):
        part = BODY_PARTS[_patient(example) % len(BODY_PARTS)].upper()
        sign = "positive" if _findings(example) else "negative"
        study = f"MURA-v1.1/train/XR_{part}/patient{_patient(example):05d}/study{number}_{sign}/"
        write(f"{study}image1.png", example)
        paths.append([f"{study}image1.png"])
        studies.append([study, int(sign == "positive")])
    _write_table(root / "MURA-v1.1" / "train_image_paths.csv", paths)
    _write_table(root / "MURA-v1.1" / "train_labeled_studies.csv", studies)


LAYOUTS: dict[str, Callable[[pathlib.Path, Sequence[RawExample], Write], None]] = {
    "chest_xray_pneumonia": _chest_xray_pneumonia,
    "nih_chestxray14": _nih,
    "chestxray8": _nih,
    "chexpert": _chexpert,
    "mura": _mura,
}


def _patient(example: RawExample) -> int:
    """The patient's number, from 1."""
    return 1 + int(example.patient_id.rpartition("-")[2])


def _findings(example: RawExample) -> list[str]:
    pairs = zip(Phantom.label_names[1:], example.label[1:], strict=True)
    return [name for name, value in pairs if value == 1]


def _write_table(path: pathlib.Path, rows: Iterable[Iterable]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
