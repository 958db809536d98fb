"""Who may import whom, as the README's map says."""

import ast
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
COMMANDS = {
    "train",
    "train_classifier",
    "export",
    "generate",
    "embed",
    "evaluate",
    "compare",
    "serve",
    "benchmark",
    "port",
    "describe",
    "card",
    "study",
}
# package of tfcxr -> what of tfcxr it may import
ALLOWED = {
    "data": {"data", "registry"},
    "layers": {"layers", "data"},
    "losses": {"losses", "data"},
    "backbones": {"backbones", "layers", "data", "precision", "config", "registry"},
    "evaluation": {
        "evaluation",
        "backbones",
        "layers",
        "losses",
        "data",
        "config",
        "command_line",
        "registry",
        "optimizers",
        "precision",
    },
    "models": {"models", "registry", "backbones", "layers", "losses", "config", "optimizers", "precision", "data"},
    "classification": {"classification", "evaluation", "models", "training", "backbones", "data", "optimizers"},
    "training": {
        "training",
        "threads",
        "models",
        "layers",
        "backbones",
        "evaluation",
        "data",
        "config",
        "command_line",
        "registry",
        "precision",
    },
    "serving": {"serving", "training", "models", "data", "config", "command_line", "registry"},
    "sampling": {
        "sampling",
        "serving",
        "training",
        "backbones",
        "evaluation",
        "data",
        "config",
        "command_line",
        "registry",
        "startup",
    },
    "server": {
        "server",
        "serving",
        "sampling",
        "evaluation",
        "models",
        "data",
        "config",
        "command_line",
        "registry",
        "startup",
    },
    "reader_study": {
        "reader_study",
        "server",
        "serving",
        "sampling",
        "evaluation",
        "data",
        "command_line",
        "registry",
        "startup",
    },
    "porting": {
        "porting",
        "serving",
        "training",
        "models",
        "backbones",
        "layers",
        "precision",
        "data",
        "config",
        "command_line",
        "registry",
    },
    "benchmarks": {
        "backbones",
        "benchmarks",
        "evaluation",
        "startup",
        "serving",
        "training",
        "models",
        "data",
        "config",
        "command_line",
        "registry",
        "precision",
        "sampling",
    },
    "config": {"command_line", "registry"},
    "studies": {"studies", "api", "evaluation", "command_line", "config", "registry", "data", "startup"},
    "command_line": {"registry", "threads"},
    "threads": set(),
    "registry": set(),
    "optimizers": set(),
    "precision": set(),
    "startup": set(),
    "commands": {"registry"},
    "__main__": {"command_line", "commands", "registry"},
    "api": {"data", "serving", "sampling", "startup"},
    "__init__": set(),
}
BUILDER_USERS = {
    "tfcxr/training/embedded_data.py",  # builds the data of a run that is given none
    "tfcxr/benchmarks/builder.py",  # times the builder
}
PACKAGES = ("tfcxr", "tfrecords_builder")
SOURCES = sorted(path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


@functools.cache
def imported_modules(path):
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_follow_the_map(path):
    part = path.parts[1].removesuffix(".py") if len(path.parts) > 1 else ""
    for module in imported_modules(path):
        package, _, rest = module.partition(".")
        target = rest.split(".")[0]
        if path.parts[0] == "tfrecords_builder":
            assert package != "tfcxr" or target in {"data", "command_line", "config", "registry", "startup"}, (
                f"{path} may not import {module}"
            )
        elif package == "tfrecords_builder":
            assert path.as_posix() in BUILDER_USERS, f"{path} may not import {module}"
        elif package == "tfcxr":
            if part in COMMANDS:
                assert target not in COMMANDS, f"commands never import each other: {path}, {module}"
            elif target:
                assert target in ALLOWED[part], f"{path} may not import {module}"


def test_metrics_import_nothing_above_data():
    """So that training can use them: of `evaluation` it imports nothing else."""
    metrics, training = pathlib.Path("tfcxr/evaluation/metrics"), pathlib.Path("tfcxr/training")
    for path in SOURCES:
        ours = {module for module in imported_modules(path) if module.startswith("tfcxr.")}
        if metrics in path.parents:
            assert not {module for module in ours if not module.startswith(("tfcxr.data", "tfcxr.evaluation.metrics"))}
        elif training in path.parents:
            of_evaluation = {module for module in ours if module.startswith("tfcxr.evaluation")}
            assert all(module.startswith("tfcxr.evaluation.metrics") for module in of_evaluation), path


def test_schema_imports_only_the_message_of_ours():
    ours = [name for name in imported_modules("tfcxr/data/schema.py") if name.startswith("tfcxr")]
    assert ours == ["tfcxr.data.example.Example"]


def test_keras_cv_is_imported_in_one_file_only():
    users = [path.as_posix() for path in SOURCES if any(m.split(".")[0] == "keras_cv" for m in imported_modules(path))]
    assert users == ["tfcxr/data/augment.py"]


def test_top_level_is_what_the_readme_says():
    expected = {"setup.cfg", "pyproject.toml", "LICENSE", "README.md"}
    expected |= {"tfcxr", "tfrecords_builder", "experiments", "saved_models", "tests"}
    generated = {"runs", "records", "cohorts", "build", "dist"}
    present = {path.name for path in ROOT.iterdir() if not path.name.startswith(".") and path.suffix != ".egg-info"}
    assert present - generated == expected


def test_every_folder_of_sources_is_a_package_and_so_installed():
    folders = {path.parent for path in SOURCES}
    assert {folder for folder in folders if not (ROOT / folder / "__init__.py").is_file()} == set()
