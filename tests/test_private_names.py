"""Names of Keras and TensorFlow that are not public: which we rely on, that they are there, and that there are no more.

A release that drops one fails here by name; setup.cfg bounds the releases by those that were tested.
"""

import ast
import configparser
import importlib
import pathlib
import re

import keras
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = sorted(path for name in ("tfcxr", "tfrecords_builder", "experiments") for path in (ROOT / name).rglob("*.py"))
OPTIMIZER_NAMES = ("_all_reduce_sum_gradients", "_get_variable_index", "_momentums", "_velocities")  # in optimizers.py
GRAPH_NAME = "_functions"  # of a graph, in benchmarks/flop_count.py
INTERNAL_NAME = "tf.__internal__.distribute.interim.maybe_merge_call"  # in models/base.py
CONVERTER = "tensorflow.python.framework.convert_to_constants"  # in sampling/differentiable_generator.py
NOT_OF_THEM = {"_exit"}  # Python's own: os._exit
PRIVATE = re.compile(r"keras\.src|tensorflow\.(python|core|compiler)|\._")
DEFINITIONS, IMPORTS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef), (ast.Import, ast.ImportFrom)


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_adam_has_what_the_fused_one_relies_on(name):
    optimizer = keras.optimizers.Adam()
    optimizer.build([keras.Variable([1.0])])
    assert hasattr(optimizer, name), f"Keras {keras.__version__} has no Adam.{name}; adapt tfcxr/optimizers.py"


def test_a_graph_holds_its_functions():
    assert hasattr(tf.Graph(), GRAPH_NAME), f"TensorFlow {tf.__version__} has no Graph.{GRAPH_NAME}"


def test_replicas_can_be_merged():
    found = tf
    for part in INTERNAL_NAME.split(".")[1:]:
        assert hasattr(found, part), f"TensorFlow {tf.__version__} has no {INTERNAL_NAME}; adapt tfcxr/models/base.py"
        found = getattr(found, part)


def test_a_function_can_be_frozen():
    name = "convert_variables_to_constants_v2"
    assert hasattr(importlib.import_module(CONVERTER), name), f"TensorFlow {tf.__version__} has no {CONVERTER}.{name}"


def test_no_other_private_name_is_used():
    ours, used = set(), {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                if isinstance(node.ctx, ast.Store):
                    ours.add(node.attr)
                elif re.match(r"_[^_]|__internal__", node.attr):
                    used.setdefault(node.attr, path.name)
            elif isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Store):
                    ours.add(node.id)
            elif isinstance(node, DEFINITIONS):
                ours.add(node.name)
            elif isinstance(node, IMPORTS):
                modules = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
                )
                assert {name for name in modules if PRIVATE.search(name)} <= {CONVERTER}, path
    foreign = {name: path for name, path in used.items() if name not in ours | NOT_OF_THEM}
    allowed = {*OPTIMIZER_NAMES, GRAPH_NAME, "__internal__"}
    assert {name: path for name, path in foreign.items() if name not in allowed} == {}


def test_releases_are_bounded_on_both_sides():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for name in ("tensorflow", "keras"):
        assert re.search(rf"(?m)^{name} >= [\d.]+, < [\d.]+$", setup["options"]["install_requires"]), name
