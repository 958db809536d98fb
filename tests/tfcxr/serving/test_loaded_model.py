"""Finding and loading exported versions."""

import shutil

import numpy as np
import pytest

from tfcxr.serving.loaded_model import LoadedModel, find_version


def test_the_newest_version_is_found_by_number(tmp_path):
    for name in ("2", "10", "9", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text("{}")
    (tmp_path / "11").mkdir()  # not an exported model
    assert find_version(tmp_path) == tmp_path / "10"
    assert find_version(tmp_path / "2") == tmp_path / "2"


def test_a_folder_without_models(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent does not exist; python -m tfcxr.export writes a SavedModel"):
        find_version(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="holds no exported model; python -m tfcxr.export writes one"):
        find_version(tmp_path)


def test_a_classifier_is_named_as_what_it_is(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "classifier.json").write_text("{}")
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="1 is no exported model but a classifier, which reads images and gen"):
        find_version(tmp_path)


def test_draws_and_tells_its_patients(tiny_export, one_hot):
    model = LoadedModel(tiny_export.parent)
    images = model.generate(np.arange(3), one_hot([0, 1, 1]))
    assert images.dtype == np.uint8 and images.shape == (3, 32, 32, 1)
    assert model.training_patients() == "patient-a\npatient-b\n"


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index"])
def test_a_damaged_model_is_named(tiny_export, tmp_path, file):
    copy = tmp_path / "1"
    shutil.copytree(tiny_export, copy)
    (copy / file).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="1 is a damaged SavedModel .*export it again"):
        LoadedModel(copy)
