"""Tables and page of a data folder: right numbers, escaped texts, nothing but what the records say."""

import base64
import dataclasses
import html.parser
import math
import re

import cv2
import numpy as np
import pytest

from tfcxr.data.records import shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, encode_record
from tfrecords_builder.inspect.inspection import NO_LABEL, age_quantile, describe, facts, inspect_data_dir, tables
from tfrecords_builder.inspect.inspection_page import PAGE_FILE, REAL_IMAGES, SHEET_FILE, write_inspection

EVIL = "<script>alert('x')</script>&\""
LABELS = ("Mass", EVIL)


def write_folder(folder, records, bits=8, size=8, **facts):
    splits = {}
    for name, of_split in records.items():
        shards = tuple(
            write_shard(folder / shard_name(name, i, 2), [encode_record(record, "png") for record in of_split[i::2]])
            for i in range(2)
        )
        counts = {}
        for index, label in enumerate(LABELS):
            values = [record.label[index] for record in of_split]
            unknown = sum(map(math.isnan, values))
            positive = values.count(1.0)
            counts[label] = {"positive": positive, "negative": len(values) - positive - unknown, "unknown": unknown}
        patients = len({record.patient_key for record in of_split})
        splits[name] = SplitInfo(len(of_split), patients, counts, shards)
    images = sum(map(len, records.values()))
    fields = {
        "name": EVIL,
        "label_names": LABELS,
        "is_single_label": False,
        "image_size": size,
        "bits": bits,
        "encoding": "png",
        "splits": splits,
        "images_read": images + 2,
        "images_written": images,
        "rejected": {"constant": 2},
        "preprocessing": {"clahe": None, "square": "crop", "tiles": [8, 8], "seed": 0, "cut": True},
        "source": {"licence": EVIL, "homepage": "https://example.org"},
        "notices": {"duplicate": 3},
    }
    write_dataset_info(folder, DatasetInfo(**fields | facts))
    return folder


def make_record(index, split, label, size=8, dtype=np.uint8, **changes):
    image = np.random.default_rng(index).integers(0, np.iinfo(dtype).max, (size, size), dtype, endpoint=True)
    return Record(
        **{"image": image, "key": f"{split}{index}", "label": label, "patient_key": f"{split}{index // 2}"} | changes
    )


RECORDS = {
    "train": [
        make_record(0, "train", (1.0, 1.0), age=20.0, view="PA", sex="F"),
        make_record(1, "train", (1.0, 0.0), age=90.0, view="PA", sex="M"),
        make_record(2, "train", (0.0, math.nan), age=0.5, view="AP"),
        make_record(3, "train", (0.0, 0.0)),
    ],
    "test": [make_record(4, "test", (1.0, math.nan), age=40.0, view="LATERAL", sex="F")],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("made"), RECORDS)


def test_tables_say_what_the_records_hold(folder):
    (header, rows), (together_header, together) = tables(inspect_data_dir(folder))
    assert header == ["", "train", "test", "all"]
    assert rows == [
        ["images", "4", "1", "5"],
        ["patients", "2", "1", "3"],
        ["Mass", "2 (50.0%)", "1 (100.0%)", "3 (60.0%)"],
        [EVIL, "1 (33.3%), 1 unknown", "0, 1 unknown", "1 (33.3%), 2 unknown"],
    ]
    assert together_header == ["together", "1", "2"] and together == [["1 Mass", "3", "1"], [f"2 {EVIL}", "1", "1"]]


def test_facts_say_the_rest(folder):
    found = facts(inspect_data_dir(folder))
    assert found["views"] == "unknown 1, AP 1, LATERAL 1, PA 2" and found["sexes"] == "unknown 2, F 2, M 1"
    assert found["ages in years"] == "0.5 to 90, quartiles 0.5, 20, 40, unknown 1"
    assert found["read"] == "7 = written 5 + rejected 2" and found["rejected"] == "constant 2"
    assert found["notices"] == "duplicate 3" and found["licence"] == EVIL
    assert found["preprocessing"] == "clahe none, cut yes, seed 0, square crop, tiles [8, 8]"
    assert "provenance" not in found


def test_one_split(folder):
    found = inspect_data_dir(folder, splits=["test"])
    assert found.read_splits == ("test",) and facts(found)["views of test"] == "LATERAL 1"
    assert list(found.rows) == ["Mass"] and found.rows["Mass"][0][1] == "test · LATERAL · F · 40 y"


