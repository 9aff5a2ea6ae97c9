"""What attention and feed-forward updates do to a vision-language model's residual stream.

Companion library to "Large Vision-Language Models Get Lost in Attention"
(arXiv 2605.05668).  `geometry` and `mixing` hold the mathematics, `models`
loads a vision-language model, `stream` reads its residual states, `measure`
turns them into a table.
"""

__version__ = "0.1.0"
