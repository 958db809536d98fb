import dataclasses

import pytest

from tfcxr.config import check_names, check_range
from tfcxr.models.model_config import AdversarialConfig, GANConfig, Stage


@dataclasses.dataclass(frozen=True)
class Numbers:
    value: float = 1.0
    values: tuple[int, ...] = (1, 2)
    names: tuple[str, ...] = ("a",)


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (1, {"minimum": 1}),
        (1.5, {"above": 1}),
        (0.0, {"minimum": 0, "below": 1}),
        (1.0, {"minimum": 0, "maximum": 1}),
        ((1, 2), {"minimum": 1, "maximum": 2}),
        ((), {"minimum": 1}),
    ],
)
def test_values_in_range_pass(value, bounds):
    check_range(Numbers(value=value), "value", **bounds)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (0, {"minimum": 1}, "value must be at least 1, got 0"),
        (1, {"above": 1}, "value must be above 1, got 1"),
        (1.0, {"minimum": 0, "below": 1}, "value must be at least 0 and below 1, got 1.0"),
        (1.5, {"minimum": 0, "maximum": 1}, "value must be at least 0 and at most 1, got 1.5"),
        ((2, 0), {"minimum": 1}, r"value must be at least 1, got \(2, 0\)"),
        (float("nan"), {"minimum": 0}, "value must be at least 0, got nan"),
    ],
)
def test_values_out_of_range_are_named(value, bounds, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_range(Numbers(values=(), value=value), "values", "value", **bounds)


def test_unknown_names_are_refused():
    check_names(Numbers(), "names", ("a", "b"))
    with pytest.raises(ValueError, match=r"unknown names \['c', 'd'\]; valid names: a, b"):
        check_names(Numbers(names=("d", "a", "c")), "names", ("a", "b"))


def test_one_stage_ends_where_it_is_told():
    assert AdversarialConfig().stages(8) == (Stage(64, 8, 0, 1000),)
    assert AdversarialConfig(image_size=32).stages(8, 5) == (Stage(32, 8, 0, 5),)


def test_sizes_out_of_bounds_are_refused_with_a_way_on():
    class Bounded(AdversarialConfig):
        largest_size = 64

    assert Bounded(image_size=64).image_size == 64
    with pytest.raises(ValueError, match=r"Bounded is for images of 32 to 64 px, got image_size=128; enlarge .* srgan"):
        Bounded(image_size=128)


def test_labels_are_read_where_the_model_is_conditional():
    assert GANConfig.reads_labels({}) and not GANConfig.reads_labels({"conditional": False})
    assert not AdversarialConfig.reads_labels({})


def test_stored_settings_come_under_todays_names():
    stored = {"has_minibatch_deviation": True, "image_size": 32}
    assert AdversarialConfig.current_settings(stored) == {"minibatch_stddev": True, "image_size": 32}


def test_only_some_losses_make_realism_a_probability():
    class Logged(AdversarialConfig):
        adversarial_loss = "log"

    assert Logged().realism_is_probability and not AdversarialConfig().realism_is_probability
