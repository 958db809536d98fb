"""COVID-19 Radiography Database: 21,165 chest radiographs in four exclusive classes, collected from other sets.

Layout:
  raw_dir/COVID, Lung_Opacity, Normal and "Viral Pneumonia", each with images/*.png and masks/*.png; `raw_dir` is that
  folder or the one that holds it as COVID-19_Radiography_Dataset. In older releases the images lie in the class
  folders themselves, COVID is called COVID-19, Normal NORMAL, and there is no Lung_Opacity. Masks of the lungs are no
  images and are left out; <class>.metadata.xlsx names files, formats and web addresses, nothing that is needed here.

What to know before using it: no patient identifier is published, so each image counts as a patient of its own, and
images of one patient may come into different splits. The classes come from different sources: of Normal, 8,851 images
are from the RSNA challenge and 1,341 from the children of chest_xray_pneumonia, Lung_Opacity is from RSNA, Viral
Pneumonia from those children, and COVID from PadChest and several smaller collections. A model can tell the sources
apart without looking at the lungs, and the set shares patients with `rsna_pneumonia`, `nih_chestxray14`,
`chest_xray_pneumonia` and `covid_chestxray`.
"""

import pathlib
from collections.abc import Iterator

from absl import logging

from tfrecords_builder.datasets.folder_reader import FolderReader
from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.named_files import NamedFiles
from tfrecords_builder.datasets.reader import RawExample, Reject, one_hot

_ARCHIVE_FOLDERS = ("COVID-19_Radiography_Dataset", "COVID-19 Radiography Database")
_IMAGES, _MASKS = "images", "masks"
_CLASS_FOLDERS = {
    "COVID": ("COVID", "COVID-19"),
    "Lung_Opacity": ("Lung_Opacity",),
    "Normal": ("Normal", "NORMAL"),
    "Viral Pneumonia": ("Viral Pneumonia",),
}
_SINCE_SECOND_UPDATE = "Lung_Opacity"


class Covid19Radiography(FolderReader):
    """Four classes, one label per image: the folder it lies in."""

    name = "covid19_radiography"
    is_single_label = True
    homepage = "https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database"
    citation = (
        "Chowdhury, Rahman, Khandakar, Mazhar, Kadir, Mahbub, Islam, Khan, Iqbal, Al-Emadi, Reaz, Islam: Can AI Help "
        "in Screening Viral and COVID-19 Pneumonia?, IEEE Access 8 (2020) 132665-132676; Rahman, Khandakar, Qiblawey, "
        "Tahir, Kiranyaz, Kashem, Islam, Al Maadeed, Zughaier, Khan, Chowdhury: Exploring the Effect of Image "
        "Enhancement Techniques on COVID-19 Detection Using Chest X-ray Images, Computers in Biology and Medicine 132 "
        "(2021) 104319"
    )
    licence = "data files copyright of their original authors (so Kaggle says); cite both papers and the sources"
    notice = (
        "no patient identifiers are published: each image counts as a patient, so splits may share patients, and each "
        "class comes from sources of its own"
    )
    label_names = tuple(_CLASS_FOLDERS)

    def __init__(self, raw_dir: str = "") -> None:
        super().__init__(raw_dir)
        archives = [self.raw_dir / name for name in _ARCHIVE_FOLDERS]
        self.raw_dir = next(filter(pathlib.Path.is_dir, archives), self.raw_dir)
        self._folders = _class_folders(self.raw_dir)
        logging.warning("%s: %s", self.name, self.notice)

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Images by class and name; the second file of a name within a class is a `Reject`."""
        for label_name, folder in self._folders.items():
            images = (path for path in walk.images(folder) if _MASKS not in path.split("/")[1:-1])
            files = NamedFiles(walk, images, by_file_name=True)
            for key, path in files.unnamed():
                yield RawExample(key, key, one_hot(self.label_names, label_name), path)
            for path in files.repeated:
                yield Reject(path, "same_file_name_twice", "another folder of the class holds a file of this name")


def _class_folders(raw_dir: pathlib.Path) -> dict[str, str]:
    """Class -> its folder's name, whichever release it is.

    Raises:
      FileNotFoundError: a class folder of the published layout is missing.
      ValueError: a class has two folders, such as Normal and NORMAL.
    """
    present = FolderWalk(raw_dir).folders()
    folders = {}
    for label_name, spellings in _CLASS_FOLDERS.items():
        found = [spelling for spelling in spellings if spelling in present]
        if len(found) > 1:
            raise ValueError(f"{raw_dir} holds both {' and '.join(found)}; leave one folder for the class {label_name}")
        if found:
            folders[label_name] = found[0]
    missing = [name for name in _CLASS_FOLDERS if name not in folders and name != _SINCE_SECOND_UPDATE]
    if missing:
        raise FileNotFoundError(
            f"{raw_dir} holds no folder {' nor '.join(missing)}; expected {', '.join(_CLASS_FOLDERS)}, each with "
            f"{_IMAGES}/*.png"
        )
    if _SINCE_SECOND_UPDATE not in folders:
        logging.warning("%s holds no %s, as older releases; the label stays 0", raw_dir, _SINCE_SECOND_UPDATE)
    return folders
