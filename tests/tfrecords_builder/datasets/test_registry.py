import pickle

import pytest

from tfrecords_builder.datasets import DATASETS, full_name, make_reader


def test_names_agree_with_the_registry():
    for name, reader_class in DATASETS.items():
        assert reader_class.name == name
        assert reader_class.__doc__ and reader_class.licence


def test_a_name_may_be_cut_where_one_data_set_alone_begins_so(caplog):
    with caplog.at_level("INFO", logger="absl"):
        assert full_name("nih") == "nih_chestxray14"
    assert "nih is taken for data set nih_chestxray14" in caplog.text
    assert full_name("phantom") == "phantom" and full_name("my_data.py") == "my_data.py"
    with pytest.raises(ValueError, match="'chest' may be chest_xray_pneumonia, chestxray8; write more of the name"):
        full_name("chest")
    for name, nearest in (("nhi_chestxray", "'nih_chestxray14'"), ("chexprt", "'chexpert'")):
        with pytest.raises(ValueError, match=f"unknown data set '{name}'; did you mean {nearest}"):
            full_name(name)
    with pytest.raises(ValueError, match="unknown data set ''"):
        full_name("")


def test_settings_reach_the_constructor_with_their_type():
    reader = make_reader("phantom", "", ["images=5", "severity=.5", "patients=none", "prevalence=Mass=.5"])
    assert (reader.images, reader.severity, reader.patients) == (5, 0.5, None)
    assert reader.prevalence["Mass"] == 0.5


def test_readers_can_be_sent_to_workers(tmp_path):
    (tmp_path / "a").mkdir()
    for reader in (make_reader("phantom", "", ["images=3"]), make_reader("image_folder", str(tmp_path))):
        copy = pickle.loads(pickle.dumps(reader))
        assert vars(copy) == vars(reader)


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("phantm", [], "unknown data set 'phantm'; did you mean 'phantom'"),
        ("phantom", ["imges=5"], "data set phantom has no setting 'imges'; did you mean 'images'"),
        ("phantom", ["images=many"], "phantom setting images expects a whole number, got 'many'"),
        ("phantom", ["images"], "expected --set name=value, got 'images'"),
        ("chest_xray_pneumonia", ["images=5"], "has no setting 'images'; did you mean 'labels'"),
    ],
)
def test_wrong_names_and_values(name, settings, message):
    with pytest.raises(ValueError, match=message):
        make_reader(name, "", settings)


def test_raw_folder_is_asked_for():
    with pytest.raises(FileNotFoundError, match="needs its raw folder: name it with --raw_dir"):
        make_reader("nih_chestxray14")


@pytest.mark.parametrize(
    "text, value", [("TRUE", True), ("True ", True), ("On", True), ("NO", False), ("False", False)]
)
def test_yes_and_no_in_any_case(tmp_path, text, value):
    (tmp_path / "train/a").mkdir(parents=True)
    assert make_reader("image_folder", str(tmp_path), [f"split_folders={text}"]).split_folders is value


@pytest.mark.parametrize("text", ["none", "None", "NONE "])
def test_none_in_any_case(text):
    assert make_reader("phantom", "", [f"patients={text}"]).patients is None
