"""Reads the settings of an experiment file, as data: the file is parsed, never run."""

import ast
import os
import pathlib
from typing import Any

from tfcxr.command_line import nearest_name

VARIANTS_NAME = "VARIANTS"


def read_variant(path: str | os.PathLike, variant: str) -> dict[str, Any]:
    """The settings of one variant, from the literal dictionary `VARIANTS = {name: {...}}` in an experiment file.

    Raises:
      FileNotFoundError: no such file.
      ValueError: not Python, without such a dictionary of literals, or without that variant.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        others = sorted(str(other) for other in path.parent.glob("*.py"))
        raise FileNotFoundError(f"experiment {path} does not exist; {nearest_name(str(path), others)}")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        variants = next(ast.literal_eval(node.value) for node in tree.body if _assigns(node, VARIANTS_NAME))
    except (SyntaxError, ValueError, StopIteration) as error:
        raise ValueError(f"{path} has no literal dictionary {VARIANTS_NAME} = {{name: settings}}") from error
    if variant not in variants:
        raise ValueError(f"{path} has no variant {variant!r}; {nearest_name(variant, variants)}")
    return variants[variant]


def _assigns(node: ast.stmt, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)
