"""The optimisation of latents is timed at once and one by one, for each classifier."""

import pytest

from tfcxr.benchmarks.measurement import MeasurementArguments
from tfcxr.benchmarks.optimization import describe_optimization, measure_optimization


@pytest.mark.thorough
def test_classifiers_are_compared(unlabelled_export, tiny_classifier, make_classifier, tmp_path):
    hard = make_classifier(tmp_path / "hard" / "1", {"NORMAL": 0.6, "Mass": 1.0, "Edema": None})
    paths = (str(tiny_classifier), str(hard))
    arguments = MeasurementArguments(
        saved_model=str(unlabelled_export), classifiers=paths, generate_batch_size=6, repeats=10
    )
    figures = measure_optimization(arguments)
    assert list(figures["classifiers"]) == list(paths)
    easy, hard = figures["classifiers"].values()
    assert easy["success_rate"] > hard["success_rate"]  # nobody reaches 1
    assert easy["ratio"] == easy["steps_per_second"] / easy["single_steps_per_second"] > 1
    assert f"{easy['ratio']:.1f}" in describe_optimization(figures) and str(paths[1]) in describe_optimization(figures)


def test_both_parts_must_be_given(unlabelled_export):
    with pytest.raises(ValueError, match="--measure=optimize needs a generator and a classifier: --saved_model="):
        measure_optimization(MeasurementArguments(saved_model=str(unlabelled_export)))
