"""How models are made here: the small zoo, and a tower for a pretrained decoder.

Of the zoo the tower is aligned, then the decoder is trained, then both; the tower for a pretrained
decoder is joined to it by adapters.
"""

from lost_in_attention.training.recipe import TrainingConfig, train
from lost_in_attention.training.zoo import WITH_CHECKPOINTS, ZOO, zoo_config

__all__ = ["WITH_CHECKPOINTS", "ZOO", "TrainingConfig", "train", "zoo_config"]
