"""Whole builds of a tiny folder of images: what is written, what is refused, and what a killed build leaves."""

import csv
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.parsing import parse_batch
from tfcxr.data.records import read_dataset_info, shard_paths, stored_patient_keys
from tfcxr.data.schema import hashed_key
from tfcxr.data.unfinished import unfinished_folder
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.image_folder import ImageFolder
from tfrecords_builder.options import BuildOptions

PATTERN = r"(p\d+)_"
SPLITS = {"train": 0.5, "test": 0.5}


def write_raw(raw_dir: pathlib.Path, images: int = 24, side: int = 20) -> pathlib.Path:
    """Noise images of two classes, three a patient."""
    random = np.random.default_rng(0)
    for number in range(images):
        path = raw_dir / ("healthy" if number % 2 else "sick") / f"p{number // 3}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), random.integers(0, 256, (side, side), dtype=np.uint8))
    return raw_dir


@pytest.fixture
def raw_dir(tmp_path):
    return write_raw(tmp_path / "raw")


def options(**changes):
    return BuildOptions(**{"image_sizes": (16,), "splits": SPLITS, "workers": 1, "shard_images": 5, **changes})


def reader(raw_dir):
    return ImageFolder(str(raw_dir), patient_pattern=PATTERN)


def contents(out_dir: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(out_dir)): path.read_bytes() for path in out_dir.rglob("*") if path.is_file()}


def records(data_dir, split):
    info = read_dataset_info(data_dir)
    paths = shard_paths(data_dir, info, split, verify_checksums=True)
    batch = next(iter(tf.data.TFRecordDataset(paths).batch(1000)))
    return {name: value.numpy() for name, value in parse_batch(batch, info).items()}


def test_records_hold_the_images_labels_and_hashed_patients(raw_dir, tmp_path):
    salt = b"0123456789abcdef"
    infos = build_dataset(reader(raw_dir), tmp_path / "out", options(image_sizes=(20, 8), salt=salt))
    assert infos[20] == read_dataset_info(tmp_path / "out" / "20")
    found, patients = {}, {}
    for split in SPLITS:
        for size in (8, 20):
            data = records(tmp_path / "out" / str(size), split)
            assert data["image"].shape[1:] == (size, size, 1)
            assert infos[size].splits[split].images == len(data["key"])
        found |= dict(
            zip(data["key"], zip(data["image"], data["label"], data["patient_key"], strict=True), strict=True)
        )
        patients[split] = set(data["patient_key"])
        assert infos[20].splits[split].patients == len(patients[split])
        for index, name in enumerate(("healthy", "sick")):
            positive = int(data["label"][:, index].sum())
            counts = {"positive": positive, "negative": len(data["label"]) - positive, "unknown": 0}
            assert infos[20].splits[split].labels[name] == counts
        for size in (8, 20):
            stored = stored_patient_keys(tmp_path / "out" / str(size), infos[size])
            assert stored[split] == sorted(key.decode() for key in patients[split])
    assert not patients["train"] & patients["test"]
    assert len(found) == 24
    for example in reader(raw_dir).examples():
        image, label, patient = found[hashed_key(f"image_folder/{example.key}", salt).encode()]
        np.testing.assert_array_equal(image[..., 0], cv2.imread(str(raw_dir / example.path), cv2.IMREAD_GRAYSCALE))
        assert tuple(label) == example.label
        assert patient == hashed_key(f"image_folder/{example.patient_id}", salt).encode()


def test_every_argument_is_recorded_and_no_path_or_patient(raw_dir, tmp_path):
    build_dataset(reader(raw_dir), tmp_path / "out", options(seed=3))
    info = read_dataset_info(tmp_path / "out" / "16")
    assert info.preprocessing["square"] == "squash" and info.preprocessing["clahe"] is None
    assert info.preprocessing["seed"] == 3 and info.preprocessing["splits"] == SPLITS
    assert info.preprocessing["reader_settings"]["patient_pattern"] == PATTERN
    assert info.preprocessing["split_by"] == "labels" and info.preprocessing["duplicates"] == "report"
    assert not (unfinished_folder(tmp_path / "out", "build")).exists()
    for name, content in contents(tmp_path / "out" / "16").items():
        for private in (b"p1_", b"healthy/", str(tmp_path).encode()):
            assert private not in content, name


