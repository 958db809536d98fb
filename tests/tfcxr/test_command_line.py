"""Flags from a frozen dataclass; how a command starts and fails."""

import dataclasses
import errno
import sys

import pytest

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag, name_and_path, parse, refuse_flags


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawArguments(Arguments):
    """What is drawn.

    Attributes:
      saved_model: The exported
        version.
      images: How many.
      truncation: Spread of z.
      labels: Names.
      limit: Largest.
      settings: name=value.
      preview: Write a picture.
      folders: Beside the flags.
    """

    saved_model: str
    images: int = flag(3, minimum=1)
    truncation: float = flag(1.0, minimum=0.0, maximum=1.0)
    labels: tuple[str, ...] = ("a", "b")
    limit: int | None = flag(None, minimum=2)
    settings: tuple[str, ...] = flag((), name="set", is_repeated=True)
    preview: bool = False
    folders: tuple[str, ...] = flag((), is_positional=True)


def draw(arguments: DrawArguments) -> None:
    if arguments.saved_model == "full":
        raise OSError(errno.ENOSPC, "no space", "/disk")
    if arguments.saved_model == "stop":
        raise KeyboardInterrupt
    refuse_flags(arguments, ["limit", "settings"], "nothing is limited")
    print(arguments.images)


def test_flags_become_the_arguments_and_defaults_fill_in():
    words = ["draw", "--saved_model=m", "here", "--images=5", "--labels=x,y", "--set=a=1", "--set", "b=2", "--preview"]
    arguments, is_traced = parse(draw, words)
    assert arguments == DrawArguments(
        saved_model="m", images=5, labels=("x", "y"), settings=("a=1", "b=2"), preview=True, folders=("here",)
    )
    assert (arguments.truncation, arguments.limit, is_traced) == (1.0, None, False)
    assert parse(draw, ["draw", "--saved_model=m", "--nopreview", "--traceback"])[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "error: --saved_model is required: The exported version."),
        (["--saved_modl=m"], "error: Unknown command line flag 'saved_modl'. Did you mean: saved_model"),
        (["--saved_model=m", "--images=0"], "error: --images must be 1 or more, got 0"),
        (["--saved_model=m", "--images=few"], "error: flag --images=few: "),
        (["--saved_model=m", "--truncation=1.5"], "error: --truncation must be from 0 to 1, got 1.5"),
        (["--saved_model=m", "--limit=1"], "error: --limit must be 2 or more, got 1"),
        (["--saved_model=m", "--limit=2", "--set=a=1"], "error: --limit and --set would have no effect: nothing is"),
        (["--saved_model=full"], "error: no space left to write /disk; what was finished before is kept"),
    ],
)
def test_a_mistake_gives_one_sentence_and_status_1(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line.run(draw, ["draw", *words])
    assert stopped.value.code == 1
    errors = capsys.readouterr().err
    assert errors.startswith(message) and "Traceback" not in errors


def test_a_traceback_when_asked_for_and_the_status_of_ctrl_c(capsys):
    with pytest.raises(OSError, match="no space"):
        command_line.run(draw, ["draw", "--saved_model=full", "--traceback"])
    with pytest.raises(SystemExit) as stopped:
        command_line.run(draw, ["draw", "--saved_model=stop"])
    assert stopped.value.code == 130 and capsys.readouterr().err == "stopped\n"


def test_two_commands_in_one_process_and_the_same_one_twice(capsys):
    def count(arguments: DrawArguments) -> None:
        print(len(arguments.labels))

    for images in (4, 5):
        command_line.run(draw, ["draw", "--saved_model=m", f"--images={images}"])
    command_line.run(count, ["count", "--saved_model=m"])
    assert capsys.readouterr().out == "4\n5\n2\n"


def test_what_stands_beside_the_flags_is_refused_where_nothing_may():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Nothing(Arguments):
        """None."""

    def idle(arguments: Nothing) -> None: ...

    with pytest.raises(ValueError, match="unexpected argument 'acgan'; flags are written --name=value"):
        parse(idle, ["idle", "acgan"])


def test_help_names_every_flag_with_its_meaning_and_default(capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line.run(draw, ["draw", "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and text.startswith(__doc__.splitlines()[0])
    assert "--saved_model\n      The exported version. (required)" in text
    assert "--images\n      How many. (default: 3)" in text and "Names. (default: a,b)" in text
    assert "--limit\n      Largest.\n" in text and "--folders" not in text
    assert command_line.flag_names(draw) == ["saved_model", "images", "truncation", "labels", "limit", "set", "preview"]


def test_the_line_that_runs_a_command_again():
    arguments = DrawArguments(saved_model="a b", images=3, labels=("x", "y"), settings=("a=1", "b=2"), preview=True)
    module = __name__
    assert command_line.command_text(draw, arguments) == (
        f"python -m {module} '--saved_model=a b' --labels=x,y --set=a=1 --set=b=2 --preview"
    )


def test_a_plugin_is_loaded_before_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "own_greeting.py").write_text("print('hello')\n")
    command_line.run(draw, ["draw", "--saved_model=m", f"--plugin={tmp_path / 'own_greeting.py'}"])
    assert capsys.readouterr().out == "hello\n3\n"
    del sys.modules["own_greeting"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cohorts/a", ("", "cohorts/a")),
        ("a=cohorts/a", ("a", "cohorts/a")),
        ("runs/x=1/cohort", ("", "runs/x=1/cohort")),
        ("net.keras:layer=pooled", ("", "net.keras:layer=pooled")),
        ("my net=net.keras:layer=pooled", ("my net", "net.keras:layer=pooled")),
    ],
)
def test_a_path_may_have_a_name_in_front(text, expected):
    assert name_and_path(text) == expected
