"""A table of every tensor that was read, to compare with what PyTorch reads in the same file.

A port's parity compares the written model with the one in memory, so it cannot see that a file was read wrongly.
"""

import csv
import io
import json
from typing import Any

import numpy as np

from tfcxr.porting.inert_pickle import PickledObject
from tfcxr.porting.state_dicts import tensors

TABLE_FILE = "tensors.csv"
COLUMNS = ("path", "shape", "dtype", "sum", "smallest", "largest")


def tensor_table(checkpoint: Any) -> str:
    """CSV with a row per tensor: the keys that lead to it as a JSON list, shape, dtype, sum (float64) and extremes.

    A bfloat16 tensor is read, and listed, as float32; a complex one has no extremes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for path, array in tensors(checkpoint):
        kind = array.dtype.kind
        figures = [array.sum(dtype=np.complex128 if kind == "c" else np.float64).item() if kind in "biufc" else ""]
        figures += [array.min().item(), array.max().item()] if kind in "biuf" and array.size else ["", ""]
        writer.writerow([json.dumps(path), json.dumps(array.shape), array.dtype.name, *map(_number, figures)])
    return text.getvalue()


def pytorch_lines(file_name: str, checkpoint: Any) -> list[str]:
    """Three lines of Python that print, for each row of the table, the sum that PyTorch reads beside ours."""
    parts = checkpoint.values() if isinstance(checkpoint, dict) else [checkpoint]
    is_program = any(isinstance(part, PickledObject) for part in parts)
    read = f"torch.load({file_name!r}, map_location='cpu', weights_only={not is_program})"
    if file_name.endswith(".pkl"):
        read = f"pickle.load(open({file_name!r}, 'rb'))"
    caution = "  # runs what the file holds: where it is trusted" if is_program or file_name.endswith(".pkl") else ""
    return [
        f"import csv, functools, json, pickle, torch; checkpoint = {read}{caution}",
        "follow = lambda part, key: (part.state_dict() if hasattr(part, 'state_dict') else part)[key]",
        f"for row in csv.DictReader(open({TABLE_FILE!r})): print(row['path'], row['sum'], torch.as_tensor("
        "functools.reduce(follow, json.loads(row['path']), checkpoint)).double().sum().item())",
    ]


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
