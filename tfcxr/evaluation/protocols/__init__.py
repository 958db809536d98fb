"""Evaluation protocols: cohorts in, findings out. A new protocol is one file, and one line here."""

from typing import TYPE_CHECKING

from tfcxr.registry import Registry

if TYPE_CHECKING:
    from tfcxr.evaluation.protocols.protocol import Protocol

PROTOCOLS: "Registry[Protocol]" = Registry(
    tstr="tfcxr.evaluation.protocols.tstr:TSTR",
    frontier="tfcxr.evaluation.protocols.frontier:FRONTIER",
    distances="tfcxr.evaluation.protocols.distances:DISTANCES",
    class_distances="tfcxr.evaluation.protocols.class_distances:CLASS_DISTANCES",
    prevalence="tfcxr.evaluation.protocols.prevalence:PREVALENCE",
    distortions="tfcxr.evaluation.protocols.distortions:DISTORTIONS_PROTOCOL",
    memorization="tfcxr.evaluation.protocols.memorization:MEMORIZATION",
    reidentification="tfcxr.evaluation.protocols.reidentification:REIDENTIFICATION",
    similarity="tfcxr.evaluation.protocols.similarity:SIMILARITY",
    ranking="tfcxr.evaluation.protocols.ranking:RANKING",
)
