import csv
import gzip
import io
import math

import cv2
import numpy as np
import pytest

from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.image_table import MAX_LABELS, ImageTable
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.plan import arguments_of

FLAGS = {"table": "labels.csv", "image_column": "file", "label_columns": "Edema,Mass"}
NAMES = {"table": "labels.csv", "image_column": "file", "label_column": "finding"}


def make(raw_dir, text, files=(), **settings):
    raw_dir.mkdir(exist_ok=True)
    (raw_dir / "labels.csv").write_text(text)
    for name in files:
        (raw_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (raw_dir / name).touch()
    return ImageTable(str(raw_dir), **settings)


def read(reader):
    entries = list(reader.examples())
    examples = {entry.key: entry for entry in entries if isinstance(entry, RawExample)}
    return examples, {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)}


def labels(reader):
    """Key -> its values as text, "?" for an unknown one."""
    examples, rejects = read(reader)
    texts = {
        key: "".join("?" if math.isnan(x) else str(int(x)) for x in entry.label) for key, entry in examples.items()
    }
    return {**texts, **rejects}


def test_row_becomes_example(tmp_path):
    table = "file,Edema,Mass,who,set,old,sex,v\na,1,0,p1,Train,58Y,female,AP Supine\nsub/b.png,0,1,p2,,,,\n"
    reader = make(
        tmp_path,
        table,
        ["images/a.png", "images/sub/b.png"],
        **FLAGS,
        image_folder="images",
        image_suffix=".png",
        patient_column="who",
        split_column="set",
        age_column="old",
        sex_column="sex",
        view_column="v",
    )
    assert not reader.is_single_label and reader.label_names == ("Edema", "Mass") and not reader.notice
    examples, rejects = read(reader)
    assert not rejects
    a, b = examples["images/a.png"], examples["images/sub/b.png"]
    assert a == RawExample("images/a.png", "p1", (1.0, 0.0), "images/a.png", "AP", 58.0, "F", "train")
    assert (b.patient_id, b.label, b.view, b.sex, b.official_split) == ("p2", (0.0, 1.0), "", "", "")
    assert math.isnan(b.age)


def test_facts_without_a_column_are_unknown(tmp_path):
    # pandas writes its row numbers into a column without a name, which is not an age.
    examples, _ = read(make(tmp_path, ",file,Edema,Mass\n7,a.png,1,0\n", ["a.png"], **FLAGS))
    assert math.isnan(examples["a.png"].age)
    assert (examples["a.png"].patient_id, examples["a.png"].view, examples["a.png"].sex) == ("a.png", "", "")


def test_label_columns(tmp_path):
    values = ["1,0", "1.0,0.0", "yes,NO", "TRUE,false", ",NaN", "-1,-1.0", "na,1", "2,0", "1,maybe"]
    rows = [f"{number}.png,{value}" for number, value in enumerate(values)]
    files = [f"{number}.png" for number in range(len(values))]
    reader = make(tmp_path, "\n".join(["file,Edema,Mass", *rows]), files, **FLAGS)
    assert list(labels(reader).values()) == ["10", "10", "10", "10", "??", "??", "?1", "unknown_label", "unknown_label"]
    reader = ImageTable(str(tmp_path), **FLAGS, unknown_values="2,maybe")
    assert list(labels(reader).values())[-5:] == ["?0", "1?", "unknown_label", "unknown_label", "unknown_label"]
    assert labels(reader)["4.png"] == "unknown_label" and labels(reader)["7.png"] == "?0"


def test_one_label_of_a_column(tmp_path):
    table = "file,finding\na.png,sick\nb.png,healthy\nc.png,\nd.png,NA\n"
    reader = make(tmp_path, table, ["a.png", "b.png", "c.png", "d.png"], **NAMES)
    assert reader.is_single_label and reader.label_names == ("healthy", "sick")
    assert labels(reader) == {"a.png": "01", "b.png": "10", "c.png": "??", "d.png": "??"}
    reader = ImageTable(str(tmp_path), **NAMES, label_names="sick, odd")
    assert labels(reader) == {"a.png": "10", "b.png": "unknown_label", "c.png": "??", "d.png": "??"}


