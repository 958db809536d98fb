import pytest

from tfcxr.reader_study.report.verdict import verdict
from tfcxr.reader_study.statistics.analysis import Analysis, Estimate


def analyses(hype=None, pairs=None):
    found = {}
    if hype:
        found["hype"] = Analysis("", ("Errors.",), (), {"hype_infinity": Estimate(*hype, 8)})
    if pairs:
        found["rates"] = Analysis("", ("Rates.",), (), {"pairs_right": Estimate(*pairs, 8)})
    return found


TOLD, GUESSED, FOOLED = (0.33, 0.24, 0.43), (0.44, 0.35, 0.53), (0.6, 0.55, 0.7)


@pytest.mark.parametrize(
    ("hype", "pairs", "lead"),
    [
        (TOLD, (0.71, 0.55, 0.86), "Readers tell synthetic images from real ones:"),
        (TOLD, None, "Readers tell synthetic images from real ones:"),
        (None, (0.71, 0.55, 0.86), "Readers tell synthetic images from real ones:"),
        (GUESSED, (0.6, 0.4, 0.8), "It is not shown that readers tell"),
        (TOLD, (0.6, 0.4, 0.8), "Readers tell synthetic images from real ones by one measure, not by the other:"),
        (FOOLED, (0.4, 0.3, 0.45), "Readers take synthetic images for real ones more often than real ones:"),
        (FOOLED, (0.71, 0.55, 0.86), "Readers do not tell synthetic images from real ones alike by all measures:"),
    ],
)
def test_lead_follows_the_intervals(hype, pairs, lead):
    assert verdict(analyses(hype, pairs)).startswith(lead)


def test_numbers_stand_in_the_sentence():
    assert verdict(analyses(TOLD, (0.71, 0.55, 0.86))) == (
        "Readers tell synthetic images from real ones: they are wrong on 33 % (24-43) of images and they find the "
        "real image in 71 % (55-86) of pairs, where guessing gives 50 %."
    )


def test_part_of_a_study_is_said_to_be_one():
    assert verdict(analyses(TOLD), is_complete=False).startswith("So far, readers tell")


def test_without_rates_the_auc_answers_then_whatever_is_there():
    mine, roc = Analysis("", ("HYPE is high.",)), Analysis("", ("The AUC is .7.",))
    assert verdict({"mine": mine, "roc": roc}) == "The AUC is .7."
    assert verdict({"nothing": None, "mine": mine}, is_complete=False) == "So far, HYPE is high."
    assert verdict({"nothing": None}) == "The answers given so far allow no analysis."
