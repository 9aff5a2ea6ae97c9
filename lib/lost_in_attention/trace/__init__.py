"""Which visual tokens attend strongly to which, layer by layer, and to the asked object?

Interaction graphs and key regions as the paper's Appendix E defines them.
"""

from lost_in_attention.trace.annotations import Annotations, asked_object
from lost_in_attention.trace.graphs import (
    THRESHOLD,
    Trace,
    check_threshold,
    interaction_edges,
    trace,
)
from lost_in_attention.trace.ratio import degree_ratios, uniform_ratio
from lost_in_attention.trace.regions import KeyRegions, key_patches, key_regions
from lost_in_attention.trace.rollout import rollout_step

__all__ = [
    "THRESHOLD",
    "Annotations",
    "KeyRegions",
    "Trace",
    "asked_object",
    "check_threshold",
    "degree_ratios",
    "interaction_edges",
    "key_patches",
    "key_regions",
    "rollout_step",
    "trace",
    "uniform_ratio",
]
