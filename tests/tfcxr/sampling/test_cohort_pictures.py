"""Cohorts as pictures: an interrupted command resumes, and nothing half-written is ever found."""

import sys

import pytest

from tfcxr.data.records import read_dataset_info
from tfcxr.registry import Registry
from tfcxr.sampling import cohort_pictures
from tfcxr.sampling.cohort_pictures import write_cohort_pictures

CHOSEN = {"format": "png", "seed": 0}


@pytest.fixture
def make_cohort(write_records):
    """A function that writes a cohort's records below a folder, and counts its calls."""

    def generate(folder):
        generate.calls += 1
        provenance = {"saved_model": "gan/1", "weights_sha256": "ab" * 32}
        write_records(folder / "32", {"train": 6}, is_synthetic=True, provenance=provenance)

    generate.calls = 0
    return generate


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pictures_appear_without_their_records(make_cohort, tmp_path):
    assert write_cohort_pictures(tmp_path / "out", "png", CHOSEN, make_cohort) == tmp_path / "out" / "png"
    pictures = [f"png/train/image-{number:04d}.png" for number in range(6)]
    assert names(tmp_path / "out") == ["png/labels.csv", "png/provenance.json", *pictures]
    with pytest.raises(FileExistsError, match="png is there already; remove it or choose another --out_dir"):
        write_cohort_pictures(tmp_path / "out", "png", CHOSEN, make_cohort)
    assert make_cohort.calls == 1


def test_a_kill_while_pictures_are_written_costs_no_image(make_cohort, tmp_path, monkeypatch):
    out_dir = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(cohort_pictures, "write_pictures", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_cohort_pictures(out_dir, "png", CHOSEN, make_cohort)
    assert not (out_dir / "png").exists()
    with pytest.raises(ValueError, match="holds an unfinished cohort of another seed; run its command again"):
        write_cohort_pictures(out_dir, "png", CHOSEN | {"seed": 1}, make_cohort)
    write_cohort_pictures(out_dir, "png", CHOSEN, make_cohort)
    assert make_cohort.calls == 1 and len(names(out_dir)) == 8


def test_a_kill_after_the_pictures_is_only_tidied_up(make_cohort, tmp_path, monkeypatch):
    out_dir = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(cohort_pictures.shutil, "rmtree", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_cohort_pictures(out_dir, "png", CHOSEN, make_cohort)
    before = (out_dir / "png" / "train" / "image-0000.png").stat().st_mtime_ns
    write_cohort_pictures(out_dir, "png", CHOSEN, make_cohort)
    assert (out_dir / "png" / "train" / "image-0000.png").stat().st_mtime_ns == before
    assert make_cohort.calls == 1 and len(names(out_dir)) == 8


def test_a_kill_while_images_are_generated_keeps_them(make_cohort, tmp_path):
    def killed(folder):
        make_cohort(folder)
        (folder / "32" / "dataset_info.json").unlink()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort_pictures(tmp_path / "out", "png", CHOSEN, killed)
    kept = []
    write_cohort_pictures(
        tmp_path / "out", "png", CHOSEN, lambda folder: (kept.extend(names(folder)), make_cohort(folder))
    )
    assert sum(name.endswith(".tfrecord") for name in kept) == 3


def test_wrong_flags_leave_nothing_behind(tmp_path):
    def refuse(folder):
        raise ValueError("no such label")

    with pytest.raises(ValueError, match="no such label"):
        write_cohort_pictures(tmp_path / "out", "png", CHOSEN, refuse)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_records_is_refused(make_cohort, tmp_path):
    make_cohort(tmp_path)
    assert read_dataset_info(tmp_path / "32").is_synthetic
    with pytest.raises(FileExistsError, match="already holds a data set at 32 px"):
        write_cohort_pictures(tmp_path, "png", CHOSEN, make_cohort)


def test_without_pydicom_nothing_is_generated(make_cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort_pictures, "PICTURE_FORMATS", Registry(dicom="tfcxr.data.dicom_writer:dicom_bytes"))
    monkeypatch.delitem(sys.modules, "tfcxr.data.dicom_writer", raising=False)
    monkeypatch.setitem(sys.modules, "pydicom.dataset", None)
    with pytest.raises(ImportError, match=r"DICOM files need pydicom: pip install 'tfcxr\[serving\]'"):
        write_cohort_pictures(tmp_path / "out", "dicom", CHOSEN, make_cohort)
    assert make_cohort.calls == 0 and not (tmp_path / "out").exists()
