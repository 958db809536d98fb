"""Conversion for tensorflow_datasets, read back by a process that does not know this package."""

import dataclasses
import inspect
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tfcxr.data.pipeline import evaluation_batches
from tfcxr.data.records import read_dataset_info, shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, encode_record
from tfrecords_builder.commands import convert
from tfrecords_builder.inspect import convert_tfds
from tfrecords_builder.inspect.convert_tfds import convert_to_tfds

pytestmark = pytest.mark.thorough

pytest.importorskip("tensorflow_datasets", reason="conversion to TFDS needs pip install tensorflow-datasets")

SIZE = 6
RECORDS = {
    "train": [("a", (1, 0), "p1", "PA", 61.5, "F"), ("b", (math.nan, 1), "p1", "", math.nan, ""),
              ("c", (0, 0), "p2", "AP", 90.0, "M")],
    "held_out": [("d", (0, math.nan), "p3", "LATERAL", 3.0, "")],
}  # fmt: skip
FACTS = {
    "is_single_label": False,
    "bits": 8,
    "encoding": "raw",
    "preprocessing": {"square": "pad"},
    "source": {"homepage": "https://example.org/set", "citation": "Doe 2020", "licence": "CC BY 4.0"},
    "notice": "PHANTOM, not patients.",
}


def write_set(folder: pathlib.Path, name: str = "My set-2", **facts) -> pathlib.Path:
    """Noise images under the labels `Mass` and `Edema`, in two shards a split, the second of held_out empty."""
    facts = FACTS | facts
    random = np.random.default_rng(0)
    splits = {}
    for split, rows in RECORDS.items():
        examples = []
        for key, label, patient, view, age, sex in rows:
            image = random.integers(0, 1 << facts["bits"], (SIZE, SIZE)).astype(f"u{facts['bits'] // 8}")
            entry = Record(image, key, tuple(map(float, label)), patient, view, age, sex)
            examples.append(encode_record(entry, facts["encoding"]))
        shards = [write_shard(folder / shard_name(split, index, 2), examples[index::2]) for index in range(2)]
        splits[split] = SplitInfo(len(rows), len({row[2] for row in rows}), {}, tuple(shards))
    counts = {"images_read": 4, "images_written": 4, "rejected": {}}
    info = DatasetInfo(
        name=name,
        label_names=("Mass", "Edema"),
        image_size=SIZE,
        splits=splits,
        salt_fingerprint="s",
        **counts,
        **facts,
    )
    write_dataset_info(folder, info)
    return folder


# The process that reads sees tensorflow_datasets and not this project.
READER = """
import json, sys
import tensorflow_datasets as tfds

found = []
for folder in json.load(sys.stdin):
    builder = tfds.builder_from_directory(folder)
    rows = {}
    for split in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split)):
            image = example.pop("image")
            values = {name: value.decode() if isinstance(value, bytes) else value.tolist()
                      for name, value in example.items()}
            rows.setdefault(split, []).append(values | {"image": image.tolist(), "dtype": str(image.dtype)})
    info = builder.info
    found.append({"rows": rows, "metadata": dict(info.metadata), "description": info.description,
                  "homepage": info.homepage, "citation": info.citation, "name": info.name,
                  "supervised_keys": info.supervised_keys, "sizes": {s: info.splits[s].num_examples for s in rows}})
assert "tfcxr" not in sys.modules and "tfrecords_builder" not in sys.modules
json.dump(found, sys.stdout)
"""
ENCODINGS = [(8, "raw"), (8, "png"), (16, "raw"), (16, "png")]


@pytest.fixture(scope="module")
def read_back(tmp_path_factory):
    """For each of `ENCODINGS`: our folder, and what TFDS reads of its conversion."""
    root = tmp_path_factory.mktemp("tfds")
    ours = [write_set(root / f"{encoding}{bits}", bits=bits, encoding=encoding) for bits, encoding in ENCODINGS]
    folders = [convert_to_tfds(data_dir, root / f"tfds-{data_dir.name}") for data_dir in ours]
    process = subprocess.run(
        [sys.executable, "-c", READER],
        input=json.dumps([str(folder) for folder in folders]),
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=root,
    )
    assert process.returncode == 0, process.stderr
    return dict(zip(ENCODINGS, zip(ours, folders, json.loads(process.stdout), strict=True), strict=True))


