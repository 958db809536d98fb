"""croissant.json of builds, cohorts and merges: valid to mlcroissant, and true to the files."""

import hashlib
import json

import mlcroissant
import pytest

from tfcxr.data import records
from tfcxr.data.croissant import CROISSANT_FILE, croissant_text, shard_checksums
from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import FEATURES, INFO_FILE
from tfcxr.sampling.cohort import generate_cohort
from tfcxr.sampling.cohort_labels import counted_labels
from tfcxr.sampling.cohort_options import CohortOptions
from tfcxr.serving.loaded_model import LoadedModel
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.inspect.merge import MIXED_NOTICE, merge_folders
from tfrecords_builder.inspect.merge_inputs import MergeOptions
from tfrecords_builder.options import BuildOptions

NAMES = ("NORMAL", "PNEUMONIA")
OPTIONS = BuildOptions(image_sizes=(16,), splits={"train": 0.7, "held_out": 0.3}, workers=1, shard_images=10)


def build(out_dir):
    return build_dataset(make_reader("phantom", "", ["images=30", "image_size=16"]), out_dir, OPTIONS)[16]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("build")
    build(out_dir)
    return out_dir / "16"


@pytest.fixture(scope="module")
def cohort(tiny_export, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("cohort")
    labels = counted_labels({"NORMAL": 5, "PNEUMONIA": 3}, NAMES, True, seed=0)
    generate_cohort(LoadedModel(tiny_export), labels, out_dir, CohortOptions(seed=2, truncation=0.7, shard_images=5))
    return out_dir / "32"


def validated(data_dir):
    """The file as mlcroissant reads it, and the properties that it misses."""
    dataset = mlcroissant.Dataset(jsonld=str(data_dir / CROISSANT_FILE))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    return dataset, {warning.split('"')[1].rpartition("/")[2] for warning in map(str, issues.warnings)}


def rows_of(dataset, record_set):
    return [{name.rpartition("/")[2]: value for name, value in row.items()} for row in dataset.records(record_set)]


def files_of(data_dir):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data_dir.glob("*.tfrecord")}


def test_a_build_is_valid_and_says_what_its_records_hold(built):
    dataset, missing = validated(built)
    info, metadata = read_dataset_info(built), dataset.metadata
    assert missing <= {"datePublished", "citeAs"}  # who publishes it knows the date; the phantom has no paper
    assert metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"
    assert (metadata.name, metadata.license) == ("phantom", ["Apache-2.0 (own work)"])
    assert info.notice in metadata.description and "synthetic" not in metadata.keywords
    train, held_out = info.splits["train"], info.splits["held_out"]
    assert rows_of(dataset, "splits") == [
        {"name": "held_out", "url": "cr:Split", "images": held_out.images, "patients": held_out.patients},
        {"name": "train", "url": "cr:TrainingSplit", "images": train.images, "patients": train.patients},
    ]
    labels = [{"name": name, "column": column} for column, name in enumerate(info.label_names)]
    assert rows_of(dataset, "labels") == labels
    fields = {field.id: field for field in metadata.record_sets[-1].fields}
    assert set(fields) == {f"records/{feature}" for feature in FEATURES} | {"records/split"}
    assert fields["records/label"].array_shape_tuple == (len(info.label_names),)
    assert "Left out where unknown" in fields["records/patient/age"].description
    assert "Left out" not in fields["records/patient/key"].description


@pytest.mark.thorough
@pytest.mark.parametrize("folder", ["built", "cohort"])
def test_every_shard_has_its_checksum_and_size(folder, request):
    data_dir = request.getfixturevalue(folder)
    dataset, _ = validated(data_dir)
    described = {file.name: (file.sha256, file.content_size) for file in dataset.metadata.file_objects}
    assert {name: sha256 for name, (sha256, _) in described.items()} == files_of(data_dir)
    assert all(size == f"{(data_dir / name).stat().st_size} B" for name, (_, size) in described.items())
    assert shard_checksums((data_dir / CROISSANT_FILE).read_text()) == files_of(data_dir)


