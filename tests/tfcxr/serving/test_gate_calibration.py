"""Thresholds of a gate by what held-out real images score: their values, their use, and what is refused."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_dataset_info
from tfcxr.export import ExportArguments, export
from tfcxr.generate import GenerateArguments, generate
from tfcxr.serving.gate import Gate, GatedGenerator
from tfcxr.serving.gate_calibration import calibrate
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.min_realism import Quantile, parse_min_realism, path_and_splits, realism_text

NAMES = ("NORMAL", "PNEUMONIA")


@pytest.fixture
def model(tiny_export):
    return LoadedModel(tiny_export)


def test_each_exclusive_label_has_the_quantile_of_its_own_real_images(model, write_records, tmp_path):
    write_records(tmp_path / "32", {"train": 8, "test": 40})
    found = calibrate(model, Quantile(0.25), tmp_path, ["test"])
    real = load_images(tmp_path / "32", "test")
    realism = model.score(real.images, real.labels)
    for column, name in enumerate(NAMES):
        of_label = realism[real.labels[:, column] == 1]
        assert found.min_realism[name] == pytest.approx(np.quantile(of_label, 0.25), rel=1e-6)
        assert (of_label >= np.float32(found.min_realism[name])).mean() == 0.75
    assert found.min_realism["NORMAL"] != found.min_realism["PNEUMONIA"]
    facts = found.facts
    assert (facts["quantile"], facts["data"], facts["splits"], facts["images"]) == (0.25, "discs", ["test"], 40)
    assert facts["images_by_label"] == {"NORMAL": 20, "PNEUMONIA": 20}
    assert facts["threshold_of_all"] == pytest.approx(np.quantile(realism, 0.25), rel=1e-6)


def test_held_out_splits_are_found_and_a_rare_label_has_the_threshold_of_all(model, disc_records, caplog):
    found = calibrate(model, Quantile(0.1), disc_records)
    assert set(found.facts["splits"]) == {"validation", "test"} and found.facts["images"] == 32
    few = calibrate(model, Quantile(0.1), disc_records, ["test"])  # 8 images of each label
    assert set(few.min_realism.values()) == {few.facts["threshold_of_all"]}
    assert "NORMAL, PNEUMONIA has fewer than 10 images in test" in caplog.text


@pytest.mark.parametrize("label_names", [(), ("PNEUMONIA",)])
def test_joint_and_no_labels_have_one_threshold(model, disc_records, label_names, monkeypatch):
    model.description = dataclasses.replace(model.description, label_names=label_names, is_single_label=False)
    seen = []
    monkeypatch.setattr(model, "score", lambda image, label: seen.append(label) or np.linspace(0, 1, len(image)))
    found = calibrate(model, Quantile(0.5), disc_records, ["test"])
    assert found.min_realism == pytest.approx(0.5) and "images_by_label" not in found.facts
    np.testing.assert_array_equal(seen[0], load_images(disc_records, "test").labels[:, 1 : 1 + len(label_names)])


def test_what_cannot_calibrate_is_refused(model, tiny_enlarger, disc_records, write_records, tmp_path, monkeypatch):
    write_records(tmp_path / "made" / "32", {"train": 4, "test": 4}, is_synthetic=True)
    write_records(tmp_path / "alone" / "32", {"train": 4})
    with pytest.raises(ValueError, match="has no discriminator"):
        calibrate(LoadedModel(tiny_enlarger), Quantile(0.1), disc_records)
    for data_dir, message in (
        (tmp_path / "made", "holds synthetic images .discs., expected real ones"),
        (tmp_path / "alone", "has no split beside train; a calibrated gate needs images of held-out patients"),
    ):
        with pytest.raises(ValueError, match=message):
            calibrate(model, Quantile(0.1), data_dir)
    with pytest.raises(ValueError, match="the labels of .* in their order: NORMAL, PNEUMONIA"):
        GatedGenerator(model, Gate({"PNEUMONIA": 0.5, "NORMAL": 0.5}))
    with pytest.raises(ValueError, match=r"min_realism must be in \[0, 1\], got"):
        Gate({"NORMAL": 1.5})
    monkeypatch.setattr(model, "training_patients", lambda: "patient-test-0\npatient-test-1\n")
    with pytest.raises(ValueError, match="tiny/1 was trained on 2 of the patients in test of .*32:test"):
        calibrate(model, Quantile(0.1), disc_records, ["test"])
    calibrate(model, Quantile(0.1), disc_records, ["validation"])
    monkeypatch.setattr(model, "score", lambda image, label: np.full(len(image), np.nan))
    with pytest.raises(ValueError, match="scored a real image NaN; export another checkpoint"):
        calibrate(model, Quantile(0.1), disc_records, ["validation"])
    model.description = dataclasses.replace(model.description, label_names=("NORMAL", "Mass"))
    with pytest.raises(ValueError, match="has no label Mass, which tiny/1 has; discs has NORMAL, PNEUMONIA"):
        calibrate(model, Quantile(0.1), disc_records, ["validation"])


def test_a_threshold_per_label_decides_what_passes():
    gate = Gate({"NORMAL": 0.3, "PNEUMONIA": 0.6})
    label = tf.constant([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    realism = tf.constant([0.5, 0.5, 0.7])

    def candidates(seeds, rows):
        chosen = tf.gather(realism, tf.cast(seeds % 4, tf.int32))
        return tf.zeros([tf.shape(seeds)[0], 2, 2, 1], tf.uint8), chosen

    found = gate.choose(candidates, tf.range(3, dtype=tf.int64), label, [2, 2, 1], 8)
    assert found["is_accepted"].numpy().tolist() == [False, True, True]
    assert found["tries"].numpy().tolist() == [100, 1, 1]


def test_the_flag_is_a_number_or_a_quantile():
    values = {None: None, 0.0: 0.0, ".9": 0.9, "1": 1.0, "quantile:.1": Quantile(0.1), " quantile:0.25": Quantile(0.25)}
    assert {value: parse_min_realism(value) for value in values} == values
    for wrong in ("1.1", "-.1", "quantile:0", "quantile:1", "quantile:", "quantile", "nan", "median:.1", 1.5):
        with pytest.raises(ValueError, match=f"expects a number from 0 to 1 .* got {re.escape(str(wrong))}$"):
            parse_min_realism(wrong)
    assert realism_text(0.9) == "0.9"
    assert realism_text(0.9) == "0.9"
    by_label = {"A": 0.25, "B": 0.5}
    assert path_and_splits("records/64:validation,test") == ("records/64", ["validation", "test"])
    assert path_and_splits("C:\\records/64") == ("C:\\records/64", [])
    assert (realism_text(by_label), realism_text(by_label, ["B"])) == ("A 0.25, B 0.5", "0.5")


@pytest.mark.parametrize("command", [GenerateArguments, ExportArguments])
def test_flags_that_belong_together(command, tiny_export, disc_records, tmp_path):
    function = generate if command is GenerateArguments else export
    refused = [
        ({"min_realism": "quantile:.1"}, "--min_realism=quantile:0.1 needs held-out real images: --calibrate_on="),
        ({"min_realism": ".5", "calibrate_on": str(disc_records)}, "--calibrate_on would have no effect: it goes"),
        ({"min_realism": "quantile:.1", "calibrate_on": f"{tmp_path}:test"}, f"{tmp_path} has no dataset_info.json"),
        ({"min_realism": "half"}, "--min_realism expects a number from 0 to 1 such as .9, or quantile"),
    ]
    for flags, message in refused:
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
            function(command(saved_model=str(tiny_export), out_dir=str(tmp_path / "out"), **flags))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def gate(disc_records):
    return {"min_realism": "quantile:.05", "calibrate_on": f"{disc_records}:validation,test", "max_tries": 500}


COUNTS = ("NORMAL=4", "PNEUMONIA=4")


def test_a_cohort_records_what_its_gate_was_calibrated_on(tiny_export, model, gate, disc_records, tmp_path, capsys):
    generate(GenerateArguments(saved_model=str(tiny_export), out_dir=str(tmp_path), counts=COUNTS, **gate))
    assert "realism of NORMAL 0." in capsys.readouterr().out
    recorded = read_dataset_info(tmp_path / "32").provenance["realism_gate"]
    found = calibrate(model, Quantile(0.05), disc_records, ["validation", "test"])
    assert recorded["min_realism"] == found.min_realism and recorded["calibration"] == found.facts
    assert recorded["realism"]["minimum"] >= np.float32(min(found.min_realism.values()))


@pytest.mark.thorough
def test_an_exported_gate_has_the_same_thresholds(tiny_export, model, gate, disc_records, tmp_path):
    saved_model = str(tiny_export)
    cascade = LoadedModel(export(ExportArguments(saved_model=saved_model, out_dir=str(tmp_path / "gated"), **gate)))
    found, settings = (
        calibrate(model, Quantile(0.05), disc_records, ["validation", "test"]),
        cascade.description.settings,
    )
    assert settings["min_realism"] == found.min_realism and settings["calibration"] == found.facts
    card = (cascade.path / "README.md").read_text(encoding="utf-8")
    assert "Of 32 held-out real images of discs, the share 0.05 is rated lower." in card
    generate(GenerateArguments(saved_model=str(cascade.path), out_dir=str(tmp_path / "same"), counts=COUNTS))
    generate(GenerateArguments(saved_model=saved_model, out_dir=str(tmp_path / "cohort"), counts=COUNTS, **gate))
    same, cohort = (load_images(tmp_path / name / "32", "train") for name in ("same", "cohort"))
    np.testing.assert_array_equal(same.images, cohort.images)
    assert read_dataset_info(tmp_path / "same" / "32").provenance["realism_gate"]["calibration"] == found.facts
