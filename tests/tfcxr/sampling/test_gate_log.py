"""What is noted of a cohort's gate, and its summary."""

import dataclasses
import types

import numpy as np
import pytest

from tfcxr.sampling.cohort_labels import counted_labels, no_labels
from tfcxr.sampling.gate_log import GateLog
from tfcxr.serving.gate import Gate

NAMES = ("NORMAL", "PNEUMONIA")


def test_the_log_sums_up_by_label():
    plan = counted_labels({"NORMAL": 2, "PNEUMONIA": 1}, NAMES, True, 0)
    tries_of = {0: [3, 1], 1: [4]}  # by row of the plan
    log, other = GateLog(), GateLog()
    for image, row in enumerate(plan.order):
        (log if image < 2 else other).add(
            types.SimpleNamespace(
                tries=tries_of[row].pop(0), realism=0.9 + image / 100, copies_refused=image, copy_ratio=1.0 + image
            )
        )
    log = GateLog.from_json(log.to_json(), other.to_json())
    assert set(log.summary(Gate(0.9, 5).settings, plan, NAMES)) == {"realism_gate"}
    both = log.summary(Gate(0.9, 5).settings | {"copies": {"max_copy_ratio": 2.0}}, plan, NAMES)
    summary = both["realism_gate"]
    assert both["copy_gate"]["max_copy_ratio"] == 2.0 and both["copy_gate"]["tries"] == 8
    assert both["copy_gate"]["copies_refused"] == 3
    assert both["copy_gate"]["copy_ratio"] == {"minimum": 1.0, "mean": 2.0, "maximum": 3.0}
    assert (summary["accepted"], summary["tries"], summary["acceptance_rate"]) == (3, 8, 3 / 8)
    assert summary["images_by_tries"] == {"1": 1, "3": 1, "4": 1}
    assert summary["tries_by_label"] == {"NORMAL": {"images": 2, "tries": 4}, "PNEUMONIA": {"images": 1, "tries": 4}}
    assert summary["realism"] == {"minimum": 0.9, "mean": pytest.approx(0.91), "maximum": 0.92}


def test_the_log_counts_joint_labels_with_each_and_none_apart():
    plan = dataclasses.replace(no_labels(3), rows=np.array([[1, 1], [0, 0]], np.float32), order=np.array([0, 1, 0]))
    summary = GateLog([1, 2, 4], [0.9] * 3).summary(Gate().settings, plan, NAMES)["realism_gate"]
    both = {"images": 2, "tries": 5}
    assert summary["tries_by_label"] == {"NORMAL": both, "PNEUMONIA": both, "no label": {"images": 1, "tries": 2}}
    unlabelled = GateLog([1, 2, 4], [0.9] * 3).summary(Gate().settings, no_labels(3), ())["realism_gate"]
    assert unlabelled["tries_by_label"] == {"no label": {"images": 3, "tries": 7}}
