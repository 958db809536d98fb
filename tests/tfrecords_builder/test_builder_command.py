"""The command: its flags, what it prints, and one sentence for each mistake."""

import cv2
import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("command")
    random = np.random.default_rng(0)
    for number in range(20):
        path = root / "raw" / ("a", "b")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), random.integers(0, 256, (9, 12), dtype=np.uint8))
    for number in range(20):
        (root / "damaged/a").mkdir(parents=True, exist_ok=True)
        (root / "damaged/a" / f"{number}.png").write_bytes(
            (root / "raw" / "ab"[number % 2] / f"{number}.png").read_bytes()
        )
    for name in ("b", "c"):
        (root / "damaged" / name).mkdir()
        (root / "damaged" / name / "1.png").write_bytes(b"no picture")
    for split, name in (("train", "a"), ("train", "b"), ("test", "a")):
        path = root / "one_class" / split / name / "1.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), random.integers(0, 256, (9, 12), dtype=np.uint8))
    (root / "empty").mkdir()
    (root / "file").touch()
    (root / "salt").write_bytes(bytes(range(32)))
    return root


FOLDER = ["--dataset=image_folder", "--raw_dir={root}/raw", "--workers=1"]
PHANTOM = ["--dataset=phantom", "--out_dir={root}/x", "--workers=1"]
PHANTOM_64 = ["--dataset=phantom", "--set=images=60", "--set=image_size=32", "--workers=1"]
CASES = {
    "good": [
        *FOLDER,
        "--out_dir={root}/out",
        "--image_sizes=16,8",
        "--splits=train=.5,held_out=.5",
        "--clahe=before_resize",
    ]
    + ["--clahe_tiles=4", "--square=pad", "--encoding=png", "--salt_file={root}/salt"]
    + ["--set=patient_pattern=[0-9]+"],
    "again": [*FOLDER, "--out_dir={root}/out"],
    "phantom": ["--dataset=phantom", "--out_dir={root}/phantom", "--set", "images=12", "--set", "severity=.8"]
    + ["--image_sizes=160", "--splits=train=1", "--workers=1"],
    "damaged classes": [
        "--dataset=image_folder",
        "--raw_dir={root}/damaged",
        "--out_dir={root}/damaged_out",
        "--workers=1",
    ],
    "one class": ["--dataset=image_folder", "--raw_dir={root}/one_class", "--out_dir={root}/one_class_out"]
    + ["--set=split_folders=true", "--workers=1"],
    "only labels": [*PHANTOM_64, "--out_dir={root}/only", "--only_labels=Mass", "--set=prevalence=Mass=.5,Effusion=.5"],
    "labels": [*PHANTOM_64, "--out_dir={root}/labels", "--labels=Mass, No Finding", "--only_labels=Mass"],
    "folds": [*PHANTOM_64, "--out_dir={root}/fold s", "--folds=3"],
    "label": [*PHANTOM, "--labels=Mass,effusion"],
    "data set": ["--dataset=image_foldr", "--out_dir={root}/x"],
    "flag": [*PHANTOM, "--imge_sizes=64"],
    "setting": [*PHANTOM, "--set=imges=5"],
    "sizes": [*PHANTOM, "--image_sizes=big"],
    "no raw": ["--dataset=nih_chestxray14", "--out_dir={root}/x"],
    "missing raw": ["--dataset=image_folder", "--raw_dir={root}/absent", "--out_dir={root}/x"],
    "empty raw": ["--dataset=chest_xray_pneumonia", "--raw_dir={root}/empty", "--out_dir={root}/x"],
    "no permission": [*FOLDER, "--out_dir={root}/file/below"],
    "salt": [*FOLDER, "--out_dir={root}/x", "--salt_file={root}/absent"],
    "empty salt": [*FOLDER, "--out_dir={root}/x", "--salt_file={root}/file"],
    "argument": [*PHANTOM, "verify"],
}
ERRORS = {
    "label": "phantom has no label 'effusion'; did you mean 'Effusion'?",
    "again": "already holds a data set at 8, 16 px; remove it or choose another --out_dir",
    "data set": "unknown data set 'image_foldr'; did you mean 'image_folder'?",
    "setting": "data set phantom has no setting 'imges'; did you mean 'images'?",
    "sizes": "--image_sizes expects whole numbers such as 64,128, got 'big'",
    "no raw": "this data set needs its raw folder: name it with --raw_dir",
    "missing raw": "absent does not exist or is no folder",
    "empty raw": "holds no train or test folder; expected chest_xray with",
    "no permission": "Not a directory",
    "salt": "absent does not exist; make one with",
    "empty salt": "is empty; make one with",
    "argument": "unexpected argument 'verify'",
}


