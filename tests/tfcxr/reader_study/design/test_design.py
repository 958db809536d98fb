"""What is drawn: sides, blocks, patients, repeats, and that a seed gives the same study."""

import collections
import pathlib

import pytest

from tfcxr.reader_study.design.candidates import Candidate
from tfcxr.reader_study.design.design import DesignSettings, draw_study, study_design
from tfcxr.reader_study.design_file import token_sha256

SETTINGS = DesignSettings({"grid": 4, "pair": 10, "single": 6}, training=1, repeats={"pair": 2, "grid": 1}, seed=5)


def candidates(count: int, cohort: str = "nih", images_a_patient: int = 2) -> list[Candidate]:
    """Images of alternating finding; patients have two of each finding one after the other."""
    return [
        Candidate(
            cohort, f"{cohort}-{n}", f"p{n // images_a_patient}", (("Mass", "Effusion")[n % 2],), f"{cohort}{n}",
            pathlib.Path("shard"), n, 1,
        )
        for n in range(count)
    ]  # fmt: skip


REAL, SYNTHETIC = candidates(200), candidates(200, "cgan")


@pytest.fixture(scope="module")
def drawn():
    return draw_study(SETTINGS, REAL, SYNTHETIC)


def sides(drawn, item):
    return tuple(drawn.is_synthetic[image] for image in item.images)


def first_showings(drawn):
    return [item for item in drawn.items.values() if not item.repeat_of]


def test_the_same_seed_gives_the_same_study(drawn):
    assert draw_study(SETTINGS, REAL, SYNTHETIC) == drawn
    other = draw_study(DesignSettings(SETTINGS.items, seed=6), REAL, SYNTHETIC)
    assert set(other.images) != set(drawn.images)


def test_each_image_is_in_one_item(drawn):
    shown = [image for item in first_showings(drawn) for image in item.images]
    assert len(set(shown)) == len(shown) == 5 * 6 + 11 * 2 + 7
    assert set(shown) == set(drawn.images)
    assert len({candidate.record for candidate in drawn.images.values()}) == len(shown)
    for image, candidate in drawn.images.items():
        assert drawn.is_synthetic[image] == (candidate.cohort == "cgan")


def test_pairs_and_single_images_are_balanced(drawn):
    counted = [item for item in first_showings(drawn) if not item.is_training]
    pairs = [sides(drawn, item) for item in counted if item.kind == "pair"]
    assert collections.Counter(pairs) == {(True, False): 5, (False, True): 5}
    singles = [sides(drawn, item) for item in counted if item.kind == "single"]
    assert collections.Counter(singles) == {(True,): 3, (False,): 3}


def test_grid_images_are_real_with_probability_one_half():
    drawn = draw_study(DesignSettings({"grid": 100}), candidates(600), candidates(600, "cgan"))
    assert 250 < sum(drawn.is_synthetic.values()) < 350  # four standard deviations
    counts = {sum(sides(drawn, item)) for item in drawn.items.values()}
    assert {1, 2, 3, 4, 5} <= counts


def test_each_reader_sees_training_then_all_then_repeats(drawn):
    assert list(drawn.orders) == [f"R{number:02d}" for number in range(1, 9)]
    for order in drawn.orders.values():
        items = [drawn.items[key] for key in order]
        assert [item.is_training for item in items] == [True] * 3 + [False] * 23
        assert all(item.repeat_of == "" for item in items[:23])
        assert collections.Counter(item.kind for item in items[23:]) == {"pair": 2, "grid": 1}
        for key in order[23:]:
            first = drawn.items[key].repeat_of
            assert order.index(first) < 23
            assert sorted(drawn.items[first].images) == sorted(drawn.items[key].images)


def test_keys_do_not_show_repeats_or_blocks(drawn):
    for key, item in drawn.items.items():
        kind, number = key.split("-")
        assert kind == item.kind
        assert number.isdigit()
    repeated = sorted(key for key, item in drawn.items.items() if item.repeat_of)
    assert repeated != sorted(drawn.items)[-len(repeated) :]


