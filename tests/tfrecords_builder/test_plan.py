import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from absl import logging as absl_logging

from tfcxr.data.schema import hashed_key
from tfrecords_builder import assignment
from tfrecords_builder import plan as plan_module
from tfrecords_builder.assignment import OTHER_SPLIT
from tfrecords_builder.datasets.reader import RawExample, Reader, Reject
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.plan import NothingLeftError, plan_build


class ListReader(Reader):
    """Gives what it is given."""

    name = "listed"
    label_names = ("NORMAL", "PNEUMONIA")

    def __init__(self, entries):
        super().__init__("somewhere")
        self._entries = entries

    def examples(self):
        return iter(self._entries)


def example(key, patient, official_split="", label=(1.0, 0.0)):
    return RawExample(key, patient, label, official_split=official_split)


def many(count, official_split="", first=0):
    return [
        example(f"{number}", f"p{number // 3}", official_split, (float(number % 2), float(1 - number % 2)))
        for number in range(first, first + count)
    ]


def split_keys(plan):
    keys = {}
    for job in plan.jobs:
        keys.setdefault(job.split, []).extend(member.key for member in job.examples)
    return keys


def reasons(plan):
    return Counter(reject.reason for reject in plan.rejects)


@pytest.mark.parametrize("seed", range(8))
def test_no_patient_is_in_two_splits_and_nothing_is_lost(seed):
    random = np.random.default_rng(seed)
    entries = [
        example(f"{number}", f"p{random.integers(120)}", random.choice(["", "", "", "test", "train_official"]))
        for number in range(600)
    ]
    plan = plan_build(ListReader(entries), BuildOptions(splits={"a": 0.6, "b": 0.4}, seed=seed))
    split_of_patient = {}
    for job in plan.jobs:
        for member in job.examples:
            assert split_of_patient.setdefault(member.patient_id, job.split) == job.split
            assert member.official_split in ("", job.split)
    kept = [key for keys in split_keys(plan).values() for key in keys]
    assert sorted(kept + [reject.key for reject in plan.rejects]) == sorted(entry.key for entry in entries)
    assert plan.images_read == 600 and reasons(plan).keys() == {OTHER_SPLIT}


def test_patient_in_two_published_splits_keeps_the_test_images():
    entries = [*many(60), example("x", "p0", "test"), example("y", "q", "validation"), example("z", "q", "train")]
    plan = plan_build(ListReader(entries), BuildOptions(splits={"rest": 1.0}))
    keys = split_keys(plan)
    assert keys["test"] == ["x"] and keys["validation"] == ["y"] and len(keys["rest"]) == 57
    assert {reject.key for reject in plan.rejects} == {"0", "1", "2", "z"}
    assert reasons(plan) == {OTHER_SPLIT: 4}


def test_default_splits():
    assert split_keys(plan_build(ListReader(many(300)), BuildOptions())).keys() == {"train", "validation", "test"}
    plan = plan_build(ListReader([*many(300), *many(30, "test", 300)]), BuildOptions())
    assert plan.assignment.fractions == {"train": 0.9, "validation": 0.1}
    assert len(split_keys(plan)["test"]) == 30
    plan = plan_build(ListReader(many(30, "test")), BuildOptions())
    assert plan.assignment.fractions == {} and split_keys(plan).keys() == {"test"}


def test_published_splits_are_not_divided():
    with pytest.raises(ValueError, match="split 'test' is published with this data set and kept as it is"):
        plan_build(ListReader([*many(30), *many(9, "test", 30)]), BuildOptions(splits={"train": 0.8, "test": 0.2}))
    with pytest.raises(ValueError, match="every image of this data set has a published split"):
        plan_build(ListReader(many(30, "test")), BuildOptions(splits={"train": 1.0}))


