"""What attention and feed-forward updates do to a vision-language model's residual stream.

Companion library to "Large Vision-Language Models Get Lost in Attention"
(arXiv 2605.05668).  A room imports only from rooms above it in this list:

`metrics`, `statistics`, `images`: mathematics of matrices, of samples, of pictures.
`runs`: how anything long runs.
`benchmarks`: rows to samples, prompt, judge, score.
`models`: loading and checks; what is special to a family.
`worlds`, `digits`, `pictures`, `texts`: what the embedded worlds share; the two worlds and their
question sets; passages of a novel.
`residual`: the residual stream and what is measured of it.
`sap`: replaced attention.
`evaluation`: from a question to a judged and scored row, with or without a plan.
`trace`: graphs of attention, key regions, their ratio.
`publishing`: what pages show, and what it may be called.
`teaching`, `training`: exercises and their checks; how models are made here.
"""

__version__ = "0.2.0.dev0"
