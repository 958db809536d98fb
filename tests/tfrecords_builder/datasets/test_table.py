import codecs
import gzip

import pytest

from tfrecords_builder.datasets.extremities import read_rows
from tfrecords_builder.datasets.table import column_names, read_lines, read_table

TEXT = "Image Index,Finding,Age\na.png,Edema,58\nb.png,Ödem,9\n"


def table(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(path, columns=("Image Index", "Finding"), optional=("Age",)):
    return [(row["Image Index"], row["Finding"], row["Age"]) for row in read_table(path, columns, optional)]


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF16_LE + TEXT.replace(",", "\t").encode("utf-16-le"),  # what Excel calls Unicode text
        TEXT.replace(",", ";"),
        TEXT.replace(",", "\t"),
        "sep=;\r\n" + TEXT.replace(",", ";"),
        '"Image Index","Finding","Age"\n"a.png","Edema","58"\n"b.png","Ödem","9"\n',
        "image index, FINDING ,age\na.png,Edema,58\nb.png,Ödem,9\n",
        "Image\xa0Index,Finding\u200b,Age\na.png,\xa0Edema\xa0,58\nb.png,Ödem,9\n",
        "Image Index,Finding,Age,,\na.png,Edema,58,,\n\n,,,,\nb.png,Ödem,9,,\n",
        "Image Index,Finding,Age\na.png,Edema,58,,\nb.png,Ödem,9,\n",
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path, content):
    expected = [("a.png", "Edema", "58"), ("b.png", "Ödem", "9")]
    assert rows(table(tmp_path, content)) == expected
    assert rows(
        table(tmp_path, gzip.compress(content.encode() if isinstance(content, str) else content), "t.csv.gz")
    ) == (expected)


def test_marks_between_fields_are_told_apart_by_the_columns(tmp_path):
    path = table(tmp_path, "Image Index,Finding (a;b;c;d)\na.png,x;y\n")
    assert next(read_table(path, ("Image Index",)))["Finding (a;b;c;d)"] == "x;y"
    path = table(tmp_path, "Image Index;Size[Width,Height];Spacing[x,y];\na.png;1,5;2;\n")
    assert column_names(path) == ["Image Index", "Size[Width,Height]", "Spacing[x,y]", ""]
    assert next(read_table(path, ("Image Index",)))["Size[Width,Height]"] == "1,5"


def test_one_column_may_be_asked_for_under_two_names(tmp_path):
    row = next(read_table(table(tmp_path, "File,x\na.png,1\n"), ("file", "FILE", "X")))
    assert (row["file"], row["FILE"], row["X"], row["#"]) == ("a.png", "a.png", "1", "2")


@pytest.mark.parametrize(
    "content, message",
    [
        (
            TEXT.encode("cp1252"),
            r"t\.csv is not a CSV table in UTF-8 \(line 3\): .*save it as 'CSV UTF-8'.*iconv -f cp1252",
        ),
        (TEXT.encode("utf-16-le"), "holds zero bytes, as UTF-16 without its mark does, or no text at all; save it as"),
        (
            b"PK\x03\x04" + bytes(40),
            "is a spreadsheet program's workbook, expected a CSV table; save it as 'CSV UTF-8'",
        ),
        (
            TEXT + "c.png,1,2,3\n",
            r"line 4 has 4 fields, expected 3 as in its header; is a field with a comma in it not in",
        ),
        (TEXT + "c.png,1\n", r"line 4 has 2 fields, expected 3 as in its header; is it cut off"),
        (TEXT + 'c.png,"1,2\nd.png,1,2\n', r"line 5 has 2 fields, expected 3 .*a quotation mark not closed\?"),
        (TEXT + 'c.png,"' + "long " * 40_000, r"line 4 cannot be read as CSV .*is a quotation mark not closed\?"),
        ("Image Index,Finding,Finding\n", "has the column 'Finding' more than once; make each name unique"),
        ("image index,IMAGE INDEX,Finding\n", "lacks the column 'Image Index'; did you mean 'image index'"),
        ("Image Indx,Finding\n", "lacks the column 'Image Index'; did you mean 'Image Indx'"),
        ("", "is empty, expected a header with 'Image Index', 'Finding'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as failure:
        rows(table(tmp_path, content))
    assert str(tmp_path / "t.csv") in str(failure.value) and "\n" not in str(failure.value)


def test_a_damaged_archive_is_refused(tmp_path):
    whole = gzip.compress(TEXT.encode() * 100)
    for content in (whole[:-20], b"no archive", whole[:40] + b"\xff" * 20 + whole[60:]):
        with pytest.raises(ValueError, match=r"t\.csv\.gz is damaged: .*get it again"):
            rows(table(tmp_path, content, "t.csv.gz"))


def test_tables_without_a_header(tmp_path):
    path = table(tmp_path, codecs.BOM_UTF8 + b"1001;XR FOOT;1;\n\n1002;XR KNEE;0;\n")
    assert list(read_rows(path, ("patient", "part", "0 or 1"))) == [
        (1, ["1001", "XR FOOT", "1"]),
        (3, ["1002", "XR KNEE", "0"]),
    ]
    with pytest.raises(ValueError, match=r"line 1 has 3 fields, expected 2 and no header: patient, part"):
        list(read_rows(path, ("patient", "part")))


def test_lists_may_begin_with_a_mark(tmp_path):
    # Without it the first name of test_list.txt would match no image, which would then be trained on.
    assert list(read_lines(table(tmp_path, codecs.BOM_UTF8 + b"a.png\r\n\r\n b.png \r\n"))) == ["a.png", "b.png"]
    assert list(read_lines(table(tmp_path, "a.png\n".encode("utf-16")))) == ["a.png"]
    assert list(read_lines(tmp_path / "absent.txt")) == []
    with pytest.raises(ValueError, match="is not a CSV table in UTF-8"):
        list(read_lines(table(tmp_path, b"\xe9.png\n")))
