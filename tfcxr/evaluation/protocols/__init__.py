"""Evaluation protocols: cohorts in, findings out. A new protocol is one file, and one line here."""

from tfcxr.evaluation.protocols.cohort_ranking import COHORT_RANKING
from tfcxr.evaluation.protocols.distribution_distance import DISTRIBUTION_DISTANCE
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.protocols.tstr import TSTR

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (TSTR, DISTRIBUTION_DISTANCE, COHORT_RANKING)}
