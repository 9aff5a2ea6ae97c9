"""The recipe that trains the small zoo: align the vision tower, then the decoder, then both."""

from lost_in_attention.training.recipe import TrainingConfig, train

__all__ = ["TrainingConfig", "train"]
