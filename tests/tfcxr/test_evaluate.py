"""The command: its arguments, its report, and that a metric or a protocol is one registered object."""

import dataclasses
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from tfcxr import command_line
from tfcxr.config import settings_text
from tfcxr.data.records import read_dataset_info, write_dataset_info
from tfcxr.evaluate import EvaluateArguments, evaluate
from tfcxr.evaluation.metrics import METRICS
from tfcxr.evaluation.metrics.metric import ClassDiversity, ConfusionScore, Estimate, FeatureDistance, LabelScore
from tfcxr.evaluation.protocols import PROTOCOLS
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report.report import Findings

QUICK = (
    "tstr.arms=synthetic,real",
    "tstr.images=16",
    "tstr.bootstrap_resamples=20",
    "tstr.diversity_pairs=20",
    "classifier.max_epochs=1",
    "classifier.dense_units=(8,)",
)


@pytest.fixture(scope="module")
def cohort(disc_records, tmp_path_factory):
    """The discs as a cohort of a generator."""
    folder = tmp_path_factory.mktemp("cohort") / "32"
    shutil.copytree(disc_records, folder)
    provenance = {"model": "acgan", "training_data": {"patient_keys_file": "training_patients.txt"}}
    write_dataset_info(folder, dataclasses.replace(read_dataset_info(folder), is_synthetic=True, provenance=provenance))
    (folder / "training_patients.txt").write_text("patient-train-0\n")
    return folder


@pytest.fixture(scope="module")
def arguments(disc_records, cohort, tmp_path_factory) -> EvaluateArguments:
    return EvaluateArguments(
        synthetic_dir=(f"discs={cohort}",),
        real_dir=str(disc_records),
        out_dir=str(tmp_path_factory.mktemp("evaluation") / "eval"),
        validation_splits=("validation",),
        classifier="small_cnn",
        classifier_seeds=("0",),
        settings=QUICK,
    )


@pytest.mark.thorough
def test_one_report_of_several_protocols(arguments, tmp_path, capsys):
    flags = [
        f"--synthetic_dir={arguments.synthetic_dir[0]}",
        f"--real_dir={arguments.real_dir}",
        f"--out_dir={arguments.out_dir}",
        f"--extractor_dir={tmp_path / 'shared'}",
        *("--validation_splits=validation", "--classifier=small_cnn", "--classifier_seeds=0"),
        *("--protocols=tstr,distances", "--set=distances.images=8"),
        *(f"--set={setting}" for setting in QUICK),
    ]
    command_line.run(evaluate, ["tfcxr.evaluate", *flags])
    printed = capsys.readouterr().out
    assert re.search("small_cnn (learns from synthetic images|is not clearly above chance)", printed)
    assert "Distances of discs: Nothing can be said of" in printed
    assert "8 synthetic images are at Frechet distance" not in printed, "only the first sentence of each"
    assert f"Report: {arguments.out_dir}/report.html" in printed
    report = json.loads(pathlib.Path(arguments.out_dir, "report.json").read_text())
    tstr, distances = (report["protocols"][name]["discs"] for name in ("tstr", "distances"))
    assert tstr["images_per_side"] == 16 and report["classifier"]["dense_units"] == [8]
    assert list(tstr["tests"]["test"]["arms"]) == ["synthetic", "real"]
    assert [item["score"]["images"] for item in distances["extractors"]["trained"]["comparisons"]] == [8, 8], (
        "not tstr's"
    )
    assert len(list((tmp_path / "shared").glob("small_cnn-*.npz"))) == 1
    with pytest.raises(ValueError, match="already holds a report"):
        evaluate(arguments)


