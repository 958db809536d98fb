import time

import pytest

from tfrecords_builder.datasets.label_text import check_spellings, decimal_point, folded, printable, split_labels


@pytest.mark.parametrize(
    "text, names",
    [
        ("Edema", ["Edema"]),
        (" Edema | Mass|", ["Edema", "Mass"]),
        ("['normal']", ["normal"]),
        ("[' pneumonia ', 'infiltrates', '']", ["pneumonia", "infiltrates"]),
        ("""["Crohn's", 'mass, large', "a|b"]""", ["Crohn's", "mass, large", "a|b"]),
        (r"['it\'s', 'caf\u00e9']", ["it's", "café"]),
        ("[normal, COPD signs,]", ["normal", "COPD signs"]),
        ("[ ]", []),
        ("[nan, None, 'None']", ["None"]),
        ("", []),
        ("None", ["None"]),  # without brackets it is a label like any other
        ("Pleural\xa0Effusion\u202f", ["Pleural Effusion"]),
    ],
)
def test_labels_of_a_field(text, names):
    assert split_labels(text, "|") == names


def test_without_a_separator_a_field_is_one_label():
    assert split_labels("a|b, c") == ["a|b, c"]
    assert split_labels("['a', 'b']") == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    ["[", "['a'", "['a' 'b']", "['a'] and b", "[['a']]", "['a]", r"['\x4']", "[__import__('os').system('true')]"],
)
def test_half_a_list_is_refused(text):
    with pytest.raises(ValueError, match=r"is not a list such as \['a', 'b'\]"):
        split_labels(text, "|")


def test_a_long_field_takes_no_long_time():
    start = time.perf_counter()
    for text in (
        "[" + " " * 100_000 + "'x]",
        "[" + "a " * 50_000 + "'x]",
        "['" + "\\" * 99_999 + "]",
        "[" + "'a' " * 30_000 + "]",
    ):
        with pytest.raises(ValueError, match="is not a list"):
            split_labels(text)
    assert time.perf_counter() - start < 2


def test_names_that_differ_in_case_or_blanks_alone():
    assert folded("Pleural  Effusion ") == folded("pleural\xa0EFFUSION") == folded("pleural effusion")
    assert folded("e\u0301") == folded("É") and folded("edema") != folded("oedema")
    check_spellings(["Edema", "Mass"], "the labels", "mend")
    with pytest.raises(ValueError, match="the labels 'Edema' and 'EDEMA' differ in case or blanks alone; mend"):
        check_spellings(["Edema", "Mass", "EDEMA"], "the labels", "mend")


def test_decimal_commas():
    texts = {
        "1,0": "1.0",
        "-1,0": "-1.0",
        "+58,25": "+58.25",
        "1": "1",
        "1,2,3": "1,2,3",
        "a,b": "a,b",
        "": "",
        ",5": ",5",
    }
    assert {text: decimal_point(text) for text in texts} == texts


def test_file_names_as_text():
    assert printable("a.png") == "a.png" and printable("ä.png") == "ä.png"
    assert printable(b"\xe4.png".decode("utf-8", "surrogateescape")) == "\\xe4.png"
