"""COVID-19 image data collection: radiographs and some CT slices from publications and web pages, with metadata.

Layout (a clone of the repository; the table as it is since the findings became a hierarchy, July 2020):
  raw_dir/metadata.csv and raw_dir/images; the CT volumes, volumes/*.nii.gz, are named in the table and no radiographs.

Findings are paths in a hierarchy, "Pneumonia/Viral/COVID-19", and each of its 26 nodes is a label. Along the path all
are present. What lies below the path's end is unknown ("Pneumonia" alone says nothing of its cause), all other nodes
are absent. "todo", "Unknown" and an empty finding leave all labels unknown. A finding is the patient's diagnosis, also
for an image that shows little of it.

Option `views`: the views to take, a comma list of the table's words, by default the frontal ones. Others are rejected
as "excluded_view", CT as "excluded_modality", volumes as "unsupported_format".
"""

import math
from collections.abc import Iterator

from tfrecords_builder.datasets.folder_reader import FolderReader
from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.label_text import plain_blanks
from tfrecords_builder.datasets.named_files import NamedFiles
from tfrecords_builder.datasets.patient_facts import chosen_views, parse_age, parse_sex, parse_view
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.datasets.table import find_table

FINDINGS = (
    "No Finding", "Tuberculosis", "Pneumonia", "Pneumonia/Aspiration", "Pneumonia/Bacterial",
    "Pneumonia/Bacterial/Chlamydophila", "Pneumonia/Bacterial/E.Coli", "Pneumonia/Bacterial/Klebsiella",
    "Pneumonia/Bacterial/Legionella", "Pneumonia/Bacterial/Mycoplasma", "Pneumonia/Bacterial/Nocardia",
    "Pneumonia/Bacterial/Staphylococcus", "Pneumonia/Bacterial/Staphylococcus/MRSA",
    "Pneumonia/Bacterial/Streptococcus", "Pneumonia/Fungal", "Pneumonia/Fungal/Aspergillosis",
    "Pneumonia/Fungal/Pneumocystis", "Pneumonia/Lipoid", "Pneumonia/Viral", "Pneumonia/Viral/COVID-19",
    "Pneumonia/Viral/Herpes", "Pneumonia/Viral/Influenza", "Pneumonia/Viral/Influenza/H1N1",
    "Pneumonia/Viral/MERS-CoV", "Pneumonia/Viral/SARS", "Pneumonia/Viral/Varicella",
)  # fmt: skip
UNKNOWN_FINDINGS = ("", "todo", "Unknown")
FRONTAL_VIEWS = ("PA", "AP", "AP Supine", "AP semi erect", "AP erect")
VIEWS = (*FRONTAL_VIEWS, "L")
_TABLE, _IMAGES = "metadata.csv", "images"
_PATIENT, _FINDING, _VIEW, _MODALITY, _FILE = "patientid", "finding", "view", "modality", "filename"
_RADIOGRAPH = "x-ray"
_VOLUME_SUFFIXES = (".nii", ".gz")


class CovidChestxray(FolderReader):
    """Multi-label: the nodes of the hierarchy of findings, each by its own name."""

    name = "covid_chestxray"
    homepage = "https://github.com/ieee8023/covid-chestxray-dataset"
    citation = (
        "Cohen, Morrison, Dao, Roth, Duong, Ghassemi: COVID-19 Image Data Collection: Prospective Predictions Are the "
        "Future, arXiv:2006.11988 (2020); Cohen, Morrison, Dao: COVID-19 Image Data Collection, arXiv:2003.11597 (2020)"
    )
    licence = (
        "each image under the licence its row in metadata.csv names, among them Apache 2.0, CC BY-NC-SA 4.0 and CC BY "
        "4.0; metadata.csv itself CC BY-NC-SA 4.0"
    )
    label_names = tuple(finding.rpartition("/")[2] for finding in FINDINGS)

    def __init__(self, raw_dir: str = "", views: str = ",".join(FRONTAL_VIEWS)) -> None:
        super().__init__(raw_dir)
        self.views = chosen_views(views, VIEWS, self.name)
        self._table = find_table(self.raw_dir, [_TABLE])
        if not (self.raw_dir / _IMAGES).is_dir():
            raise FileNotFoundError(f"{self.raw_dir} holds no folder {_IMAGES}; expected {_TABLE} and {_IMAGES}/*")

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Rows in the table's order, then the files that no row names."""
        columns = (_FILE, _PATIENT, _FINDING, _VIEW, _MODALITY)
        files = NamedFiles(walk, walk.images(_IMAGES), by_file_name=True)
        for row, key, where, path in files.rows(self._table, columns, optional=("sex", "age")):
            label = finding_label(row[_FINDING])
            if problem := self._problem(row, label):
                yield Reject(key, problem[0], f"{where}: {problem[1]}")
            elif isinstance(path, Reject):
                yield path
            else:
                facts = {"view": parse_view(row[_VIEW]), "age": parse_age(row["age"]), "sex": parse_sex(row["sex"])}
                yield RawExample(key, row[_PATIENT], label, path, **facts)
        yield from files.left_over(_TABLE)

    def _problem(self, row: dict[str, str], label: tuple[float, ...] | None) -> tuple[str, str] | None:
        """Why a row cannot be used: (reason, detail); what is left out on purpose comes before what is missing."""
        if row[_FILE].lower().endswith(_VOLUME_SUFFIXES):
            return "unsupported_format", "a CT volume"
        if row[_MODALITY].lower() != _RADIOGRAPH:
            return "excluded_modality", f"{_MODALITY} is {row[_MODALITY]!r}"
        if row[_VIEW].lower() not in {view.lower() for view in self.views}:
            return "excluded_view", f"{_VIEW} is {row[_VIEW]!r}"
        if label is None:
            return "unknown_label", f"{row[_FINDING]!r} is not among the {len(FINDINGS)} findings"
        return None if row[_PATIENT] else ("unknown_patient", f"{_PATIENT} is empty")


def finding_label(finding: str) -> tuple[float, ...] | None:
    """The label vector of a path in the hierarchy; None for one that is not in it.

    Returns:
      One value per finding of `FINDINGS`: 1 along the path, NaN below its end, 0 elsewhere; all NaN for a finding that
      is unknown.
    """
    # Some rows say "Pneumonia/Viral/Herpes ", with a space.
    path = "/".join(part.strip() for part in plain_blanks(finding).split("/"))
    if path in UNKNOWN_FINDINGS:
        return (math.nan,) * len(FINDINGS)
    return tuple(_node_value(node, path) for node in FINDINGS) if path in FINDINGS else None


def _node_value(node: str, path: str) -> float:
    if f"{path}/".startswith(f"{node}/"):
        return 1.0
    return math.nan if node.startswith(f"{path}/") else 0.0
