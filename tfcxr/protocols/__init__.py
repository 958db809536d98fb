"""Evaluation protocols: cohorts in, a report out. A new protocol is one new file and one line here."""

from collections.abc import Callable
from typing import Any

from tfcxr.protocols import synthetic_train_real_test
from tfcxr.protocols.settings import EvaluationSettings

PROTOCOLS: dict[str, Callable[[EvaluationSettings], dict[str, Any]]] = {
    "synthetic_train_real_test": synthetic_train_real_test.run,
}