def test_several_labels_of_a_column(tmp_path):
    table = "file,finding\na.png,Mass|Edema\nb.png, Edema | \nc.png,|\nd.png,Mess\n"
    files = ["a.png", "b.png", "c.png", "d.png"]
    reader = make(tmp_path, table, files, **NAMES, label_separator="|", label_names="Edema,Mass")
    assert not reader.is_single_label
    assert labels(reader) == {"a.png": "11", "b.png": "10", "c.png": "??", "d.png": "unknown_label"}
    assert ImageTable(str(tmp_path), **NAMES, label_separator="|").label_names == ("Edema", "Mass", "Mess")


def test_labels_as_python_lists(tmp_path):
    cells = [
        "['normal']",
        "[ 'mass, large' , ' edema']",
        "[]",
        "nan",
        "[nan]",
        '["crohn\'s"]',
        "['normal'",
        "['x' 'y']",
    ]
    text = io.StringIO()
    csv.writer(text).writerows([("file", "finding"), *((f"{number}.png", cell) for number, cell in enumerate(cells))])
    files = [f"{number}.png" for number in range(len(cells))]
    reader = make(tmp_path, text.getvalue(), files, **NAMES, label_separator=",")
    assert reader.label_names == ("crohn's", "edema", "mass, large", "normal")
    known, half = ["0001", "0110", "????", "????", "????", "1000"], ["unknown_label"] * 2
    assert list(labels(reader).values()) == known + half
    details = [entry.detail for entry in reader.examples() if isinstance(entry, Reject)]
    assert "labels.csv line 8: finding is \"['normal'\" is not a list such as" in details[0]
    # Without a separator an image has one label, and a list of more is said to be one.
    one = ImageTable(str(tmp_path), **NAMES)
    assert one.is_single_label and labels(one)["0.png"] == "0001" and labels(one)["1.png"] == "unknown_label"
    details = [entry.detail for entry in one.examples() if isinstance(entry, Reject)]
    assert (
        "labels.csv line 3: finding names 2 labels; with --set label_separator=, an image may have several" in details
    )


def test_labels_that_differ_in_case_or_blanks_are_refused_unless_they_are_named(tmp_path):
    table = "file,finding\na.png,Edema\nb.png,edema \nc.png,EDEMA\nd.png,Pleural  Mass\n"
    files = ["a.png", "b.png", "c.png", "d.png"]
    with pytest.raises(
        ValueError, match="column 'finding' of .*labels 'EDEMA' and 'Edema' differ in case or blanks alone"
    ):
        make(tmp_path, table, files, **NAMES)
    reader = ImageTable(str(tmp_path), **NAMES, label_names="Edema,edema,EDEMA")
    assert labels(reader) == {"a.png": "100", "b.png": "010", "c.png": "001", "d.png": "unknown_label"}
    reader = ImageTable(str(tmp_path), **NAMES, label_names="Edema")
    assert list(labels(reader).values()) == ["1", "unknown_label", "unknown_label", "unknown_label"]


def test_a_european_spreadsheet(tmp_path):
    text = "\ufefffile;Edema;Mass;old\r\na.png;1,0;0,0;58,5\r\nb.png;-1,0;1;7\r\nc.png;0,5;1;\r\n"
    reader = make(tmp_path, text, ["a.png", "b.png", "c.png"], **FLAGS, age_column="OLD")
    assert labels(reader) == {"a.png": "10", "b.png": "?1", "c.png": "unknown_label"}
    assert [entry.age for entry in reader.examples() if isinstance(entry, RawExample)] == [58.5, 7.0]


