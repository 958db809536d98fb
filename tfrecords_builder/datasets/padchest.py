"""PadChest: 160,000 radiographs of 67,000 patients of one Spanish hospital, labelled with findings from the reports.

Layout:
  raw_dir/PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv, or .csv.gz, and the PNG images of 16 bits in the
  numbered folders 0 ... 54 of the archives, or in any other folders below, such as images-224.

The table's column Labels holds Python lists, such as ['pleural effusion', ' normal'], of 174 findings, 19 diagnoses and
some words about the report; blanks around a name and its case do not count. Of the reports 27 % were labelled by
physicians, the others by a network that learned from those.
  - An empty list, an empty field or nan says nothing: all labels are unknown, not absent.
  - "unchanged" refers to an earlier report: what else is named is present, all other labels are unknown, unless
    "normal" stands beside it.
  - "exclude" is the authors' word for what is not to be used: the reject "excluded_by_authors".
  - "normal" beside one of the chosen findings is the reject "conflicting_labels".

Settings:
  labels  names with commas between, by default the 14 findings of `nih_chestxray14` and No Finding under NIH's names,
          so that `merge` joins both sets. Each of these takes several of PadChest's labels, as `FINDINGS` tells. Any
          other name is a label of PadChest itself, as in labels=No Finding,Pneumonia,aortic elongation,scoliosis; one
          that occurs nowhere in the table is an error.
  views   the projections to take, a comma list of PA, AP, AP_horizontal (lying), L (lateral), COSTAL (ribs) and
          EXCLUDE; by default the frontal ones, PA,AP,AP_horizontal. Others are the reject "excluded_view".

The age is the year of the study less the year of birth. There is no published split.
"""

import functools
import math
from collections.abc import Iterator

from absl import logging

from tfcxr.registry import nearest_name
from tfrecords_builder.choices import split_names
from tfrecords_builder.datasets.folder_reader import FolderReader
from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.label_text import check_spellings, folded, split_labels
from tfrecords_builder.datasets.named_files import NamedFiles
from tfrecords_builder.datasets.patient_facts import age_in_year, chosen_views, is_rounded_number, parse_sex, parse_view
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.datasets.table import find_table

