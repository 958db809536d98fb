"""The table of tensors that a user compares with PyTorch's own reading."""

import csv
import io
import json

import numpy as np
import pytest

from tfcxr.porting.inert_pickle import PickledObject
from tfcxr.porting.tensor_table import pytorch_lines, tensor_table


def rows(checkpoint):
    return list(csv.DictReader(io.StringIO(tensor_table(checkpoint))))


def test_every_tensor_has_a_row():
    generator = np.random.default_rng(0)
    weight = generator.normal(size=[300, 200]).astype(np.float32)
    checkpoint = {"state_dict": {"a.weight": weight, "steps": np.array(7)}, 3: [weight.astype(np.float16)], "epoch": 2}
    found = rows(checkpoint)
    assert [json.loads(row["path"]) for row in found] == [["state_dict", "a.weight"], ["state_dict", "steps"], [3, 0]]
    assert [row["dtype"] for row in found] == ["float32", "int64", "float16"]
    assert [json.loads(row["shape"]) for row in found] == [[300, 200], [], [300, 200]]
    exact = float(sum(map(float, weight.ravel())))
    assert float(found[0]["sum"]) == pytest.approx(exact, rel=1e-12), "not summed in float32, which is 1e-6 off"
    assert (float(found[0]["smallest"]), float(found[0]["largest"])) == (weight.min(), weight.max())
    assert (found[1]["sum"], found[1]["smallest"]) == ("7.0", "7")


def test_tensors_without_extremes():
    complex_numbers, switches, text = np.array([1 + 2j, 3]), np.array([True, False]), np.array(["a"])
    found = rows([np.zeros([0, 3]), complex_numbers, switches, text, np.array([np.nan, 1])])
    assert [row["sum"] for row in found] == ["0.0", "(4+2j)", "1.0", "", "nan"]
    assert [row["largest"] for row in found] == ["", "", "1", "", "nan"]


def test_the_lines_of_pytorch_compute_the_sums(tmp_path, monkeypatch, capsys):
    """Run with a stand-in for torch, which the project does not need."""
    checkpoint = {"state_dict": {"a": np.arange(4.0), "b": np.array([-2.5, 1.0])}, "list": [np.array(3.0)]}

    class Tensor(np.ndarray):
        double = np.ndarray.copy

    class Torch:
        load = staticmethod(lambda name, map_location, weights_only: checkpoint)
        as_tensor = staticmethod(lambda array: np.asarray(array).view(Tensor))

    monkeypatch.chdir(tmp_path)
    (tmp_path / "tensors.csv").write_text(tensor_table(checkpoint))
    monkeypatch.setitem(__import__("sys").modules, "torch", Torch)
    lines = pytorch_lines("file.pth", checkpoint)
    assert len(lines) == 3 and "weights_only=True" in lines[0]
    exec("\n".join(lines), {})
    assert [line.split()[-2:] for line in capsys.readouterr().out.splitlines()] == [
        ["6.0", "6.0"],
        ["-1.5", "-1.5"],
        ["3.0", "3.0"],
    ]


def test_files_with_programs_say_so():
    module = PickledObject("torch.nn.Linear", {"_modules": {}, "_parameters": {"w": np.ones(2)}})
    for checkpoint in (module, {"model": module}):
        line, *_ = pytorch_lines("a.pt", checkpoint)
        assert "weights_only=False)  # runs what the file holds: where it is trusted" in line
    assert "pickle.load(open('a.pkl', 'rb'))  # runs what" in pytorch_lines("a.pkl", {"w": np.ones(1)})[0]
    assert [json.loads(row["path"]) for row in rows({"model": module})] == [["model", "w"]]