@pytest.mark.parametrize("kind", ENCODINGS, ids=str)
def test_every_value_is_read_back_in_order(read_back, kind):
    data_dir, _, found = read_back[kind]
    assert found["sizes"] == {"train": 3, "held_out": 1}
    for split, rows in found["rows"].items():
        batch = next(evaluation_batches(data_dir, split, 10).as_numpy_iterator())
        assert len(rows) == len(batch["key"])
        for index, row in enumerate(rows):
            assert row["dtype"] == f"uint{kind[0]}"
            np.testing.assert_array_equal(row["image"], batch["image"][index])
            np.testing.assert_array_equal(row["label"], batch["label"][index])
            np.testing.assert_array_equal(row["age"], batch["age"][index])
            for name in ("key", "patient_key", "view", "sex"):
                assert row[name] == batch[name][index].decode()


def test_names_source_and_notice_are_there(read_back):
    _, folder, found = read_back[8, "raw"]
    assert (folder.parent.name, folder.name, found["name"]) == ("my_set_2", "1.0.0", "my_set_2")
    assert found["metadata"]["label_names"] == ["Mass", "Edema"] and not found["metadata"]["is_synthetic"]
    assert found["metadata"]["preprocessing"] == {"square": "pad"}
    for text in ("PHANTOM, not patients.", "Licence: CC BY 4.0", "Mass, Edema"):
        assert text in found["description"]
    assert (found["homepage"], found["citation"]) == ("https://example.org/set", "Doe 2020")
    assert found["supervised_keys"] == ["image", "label"]
    for path in folder.iterdir():
        assert str(folder.parents[2]).encode() not in path.read_bytes(), "no path of this machine is told"


def test_the_same_folder_gives_the_same_bytes(read_back, tmp_path):
    data_dir, folder, _ = read_back[8, "raw"]
    again = convert_to_tfds(data_dir, tmp_path)
    shards = sorted(path.name for path in folder.glob("*.tfrecord-*"))
    assert len(shards) == 4
    for name in shards:
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_nothing_half_written_is_left_and_a_finished_folder_is_not_touched(tmp_path):
    data_dir = write_set(tmp_path / "ours", "123")
    info = read_dataset_info(data_dir)
    path = data_dir / shard_name("held_out", 0, 2)
    whole = path.read_bytes()
    shard = write_shard(path, [b"no example"])
    shards = (shard, *info.splits["held_out"].shards[1:])
    splits = info.splits | {"held_out": dataclasses.replace(info.splits["held_out"], shards=shards)}
    write_dataset_info(data_dir, dataclasses.replace(info, splits=splits))
    with pytest.raises(ValueError, match="a record of .*held_out-00000-of-00002.tfrecord is damaged"):
        convert_to_tfds(data_dir, tmp_path / "out")
    unfinished = tmp_path / "out" / "data_123" / "unfinished_1.0.0"
    assert [path.name for path in unfinished.parent.iterdir()] == [unfinished.name]
    write_dataset_info(data_dir, info)
    path.write_bytes(whole[:-1] + b"x")
    with pytest.raises(ValueError, match="was altered"):
        convert_to_tfds(data_dir, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing"):
        convert_to_tfds(data_dir, tmp_path / "out")
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="unfinished_1.0.0 holds an unfinished conversion of another source"):
        convert_to_tfds(data_dir, tmp_path / "out")
    shutil.rmtree(unfinished)
    folder = convert_to_tfds(data_dir, tmp_path / "out")
    assert folder == tmp_path / "out" / "data_123" / "1.0.0" and not unfinished.exists()
    with pytest.raises(FileExistsError, match="1.0.0 is there already; remove it or choose another --out_dir"):
        convert_to_tfds(data_dir, tmp_path / "out")


