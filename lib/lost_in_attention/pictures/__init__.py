"""Scenes of drawn things by several artists, their annotations and the questions on them."""