@pytest.mark.thorough
def test_a_cohort_is_marked_synthetic_with_its_generator(cohort, tiny_export):
    dataset, missing = validated(cohort)
    text = (cohort / CROISSANT_FILE).read_text()
    found, info = json.loads(text), read_dataset_info(cohort)
    assert missing <= {"datePublished", "citeAs"}
    assert "synthetic" in dataset.metadata.keywords and "Synthetic radiographs" in dataset.metadata.description
    generated = found["prov:wasGeneratedBy"]
    assert generated["prov:used"]["name"] == "tiny/1"
    assert generated["prov:used"]["sha256"] == info.provenance["weights_sha256"]
    assert "seed 2" in generated["description"] and "truncation 0.7" in generated["description"]
    assert found["prov:wasDerivedFrom"]["name"] == "discs" and found["license"] == ["made by the tests"]
    assert str(tiny_export.parent) not in text and "synthetic-" not in text  # no path, no key of an image


@pytest.mark.parametrize("folder", ["built", "cohort"])
def test_the_file_follows_from_what_dataset_info_says(folder, request):
    data_dir = request.getfixturevalue(folder)
    assert (data_dir / CROISSANT_FILE).read_text() == croissant_text(read_dataset_info(data_dir))


def test_a_merge_names_what_it_joins(built, cohort, tmp_path):
    build_dataset(
        make_reader("phantom", "", ["images=20", "image_size=32"]),
        tmp_path / "phantom",
        BuildOptions(image_sizes=(32,), splits={"train": 1.0}, workers=1),
    )
    merge_folders([tmp_path / "phantom" / "32", cohort], tmp_path / "both", MergeOptions(mix_synthetic=True))
    dataset, _ = validated(tmp_path / "both")
    inputs = json.loads((tmp_path / "both" / CROISSANT_FILE).read_text())["prov:wasDerivedFrom"]
    assert [(entry["name"], entry["description"]) for entry in inputs] == [
        ("phantom", "20 images, of patients"),
        ("tiny", "8 images, synthetic"),
    ]
    assert inputs[1]["prov:wasGeneratedBy"]["prov:used"]["name"] == "tiny/1"
    assert MIXED_NOTICE in dataset.metadata.description
    assert "Radiographs of patients and synthetic ones" in dataset.metadata.description


def test_data_without_labels_have_no_label_field(built):
    info = read_dataset_info(built)
    unlabelled = {"label_names": (), "splits": {"train": info.splits["train"]}}
    text = croissant_text(type(info)(**vars(info) | unlabelled))
    ids = {record_set["@id"]: record_set for record_set in json.loads(text)["recordSet"]}
    assert set(ids) == {"splits", "records"}
    assert "records/label" not in {field["@id"] for field in ids["records"]["field"]}
    assert "no labels" in json.loads(text)["description"]


def test_a_build_killed_between_both_descriptions_is_finished_to_the_same_bytes(built, tmp_path, monkeypatch):
    write = records.write_atomically

    def killed(path, content):
        if path.name == INFO_FILE:
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(records, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path)
    assert (tmp_path / "16" / CROISSANT_FILE).is_file() and not (tmp_path / "16" / INFO_FILE).exists()
    build(tmp_path)
    for name in (CROISSANT_FILE, INFO_FILE):
        assert (tmp_path / "16" / name).read_bytes() == (built / name).read_bytes()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"distribution": [{"@type": "cr:FileObject"}]}'])
def test_what_describes_no_files_is_refused(text):
    with pytest.raises(ValueError, match="it describes no files"):
        shard_checksums(text)


def test_other_shards_have_another_version(built, cohort):
    versions = {json.loads((folder / CROISSANT_FILE).read_text())["version"] for folder in (built, cohort)}
    assert len(versions) == 2 and all(version.startswith("1.0.0+") for version in versions)
