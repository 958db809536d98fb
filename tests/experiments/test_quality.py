import pytest


@pytest.mark.thorough
def test_it_runs_from_raw_images_to_its_page(run_smoke):
    rows = run_smoke("quality")
    assert [row.split(" | ")[0] for row in rows if row.startswith(("| cgan", "| pggan"))] == [
        "| cgan",
        "| pggan",
        "| cgan_enlarged",
    ]
