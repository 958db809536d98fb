"""What memorization says: a sentence for each extractor, and its numbers."""

from collections.abc import Mapping
from typing import Any

from tfcxr.evaluation.cohorts import Cohorts
from tfcxr.evaluation.report.score import Score

VERSION = 2
FAR = 3.0  # of C_T, in standard deviations


def sentence(name: str, result: Mapping[str, Any], false_alarms: float) -> str:
    """Whether one extractor sees copies, and which it could not see."""
    low, high = result["interval"]
    blind = [kind for kind, share in result["planted_found"].items() if share < 0.5]
    if low > false_alarms:
        conclusion = "more than chance: look at the nearest pairs before these images are given away"
    elif result["c_t"] < -FAR:
        conclusion = (
            f"but they lie systematically nearer to training images than held-out patients do (C_T {result['c_t']:.1f})"
        )
        if result["passport"].get("extractor") == "trained":
            conclusion += ", as may be for an extractor that learned from these images itself"
    else:
        conclusion = "no more than chance"
    cannot = f" It would miss planted copies that are {', '.join(blind)}." if blind else ""
    ratio = result["largest_ratio"]
    return (
        f"By {name}, {result['copies']:.1%} ({low:.1%} to {high:.1%}) of the synthetic images are nearer to a training "
        f"image than all but {false_alarms:.0%} of held-out real images are: {conclusion}. The largest copy "
        f"ratio is {ratio['synthetic']:.3g}, that of held-out images {ratio['held_out']:.3g}.{cannot}"
    )


def scores(data: Mapping[str, Any], cohorts: Cohorts) -> list[Score]:
    """For each extractor: the copies, C_T, the largest copy ratio, and the share found of each planted kind."""
    found = []
    for name, result in data["extractors"].items():
        facts: dict[str, Any] = {"extractor": name, "split": data["held_out_split"], "images": data["images"]}
        facts["passport"] = {
            "protocol": f"memorization {VERSION}",
            "extractor": result["passport"],
            "real": cohorts.real.facts["sha256"],
            "held_out": cohorts.tests[data["held_out_split"]].facts["sha256"],
            "false_alarms": data["false_alarms"],
        }
        low, high = result["interval"]
        ratio = result["largest_ratio"]
        found += [
            Score(
                metric="copies",
                value=result["copies"],
                low=low,
                high=high,
                of_real=data["false_alarms"],
                better="lower",
                is_headline=True,
                **facts,
            ),
            Score(metric="c_t", value=result["c_t"], of_real=0.0, better="real", **facts),
            Score(
                metric="largest_copy_ratio",
                value=ratio["synthetic"],
                of_real=ratio["held_out"],
                better="real",
                **facts,
            ),
        ]
        facts["images"] = data["planted"]
        found += [
            Score(metric="planted_found", value=share, better="higher", subject=kind, **facts)
            for kind, share in result["planted_found"].items()
        ]
    return found
