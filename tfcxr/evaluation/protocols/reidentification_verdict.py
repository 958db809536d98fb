"""What re-identification says: whether training patients are recognised, or that nothing can be said."""

from collections.abc import Mapping
from typing import Any

from tfcxr.evaluation.cohorts import Cohorts
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.score import Score

VERSION = 1
MIN_AUC = 0.6  # of the ceiling's interval: below it, the network hardly recognises real patients
MIN_FOUND = 0.05  # of pairs of one held-out patient at the threshold: below it, no claim means nothing


def sentences(data: Mapping[str, Any]) -> list[str]:
    """The conclusion, what it rests on, and the ceiling."""
    auc, found, claimed, alike = (
        data[name] for name in ("same_patient_auc", "same_patient_found", "claimed", "searched_alike")
    )
    ceiling = f"an AUC of {auc['mean']:.3f} ({auc['interval'][0]:.3f} to {auc['interval'][1]:.3f})"
    share = f"{claimed['mean']:.1%} ({claimed['interval'][0]:.1%} to {claimed['interval'][1]:.1%})"
    chance = f"{data['false_claims']:.0%} of real images of held-out patients"
    claims = f"It claims {share} of the synthetic images for a training patient, and {chance}."
    if not auc["interval"][0] >= MIN_AUC:
        return [
            "Nothing can be said: the network tells pairs of images of one held-out patient from pairs of two with "
            f"{ceiling} only; give more patients with several images, or larger images.",
            claims,
        ]
    if found["mean"] < MIN_FOUND:
        return [
            "Nothing can be said: at a threshold that so few images of other patients pass, the network recognises "
            f"only {found['mean']:.1%} of the pairs of images of one held-out patient, with {ceiling}; give more "
            "patients with several images, larger images, or --set=reidentification.false_claims=0.1.",
            claims,
        ]
    if claimed["interval"][0] <= data["false_claims"]:
        conclusion = "no more than chance"
    elif alike["difference"]["interval"][0] > 0:
        conclusion = "more than chance and than for patients nobody trained on: training patients are recognisable"
    else:
        conclusion = "more than chance, but as often for patients nobody trained on: likeness, not memory"
    return [
        f"{share} of the synthetic images are claimed for a patient the generator was trained on, against {chance}: "
        f"{conclusion}.",
        f"Among {alike['images']} training images {alike['training']:.1%} are claimed, among as many held-out ones "
        f"{alike['held_out']:.1%}.",
        f"The network tells pairs of one held-out patient from pairs of two with {ceiling}; at its threshold it "
        f"recognises {found['mean']:.0%} of such pairs, so it would miss the others in the cohort as well.",
    ]


def table(data: Mapping[str, Any]) -> str:
    """The numbers as HTML."""
    alike = data["searched_alike"]
    rows = [
        ["AUC of pairs of held-out patients (the ceiling)", html.estimate(data["same_patient_auc"])],
        ["other images of a held-out patient recognised", html.estimate(data["same_patient_found"], ".1%")],
        ["synthetic images claimed for a training patient", html.estimate(data["claimed"], ".1%")],
        ["the same of real images of held-out patients (set)", f"{data['false_claims']:.1%}"],
        [f"claimed among {alike['images']} training images", f"{alike['training']:.1%}"],
        [f"claimed among {alike['images']} images of held-out patients", f"{alike['held_out']:.1%}"],
    ]
    return html.table(["what", "share or AUC"], rows)


def scores(data: Mapping[str, Any], cohorts: Cohorts) -> list[Score]:
    """The ceiling, the share recognised at the threshold, and the claims."""
    facts: dict[str, Any] = {"split": data["split"]}
    facts["passport"] = {
        "protocol": f"reidentification {VERSION}",
        "extractor": {"extractor": "patients", "sha256": data["network"]["weights_sha256"]},
        "real": cohorts.real.facts["sha256"],
        "held_out": cohorts.tests[data["split"]].facts["sha256"],
        "training_images": data["training_images"],
        "false_claims": data["false_claims"],
    }
    alike = data["searched_alike"]
    made = {"images": data["images"], "better": "lower"} | facts
    held_out = {"images": data["held_out_images"], "better": "higher", "subject": "real pairs"} | facts
    return [
        Score(metric="claimed", of_real=data["false_claims"], is_headline=True, **_estimate(data["claimed"]), **made),
        Score(metric="same_patient_auc", is_headline=True, **_estimate(data["same_patient_auc"]), **held_out),
        Score(metric="same_patient_found", **_estimate(data["same_patient_found"]), **held_out),
        Score(metric="claimed_alike", value=alike["training"], of_real=alike["held_out"], **made),
    ]


def _estimate(summary: Mapping[str, Any]) -> dict[str, float]:
    return {"value": summary["mean"], "low": summary["interval"][0], "high": summary["interval"][1]}