def test_what_was_drawn_of_each_label_is_recorded(raw_dir, tmp_path):
    (raw_dir / "healthy" / "p0_1.png").unlink()  # 11 are left
    plain = build_dataset(reader(raw_dir), tmp_path / "plain", options())[16]
    assert "max_images_per_label" not in plain.preprocessing
    info = build_dataset(reader(raw_dir), tmp_path / "out", options(max_images_per_label=5))[16]
    assert info.preprocessing["max_images_per_label"] == {"limit": 5, "drawn": {"healthy": 5, "sick": 5}}
    assert (info.images_written, info.rejected) == (10, {"excluded_beyond_max_images_per_label": 13})
    few = build_dataset(reader(raw_dir), tmp_path / "few", options(max_images_per_label=12))[16]
    assert few.preprocessing["max_images_per_label"]["drawn"] == {"healthy": 11, "sick": 12}


def test_damaged_files_are_counted_by_reason_and_named_in_private(raw_dir, tmp_path):
    (raw_dir / "sick" / "p1_cut.png").write_bytes((raw_dir / "sick" / "p0_0.png").read_bytes()[:-20])
    (raw_dir / "sick" / "p1_text.png").write_text("no picture")
    (raw_dir / "sick" / "p2_black.png").write_bytes(cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes())
    info = build_dataset(reader(raw_dir), tmp_path / "out", options())[16]
    assert info.rejected == {"truncated": 1, "not_an_image": 1, "constant": 1}
    assert (info.images_read, info.images_written) == (27, 24)
    assert sum(split.images for split in info.splits.values()) == 24
    with (tmp_path / "out" / "rejects.csv").open(newline="") as file:
        rows = {row["key"]: row["reason"] for row in csv.DictReader(file)}
    assert rows == {"sick/p1_cut.png": "truncated", "sick/p1_text.png": "not_an_image", "sick/p2_black.png": "constant"}