def test_a_row_may_not_name_what_programs_leave(tmp_path):
    table = "file,Edema,Mass\n.trash/a.png,1,0\n._b.png,1,0\ngone.png,1,0\nc.png,1,0\n"
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/gone.png").symlink_to("nowhere.png")
    reader = make(tmp_path / "raw", table, [".trash/a.png", "._b.png", "c.png"], **FLAGS)
    assert [(entry.key, entry.reason) for entry in reader.examples() if isinstance(entry, Reject)] == [
        (".trash/a.png", "system_folder"),
        ("._b.png", "hidden_file"),
        ("gone.png", "dangling_link"),
        (".trash", "system_folder"),
    ]
    (tmp_path / "raw/labels.csv").write_text("file,Edema,Mass\na.png,1,0\n")
    named = ImageTable(str(tmp_path / "raw"), **FLAGS, image_folder=".trash")  # the user asks for this folder
    assert labels(named)[".trash/a.png"] == "10"


def test_rows_that_cannot_be_used(tmp_path):
    table = "\n".join(
        [
            "file,Edema,Mass,who,set",
            "absent.png,1,0,p,",
            ",1,0,p,",
            f"{'long' * 100}.png,1,0,p,",
            "folder,1,0,p,",
            "patient.png,1,0,,",
            "split.png,1,0,p,train/1",
            "../outside.png,1,0,p,",
            "folder/../../outside.png,1,0,p,",
            "/etc/passwd,1,0,p,",
        ]
    )
    (tmp_path / "outside.png").touch()
    files = ["patient.png", "split.png", "extra.png", "folder/extra.png"]
    reader = make(tmp_path / "raw", table, files, **FLAGS, patient_column="who", split_column="set")
    assert [(entry.key, entry.reason) for entry in reader.examples()] == [
        ("absent.png", "missing_file"),
        ("line 3", "missing_file"),
        (f"{'long' * 100}.png", "missing_file"),
        ("folder", "missing_file"),
        ("patient.png", "unknown_patient"),
        ("split.png", "unknown_split"),
        ("../outside.png", "outside_raw_dir"),
        ("folder/../../outside.png", "outside_raw_dir"),
        ("/etc/passwd", "outside_raw_dir"),
        ("extra.png", "file_without_row"),
        ("folder/extra.png", "file_without_row"),
    ]


def test_paths_that_stay_below_the_raw_folder(tmp_path):
    table = "file,Edema,Mass\n../other/a.png,1,0\n./b.png,0,1\nb.png,1,1\n1.2.840,0,0\n"
    files = ["other/a.png", "images/b.png", "images/1.2.840"]
    entries = list(make(tmp_path, table, files, **FLAGS, image_folder="images").examples())
    # Both rows of b.png come; the plan finds that they differ. A name without a suffix may be a DICOM file.
    assert [entry.key for entry in entries] == ["other/a.png", "images/b.png", "images/b.png", "images/1.2.840"]
    assert all(isinstance(entry, RawExample) for entry in entries)


