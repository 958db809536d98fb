"""Verdicts of hand-made rankings."""

import math

from tfcxr.evaluation.protocols.ranking_verdict import REAL, verdict


def row(name: str, distance: float, draws: int = 5) -> dict:
    spread = 0.5 if draws > 1 else math.nan
    return {"cohort": name, "draws": draws, "frechet_mean": distance, "frechet_deviation": spread,
            "kernel_mean": distance / 100, "kernel_deviation": spread, "ms_ssim_ratio": 0.9}  # fmt: skip


ROWS = [row(REAL, 1.0, draws=1), row("a", 2.0), row("b", 3.0), row("c", 9.0)]


def tests_of(*different: str) -> dict:
    """All pairs of a, b and c; those such as "ab" differ."""
    pairs = [
        {"first": first, "second": second, "is_different": first + second in different, "p": 0.04}
        for first, second in ("ab", "ac", "bc")
    ]
    return {"frechet": pairs, "kernel": pairs}


tests_of.__test__ = False


def test_the_nearest_is_named_where_it_differs_from_all_others():
    first, *_, pairs = verdict(ROWS, tests_of("ab", "ac", "bc"), "test", 60)
    assert first == (
        "a is nearest to real patients of test: Frechet distance 2 (sd 0.5), the next, b, 3 (sd 0.5), real training "
        "images at 1; it differs from every other cohort at 0.05 with 5 draws of 60 images."
    )
    assert "Frechet 3 of 3 (3 by each pair's own p), kernel 3 of 3" in pairs
    *_, pairs = verdict(ROWS, tests_of("ab"), "test", 60)
    assert "Frechet 1 of 3 (3 by each pair's own p)" in pairs, "both ways"


def test_nothing_can_be_said_of_the_nearest_where_the_next_does_not_differ():
    said = verdict(ROWS, tests_of("ac", "bc"), "test", 60)
    assert said[0].startswith(
        "Nothing can be said of which of a, b is nearest to real patients of test: by the Frechet"
    )
    assert said[0].endswith("more images, and so larger draws, may tell. a is nearer than c.")
    assert said[1] == "1. real training images: Frechet distance 1, kernel distance 0.01, ratio of 1 - MS-SSIM 0.90."
    assert len(said) == 6
    nothing = verdict(ROWS[1:], tests_of(), "test", 60)[0]
    assert "which of a, b, c is nearest" in nothing and "nearer than" not in nothing


def test_nothing_can_be_said_of_few_images_per_draw():
    said = verdict(ROWS, tests_of("ab", "ac", "bc"), "test", 49)[0]
    assert said.startswith(
        "Nothing can be said of which cohort is nearest to real patients of test: 49 images per draw"
    )
    assert "give 50 or more" in said and "fewer --set=ranking.draws" in said
