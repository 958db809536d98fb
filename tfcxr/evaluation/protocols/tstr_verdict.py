"""The verdict of train on synthetic, test on real: what synthetic images teach, as a share of what real ones teach.

The share is (AUC - .5) / (real AUC - .5), since AUCs near .5 have a ratio near 1 whatever was learned. Where the AUC of
the classifier trained on real images is not clearly above chance (`LabelScore.clear_from`: its interval begins below
.6), an equally bad one trained on synthetic images says nothing, and so does the verdict.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.metric import ClassDiversity, LabelScore
from tfcxr.evaluation.scores import score_text

COLLAPSE_RATIO = 0.5  # of the real images' diversity, below which the verdict says so
WHAT_HELPS = """What helps: more real training images, longer training (classifier.max_epochs, classifier.patience,
classifier.learning_rate), another --classifier, or more test patients, which narrow the interval.""".replace("\n", " ")


def verdict(
    architecture: str, tests: Mapping[str, Any], diversity_rows: Sequence[Mapping[str, Any]], how_many: str = "as many"
) -> list[str]:
    """A sentence per test set by the first `LabelScore`, first where nothing can be said, and one on diversity.

    Args:
      architecture: of the classifiers.
      tests: by split, the scores and shares of the arms.
      diversity_rows: what `diversity_rows` gave.
      how_many: real images are trained on, in words.
    """
    metric = metrics_of(LabelScore)[0]
    silent, telling = [], []
    for split, test in tests.items():
        arms = {arm: summary[metric.name] for arm, summary in test["arms"].items()}
        if "real" in arms and not metric.is_clear(arms["real"]):
            silent.append(_nothing_said(metric, architecture, split, arms["real"]))
        elif {"real", "synthetic"} <= arms.keys():
            share = test["shares_of_real"]["synthetic"][metric.name]
            telling.append(_share_said(metric, architecture, split, arms, share, how_many))
            if "pretrained" in arms:
                telling.append(
                    _pretraining_said(metric, split, arms, test["shares_of_real"]["pretrained"][metric.name], how_many)
                )
        else:
            scores = ", ".join(f"{arm} {score_text(summary)}" for arm, summary in arms.items())
            telling.append(f"On real patients of {split}, {architecture} reaches {metric.title}: {scores}.")
    return [*silent, *telling, *_diversity_said(diversity_rows)]


def _nothing_said(metric: LabelScore, architecture: str, split: str, real: Mapping[str, Any]) -> str:
    return (
        f"Nothing can be said about the synthetic images on real patients of {split}: even trained on real images, "
        f"{architecture} is not clearly above chance there: {metric.title} {score_text(real)}, where the interval must "
        f"begin at {metric.clear_from:g} or above. {WHAT_HELPS}"
    )


def _share_said(
    metric: LabelScore,
    architecture: str,
    split: str,
    arms: Mapping[str, Mapping[str, Any]],
    share: Mapping[str, Any],
    how_many: str,
) -> str:
    """What the synthetic images teach, where the real arm is clearly above chance."""
    conclusion = ""
    if arms["synthetic"]["interval"][0] <= metric.chance:
        conclusion = f": the synthetic images taught nothing that can be told from chance ({metric.chance:g})"
    elif share["interval"][0] <= 1 <= share["interval"][1]:
        conclusion = ": no difference from real images can be told"
    return (
        f"On real patients of {split}, {architecture} learns from synthetic images {score_text(share)} of what it "
        f"learns from {how_many} real ones, by {metric.title} above chance ({metric.chance:g}); trained on synthetic "
        f"images it reaches {metric.title} {score_text(arms['synthetic'])}, on real ones "
        f"{score_text(arms['real'])}{conclusion}."
    )


def _pretraining_said(
    metric: LabelScore, split: str, arms: Mapping[str, Mapping[str, Any]], share: Mapping[str, Any], how_many: str
) -> str:
    """Whether synthetic images help where there are real ones."""
    low, high = share["interval"]
    conclusion = "more than" if low > 1 else "less than" if high < 1 else "not to be told from"
    return (
        f"Trained on synthetic images and then on {how_many} real ones, it reaches {metric.title} "
        f"{score_text(arms['pretrained'])} on {split}: {conclusion} what real images alone teach."
    )


def _diversity_said(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on the least diverse class; none where no class has a ratio to real images."""
    spread = metrics_of(ClassDiversity)[0]
    ratios = [row[f"{spread.name}_ratio"] for row in rows if row[f"{spread.name}_ratio"] is not None]
    if not ratios:
        return []
    return [
        f"Within a class, synthetic images differ from each other {min(ratios):.2f} times as much as real ones "
        f"({spread.spread_title.removeprefix('ratio of ')}, the least diverse class)"
        f"{': the generator has collapsed' if min(ratios) < COLLAPSE_RATIO else ''}."
    ]