def test_an_interrupted_conversion_is_resumed_to_the_same_bytes(read_back, tmp_path, monkeypatch):
    data_dir, whole, _ = read_back[8, "raw"]
    with monkeypatch.context() as patch:
        patch.setattr(convert_tfds, "_write_metadata", lambda *arguments: 1 / 0)  # when all shards are there
        with pytest.raises(ZeroDivisionError):
            convert_to_tfds(data_dir, tmp_path)
    growing = tmp_path / "my_set_2" / "unfinished_1.0.0" / "1.0.0"
    first, second, *_ = shards = sorted(growing.iterdir())
    before = first.stat().st_mtime_ns
    second.write_bytes(b"")  # as after a crash of the machine: found, and done again
    folder = convert_to_tfds(data_dir, tmp_path)
    assert len(shards) == 4 and (folder / first.name).stat().st_mtime_ns == before
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in whole.iterdir()
    }
    assert [path.name for path in (tmp_path / "my_set_2").iterdir()] == ["1.0.0"]


def test_an_empty_folder_and_a_top_folder_are_refused(tmp_path):
    data_dir = write_set(tmp_path / "top" / "6")
    with pytest.raises(FileNotFoundError, match="it holds builds at 6 px: name one of those folders"):
        convert_to_tfds(tmp_path / "top", tmp_path / "out")
    info = read_dataset_info(data_dir)
    write_dataset_info(data_dir, dataclasses.replace(info, splits={}, images_read=0, images_written=0))
    with pytest.raises(ValueError, match="holds no image to convert"):
        convert_to_tfds(data_dir, tmp_path / "out")


def test_the_lines_that_read_our_shards_do_so(tmp_path):
    folder = write_set(tmp_path / "ours")
    lines = inspect.getmodule(convert).__doc__.partition("  import json")[2]
    lines = "import json" + lines.partition("\n\n")[0].replace("\n  ", "\n").replace("records/phantom/64", str(folder))
    names: dict = {}
    exec(lines, names)  # what a reader of the command's help would run
    examples = list(names["examples"].as_numpy_iterator())
    batch = next(evaluation_batches(folder, "train", 10).as_numpy_iterator())
    assert len(examples) == 3
    for index, example in enumerate(sorted(examples, key=lambda example: example["image/bytes"])):
        order = np.argsort([image.tobytes() for image in batch["image"]])
        image = np.frombuffer(example["image/bytes"], np.uint8).reshape(SIZE, SIZE, 1)
        np.testing.assert_array_equal(image, batch["image"][order[index]])
        np.testing.assert_array_equal(example["label"], batch["label"][order[index]])


def test_the_command(tmp_path, run_commands):
    folder, out = str(write_set(tmp_path / "ours")), f"--out_dir={tmp_path / 'out'}"
    commands = [
        ["convert", folder, "--to=tfds", out],
        ["convert", folder, "--to=tfdss", out],
        ["convert", folder, folder, "--to=tfds", out],
        ["without", "tensorflow_datasets", "convert", folder, "--to=tfds", f"--out_dir={tmp_path / 'x'}"],
    ]
    (status, output, _), *mistakes = run_commands(commands)
    assert status == 0 and re.search(r'^wrote .*my_set_2/1.0.0; read it with .*builder_from_directory\("', output)
    assert (tmp_path / "out" / "my_set_2" / "1.0.0" / "features.json").is_file()
    told = (
        "--to=tfdss is unknown; did you mean 'tfds'",
        "expected one data folder, such as runs/phantom, got 2",
        "install it with pip install tensorflow-datasets",
    )
    for (status, output, errors), message in zip(mistakes, told, strict=True):
        assert status == 1 and not output and message in errors.splitlines()[-1] and "Traceback" not in errors
    assert not (tmp_path / "x").exists()
