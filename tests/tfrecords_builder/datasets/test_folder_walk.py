import os
import pathlib

import cv2
import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets.folder_walk import FolderWalk, is_system_folder
from tfrecords_builder.datasets.image_folder import ImageFolder
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions


def write(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())  # OpenCV itself takes no name that is not UTF-8


def walked(root, folder=""):
    """Paths, and path -> reason of what was left out."""
    walk = FolderWalk(root)
    return list(walk.files(folder)), {path: reject.reason for path, reject in walk.rejects.items()}


def test_an_ordinary_folder_is_walked_as_os_walk_would(tmp_path):
    write(tmp_path, ["b.png", "a.txt", "z/2.png", "z/10.png", "z/deep/x.png", "A/1.png", "A/deep/1.png"])
    expected = []
    for parent, folders, names in os.walk(tmp_path):
        folders.sort()
        expected += [(pathlib.Path(parent) / name).relative_to(tmp_path).as_posix() for name in sorted(names)]
    assert walked(tmp_path) == (expected, {})
    assert walked(tmp_path, "z") == (["z/10.png", "z/2.png", "z/deep/x.png"], {})
    assert walked(tmp_path, "absent") == ([], {})
    assert FolderWalk(tmp_path).folders() == ["A", "z"] and FolderWalk(tmp_path).folders("A") == ["deep"]


@pytest.mark.parametrize(
    "name",
    [
        ".ipynb_checkpoints", "@eaDir", "__MACOSX", ".Trash-1000", "lost+found", "$RECYCLE.BIN", "#recycle",
        "System Volume Information", ".Spotlight-V100", ".git", "@Recycle", ".snapshot", "#snapshot", "@tmp",
    ],
)  # fmt: skip
def test_what_programs_leave_is_counted_and_not_looked_into(tmp_path, name):
    write(tmp_path, ["a/1.png", f"a/{name}/2.png", f"{name}/deep/3.png"])
    assert walked(tmp_path) == (["a/1.png"], {name: "system_folder", f"a/{name}": "system_folder"})
    assert FolderWalk(tmp_path).folders() == ["a"]
    assert walked(tmp_path, name) == ([f"{name}/deep/3.png"], {}), "the user asks for it by name"


def test_names_that_only_look_alike_are_read(tmp_path):
    names = ["a@b", "lost", "#1", "$5", "MACOSX", "dot.", "_x"]
    assert not any(map(is_system_folder, names))
    write(tmp_path, [f"{name}/1.png" for name in names])
    assert len(walked(tmp_path)[0]) == len(names)


def test_hidden_files_are_counted(tmp_path):
    write(tmp_path, ["a/1.png", "a/._1.png", ".DS_Store"])
    (tmp_path / ".#lock").symlink_to("user@host:123")
    assert walked(tmp_path) == (["a/1.png"], dict.fromkeys((".DS_Store", ".#lock", "a/._1.png"), "hidden_file"))


def test_links_are_followed_in_their_place(tmp_path):
    raw, other = tmp_path / "raw", tmp_path / "other"
    write(raw, ["a/1.png", "c/1.png"])
    write(other, ["2.png", "deep/3.png", "@eaDir/4.png"])
    (raw / "b").symlink_to("../other")
    (raw / "a/0.png").symlink_to(other / "2.png")
    walk = FolderWalk(raw)
    assert list(walk.files()) == ["a/0.png", "a/1.png", "b/2.png", "b/deep/3.png", "c/1.png"]
    assert walk.real_paths == {
        "a/0.png": str(other / "2.png"),
        "b/2.png": str(other / "2.png"),
        "b/deep/3.png": str(other / "deep/3.png"),
    }
    assert list(walk.rejects) == ["b/@eaDir"]
    assert walk.folders() == ["a", "b", "c"] and walk.folders("b") == ["deep"]
    (tmp_path / "way").symlink_to("raw")  # the raw folder itself may be a link
    assert list(FolderWalk(tmp_path / "way").files()) == list(walk.files())