def test_unknown_labels_do_not_count_in_a_patients_mean(monkeypatch):
    means = {}

    def split_patients(labels, fractions, seed):
        means.update((patient, label.tolist()) for patient, label in labels.items())
        return dict.fromkeys(labels, "train")

    monkeypatch.setattr(assignment, "split_patients", split_patients)
    labels = {"a": (1.0, math.nan), "b": (math.nan, math.nan), "c": (0.0, 1.0), "d": (0.0, 1.0)}
    entries = [example(key, "p", label=label) for key, label in labels.items()]
    plan_build(ListReader([*entries, example("e", "q", label=(math.nan, 1.0))]), BuildOptions(splits={"train": 1.0}))
    assert means == {"p": [1 / 3, 1.0], "q": [0.0, 1.0]}


def test_duplicate_keys_and_rejects_are_counted():
    entries = [*many(30), example("3", "p1"), Reject("bad", "missing_file", "gone")]
    plan = plan_build(ListReader(entries), BuildOptions())
    assert reasons(plan) == {"duplicate_key": 1, "missing_file": 1} and plan.images_read == 32


def linked(key, patient, real_path, **facts):
    return dataclasses.replace(example(key, patient, **facts), path=key, real_path=real_path)


def test_a_file_that_two_paths_lead_to_is_one_image(tmp_path):
    reader = ListReader([])
    reader.raw_dir = tmp_path
    reader._entries = [
        *many(30),
        linked("x.png", "px", ""),
        linked("to_x", "p1", f"{tmp_path}/x.png"),
        linked("train_y", "py", "/disk/y", official_split="train"),
        linked("test_y", "pz", "/disk/y", official_split="test"),
        linked("sick_z", "pa", "/disk/z", label=(0.0, 1.0)),
        linked("well_z", "pb", "/disk/z"),
    ]
    plan = plan_build(reader, BuildOptions())
    found = {reject.key: (reject.reason, reject.detail) for reject in plan.rejects}
    assert found == {
        "to_x": ("same_file_twice", "the same file as x.png"),
        "train_y": ("same_file_twice", "the same file as test_y"),
        "sick_z": ("conflicting_labels", "the same file as well_z, whose labels may differ"),
        "well_z": ("conflicting_labels", "the same file as sick_z, whose labels may differ"),
    }
    assert split_keys(plan)["test"] == ["test_y"] and plan.images_read == 36


def test_where_the_raw_folder_lies_does_not_change_the_fingerprint():
    here, there = (
        plan_build(ListReader([*many(30), Reject("a", "missing_file", f"not in {where}")]), BuildOptions())
        for where in ("/here", "/there")
    )
    assert here.fingerprint == there.fingerprint


def test_names_that_are_not_utf8_become_text():
    odd = b"\xe9.png".decode("utf-8", "surrogateescape")
    plan = plan_build(ListReader([*many(30), example(odd, odd), Reject(odd, "not_an_image", odd)]), BuildOptions())
    assert "\\xe9.png" in [key for keys in split_keys(plan).values() for key in keys]
    assert plan.rejects == (Reject("\\xe9.png", "not_an_image", "\\xe9.png"),)


def test_what_programs_leave_does_not_stop_a_build():
    left = [Reject(".git", "system_folder"), Reject(".DS_Store", "hidden_file"), Reject("x", "excluded_view")]
    assert plan_build(ListReader([*many(30), *left]), BuildOptions(on_error="stop")).images_read == 33


def test_stop_ends_at_the_first_reject():
    reader = ListReader([*many(30), Reject("bad", "missing_file", "gone")])
    with pytest.raises(ValueError, match=r"bad cannot be used: missing_file \(gone\); --on_error=skip counts such"):
        plan_build(reader, BuildOptions(on_error="stop"))


def test_nothing_to_build():
    with pytest.raises(ValueError, match="found no image in somewhere; expected the data set's published layout"):
        plan_build(ListReader([]), BuildOptions())
    rejects = [Reject("a", "unknown_label"), Reject("b", "missing_file", "gone"), Reject("c", "missing_file")]
    message = (
        "none of 3 images in somewhere can be used: missing_file 2, unknown_label 1; such as b, missing_file: gone$"
    )
    with pytest.raises(NothingLeftError, match=message) as failure:
        plan_build(ListReader(rejects), BuildOptions())
    assert failure.value.rejects == tuple(rejects)


