"""What a protocol is: a question about synthetic images, its settings, and the function that answers it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tfcxr.config import make_config
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.report.report import Findings


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One question.

    Attributes:
      name: in --protocols, and before its settings.
      question: one sentence.
      settings_class: a frozen dataclass whose `Attributes:` are shown by `tfcxr.describe`; every field has a default.
      run: (what all protocols share, its settings) -> what it found. Trainings that it finishes are kept in `out_dir`,
        so that a killed run continues.
      unused: arguments of tfcxr.evaluate that have no effect on it.
      uses_every_seed: of --classifier_seeds; else only the first is used.
      takes_several: is run once for all cohorts together; else for each of them.
      side_by_side: (what all protocols share, its settings, what it found by cohort) -> the same numbers of several
        cohorts in one table; None where it has none.
    """

    name: str
    question: str
    settings_class: type
    run: Callable[[Evaluation, Any], Findings]
    unused: tuple[str, ...] = ()
    uses_every_seed: bool = False
    takes_several: bool = False
    side_by_side: Callable[[Evaluation, Any, Mapping[str, Findings]], Findings] | None = None

    def make_settings(self, values: Mapping[str, Any]) -> Any:
        """Its settings from those of the command line.

        Raises:
          ValueError: an unknown setting, or a value of another type or range.
        """
        return make_config(self.settings_class, values)
