"""Where prompts and reading of replies differ from the benchmarks' own scripts and harnesses.

Harnesses are lmms-eval and VLMEvalKit; the paper's release has a script for VMCBench alone.
"""

from collections.abc import Mapping

_CUT = (
    "Of a reply that the token limit cut nothing counts but a closed <answer> tag; scripts read "
    "whatever stands there."
)
_LETTERS = (
    "Several different letters, or one that the reply denies, are unparsed, also where the last "
    'is the answer; the official scripts take the last letter (judging "official").'
)
_RANDOM = "Where no letter is found the scripts draw one at random; here the reply is unparsed."

DEPARTURES: Mapping[str, tuple[str, ...]] = {
    "pope": (
        "A reply is yes or no by the first sentence that holds one of these words. The official "
        "script takes every reply for yes whose first sentence has neither no nor not (judging "
        '"official"): "Yes, there is no doubt" is a no to it, and an empty reply a yes.',
        "lmms-eval asks for the bare word, counts \"yes.\" as wrong, and takes the yes-ratio of "
        "the answers; here it is that of the replies.",
        _CUT,
    ),
    "realworldqa": (
        "The benchmark has no published script. lmms-eval compares the whole reply without its "
        "punctuation; here letters, numbers, yes and no are found in sentences too.",
        _CUT,
    ),
    "3dsrbench": (
        'The harnesses end the prompt with a blank and a line break, which are left out here, '
        'and write a line "Hint:" above it for rows that have one; published rows have none.',
        "lmms-eval takes the first letter found, VLMEvalKit asks a language model where rules "
        "fail; here several different letters, or one that the reply denies, are unparsed.",
        _CUT,
    ),
    "mmmu": (
        "lmms-eval puts an empty line between the options, or an open question, and the "
        "instruction; here they follow on the next line.",
        "lmms-eval puts the images before the text unless told otherwise; here each stands at "
        "its marker.",
        _LETTERS,
        _RANDOM,
        "Words of an open answer must stand in the reply as whole words; in the official script "
        'a part of a word is enough (judging "official").',
        _CUT,
    ),
    "vmcbench": (
        "The paper's release puts a blank between the line break after the last option and the "
        "instruction, which is left out here. lmms-eval has another instruction: \"Answer with "
        "the option's letter from the given choices directly.\" and a line break.",
        _LETTERS,
        _RANDOM,
        _CUT,
    ),
    "hallusionbench": (
        "The benchmark lets GPT-4 compare the reply with a written answer; here the reply is yes "
        "or no by the first sentence that holds one of these words.",
        "The official accuracy by figure leaves out questions of category VS without a figure; "
        "here they count as a figure of their own.",
        _CUT,
    ),
    "mathvista": (
        "The benchmark lets a language model extract the answer; here rules do, so long replies "
        "are understood less often.",
        "The official script takes the choice that is nearest in letters to what was extracted, "
        "and cuts 5.4 to 5 where an integer is asked for; here both are wrong or unparsed.",
        'The official script ends the prompt with a line "Solution:", and lmms-eval puts the hint '
        "behind the question; here the prompt is that of the published column `query`.",
        _CUT,
    ),
}  # fmt: skip
"""Benchmark to sentences, one a difference; what is not named is as in the scripts."""
