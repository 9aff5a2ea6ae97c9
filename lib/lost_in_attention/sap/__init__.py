"""Shared Attention Prior: decoder attention to visual tokens replaced by a prior (Section 4.3).

    with shared_attention_prior(vlm, paper("qwen2.5-vl")) as changed:
        table = evaluate(changed, samples, benchmark="pope")

Several plans on one batch share its images: `inputs = encoded(vlm, vlm.prepare(...))`, then
`changed.model.generate(**again(inputs))` under each.
"""

from lost_in_attention.sap.images import again, encoded
from lost_in_attention.sap.intervention import shared_attention_prior
from lost_in_attention.sap.plan import MODES, SharedAttentionPrior, paper, released
from lost_in_attention.sap.registry import VisualTokens, register_prior

__all__ = [
    "MODES",
    "SharedAttentionPrior",
    "VisualTokens",
    "again",
    "encoded",
    "paper",
    "register_prior",
    "released",
    "shared_attention_prior",
]
