"""The recipe that trains the small zoo: align the vision tower, then the decoder, then both."""

from lost_in_attention.training.recipe import TrainingConfig, train
from lost_in_attention.training.zoo import WITH_CHECKPOINTS, ZOO, zoo_config

__all__ = ["WITH_CHECKPOINTS", "ZOO", "TrainingConfig", "train", "zoo_config"]