def test_loops_and_links_to_nothing_are_counted(tmp_path):
    raw = tmp_path / "raw"
    write(raw, ["a/1.png", "b/2.png"])
    write(tmp_path, ["outside/3.png"])
    for link, target in {
        "a/up": "..",
        "a/self": ".",
        "a/b": "../b",
        "b/a": "../a",
        "b/outside": "../../outside",
        "x.png": "x.png",
        "gone.png": "/nowhere/gone.png",
    }.items():
        (raw / link).symlink_to(target)
    (tmp_path / "outside/back").symlink_to("..")
    files, reasons = walked(raw)
    assert files == [
        "a/1.png", "a/b/2.png", "a/b/outside/3.png", "b/2.png", "b/a/1.png", "b/outside/3.png",
    ]  # fmt: skip
    assert {path for path, reason in reasons.items() if reason == "dangling_link"} == {"gone.png"}
    loops = {path for path, reason in reasons.items() if reason == "link_loop"}
    assert {"a/up", "a/self", "x.png", "a/b/a", "b/a/b", "b/outside/back/raw", "b/outside/back/outside"} <= loops
    assert set(reasons.values()) == {"dangling_link", "link_loop"}


def test_a_folder_that_may_not_be_read_ends_the_walk(tmp_path, monkeypatch):
    write(tmp_path, ["a/1.png", "secret/2.png"])
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError, match=r"folder .*secret may not be read; give yourself the right"):
        list(FolderWalk(tmp_path).files())


def test_one_file_by_two_ways_is_one_image_of_one_split(tmp_path):
    raw = tmp_path / "raw"
    for number, name in enumerate(("train/sick/1.png", "train/well/2.png", "test/sick/3.png", "test/well/4.png")):
        draw(raw / name, number)
    (raw / "train/sick/again.png").symlink_to("../../test/sick/3.png")
    (raw / "train/well/more").symlink_to("../../test/well")
    (raw / "train/well/sick.png").symlink_to("../sick/1.png")
    (raw / "train/sick/zz.png").symlink_to("1.png")
    infos = build_dataset(
        ImageFolder(str(raw), split_folders=True), tmp_path / "out", BuildOptions(image_sizes=(16,), workers=1)
    )
    # 1.png is in two classes, so nobody knows what it shows.
    assert infos[16].rejected == {"same_file_twice": 2, "conflicting_labels": 3}
    assert {name: split.images for name, split in infos[16].splits.items()} == {"train": 1, "test": 2}
    assert infos[16].images_read == 8


def test_names_that_are_not_utf8_go_through_a_whole_build(tmp_path):
    raw = tmp_path / "raw"
    odd = os.fsdecode(b"F\xe4lle")
    for number in range(12):
        folder = odd if number % 2 else "ärzte"
        draw(raw / folder / f"{os.fsdecode(bytes([0xE9]))}{number // 3}_{number}.png", number)
    (raw / odd / os.fsdecode(b"\xff.png")).write_bytes(b"no picture")
    (raw / odd / os.fsdecode(b"\xfe.txt")).touch()
    draw(raw / odd / "again.png", 1)  # the content of another: its name is in a notice
    reader = ImageFolder(str(raw), patient_pattern=r"/(.*\d+)_|/.*\.")
    options = BuildOptions(image_sizes=(16,), splits={"train": 0.5, "test": 0.5}, workers=1, split_by="hash")
    build_dataset(reader, tmp_path / "out", options)
    info = read_dataset_info(tmp_path / "out/16")
    assert info.label_names == ("F\\xe4lle", "ärzte") and info.rejected == {"not_an_image": 2}
    assert (info.images_read, info.images_written) == (15, 13)
    rejects = (tmp_path / "out/rejects.csv").read_text("utf-8")
    assert "F\\xe4lle/\\xff.png,not_an_image" in rejects and "F\\xe4lle/\\xfe.txt,not_an_image" in rejects
    assert "F\\xe4lle/\\xe9" in (tmp_path / "out/notices.csv").read_text("utf-8")
    entries = list(reader.examples())
    assert all((raw / entry.path).is_file() for entry in entries if isinstance(entry, RawExample))
    assert sum(isinstance(entry, Reject) for entry in entries) == 1
