import copy
import json

import pytest

from tfcxr.benchmarks.comparison import compare, read_report

REPORT = {
    "machine": {"cpus": 2, "processor": "x86_64"},
    "settings": {"image_size": 64},
    "sizes": {"batch_size": 16},
    "train": {"images_per_second": 50.0},
    "pipeline": {"images_per_second": 9000.0},
    "stages": {"64": {"seconds": 1.0}},
}


def changed(**parts):
    return copy.deepcopy(REPORT) | parts


def test_slower_rates_are_said():
    text = compare(changed(train={"images_per_second": 44.0}), REPORT)
    train, pipeline = (next(line for line in text.splitlines() if line.startswith(n)) for n in ("train", "pipeline"))
    assert train.split() == ["train", "44.0", "50.0", "0.88", "slower", "by", "12%"]
    assert pipeline.split() == ["pipeline", "9000.0", "9000.0", "1.00"]
    assert text.endswith("1 of 2 slower by more than 10%")


def test_noise_within_a_tenth_is_no_regression():
    assert "0 of 2 slower" in compare(changed(train={"images_per_second": 45.1}), REPORT)


def test_models_are_compared_each():
    text = compare({"acgan": changed(train={"images_per_second": 25.0}), "cgan": REPORT}, {"acgan": REPORT})
    assert "acgan train" in text and "slower by 50%" in text and "\ncgan" not in text


def test_another_machine_is_named():
    text = compare(REPORT, changed(machine={"cpus": 16, "processor": "x86_64"}))
    assert text.splitlines()[0] == "another machine or version, so ratios say little: cpus 2, then 16"


@pytest.mark.parametrize(
    "parts, message",
    [
        ({"settings": {"image_size": 32}}, "image_size is 64 now and was 32 then"),
        ({"sizes": {"batch_size": 8}}, "batch_size is 16 now and was 8 then"),
        ({"train": {}, "pipeline": {}, "serve": {"images_per_second": 1.0}}, "nothing to compare: measured train"),
    ],
)
def test_unlike_figures_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        compare(REPORT, changed(**parts))


def test_report_is_read_as_written(tmp_path):
    path = tmp_path / "then.json"
    path.write_text(json.dumps(REPORT))
    assert read_report(path) == REPORT


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"train": {}}', '{"train": {"images_per_second": "fast"}}'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "then.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="is not a report of tfcxr.benchmark"):
        read_report(path)


def test_missing_report_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a file that tfcxr.benchmark --json wrote"):
        read_report(tmp_path / "then.json")