def test_no_patient_is_twice_in_one_item():
    few = candidates(60, images_a_patient=6), candidates(60, "cgan", images_a_patient=6)
    drawn = draw_study(DesignSettings({"grid": 6, "pair": 10}, seed=1), *few)
    for item in drawn.items.values():
        here = [(drawn.is_synthetic[image], drawn.images[image].patient) for image in item.images]
        assert len(set(here)) == len(here)


def test_a_patient_is_in_two_items_only_where_there_are_too_few():
    drawn = draw_study(DesignSettings({"single": 40}), candidates(60, images_a_patient=3), SYNTHETIC)
    patients = [drawn.images[image].patient for image in drawn.images if not drawn.is_synthetic[image]]
    assert len(set(patients)) == len(patients) == 20


def test_images_of_a_block_have_its_finding():
    drawn = draw_study(DesignSettings({"grid": 2, "pair": 4}, blocks=("Mass", "Effusion"), training=1), REAL, SYNTHETIC)
    kinds = collections.Counter((item.block, item.kind) for item in drawn.items.values() if not item.is_training)
    assert kinds == {(block, kind): n for block in ("Mass", "Effusion") for kind, n in (("grid", 2), ("pair", 4))}
    for item in drawn.items.values():
        for image in item.images:
            assert not item.block or item.block in drawn.images[image].labels


def test_exposure_is_of_single_images():
    settings = DesignSettings({"pair": 2, "single": 4}, training=1, exposure_seconds=0.5, is_staircase=True)
    for item in draw_study(settings, REAL, SYNTHETIC).items.values():
        assert item.exposure_seconds == (0.5 if item.kind == "single" else None)
        assert item.is_staircase == (item.kind == "single" and not item.is_training)


def test_copies_are_left_out():
    drawn = draw_study(DesignSettings({"pair": 4}), [*REAL, *REAL[:7]], [*SYNTHETIC, REAL[0]])
    assert drawn.left_out == 8


def test_too_few_images_are_counted_by_finding():
    with pytest.raises(ValueError, match=r"needs 10 real images, 8 are there \(Effusion 4, Mass 4\); ask for fewer"):
        draw_study(DesignSettings({"pair": 10}), candidates(8), SYNTHETIC)
    with pytest.raises(ValueError, match="needs 5 synthetic images with Nodule, 0 are there"):
        draw_study(DesignSettings({"single": 10}, blocks=("Nodule",)), _with_nodule(REAL), SYNTHETIC)


def test_too_few_patients_are_said():
    one_patient = candidates(100, images_a_patient=100)
    with pytest.raises(ValueError, match=r"too few real images .* a grid whose images are of different patients"):
        draw_study(DesignSettings({"grid": 6}), one_patient, SYNTHETIC)


def test_the_design_holds_hashes_of_tokens_and_solutions_of_examples_alone(drawn):
    checksums = dict.fromkeys(drawn.images, "0" * 64)
    tokens = {reader: f"token {reader}" for reader in drawn.orders}
    design, key = study_design(
        drawn, SETTINGS, tokens, checksums, title="T", consent="C", diagnoses=("Mass",), display_size=260, plan={"a": 1}
    )
    assert {name: reader.token_sha256 for name, reader in design.readers.items()} == {
        reader: token_sha256(token) for reader, token in tokens.items()
    }
    assert set(design.training_solutions) == {key for key, item in design.items.items() if item.is_training}
    for name, solution in design.training_solutions.items():
        assert solution == sides(drawn, design.items[name])
    assert {image for image, origin in key.items() if origin.is_synthetic} == {
        image for image in drawn.images if drawn.is_synthetic[image]
    }


def _with_nodule(entries):
    return [Candidate(**{**vars(entry), "labels": ("Nodule",)}) for entry in entries]
