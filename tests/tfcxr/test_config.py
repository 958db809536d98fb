import dataclasses
from typing import Literal

import pytest

from tfcxr.config import make_config, parse_settings, to_plain


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.1
    size: int = 4
    name: Literal["a", "b", "none"] = "a"
    units: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    is_on: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be positive, got {self.size}")


def test_later_overrides_win_and_types_fit():
    config = make_config(Config, {"rate": 1, "size": 2}, {"size": 3, "units": [1, 2], "limit": 5})
    assert config == Config(rate=1.0, size=3, units=(1, 2), limit=5)
    assert isinstance(config.rate, float)
    assert make_config(Config, to_plain(config)) == config


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a", ("a",)),
        ("2024", ("2024",)),
        ("a,1", ("a", "1")),
        ("1,2", ("1", "2")),
        ("a,b", ("a", "b")),
        ("a, b", ("a", "b")),
        ("['a','b']", ("a", "b")),
        ("", ()),
    ],
)
def test_a_list_is_written_with_commas(given, expected):
    assert make_config(Config, parse_settings([f"words={given}"])).words == expected


@pytest.mark.parametrize(("given", "expected"), [("3", (3,)), ("3,4", (3, 4)), ("[3]", (3,)), ("()", ())])
def test_so_is_a_list_of_numbers(given, expected):
    assert make_config(Config, parse_settings([f"units={given}"])).units == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"sise": 1}, "Config has no setting 'sise'; did you mean 'size'"),
        ({"size": 1.5}, "Config.size expects a whole number, got 1.5"),
        ({"size": True}, "Config.size expects a whole number, got True"),
        ({"rate": "fast"}, "Config.rate expects a number, got 'fast'"),
        ({"name": "c"}, "Config.name expects one of 'a', 'b', 'none', got 'c'"),
        ({"units": "3,x"}, "Config.units expects a whole number, got 'x'"),
        ({"units": (1, "x")}, "Config.units expects a whole number, got 'x'"),
        ({"is_on": 1}, "Config.is_on expects true or false, got 1"),
        ({"is_on": "yes"}, "Config.is_on expects true or false, got 'yes'"),
        ({"size": "true"}, "Config.size expects a whole number, got 'true'"),
        ({"size": "none"}, "Config.size expects a whole number, got 'none'"),
        ({"size": 0}, "size must be positive"),
    ],
)
def test_wrong_settings_are_refused(override, message):
    with pytest.raises(ValueError, match=message):
        make_config(Config, override)


def test_settings_from_the_command_line():
    assert parse_settings(["a=1", "b=1e-4", "c=text", "d=(1, 2)", "e=True", "f=x=y"]) == {
        "a": 1,
        "b": 1e-4,
        "c": "text",
        "d": (1, 2),
        "e": True,
        "f": "x=y",
    }
    for wrong in ("a", "=1"):
        with pytest.raises(ValueError, match="expected --set name=value"):
            parse_settings([wrong])


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_words_for_true_false_and_none_are_understood_in_any_case(word):
    assert make_config(Config, parse_settings([f"is_on={word}"])).is_on is True
    assert make_config(Config, {"is_on": True}, parse_settings(["is_on=fALSE"])).is_on is False
    assert make_config(Config, {"limit": 3}, parse_settings(["limit=NONE"])).limit is None
    for none in ("none", "None"):  # a choice of this name is no None
        assert make_config(Config, parse_settings([f"name={none}"])).name == "none"


def test_settings_are_never_run():
    assert parse_settings(["a=__import__('os').getcwd()"]) == {"a": "__import__('os').getcwd()"}