def test_label_of_another_length():
    with pytest.raises(ValueError, match="k has 1 label values, expected 2"):
        plan_build(ListReader([example("k", "p", label=(1.0,))]), BuildOptions())


def test_shards_are_even_random_mixes():
    entries = [example(f"{n}", f"p{n}", label=(float(n < 500), float(n >= 500))) for n in range(1000)]
    plan = plan_build(ListReader(entries), BuildOptions(splits={"all": 1.0}, shard_images=300))
    assert [len(job.examples) for job in plan.jobs] == [125] * 8  # small splits still get 8 shards
    for job in plan.jobs:
        assert job.file == f"all-{job.index:05d}-of-00008.tfrecord"
        assert 40 < sum(member.label[0] for member in job.examples) < 85  # 62.5 expected, deviation 5.6
    sizes = [len(job.examples) for job in plan_build(ListReader(entries), BuildOptions(shard_images=30)).jobs]
    assert max(sizes) <= 30 and sum(sizes) == 1000
    assert [len(job.examples) for job in plan_build(ListReader(many(90)), BuildOptions(splits={"all": 1.0})).jobs] == [
        90
    ]


def test_order_in_shards_depends_on_the_seed_alone():
    keys = [
        split_keys(plan_build(ListReader(many(90)), BuildOptions(splits={"all": 1.0}, seed=s)))["all"] for s in (0, 1)
    ]
    again = plan_build(ListReader(many(90)[::-1]), BuildOptions(splits={"all": 1.0}))
    assert keys[0] == split_keys(again)["all"]
    assert keys[0] != keys[1] and sorted(keys[0]) == sorted(keys[1])


def test_changed_raw_data_changes_the_fingerprint():
    first = plan_build(ListReader(many(30)), BuildOptions()).fingerprint
    assert first == plan_build(ListReader(many(30)), BuildOptions(seed=5)).fingerprint
    assert first != plan_build(ListReader(many(31)), BuildOptions()).fingerprint


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"image_sizes": ()}, "image_sizes expects numbers from 4 to 4096"),
        ({"image_sizes": (64, 3)}, "image_sizes expects numbers from 4 to 4096"),
        ({"encoding": "pgn"}, "unknown encoding 'pgn'; did you mean 'png'"),
        ({"on_error": "stopp"}, "unknown on_error 'stopp'; did you mean 'stop'"),
        ({"bits": 12}, "bits expects 8 or 16, got 12"),
        ({"workers": -1}, "--workers must be 0 or more, got -1"),
        ({"shard_images": 0}, "--shard_images must be 1 or more, got 0"),
        ({"salt": b"short"}, "the salt has 5 bytes, expected at least 16"),
        ({"splits": {"train": 0.5}}, "add up to 0.5, expected 1"),
    ],
)
def test_wrong_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        BuildOptions(**arguments)


def test_the_salt_itself_is_never_told():
    arguments = BuildOptions(salt=b"sixteen bytes or more").content_arguments()
    assert "sixteen" not in repr(arguments) and len(arguments["salt_fingerprint"]) == 8
    assert BuildOptions().salt_fingerprint == ""


def test_an_image_named_twice_is_used_once_and_not_at_all_when_its_labels_differ():
    entries = many(30)
    entries += [entries[4], example("5", "p1", label=(0.5, 0.5)), example("6", "somebody else", label=entries[6].label)]
    plan = plan_build(ListReader(entries), BuildOptions(splits={"train": 1.0}))
    assert reasons(plan) == {"duplicate_key": 1, "conflicting_labels": 2, "conflicting_patients": 2}
    assert set(split_keys(plan)["train"]) == {str(number) for number in range(30)} - {"5", "6"}
    assert plan.images_read == 33


def test_equal_rows_with_unknown_values_are_one_image():
    rows = [RawExample("a", "p", (float("nan"), 1.0), age=float("nan")) for _ in range(2)]
    plan = plan_build(ListReader(rows), BuildOptions(splits={"train": 1.0}))
    assert reasons(plan) == {"duplicate_key": 1}


