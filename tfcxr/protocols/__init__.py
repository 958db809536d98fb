"""Evaluation protocols: cohorts in, a report out. A new protocol is one new file and one line in each of these."""

from collections.abc import Callable
from typing import Any

from tfcxr.protocols import distribution_distance, synthetic_train_real_test

# Each takes its settings and returns its report, with "verdict", "is_patient_disjoint" and "shared_patients".
PROTOCOLS: dict[str, Callable[..., dict[str, Any]]] = {
    "synthetic_train_real_test": synthetic_train_real_test.run,
    "distribution_distance": distribution_distance.run,
}
# What each writes to --out_dir: the report for programs and the one for people.
REPORT_FILES: dict[str, tuple[str, str]] = {
    "synthetic_train_real_test": (synthetic_train_real_test.REPORT_FILE, synthetic_train_real_test.HTML_FILE),
    "distribution_distance": (distribution_distance.REPORT_FILE, distribution_distance.HTML_FILE),
}