def test_rows_hold_pictures_that_have_the_label(folder):
    rows = inspect_data_dir(folder, images=48).rows
    images = {name: {image.tobytes() for image, _ in row} for name, row in rows.items()}
    expected = {"Mass": (0, 1, 4), EVIL: (0,), NO_LABEL: (2, 3)}
    by_index = {index: record.image.tobytes() for index, record in enumerate([*RECORDS["train"], *RECORDS["test"]])}
    assert images == {name: {by_index[index] for index in indices} for name, indices in expected.items()}


def test_the_choice_of_pictures_depends_on_the_seed_alone(folder, tmp_path):
    records = {"train": [make_record(index, "train", (1.0, 0.0)) for index in range(30)]}
    first = write_folder(tmp_path / "first", records)
    turned = write_folder(tmp_path / "turned", {"train": records["train"][::-1]})
    choices = [
        inspect_data_dir(path, 15, seed=seed).rows["Mass"] for path, seed in ((first, 0), (turned, 0), (first, 1))
    ]
    one, two, three = ([image.tobytes() for image, _ in row] for row in choices)
    assert len(one) == 5 and one == two and one != three


def test_sixteen_bits_are_shown_with_eight(tmp_path):
    image = np.array([[0, 257], [65535, 32768]], np.uint16)
    records = {"train": [make_record(0, "train", (1.0, 0.0), image=image)]}
    ((shown, _),) = inspect_data_dir(write_folder(tmp_path, records, bits=16, size=2)).rows["Mass"]
    assert shown.dtype == np.uint8 and shown.tolist() == [[0, 1], [255, 127]]


def test_of_a_build_the_largest_size_is_shown(tmp_path):
    for size in (4, 16, 8):
        records = {"train": [make_record(0, "train", (1.0, 0.0), size=size)]}
        write_folder(tmp_path / str(size), records, size=size)
    assert inspect_data_dir(tmp_path).info.image_size == 16


class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_the_page_stands_by_itself_and_escapes_every_text(folder, tmp_path):
    page, sheet = write_inspection(inspect_data_dir(folder), tmp_path / "out")
    assert (page, sheet) == (tmp_path / "out" / PAGE_FILE, tmp_path / "out" / SHEET_FILE)
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert "script" not in reader.tags and EVIL in reader.text and REAL_IMAGES in reader.text
    assert len(reader.links) == 1 and reader.links[0].startswith("data:image/png;base64,")
    assert base64.b64decode(reader.links[0].partition(",")[2]) == sheet.read_bytes()
    assert cv2.imread(str(sheet)) is not None
    heights = [float(height) for height in re.findall(r"<rect[^>]* height='([\d.]+)'", page.read_text())]
    assert len(heights) == 18 and [index for index, height in enumerate(heights) if height] == [0, 4, 8, 17]


def test_a_phantom_and_a_cohort_are_not_called_real(folder):
    found = inspect_data_dir(folder)
    phantom = dataclasses.replace(found, info=dataclasses.replace(found.info, notice="PHANTOM, NOT PATIENTS: computed"))
    synthetic = dataclasses.replace(found, info=dataclasses.replace(found.info, is_synthetic=True))
    for changed in (phantom, synthetic):
        page = write_inspection(changed, folder / "inspection")[0].read_text(encoding="utf-8")
        assert REAL_IMAGES not in page
        assert changed.info.notice in page and changed.info.notice in describe(changed)


def test_ages():
    ages = np.zeros(901, np.int64)
    assert math.isnan(age_quantile(ages, 0.5))
    ages[[10, 200, 500, 900]] = 1
    assert [age_quantile(ages, share) for share in (0, 0.25, 0.5, 0.75, 1)] == [1, 1, 20, 50, 90]


def test_wrong_arguments_and_damage(folder, tmp_path):
    with pytest.raises(ValueError, match="images expects 1 or more, got 0"):
        inspect_data_dir(folder, images=0)
    with pytest.raises(ValueError, match="has no split 'tran'; did you mean 'train'"):
        inspect_data_dir(folder, splits=["tran"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        inspect_data_dir(tmp_path / "absent")
    records = {"train": [make_record(index, "train", (1.0, 0.0)) for index in range(4)]}
    made = write_folder(tmp_path / "made", records)
    shard = made / shard_name("train", 0, 2)
    content = bytearray(shard.read_bytes())
    content[-20] ^= 1
    shard.write_bytes(content)
    with pytest.raises(
        ValueError,
        match="after record 1 of 2: a record does not fit its checksum; python -m tfrecords_builder verify .* lists",
    ):
        inspect_data_dir(made)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match="is missing"):
        inspect_data_dir(made)
    wrong = write_folder(tmp_path / "wrong", {"train": [make_record(0, "train", (1.0, 0.0), age=-1.0)]})
    with pytest.raises(ValueError, match="age is not between 0 and 90 years"):
        inspect_data_dir(wrong)