def test_stop_does_not_stop_at_what_the_user_left_out():
    entries = [*many(30), Reject("lateral", "excluded_view")]
    plan = plan_build(ListReader(entries), BuildOptions(splits={"train": 1.0}, on_error="stop"))
    assert reasons(plan) == {"excluded_view": 1}
    with pytest.raises(ValueError, match="gone cannot be used: missing_file"):
        plan_build(ListReader([*entries, Reject("gone", "missing_file")]), BuildOptions(on_error="stop"))


def test_folds_are_equal_and_disjoint():
    plan = plan_build(ListReader(many(300)), BuildOptions(folds=5))
    sizes = {split: len(keys) for split, keys in split_keys(plan).items()}
    assert sizes.keys() == {f"fold_{index}" for index in range(5)} and sum(sizes.values()) == 300
    assert max(sizes.values()) - min(sizes.values()) <= 6
    with pytest.raises(ValueError, match="folds expects 2 or more, got 1"):
        BuildOptions(folds=1)
    with pytest.raises(ValueError, match="either splits or folds"):
        BuildOptions(folds=2, splits={"train": 1.0})


def test_by_hash_no_patient_moves_when_images_are_added():
    options = BuildOptions(split_by="hash", splits={"train": 0.7, "test": 0.3})
    before, after = (split_keys(plan_build(ListReader(many(count)), options)) for count in (300, 900))
    assert all(set(before[split]) <= set(after[split]) for split in before)
    by_labels = BuildOptions(splits=options.splits)
    before, after = (split_keys(plan_build(ListReader(many(count)), by_labels)) for count in (300, 900))
    assert not all(set(before[split]) <= set(after[split]) for split in before)  # what the flag is there for


def test_a_published_validation_split_is_not_mixed_with_divided_patients():
    entries = many(60) + many(30, "validation", first=60)
    plan = plan_build(ListReader(entries), BuildOptions())
    assert plan.assignment.fractions == {"train": 0.9, "test": 0.1}
    assert set(split_keys(plan)["validation"]) == {str(number) for number in range(60, 90)}


def test_an_image_that_one_row_keeps_and_another_leaves_out_is_a_conflict():
    plan = plan_build(
        ListReader([*many(30), Reject("7", "excluded_other_finding")]), BuildOptions(splits={"train": 1.0})
    )
    assert reasons(plan) == {"excluded_other_finding": 1, "conflicting_labels": 1}
    assert "7" not in split_keys(plan)["train"]


def test_a_patient_whom_a_published_list_moves_is_told(tmp_path, monkeypatch, caplog):
    former = plan_build(ListReader(many(60)), BuildOptions(splits={"train": 0.5, "held_out": 0.5}))
    kept = {hashed_key(f"listed/{member.patient_id}", b""): job.split for job in former.jobs for member in job.examples}
    monkeypatch.setattr(plan_module, "read_kept_splits", lambda *_: kept)  # a build on disk: see test_build
    entries = many(6, "test") + many(54, first=6)
    options = BuildOptions(splits={"train": 0.5, "held_out": 0.5}, keep_splits="former")
    with caplog.at_level("WARNING"):
        plan = plan_build(ListReader(entries), options)
    assert (plan.assignment.kept_patients, plan.assignment.moved_patients) == (18, 2)
    assert (
        "2 patients change splits: a published list now says otherwise than the former build in former" in caplog.text
    )


class ThreeClasses(ListReader):
    label_names = ("NORMAL", "BACTERIA", "VIRUS")
    is_single_label = True


def classes(count):
    return [
        example(f"{number}", f"p{number}", label=tuple(float(number % 3 == place) for place in range(3)))
        for number in range(count)
    ]


def test_of_exclusive_classes_those_of_interest_are_kept_and_the_others_counted():
    plan = plan_build(ThreeClasses(classes(90)), BuildOptions(labels=("VIRUS", "NORMAL"), on_error="stop"))
    assert plan.labels.names == ("VIRUS", "NORMAL")
    kept = [key for keys in split_keys(plan).values() for key in keys]
    assert sorted(map(int, kept)) == [number for number in range(90) if number % 3 != 1]
    assert reasons(plan) == {"excluded_label": 30} and plan.images_read == 90


