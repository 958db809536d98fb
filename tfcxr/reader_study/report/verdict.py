"""The answer of a study in one sentence: can its readers tell?"""

from collections.abc import Mapping

from tfcxr.reader_study.statistics.analysis import Analysis, Estimate

CHANCE = 0.5
# analysis, its number, whether more than chance means that readers can tell, and how it is said
MEASURES = (
    ("hype", "hype_infinity", False, "they are wrong on {} of images"),
    ("rates", "pairs_right", True, "they find the real image in {} of pairs"),
)
LEADS = {
    frozenset({1}): "Readers tell synthetic images from real ones",
    frozenset({0}): "It is not shown that readers tell synthetic images from real ones",
    frozenset({-1}): "Readers take synthetic images for real ones more often than real ones",
    frozenset({0, 1}): "Readers tell synthetic images from real ones by one measure, not by the other",
}
MIXED = "Readers do not tell synthetic images from real ones alike by all measures"


def verdict(analyses: Mapping[str, Analysis | None], is_complete: bool = True) -> str:
    """One sentence from HYPE-infinity and the pairs, else from the AUC, else what the first analysis found.

    A measure counts as told where its 95 % interval for new readers and new cases leaves out chance.

    Args:
      analyses: name -> answer; None for an analysis that the study has nothing for.
      is_complete: "So far" stands before a verdict on a part of the answers.
    """
    sides, parts = set(), []
    for name, number, is_better_above, words in MEASURES:
        analysis = analyses.get(name)
        estimate = analysis.numbers.get(number) if analysis else None
        if isinstance(estimate, Estimate):
            above = (estimate.low > CHANCE) - (estimate.high < CHANCE)
            sides.add(above if is_better_above else -above)
            parts.append(words.format(_percent(estimate)))
    if parts:
        lead = LEADS.get(frozenset(sides), MIXED)
        sentence = f"{lead}: {' and '.join(parts)}, where guessing gives 50 %."
    else:
        found = [analysis for name, analysis in analyses.items() if analysis and name == "roc"]
        found += [analysis for analysis in analyses.values() if analysis]
        sentence = found[0].sentences[0] if found else "The answers given so far allow no analysis."
    if is_complete:
        return sentence
    is_word = sentence[1:2].islower()  # unlike HYPE
    return f"So far, {sentence[0].lower() if is_word else sentence[0]}{sentence[1:]}"


def _percent(estimate: Estimate) -> str:
    low, value, high = (f"{100 * end:.0f}" for end in (estimate.low, estimate.value, estimate.high))
    return f"{value} % ({low}-{high})"