def test_help_lists_protocols_and_classifiers():
    text = command_line.help_text(evaluate)
    assert f"One of {', '.join(PROTOCOLS)}, all." in " ".join(text.split()) and "small_cnn" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocols": ("tsrt",)}, "--protocols=tsrt is unknown; did you mean 'tstr'?"),
        ({"extractor_dir": "shared"}, "--extractor_dir would have no effect: --protocols=tstr has no use for it"),
        (
            {"settings": ("distances.images=8",)},
            "--set=distances.images would have no effect: --protocols=tstr does not ask for",
        ),
        (
            {"settings": ("images=8",)},
            "--set=images expects PROTOCOL.NAME=VALUE or classifier.NAME=VALUE; .*valid names",
        ),
        ({"settings": ("clasifier.dropout=0",)}, "--set=clasifier.dropout expects .* did you mean 'classifier'"),
        ({"settings": ("tstr.image=8",)}, "TSTRSettings has no setting 'image'; did you mean 'images'"),
        ({"settings": ("tstr.images=many",)}, "TSTRSettings.images expects a whole number, got 'many'"),
        (
            {"protocols": ("distances",), "settings": (), "classifier_seeds": ("0", "1")},
            "--classifier_seeds would have no effect: distances trains one extractor; give it one seed",
        ),
        (
            {"settings": ("classifier.validation_fraction=.3",)},
            "--set=classifier.validation_fraction would have no effect: with --validation_splits, nothing is kept",
        ),
        ({"classifier_seeds": ("0", "x")}, "--classifier_seeds expects whole numbers such as 0,1,2, got 0,x"),
        ({"synthetic_dir": ("a/x/64", "b/x/64")}, "names two folders 'x'; give each as NAME=FOLDER"),
        ({"label_map": ("COVID",)}, "--label_map expects THEIRS:OURS such as COVID:PNEUMONIA, got 'COVID'"),
        ({"label_map": ("A:B", "A:C")}, "--label_map maps one label twice: A:B,A:C"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(arguments, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        evaluate(dataclasses.replace(arguments, out_dir=str(tmp_path / "e"), **changes))
    assert not (tmp_path / "e").exists()


@pytest.mark.thorough
def test_a_registered_metric_of_each_kind_is_in_the_reports(arguments, tmp_path, monkeypatch):
    shared = {"better": "lower", "title": "my title", "meaning": "What I mean; lower is better."}
    mine = [
        LabelScore(name="my_label_score", score=lambda positive, score, weights: weights.sum(1), **shared),
        ConfusionScore(name="my_confusion_score", score=lambda confusion: confusion.sum((-2, -1)), **shared),
        ConfusionScore(name="my_class_score", score=lambda c: c.sum(-1), is_per_class=True, **shared),
        FeatureDistance(
            name="my_distance", distance=lambda a, b, seed: float(np.abs(a.mean(0) - b.mean(0)).sum()), **shared
        ),
        *(
            ClassDiversity(
                name=f"my_diversity_of_{reads}",
                measure=lambda items, pairs, seed: Estimate(0.25, 0.2, 0.3),
                reads=reads,
                spread=lambda value: value,
                spread_title="my ratio",
                **shared,
            )
            for reads in ("images", "features")
        ),
    ]
    for metric in mine:
        monkeypatch.setitem(METRICS, metric.name, metric)
    chosen = dataclasses.replace(arguments, out_dir=str(tmp_path / "mine"), protocols=("tstr", "distances"))
    report = evaluate(chosen)
    tstr, distances = (report["protocols"][name]["discs"] for name in ("tstr", "distances"))
    real = tstr["tests"]["test"]["arms"]["real"]
    assert real["my_label_score"]["mean"] == real["at_half"]["my_confusion_score"]["mean"] == 16
    assert real["at_half"]["per_class"][0]["my_class_score"] == 8
    assert tstr["tests"]["test"]["shares_of_real"]["synthetic"]["my_label_score"]["mean"] == 1
    for name in ("my_diversity_of_images", "my_diversity_of_features"):
        row = tstr["diversity"][0]
        assert row[f"synthetic_{name}"] == [0.25, 0.2, 0.3] and row[f"{name}_ratio"] == 1
    for item in distances["extractors"]["trained"]["comparisons"]:
        assert item["score"]["my_distance"]["interval"][0] <= item["score"]["my_distance"]["mean"]
        assert item["floor"]["my_distance"]["mean"] > 0
    assert (tmp_path / "mine" / "report.html").read_text().count("my title") >= 7


def test_a_registered_protocol_runs_with_its_settings(arguments, tmp_path, monkeypatch, capsys):
    @dataclasses.dataclass(frozen=True)
    class Settings:
        """Settings.

        Attributes:
          words: what is said.
        """

        words: tuple[str, ...] = ("nothing",)

    def run(evaluation, settings):
        verdict = [f"{settings.words} of {evaluation.synthetic_dir.name}."]
        return Findings(
            title="Mine", verdict=verdict, data={"words": settings.words}, introduction="", parts=["<p>my part</p>"]
        )

    monkeypatch.setitem(PROTOCOLS, "mine", Protocol("mine", "is it mine?", Settings, run))
    chosen = dataclasses.replace(
        arguments, out_dir=str(tmp_path / "mine"), protocols=("mine",), settings=("mine.words=a,b",)
    )
    assert evaluate(chosen)["protocols"]["mine"]["discs"]["words"] == ["a", "b"]
    assert "('a', 'b') of 32." in capsys.readouterr().out
    assert "<p>my part</p>" in (tmp_path / "mine" / "report.html").read_text()
    assert "--set=mine.words=nothing\n      what is said." in settings_text(PROTOCOLS["mine"].settings_class, "mine.")


def test_every_protocol_answers_for_every_cohort_or_says_why_not(arguments, tmp_path, monkeypatch, capsys):
    @dataclasses.dataclass(frozen=True)
    class Nothing:
        """No settings."""

    def answer(evaluation, settings):
        names = ", ".join(evaluation.synthetic_dirs)
        return Findings(title="Mine", verdict=[f"Of {names}."], data={}, introduction="", parts=[])

    def refuse(evaluation, settings):
        raise ValueError(f"{evaluation.cohort_name} is too small")

    for name in list(PROTOCOLS):
        monkeypatch.delitem(PROTOCOLS, name)

    def together(evaluation, settings, findings):
        return Findings(
            title="Together", verdict=[f"Of {len(findings)}."], data={"n": 2}, introduction="", parts=["<p>both</p>"]
        )

    monkeypatch.setitem(PROTOCOLS, "mine", Protocol("mine", "?", Nothing, answer, side_by_side=together))
    monkeypatch.setitem(PROTOCOLS, "strict", Protocol("strict", "?", Nothing, refuse))
    monkeypatch.setitem(PROTOCOLS, "all_at_once", Protocol("all_at_once", "?", Nothing, answer, takes_several=True))
    folder = arguments.synthetic_dir[0].removeprefix("discs=")
    several = dataclasses.replace(
        arguments,
        synthetic_dir=(f"a={folder}", f"b={folder}"),
        out_dir=str(tmp_path / "all"),
        protocols=("all",),
        settings=(),
    )
    report = evaluate(several)
    assert list(report["protocols"]["mine"]) == ["a", "b", "a, b"]
    assert list(report["protocols"]["all_at_once"]) == ["a, b"]
    assert report["unanswered"] == ["strict of a: a is too small", "strict of b: b is too small"]
    printed = capsys.readouterr().out
    assert (
        "Not answered. strict of a: a is too small" in printed
        and "3 of 5: strict of a" in printed
        and "Mine of a, b: Of a, b." in printed
        and "Together of a, b: Of 2." in printed
    )
    page = (tmp_path / "all" / "report.html").read_text()
    assert "From above: real; a; b." in page and "Not answered. strict of a: a is too small." in page
    assert page.count("<p>both</p>") == 1
    with pytest.raises(ValueError, match="a is too small"):
        evaluate(dataclasses.replace(several, protocols=("strict",), out_dir=str(tmp_path / "one")))
    monkeypatch.delitem(PROTOCOLS, "mine")
    monkeypatch.delitem(PROTOCOLS, "all_at_once")
    with pytest.raises(ValueError, match="a is too small"):
        evaluate(dataclasses.replace(several, out_dir=str(tmp_path / "none")))