NORMAL, UNCHANGED, EXCLUDED = "normal", "unchanged", "exclude"
FINDINGS = {  # label -> the labels of PadChest that are it
    "Atelectasis": (
        "atelectasis", "atelectasis basal", "laminar atelectasis", "lobar atelectasis", "round atelectasis",
        "segmental atelectasis", "total atelectasis",
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation", "air bronchogram"),
    "Edema": ("pulmonary edema",),
    "Effusion": ("pleural effusion", "loculated pleural effusion", "loculated fissural effusion"),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("pulmonary fibrosis",),
    "Hernia": ("hiatal hernia",),
    "Infiltration": (
        "infiltrates", "interstitial pattern", "reticular interstitial pattern",
        "reticulonodular interstitial pattern", "ground glass pattern", "alveolar pattern",
    ),
    "Mass": ("mass", "pulmonary mass"),
    "Nodule": ("nodule", "multiple nodules"),
    "Pleural_Thickening": ("pleural thickening", "apical pleural thickening", "calcified pleural thickening"),
    "Pneumonia": ("pneumonia", "atypical pneumonia"),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "No Finding": (NORMAL,),
}  # fmt: skip
FRONTAL_VIEWS = ("PA", "AP", "AP_horizontal")
VIEWS = (*FRONTAL_VIEWS, "L", "COSTAL", "EXCLUDE")
_TABLES = [f"PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv{suffix}" for suffix in ("", ".gz")]
_IMAGE, _PATIENT, _LABELS, _VIEW = "ImageID", "PatientID", "Labels", "Projection"
_STUDY_DATE, _BIRTH, _SEX = "StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM"


class PadChest(FolderReader):
    """Multi-label: 14 findings and "No Finding", or those that are asked for."""

    name = "padchest"
    homepage = "https://bimcv.cipf.es/bimcv-projects/padchest/"
    citation = (
        "Bustos, Pertusa, Salinas, de la Iglesia-Vaya: PadChest: A large chest x-ray image dataset with multi-label "
        "annotated reports, Medical Image Analysis 66 (2020) 101797, doi:10.1016/j.media.2020.101797"
    )
    licence = (
        "PADCHEST Dataset Research Use Agreement of BIMCV: for research alone, other uses by agreement with BIMCV; "
        "register there and accept it before the download"
    )

    def __init__(
        self, raw_dir: str = "", labels: str = ",".join(FINDINGS), views: str = ",".join(FRONTAL_VIEWS)
    ) -> None:
        super().__init__(raw_dir)
        self.views = chosen_views(views, VIEWS, self.name)
        self.label_names = _parse_labels(labels)
        self._table = find_table(self.raw_dir, _TABLES)

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Rows in the table's order, then the files that no row names.

        Raises:
          ValueError: a label of the settings occurs nowhere in the table.
        """
        files = NamedFiles(walk, walk.images(), by_file_name=True)
        spellings: dict[str, str] = {}  # every label of the table, for a setting that names none of them
        impossible_ages = 0
        columns = (_IMAGE, _PATIENT, _LABELS, _VIEW, _STUDY_DATE, _BIRTH, _SEX)
        for row, key, where, path in files.rows(self._table, columns):
            try:
                names = {folded(name): name for name in _known_names(row[_LABELS])}
            except ValueError as error:
                yield Reject(key, "unknown_label", f"{where}: {_LABELS} is {error}")
                continue
            spellings |= names
            if problem := self._problem(row, set(names)):
                yield Reject(key, problem[0], f"{where}: {problem[1]}")
            elif isinstance(path, Reject):
                yield path
            else:
                age = age_in_year(row[_BIRTH], row[_STUDY_DATE])
                impossible_ages += age is None
                facts = {"view": parse_view(row[_VIEW]), "sex": parse_sex(row[_SEX])}
                facts["age"] = math.nan if age is None else age
                yield RawExample(key, row[_PATIENT], self._label(set(names)), path, **facts)
        yield from files.left_over(self._table.name)
        if impossible_ages:
            logging.warning("%d ages below 0 or above 120 years are stored as unknown", impossible_ages)
        for name in self.label_names:
            if name not in FINDINGS and folded(name) not in spellings:
                known = [*FINDINGS, *sorted(spellings.values())]
                raise ValueError(f"{self._table} holds no label {name!r}; {nearest_name(name, known)}")

    def _problem(self, row: dict[str, str], names: set[str]) -> tuple[str, str] | None:
        """Why a row cannot be used: (reason, detail); what is left out on purpose comes before what is missing."""
        if row[_VIEW].lower() not in {view.lower() for view in self.views}:
            return "excluded_view", f"{_VIEW} is {row[_VIEW]!r}, kept are {', '.join(self.views)}"
        if EXCLUDED in names:
            return "excluded_by_authors", f"{_LABELS} is {row[_LABELS]}"
        if not row[_PATIENT]:
            return "unknown_patient", f"{_PATIENT} is empty"
        if is_rounded_number(row[_PATIENT]):
            rounded = "a number that a spreadsheet program has rounded, so that patients cannot be told apart"
            return "unknown_patient", f"{_PATIENT} is {rounded}; take the table as published"
        if NORMAL in names and any(names & _parts(name) - {NORMAL} for name in self.label_names):
            return "conflicting_labels", f"{_LABELS} is {row[_LABELS]}"
        return None

    def _label(self, names: set[str]) -> tuple[float, ...]:
        """1 for what is named; 0 for the rest, or NaN where the report does not tell."""
        is_silent = not names or (UNCHANGED in names and NORMAL not in names)
        absent = math.nan if is_silent else 0.0
        return tuple(1.0 if names & _parts(name) else absent for name in self.label_names)


def _known_names(text: str) -> list[str]:
    """The labels of a field; none where it says nothing."""
    return [] if text.lower() in ("nan", "none") else split_labels(text, ",")


@functools.cache
def _parts(label: str) -> frozenset[str]:
    """The labels of PadChest that one of ours takes, as `folded` gives them."""
    return frozenset(FINDINGS.get(label, (folded(label),)))


def _parse_labels(text: str) -> tuple[str, ...]:
    names = tuple(split_names(text, "padchest setting labels"))
    if not names:
        raise ValueError(f"padchest setting labels expects different names with commas between, got {text!r}")
    # Pneumonia is a finding of ours and pneumonia a label of PadChest's: two that differ, but not to the eye.
    check_spellings(names, "padchest setting labels: the names", "leave one of them")
    return names
