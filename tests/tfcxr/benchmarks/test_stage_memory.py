"""Time and memory of a growing model's stages, and the fit to them."""

import json

import pytest

from tfcxr.benchmark import BenchmarkArguments, benchmark
from tfcxr.benchmarks.measurement import MeasurementArguments
from tfcxr.benchmarks.stage_memory import describe_stages, first_full_step, fit, measure_stages
from tfcxr.models import MODELS

TINY = {name: model.config_class.tiny_settings()[0] for name, model in MODELS.items()}


@pytest.mark.slow
def test_stages_of_a_growing_model_are_measured_and_fitted(tmp_path, capsys):
    settings = ("image_size=64", "channel_max=16")
    sizes = {"steps_per_size": 1, "sizes": ("64",), "batches": ("2", "4")}
    path = tmp_path / "figures.json"
    benchmark(BenchmarkArguments(measure=("stages",), model="pggan", settings=settings, json=str(path), **sizes))
    report = json.loads(path.read_text())["stages"]
    (part,) = report["sizes"]
    small, large = part["batches"]
    assert (part["size"], small["batch"], large["batch"]) == (64, 2, 4)
    feature_map = 64 * 64 * 16 * 4 / 2**20  # of one image in MiB; a gradient needs several
    assert part["mib_per_image"] > 2 * feature_map
    assert large["memory_mib"] > small["memory_mib"] > small["variables_mib"] > 0
    assert large["process_mib"] > large["program_mib"] > 100
    assert [row["batch"] for row in report["generator"]] == [1, 8]
    shown = capsys.readouterr().out
    assert "largest batch on" in shown and "generator, 64 px, batch 8" in shown


@pytest.mark.slow
@pytest.mark.parametrize("model", [name for name in MODELS if name != "pggan"])
def test_a_model_of_one_size_has_one_row_for_each_batch(model):
    settings = tuple(f"{name}={value}" for name, value in TINY[model].items())
    arguments = MeasurementArguments(model=model, settings=settings, batches=("2", "4", "6"), steps_per_size=1)
    figures = measure_stages(arguments)
    (part,) = figures["sizes"]
    assert [row["batch"] for row in part["batches"]] == [2, 4, 6]
    assert all(row["memory_mib"] > row["variables_mib"] > 0 for row in part["batches"])
    assert part["batches"][2]["predicted_mib"] == pytest.approx(part["batches"][2]["memory_mib"], rel=0.2)
    assert len(figures["generator"]) == (0 if model == "srgan" else 2)
    assert f"{part['size']:>5}      6" in describe_stages(figures)


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        ({"model": "stylegan2"}, (0, 16)),
        ({"model": "srgan"}, (500, 1)),
        ({"model": "cgan", "settings": ("r1_interval=3",)}, (0, 3)),
        ({"model": "wgan_gp"}, (0, 1)),
        ({"model": "wgan_gp", "settings": ("penalty_interval=2",)}, (0, 2)),
    ],
)
def test_memory_is_of_a_step_that_does_everything(settings, step):
    assert first_full_step(MeasurementArguments(**settings).config()) == step


def memory_rows(*pairs):
    return [{"batch": batch, "memory_mib": memory, "variables_mib": 300.0} for batch, memory in pairs]


def test_memory_is_a_line_and_the_largest_batch_counts_with_the_worst_of_all():
    rows = memory_rows((2, 700.0), (4, 900.0), (8, 1350.0))
    fitted = fit(rows)
    assert (fitted["fixed_mib"], fitted["mib_per_image"], rows[2]["predicted_mib"]) == (500, 100, 1300)
    assert fitted["steepest_mib_per_image"] == 850 / 8
    # (7372.8 - 500) / 106.25 = 64.7, where 7372.8 MiB are 90 % of 8 GiB
    assert fitted["largest_batch"] == {"8": 64, "16": 134, "24": 203, "40": 342, "80": 689}


def test_fits_of_too_little_memory_and_of_none():
    assert fit(memory_rows((1, 1e5), (2, 2e5)))["largest_batch"]["80"] == 0
    assert fit(memory_rows((1, 300.0), (2, 300.0)))["largest_batch"]["8"] is None
    scattered = fit(memory_rows((1, 400.0), (2, 900.0)))  # a line that begins below the weights themselves
    assert scattered["fixed_mib"] == -100 and scattered["largest_batch"]["8"] == int((7372.8 - 300) / 500)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": ("16",)}, "there is no stage of 16 px; pggan has 4, 8 px"),
        ({"sizes": ("4px",)}, "--sizes expects whole numbers with commas between, got '4px'"),
        ({"batches": ("2", "2")}, "--batches expects two or more different numbers from 1, got 2"),
        ({"batches": ("0", "2")}, "--batches expects two or more different numbers from 1, got 0, 2"),
        ({"model": "acgan", "settings": ("image_size=32",), "sizes": ("16",)}, "acgan has 32 px"),
    ],
)
def test_stages_that_cannot_be_measured_are_refused(given, message):
    growing = {"model": "pggan", "settings": ("image_size=8", "channel_max=4")}
    with pytest.raises(ValueError, match=message):
        measure_stages(MeasurementArguments(**growing | given))


@pytest.mark.thorough
def test_an_error_in_the_measuring_process_is_named(monkeypatch):
    growing = MeasurementArguments(
        model="pggan", settings=("image_size=8", "channel_max=4"), sizes=("4",), batches=("2", "1")
    )
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # of the process that measures
    with pytest.raises(ChildProcessError, match="a step at 4 px with a batch of 1 could not be measured: .*only with"):
        measure_stages(growing)