def copy_into(raw_dir: pathlib.Path) -> None:
    """A file a second time for its own patient, one for another patient and class, and a picture stored again."""
    (raw_dir / "healthy" / "p0_copy.png").write_bytes((raw_dir / "healthy" / "p0_1.png").read_bytes())
    (raw_dir / "sick" / "p99_copy.png").write_bytes((raw_dir / "healthy" / "p0_1.png").read_bytes())
    picture = cv2.imread(str(raw_dir / "sick" / "p1_4.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(raw_dir / "sick" / "p1_again.png"), np.clip(picture + 1.0, 0, 255).astype(np.uint8))


def notices_of(out_dir):
    with (out_dir / "notices.csv").open(newline="") as file:
        return {(row["key"], row["kind"]): row["detail"] for row in csv.DictReader(file)}


def test_duplicates_are_reported_within_and_across_splits(raw_dir, tmp_path):
    copy_into(raw_dir)
    info = build_dataset(reader(raw_dir), tmp_path / "out", options(split_by="hash"))[16]
    assert info.images_written == 27
    splits = {}
    for split in info.splits:
        for key in records(tmp_path / "out" / "16", split)["key"]:
            splits[key.decode()] = split
    split_of = lambda key: splits[hashed_key(f"image_folder/{key}", b"")]  # noqa: E731
    found = notices_of(tmp_path / "out")
    same = ["healthy/p0_1.png", "healthy/p0_copy.png", "sick/p99_copy.png"]
    named = [key for key, kind in found if kind in ("duplicate", "duplicate_across_splits")]
    assert len(named) == 2 and set(named) < set(same)
    (first,) = set(same) - set(named)
    for key in named:
        kind = "duplicate" if split_of(key) == split_of(first) else "duplicate_across_splits"
        assert found[key, kind] == f"of {first} in {split_of(first)}"
    labels = [key for key, kind in found if kind == "duplicate_other_labels"]
    assert labels == [key for key in named if key.split("/")[0] != first.split("/")[0]]
    near = {key: detail for (key, kind), detail in found.items() if kind == "near_duplicate"}
    assert len(near) == 1 and set(near) <= {"sick/p1_4.png", "sick/p1_again.png"}
    assert sum(info.notices.values()) == len(found)


def test_duplicates_are_dropped_or_an_error_before_anything_is_written(raw_dir, tmp_path):
    (raw_dir / "sick" / "p2_copy.png").write_bytes((raw_dir / "sick" / "p0_0.png").read_bytes())
    build = lambda name, **arguments: build_dataset(reader(raw_dir), tmp_path / name, options(**arguments))[16]  # noqa: E731
    with pytest.raises(
        ValueError, match=r"1 images have the content of another, such as sick/p2_copy.png that of sick/p0"
    ):
        build("error", duplicates="error")
    assert not (tmp_path / "error").exists()
    info = build("dropped", duplicates="drop")
    assert info.rejected == {"duplicate": 1} and info.images_written == 24 and info.notices == {}
    (raw_dir / "healthy" / "p3_copy.png").write_bytes((raw_dir / "sick" / "p0_0.png").read_bytes())
    info = build("conflict", duplicates="drop")  # one picture, healthy and sick: none of the three can be believed
    assert info.rejected == {"conflicting_labels": 3} and info.images_written == 23


def test_patients_of_a_former_build_keep_their_splits(tmp_path):
    salt = bytes(range(16))
    raw_dir = write_raw(tmp_path / "raw", images=240)
    arguments = {"splits": {"train": 0.6, "held_out": 0.4}, "salt": salt}
    build_dataset(reader(raw_dir), tmp_path / "old", options(**arguments))
    write_raw(raw_dir, images=480)
    kept = options(**arguments, keep_splits=str(tmp_path / "old"))
    info = build_dataset(reader(raw_dir), tmp_path / "new", kept)[16]
    old, new = ({split: set(records(tmp_path / name / "16", split)["patient_key"]) for split in arguments["splits"]}
                for name in ("old", "new"))  # fmt: skip
    assert all(old[split] < new[split] for split in old) and not new["train"] & new["held_out"]
    assert info.preprocessing["kept_patients"] == 80
    assert len(new["train"]) == pytest.approx(0.6 * 160, abs=3)
    with pytest.raises(ValueError, match="was built with another --salt_file"):
        build_dataset(
            reader(raw_dir), tmp_path / "x", options(splits=arguments["splits"], keep_splits=kept.keep_splits)
        )
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        build_dataset(reader(raw_dir), tmp_path / "x", options(keep_splits="nowhere"))


def test_sixteen_bits_are_kept_on_request(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (12, 16, 16), dtype=np.uint16)
    pixels[:, 0, 0] = 4095
    for number, picture in enumerate(pixels):
        path = tmp_path / "raw" / "a" / f"p{number}_.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
    info = build_dataset(reader(tmp_path / "raw"), tmp_path / "out", options(bits=16, splits={"train": 1.0}))[16]
    data = records(tmp_path / "out" / "16", "train")
    assert info.bits == 16 and data["image"].dtype == np.uint16
    found = dict(zip(data["key"], data["image"], strict=True))
    for number, picture in enumerate(pixels):
        stored = found[hashed_key(f"image_folder/a/p{number}_.png", b"").encode()][..., 0]
        np.testing.assert_array_equal(np.rint(stored * (4095 / 65535)).astype(np.uint16), picture)


def test_a_beam_pipeline_writes_the_same_bytes(tmp_path):
    pytest.importorskip("apache_beam", reason="the extra beam is not installed")
    raw_dir = write_raw(tmp_path / "raw", images=60)
    (raw_dir / "sick" / "p1_text.png").write_text("no picture")
    arguments = {"shard_images": 10, "image_sizes": (16, 24)}
    local = build_dataset(reader(raw_dir), tmp_path / "local", options(**arguments))
    beam = build_dataset(reader(raw_dir), tmp_path / "beam", options(**arguments, runner="beam", workers=1))
    assert beam == local and beam[16].rejected == {"not_an_image": 1}
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")


def test_stop_ends_at_a_damaged_file_and_skip_then_finishes(raw_dir, tmp_path):
    (raw_dir / "sick" / "p1_text.png").write_text("no picture")
    with pytest.raises(ValueError, match="sick/p1_text.png cannot be used: not_an_image .*; --on_error=skip counts"):
        build_dataset(reader(raw_dir), tmp_path / "out", options(on_error="stop"))
    assert not list((tmp_path / "out").glob("*/dataset_info.json"))
    assert build_dataset(reader(raw_dir), tmp_path / "out", options())[16].rejected == {"not_an_image": 1}


@pytest.mark.parametrize(("pattern", "reason"), [(PATTERN, "not_an_image"), ("nobody", "unknown_patient")])
def test_rejects_are_named_when_no_image_can_be_used(raw_dir, tmp_path, pattern, reason):
    """Refused by their pixels, or before them."""
    for path in raw_dir.rglob("*.png"):
        path.write_text("no picture")
    message = f"none of 24 images in .* can be used: {reason} 24; such as .*, {reason}: .* named in .*/out/rejects.csv"
    for _ in range(2):  # and what is left is in nobody's way
        with pytest.raises(ValueError, match=message):
            build_dataset(ImageFolder(str(raw_dir), patient_pattern=pattern), tmp_path / "out", options())
        (file,) = contents(tmp_path / "out").items()
        assert file[0] == "rejects.csv" and file[1].count(f",{reason},".encode()) == 24
    write_raw(raw_dir)
    assert build_dataset(reader(raw_dir), tmp_path / "out", options())[16].images_written == 24


def test_a_finished_build_is_not_touched(raw_dir, tmp_path):
    build_dataset(reader(raw_dir), tmp_path / "out", options())
    before = contents(tmp_path / "out")
    for changes in ({}, {"image_sizes": (32,)}):
        with pytest.raises(FileExistsError, match="already holds a data set at 16 px; remove it or choose another"):
            build_dataset(reader(raw_dir), tmp_path / "out", options(**changes))
    assert contents(tmp_path / "out") == before


def test_foreign_shards_and_files_are_not_touched(raw_dir, tmp_path):
    (tmp_path / "out" / "16").mkdir(parents=True)
    (tmp_path / "out" / "16" / "precious.tfrecord").write_text("mine")
    with pytest.raises(FileExistsError, match="holds shards, but no dataset_info.json and no unfinished build"):
        build_dataset(reader(raw_dir), tmp_path / "out", options())
    with pytest.raises(FileExistsError, match="is a file, expected a folder"):
        build_dataset(reader(raw_dir), tmp_path / "out" / "16" / "precious.tfrecord", options())
    assert list(contents(tmp_path / "out").values()) == [b"mine"]


def test_a_folder_that_cannot_be_made(raw_dir, tmp_path):
    (tmp_path / "file").touch()  # root may write everywhere, but not below a file
    with pytest.raises(NotADirectoryError):
        build_dataset(reader(raw_dir), tmp_path / "file" / "out", options())


def test_two_builds_at_once_are_refused(raw_dir, tmp_path):
    class Intruder(ImageFolder):
        def read_image(self, example):
            build_dataset(reader(raw_dir), tmp_path / "out", options(seed=1))

    with pytest.raises(FileExistsError, match="another process is at work on the build in .*/out"):
        build_dataset(Intruder(str(raw_dir), PATTERN), tmp_path / "out", options())


@pytest.mark.thorough
def test_a_worker_that_starts_when_all_is_done_ends_in_silence(raw_dir, tmp_path):
    script = tmp_path / "late.py"  # a started process imports it again, before it reads what it shares with its parent
    script.write_text(
        textwrap.dedent(f"""
        import multiprocessing, time
        from tfrecords_builder.build import build_dataset
        from tfrecords_builder.options import BuildOptions
        from tfrecords_builder.datasets.image_folder import ImageFolder
        if multiprocessing.current_process().name.endswith("-2"):
            time.sleep(3)
        if __name__ == "__main__":
            options = BuildOptions(image_sizes=(16,), splits={SPLITS!r}, workers=2)
            print(build_dataset(ImageFolder({str(raw_dir)!r}), {str(tmp_path / "out")!r}, options)[16].images_written)
        """)
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=300)
    assert result.stdout == "24\n" and "Traceback" not in result.stderr


def test_full_disk_keeps_finished_shards_and_the_same_command_goes_on(tmp_path):
    raw_dir = write_raw(tmp_path / "raw", side=8)
    sizes = (16, 256)  # a shard of five images is 330 kB
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # the same to a writer as a full disk
        with pytest.raises(OSError, match="File too large.*train-00000-of-0000[0-9].tfrecord"):
            build_dataset(reader(raw_dir), tmp_path / "out", options(image_sizes=sizes))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "out").rglob("*.tfrecord")) and not list((tmp_path / "out").rglob(".partial-*"))
    assert build_dataset(reader(raw_dir), tmp_path / "out", options(image_sizes=sizes))[256].images_written == 24


