"""Shared Attention Prior: decoder attention to visual tokens replaced by a prior (Section 4.3).

with shared_attention_prior(vlm, paper("qwen2.5-vl")) as changed:
    table = evaluate(changed, samples, benchmark="pope")

Several plans on one batch share its encoded images within `encoded_once(vlm)`.
"""

from lost_in_attention.sap.engine import shared_attention_prior
from lost_in_attention.sap.once import encoded_once
from lost_in_attention.sap.plan import MODES, SharedAttentionPrior, paper, released

__all__ = [
    "MODES",
    "SharedAttentionPrior",
    "encoded_once",
    "paper",
    "released",
    "shared_attention_prior",
]