@pytest.fixture(scope="module")
def results(root, run_commands):
    commands = [[argument.format(root=root) for argument in arguments] for arguments in CASES.values()]
    return dict(zip(CASES, run_commands(commands), strict=True))


def test_flags_reach_the_build(results, root):
    status, output, _ = results["good"]
    assert status == 0
    assert "read 20 = written 20 + rejected 0 (none)" in output
    info = read_dataset_info(root / "out" / "8")
    assert info.encoding == "png" and info.salt_fingerprint and set(info.splits) == {"train", "held_out"}
    assert info.preprocessing["clahe"] == {"clip_limit": 2.0, "tiles": 4} and info.preprocessing["square"] == "pad"
    assert read_dataset_info(root / "out" / "16").image_size == 16


def test_phantom_says_that_it_is_one_and_is_drawn_at_the_largest_size(results, root):
    status, output, _ = results["phantom"]
    assert status == 0 and "PHANTOM" in output
    info = read_dataset_info(root / "phantom" / "160")
    assert info.preprocessing["reader_settings"]["image_size"] == 160
    assert info.preprocessing["reader_settings"]["severity"] == 0.8 and "PHANTOM" in info.notice


def test_a_class_of_which_nothing_was_written_is_named(results):
    status, output, _ = results["damaged classes"]
    assert status == 0 and "read 22 = written 20 + rejected 2 (not_an_image 2)" in output
    assert "\nno image with the label b, c was written\n" in output
    assert "no image with the label" not in results["good"][1]
    assert " holds no " not in output and " holds no " not in results["good"][1]
    assert "\ntest holds no b: nothing can be learned or tested about it there\n" in results["one class"][1]


def test_columns_that_lost_all_images_are_told_with_the_way_on(results, root):
    told = results["only labels"][1]
    assert "\nno image with the label No Finding, " in told
    assert "was written; --labels=Mass keeps the columns of those labels alone\n" in told
    assert "no image with the label No Finding was written\n" in results["labels"][1]
    assert read_dataset_info(root / "labels" / "64").label_names == ("Mass", "No Finding")


def test_the_last_line_is_the_next_command(results, root):
    last = {name: results[name][1].splitlines()[-1] for name in ("only labels", "folds", "good")}
    assert last["only labels"] == f"next: python -m tfcxr.train --model=acgan --data_dir={root}/only/64"
    assert last["folds"] == (
        f"next: python -m tfcxr.train --model=acgan '--data_dir={root}/fold s/64' --splits=fold_1,fold_2"
    )
    assert last["good"] == f"wrote {root}/out/8, {root}/out/16"  # too small for a model


@pytest.mark.parametrize("case", ERRORS)
def test_a_mistake_is_one_sentence(results, root, case):
    status, output, errors = results[case]
    assert status == 1 and not output
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ") and ERRORS[case] in last
    assert "Traceback" not in errors
    assert not (root / "x").exists()


def test_unknown_flag_offers_the_nearest(results):
    status, _, errors = results["flag"]
    assert status == 1 and "image_sizes" in errors and "imge_sizes" in errors
