"""Mathematics of one update: effective rank, spectra, RID and its factors, token mixing.

Matrices in, numbers out (Definitions 3.2 to 3.8); nothing here knows of a model.
"""
