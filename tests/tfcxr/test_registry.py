"""Names in registries, and files of one's own that register more."""

import json
import sys

import pytest

from tfcxr.registry import Registry, find, load_plugin, nearest_name

COLOURS = "tfcxr_test_colours"  # a registry that the plugins below find under this module's name


@pytest.fixture
def registry(monkeypatch):
    """A registry in an importable module; what the tests' plugins left in `sys.modules` and its path is removed."""
    module = type(sys)(COLOURS)
    module.NAMES = {"red": json.dumps}
    monkeypatch.setitem(sys.modules, COLOURS, module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield module.NAMES
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder, name, *lines):
    path = folder / f"{name}.py"
    path.write_text("\n".join([f"from {COLOURS} import NAMES", "def paint(): ...", *lines]) + "\n")
    return str(path)


def test_a_known_name_and_the_nearest_of_an_unknown_one(registry):
    assert find(registry, "red", "colour") == ("red", json.dumps)
    with pytest.raises(ValueError, match="unknown colour 'rad'; did you mean 'red'"):
        find(registry, "rad", "colour")
    assert nearest_name("zzz", []) == "valid names: none"
    assert nearest_name("Pneumonia", ["NORMAL", "PNEUMONIA"]).startswith("did you mean 'PNEUMONIA'?")


def test_a_file_is_named_by_its_path_and_loaded_once(registry, tmp_path):
    path = write(tmp_path, "own_blue", "NAMES['blue'] = paint")
    name, entry = find(registry, path, "colour")
    assert (name, entry.__name__, entry.__module__) == ("blue", "paint", "own_blue")
    assert find(registry, path, "colour") == (name, entry)
    assert load_plugin(path) is sys.modules["own_blue"]


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("own_nothing", [], "must register one colour to be named by its path, but it registers none"),
        ("own_two", ["NAMES['a'] = NAMES['b'] = paint"], "but it registers a, b"),
        ("own_wrong", ["1 / 0"], "own_wrong.py failed: ZeroDivisionError: division by zero"),
        ("json", [], "cannot be imported as 'json': choose a file name no other module has"),
        ("statistics", [], "cannot be imported as 'statistics'"),
        ("not-a-name", [], "cannot be imported as 'not-a-name'"),
    ],
)
def test_a_file_that_cannot_serve(registry, tmp_path, name, lines, message):
    with pytest.raises(ValueError, match=message):
        find(registry, write(tmp_path, name, *lines), "colour")


def test_a_file_that_is_not_there(registry):
    with pytest.raises(FileNotFoundError, match=r"plugin nowhere.py does not exist; expected a Python file"):
        find(registry, "nowhere.py", "colour")


def test_an_entry_is_imported_when_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "own_lazy.py").write_text("def paint(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    names = Registry(red="own_lazy:paint", dumps="json:dumps")
    assert list(names) == ["red", "dumps"]
    assert "red" in names
    assert "own_lazy" not in sys.modules
    assert names["red"] is sys.modules["own_lazy"].paint
    names["blue"] = json.loads
    del names["red"]
    assert dict(names) == {"dumps": json.dumps, "blue": json.loads}
    with pytest.raises(KeyError):
        names["red"]