def test_of_joint_labels_every_image_is_kept_and_the_chosen_ones_are_balanced():
    rare = [example(f"{n}", f"p{n}", label=(float(n % 2), float(n < 10))) for n in range(100)]
    plan = plan_build(ListReader(rare), BuildOptions(labels=("PNEUMONIA",), splits={"a": 0.5, "b": 0.5}))
    assert sum(len(job.examples) for job in plan.jobs) == 100 and not plan.rejects
    sick = {job.split: sum(member.label[1] for member in job.examples) for job in plan.jobs}
    assert sick == {"a": 5, "b": 5}


def test_an_unknown_label_of_interest_is_told_before_the_listing(monkeypatch):
    monkeypatch.setattr(plan_module, "list_examples", None)
    for names in ({"labels": ("NORMAL", "PNEUMONI")}, {"only_labels": ("PNEUMONI",)}):
        with pytest.raises(ValueError, match="listed has no label 'PNEUMONI'; did you mean 'PNEUMONIA'"):
            plan_build(ListReader(many(6)), BuildOptions(**names))
    with pytest.raises(ValueError, match="label 'NORMAL' is named twice"):
        plan_build(ListReader(many(6)), BuildOptions(labels=("NORMAL", "NORMAL")))


def test_only_images_of_chosen_labels_are_kept_and_the_others_counted():
    plan = plan_build(ListReader(many(60)), BuildOptions(only_labels=("PNEUMONIA",), on_error="stop"))
    kept = [key for keys in split_keys(plan).values() for key in keys]
    assert sorted(map(int, kept)) == list(range(0, 60, 2))
    assert reasons(plan) == {"excluded_label": 30}
    assert plan.images_read == 60


def drawn_keys(entries, most, **options):
    plan = plan_build(ThreeClasses(entries), BuildOptions(max_images_per_label=most, on_error="stop", **options))
    kept = {key for keys in split_keys(plan).values() for key in keys}
    assert plan.images_read == len(entries) == len(kept) + len(plan.rejects)
    return kept, plan


def test_at_most_so_many_images_of_each_label_are_drawn(caplog):
    unequal = [entry for entry in classes(120) if entry.label[2] == 0 or int(entry.key) < 24]  # 40, 40 and 8
    absl_logging.set_verbosity(absl_logging.INFO)
    kept, plan = drawn_keys(unequal, 30)
    labels = np.array([entry.label for entry in unequal if entry.key in kept])
    assert labels.sum(axis=0).tolist() == [30, 30, 8]
    assert reasons(plan) == {"excluded_beyond_max_images_per_label": 20}
    assert "at most 30 images per label: NORMAL 30 of 40, BACTERIA 30 of 40, VIRUS 8 of 8" in caplog.text
    assert drawn_keys(unequal[::-1], 30)[0] == kept, "the order of the images does not matter"
    assert drawn_keys(unequal, 30, seed=1)[0] != kept
    added = drawn_keys([*unequal, example("new", "new", label=(1.0, 0.0, 0.0))], 30)[0]
    assert added - kept <= {"new"} and len(kept - added) <= 1


def test_patients_stay_in_one_split_when_images_are_drawn():
    entries = [dataclasses.replace(entry, patient_id=f"p{int(entry.key) // 5}") for entry in classes(300)]
    _, plan = drawn_keys(entries, 60, splits={"a": 0.5, "b": 0.5})
    patients = [
        {member.patient_id for job in plan.jobs if job.split == name for member in job.examples} for name in "ab"
    ]
    assert all(patients) and not patients[0] & patients[1]


def test_images_of_joint_labels_cannot_be_drawn_per_label(monkeypatch):
    monkeypatch.setattr(plan_module, "list_examples", None)  # it is told before the listing
    with pytest.raises(
        ValueError, match="--max_images_per_label needs labels that exclude each other, but an image of"
    ):
        plan_build(ListReader(many(6)), BuildOptions(max_images_per_label=2))
