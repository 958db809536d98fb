"""Evaluation protocols: cohorts in, findings out. A new protocol is one file, and one line here."""

from typing import TYPE_CHECKING

from tfcxr.registry import Registry

if TYPE_CHECKING:
    from tfcxr.evaluation.protocols.protocol import Protocol

PROTOCOLS: "Registry[Protocol]" = Registry(
    tstr="tfcxr.evaluation.protocols.tstr:TSTR",
    distribution_distance="tfcxr.evaluation.protocols.distribution_distance:DISTRIBUTION_DISTANCE",
    class_distances="tfcxr.evaluation.protocols.class_distances:CLASS_DISTANCES",
    prevalence="tfcxr.evaluation.protocols.prevalence:PREVALENCE",
    distortions="tfcxr.evaluation.protocols.distortions:DISTORTIONS_PROTOCOL",
    memorization="tfcxr.evaluation.protocols.memorization:MEMORIZATION",
    cohort_ranking="tfcxr.evaluation.protocols.cohort_ranking:COHORT_RANKING",
)