def test_an_image_a_patient_is_said_aloud(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        make(tmp_path, "file,Edema,Mass,who\n", **FLAGS, patient_column="who")
        assert not caplog.records
        reader = ImageTable(str(tmp_path), **FLAGS)
    assert "every image counts as a patient of its own" in caplog.text
    assert "every image counts as a patient of its own" in reader.notice


def test_table_elsewhere_and_compressed(tmp_path):
    path = tmp_path / "elsewhere.csv.gz"
    path.write_bytes(gzip.compress(b"file,Edema,Mass\na.png,1,0\n"))
    reader = make(tmp_path / "raw", "", ["a.png"], **{**FLAGS, "table": str(path)})
    assert labels(reader) == {"a.png": "10"}
    assert str(tmp_path) not in str(arguments_of(reader))


@pytest.mark.parametrize("missing", ["table", "image_column", "label_columns"])
def test_missing_setting_shows_the_command(tmp_path, missing):
    settings = [f"{name}={value}" for name, value in FLAGS.items() if name != missing]
    message = (
        rf"image_table needs --set {missing}.*, as in: python -m tfrecords_builder --dataset=image_table --raw_dir"
    )
    with pytest.raises(ValueError, match=message):
        make_reader("image_table", str(tmp_path), settings)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({**FLAGS, "label_column": "finding"}, "takes label_columns .* or label_column .*, got both"),
        ({**FLAGS, "label_names": "a,b"}, "takes label_names beside label_column only"),
        ({**FLAGS, "label_separator": "|"}, "takes label_separator beside label_column only"),
        ({**FLAGS, "label_columns": "Edema,Edema"}, "label_columns expects different names with commas between"),
        ({**NAMES, "label_names": "a,,b"}, "label_names expects different names with commas between"),
        ({**FLAGS, "image_column": "fiel"}, "lacks the column 'fiel'; did you mean 'file'"),
        ({**FLAGS, "patient_column": "who"}, "lacks the column 'who'; valid names: file, Edema, Mass, finding"),
        ({**NAMES, "label_column": "nothing"}, "lacks the column 'nothing'"),
        ({**FLAGS, "dicom_window": "ful"}, "unknown dicom_window 'ful'; did you mean 'full'"),
        ({**FLAGS, "image_folder": "../raw"}, "image_folder '../raw' leads out of --raw_dir"),
        ({**FLAGS, "image_folder": "/etc"}, "image_folder '/etc' leads out of --raw_dir"),
        (NAMES, "column 'finding' of .* holds no label"),
    ],
)
def test_wrong_settings(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, "file,Edema,Mass,finding\na.png,1,0,\n", ["a.png"], **settings)


def test_column_of_something_else_is_no_label_column(tmp_path):
    rows = "\n".join(f"a.png,{number}" for number in range(MAX_LABELS + 1))
    with pytest.raises(ValueError, match="column 'finding' of .* holds more than 1000 labels"):
        make(tmp_path, f"file,finding\n{rows}\n", **NAMES)


def test_missing_folders_and_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"table .*absent\.csv does not exist"):
        make(tmp_path, "", **{**FLAGS, "table": "absent.csv"})
    with pytest.raises(FileNotFoundError, match="image_folder .*images does not exist or is no folder"):
        make(tmp_path, "", **FLAGS, image_folder="images")
    with pytest.raises(FileNotFoundError, match="raw folder .* does not exist"):
        ImageTable(str(tmp_path / "absent"), **FLAGS)


def test_build(tmp_path):
    random = np.random.default_rng(0)
    rows = ["file,finding,who,set"]
    for number in range(16):
        rows.append(f"{number},{'sick' if number % 2 else 'healthy'},p{number // 4},{'test' if number < 4 else ''}")
    raw_dir = tmp_path / "raw"
    raw_dir.mkdir()
    for number in range(17):
        cv2.imwrite(str(raw_dir / f"{number}.png"), random.integers(0, 2**16, (20, 30), dtype=np.uint16))
    (raw_dir / "labels.csv").write_text("\n".join([*rows, "../secret,sick,p9,"]) + "\n")
    settings = ["image_suffix=.png", "patient_column=who", "split_column=set"]
    reader = make_reader(
        "image_table", str(raw_dir), [*(f"{name}={value}" for name, value in NAMES.items()), *settings]
    )
    options = BuildOptions(image_sizes=(16,), workers=1, splits={"train": 0.5, "validation": 0.5})
    info = build_dataset(reader, tmp_path / "out", options)[16]
    assert (info.images_read, info.images_written) == (18, 16)
    assert info.rejected == {"outside_raw_dir": 1, "file_without_row": 1}
    assert (info.label_names, info.is_single_label) == (("healthy", "sick"), True)
    assert {name: split.images for name, split in info.splits.items()}["test"] == 4
    assert sum(split.patients for split in info.splits.values()) == 4
    assert str(tmp_path) not in (tmp_path / "out" / "16" / "dataset_info.json").read_text()