@pytest.mark.thorough
def test_full_disk_in_a_worker_is_told_and_the_same_command_goes_on(tmp_path):
    raw_dir = write_raw(tmp_path / "raw", side=8)
    arguments = options(image_sizes=(256,), workers=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # workers inherit it
        with pytest.raises(OSError, match=r"File too large.*-0000[0-9]-of-0000[0-9].tfrecord"):
            build_dataset(reader(raw_dir), tmp_path / "out", arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "out").rglob(".partial-*"))
    build_dataset(reader(raw_dir), tmp_path / "out", arguments)
    build_dataset(reader(raw_dir), tmp_path / "whole", options(image_sizes=(256,)))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("is_empty", [True, False], ids=["unmounted", "removed"])
def test_a_raw_folder_that_vanishes_ends_the_build_and_the_same_command_goes_on(raw_dir, tmp_path, is_empty):
    class Unplugged(ImageFolder):
        def read_image(self, example):
            if len(list((tmp_path / "out").rglob("t*.tfrecord"))) == 2:
                raw_dir.rename(tmp_path / "elsewhere")
                for name in ("healthy", "sick") * is_empty:
                    (raw_dir / name).mkdir(parents=True)
            return super().read_image(example)

    message = r"raw/\w+ held images when they were listed, and is gone or empty now; finished shards are kept: bring it"
    with pytest.raises(FileNotFoundError, match=message):
        build_dataset(Unplugged(str(raw_dir), PATTERN), tmp_path / "out", options())
    shutil.rmtree(raw_dir, ignore_errors=True)
    (tmp_path / "elsewhere").rename(raw_dir)
    assert len(list((tmp_path / "out").rglob("t*.tfrecord"))) == 2
    build_dataset(reader(raw_dir), tmp_path / "out", options())
    build_dataset(reader(raw_dir), tmp_path / "whole", options())
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_file_that_vanishes_alone_is_a_reject(raw_dir, tmp_path):
    class Removing(ImageFolder):
        def read_image(self, example):
            (raw_dir / "sick" / "p0_0.png").unlink(missing_ok=True)
            return super().read_image(example)

    info = build_dataset(Removing(str(raw_dir), PATTERN), tmp_path / "out", options())[16]
    assert info.rejected == {"missing_file": 1} and info.images_written == 23


