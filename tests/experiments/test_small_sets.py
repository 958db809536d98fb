import pytest


@pytest.mark.thorough
def test_it_runs_from_raw_images_to_its_page(run_smoke):
    rows = run_smoke("small_sets")
    assert [row.split(" | ")[2] for row in rows if row.startswith("| cgan_augmented_60")] == ["held_out", "test"]
