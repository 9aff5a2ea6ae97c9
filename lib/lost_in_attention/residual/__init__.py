"""The residual stream: its states as the model runs, and what is measured of every update."""