def test_labels_of_interest_are_the_columns_and_every_picture_stays(tmp_path):
    """Of the phantom, whose pictures depend on all of an example's labels."""
    phantom = make_reader("phantom", "", ["images=30", "image_size=16"])
    chosen = options(splits={"train": 1.0}, labels=("Effusion", "No Finding"), shard_images=30)
    info = build_dataset(phantom, tmp_path / "chosen", chosen)[16]
    build_dataset(phantom, tmp_path / "all", options(splits={"train": 1.0}, shard_images=30))
    assert info.label_names == ("Effusion", "No Finding") and not info.is_single_label
    assert (info.images_written, info.rejected) == (30, {})
    some, every = (records(tmp_path / name / "16", "train") for name in ("chosen", "all"))
    columns = [phantom.label_names.index(name) for name in info.label_names]
    np.testing.assert_array_equal(some["key"], every["key"])
    np.testing.assert_array_equal(some["image"], every["image"])
    np.testing.assert_array_equal(some["label"], every["label"][:, columns])
    assert info.splits["train"].labels["Effusion"]["positive"] == (some["label"][:, 0] == 1).sum() > 0


@pytest.mark.thorough
def test_killed_build_is_finished_to_the_same_bytes(tmp_path):
    raw_dir = write_raw(tmp_path / "raw", images=600)
    arguments = options(image_sizes=(16, 24), shard_images=10)
    script = f"""
        from tfrecords_builder.build import build_dataset
        from tfrecords_builder.options import BuildOptions
        from tfrecords_builder.datasets.image_folder import ImageFolder
        build_dataset(ImageFolder({str(raw_dir)!r}, {PATTERN!r}), {str(tmp_path / "out")!r}, {arguments!r})
    """
    script = textwrap.dedent(script)
    process = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    notes = unfinished_folder(tmp_path / "out", "build")
    deadline = time.monotonic() + 120
    while len(list(notes.glob("t*.tfrecord.json"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "16").glob("*.tfrecord")}
    noted = {path.name.removesuffix(".json") for path in notes.glob("t*.tfrecord.json")}
    assert 3 <= len(noted) < 60
    assert not list((tmp_path / "out").glob("*/dataset_info.json"))

    with pytest.raises(ValueError, match="holds an unfinished build of another seed; run its command again"):
        build_dataset(reader(raw_dir), tmp_path / "out", options(image_sizes=(16, 24), shard_images=10, seed=9))
    tampered = min(noted)
    noted.discard(tampered)
    (tmp_path / "out" / "24" / tampered).write_bytes(b"")  # as after a crash of the machine: found, and done again
    build_dataset(reader(raw_dir), tmp_path / "out", arguments)
    build_dataset(reader(raw_dir), tmp_path / "whole", arguments)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    for name in noted:
        assert (tmp_path / "out" / "16" / name).stat().st_mtime_ns == done[name]


def test_changed_raw_data_does_not_finish_an_old_build(raw_dir, tmp_path):
    (raw_dir / "sick" / "p1_text.png").write_text("no picture")
    with pytest.raises(ValueError, match="p1_text.png cannot be used"):
        build_dataset(reader(raw_dir), tmp_path / "out", options(on_error="stop"))
    (raw_dir / "sick" / "p1_text.png").unlink()
    with pytest.raises(ValueError, match="unfinished build of another raw_data"):
        build_dataset(reader(raw_dir), tmp_path / "out", options())


@pytest.fixture
def killing_reader(tmp_path, monkeypatch):
    """A reader whose worker dies at one image, in a module that worker processes can import."""
    (tmp_path / "killing_reader.py").write_text(
        textwrap.dedent("""
            import os, signal
            from tfrecords_builder.datasets.image_folder import ImageFolder

            class KillingReader(ImageFolder):
                def read_image(self, example):
                    if example.key == "sick/p0_0.png":
                        os.kill(os.getpid(), signal.SIGKILL)
                    return super().read_image(example)
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    import killing_reader

    return killing_reader.KillingReader


def test_workers_write_the_same_bytes_and_a_dead_one_is_told(raw_dir, tmp_path, killing_reader):
    with pytest.raises(ChildProcessError, match="a worker process was killed, perhaps for lack of memory"):
        build_dataset(killing_reader(str(raw_dir), PATTERN), tmp_path / "out", options(workers=2))
    build_dataset(reader(raw_dir), tmp_path / "out", options(workers=2))
    build_dataset(reader(raw_dir), tmp_path / "one", options(workers=1))
    assert contents(tmp_path / "out") == contents(tmp_path / "one")
    info = json.loads((tmp_path / "out" / "16" / "dataset_info.json").read_text())
    assert info["images_written"] == 24
