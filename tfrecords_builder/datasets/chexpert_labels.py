"""The fourteen observations of the CheXpert labeller, what its blanks and its -1 become, and which views are kept.

A label is 1 (present), 0 (absent), -1 (the report leaves it open) or blank (the report does not mention it). A record
holds 1, 0 or unknown, which training masks. Settings that `chexpert` and `mimic_cxr_jpg` share:
  uncertain=ignore   -1 is unknown (the default; U-Ignore of Irvin et al. 2019)
  uncertain=zeros    -1 is 0 (U-Zeros)
  uncertain=ones     -1 is 1 (U-Ones)
  uncertain=as_is    nothing is lost: -1 is unknown, and each observation gets a second label name, such as
                     "Edema uncertain", that is 1 where the table says -1 and 0 elsewhere. With blank=unknown the four
                     published values can be told apart again. A record cannot hold -1 itself.
  blank=zero         a blank is 0 (the default): what the report does not mention is taken as absent
  blank=unknown      a blank is unknown
  findings=          names with commas between: the labels to keep, in this order; all fourteen by default
  require_any=       names with commas between: an image where the table has 1 for none of them is the reject
                     "excluded_no_required_finding"; -1 is not 1, whatever `uncertain` makes of it
  views=             frontal (the default), lateral or all
  projection=        AP, PA or all (the default); AP and PA leave out lateral images and those of unknown projection
An image that `views` or `projection` leaves out is the reject "excluded_view".
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

from tfrecords_builder.choices import check_choice, split_names
from tfrecords_builder.datasets.label_text import decimal_point
from tfrecords_builder.datasets.reader import Reject

OBSERVATIONS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
UNCERTAIN = {"ignore": math.nan, "zeros": 0.0, "ones": 1.0, "as_is": math.nan}
BLANK = {"zero": 0.0, "unknown": math.nan}
VIEWS = ("frontal", "lateral", "all")
PROJECTIONS = ("all", "AP", "PA")

_PUBLISHED = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1, "": None}


@dataclasses.dataclass(frozen=True)
class ObservationPolicy:
    """What becomes of a table's values and which images are kept; the settings are told above.

    Raises:
      ValueError: a value that is not among the choices, a name that is no observation or comes twice, or views and
        projection that leave nothing.
    """

    uncertain: str = "ignore"
    blank: str = "zero"
    findings: str = ""
    require_any: str = ""
    views: str = "frontal"
    projection: str = "all"

    def __post_init__(self) -> None:
        choices = {"uncertain": UNCERTAIN, "blank": BLANK, "views": VIEWS, "projection": PROJECTIONS}
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        _observations("findings", self.findings)
        _observations("require_any", self.require_any)
        if self.views == "lateral" and self.projection != "all":
            raise ValueError(f"views=lateral keeps no {self.projection} image; leave out projection={self.projection}")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names in the order of the label vector."""
        names = _observations("findings", self.findings) or OBSERVATIONS
        return (*names, *(f"{name} uncertain" for name in names)) if self.uncertain == "as_is" else names

    def excluded_view(self, plane: str, view: str) -> str:
        """Why an image is left out, "" where it is kept.

        Args:
          plane: "frontal", "lateral" or "" where the data set does not say.
          view: "PA", "AP", "LATERAL" or "".
        """
        if self.views not in ("all", plane):
            return f"the view is {plane or 'unknown'}, kept are views={self.views}"
        if self.projection not in ("all", view):
            return f"the projection is {view or 'unknown'}, kept are projection={self.projection}"
        return ""

    def label(self, row: Mapping[str, str]) -> tuple[float, ...] | Reject:
        """The label vector of a row of all fourteen columns, or why there is none.

        Returns:
          1, 0 or NaN for each of `label_names`; or a `Reject` without a key, "unknown_label" (a value other than 1, 0,
          -1 and blank) or "excluded_no_required_finding".
        """
        row = {name: decimal_point(row[name]) for name in OBSERVATIONS}
        for name, text in row.items():
            if text not in _PUBLISHED:
                return Reject("", "unknown_label", f"{name} is {text!r}, expected 1, 0, -1 or a blank")
        required = _observations("require_any", self.require_any)
        if required and not any(_PUBLISHED[row[name]] == 1 for name in required):
            return Reject("", "excluded_no_required_finding", f"none of {', '.join(required)} is 1")
        names = _observations("findings", self.findings) or OBSERVATIONS
        meaning = {1: 1.0, 0: 0.0, -1: UNCERTAIN[self.uncertain], None: BLANK[self.blank]}
        label = tuple(meaning[_PUBLISHED[row[name]]] for name in names)
        if self.uncertain == "as_is":
            label += tuple(float(_PUBLISHED[row[name]] == -1) for name in names)
        return label


@functools.cache
def _observations(setting: str, text: str) -> tuple[str, ...]:
    """The observations that a list with commas between names."""
    names = tuple(split_names(text, f"setting {setting}"))
    for name in names:
        check_choice(f"observation in {setting}", name, OBSERVATIONS)
    return names
