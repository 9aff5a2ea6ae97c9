"""What a reply says: letters, yes and no, numbers; what cannot be told stays unparsed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lost_in_attention.benchmarks.answers import (
    choice,
    completed,
    final,
    letter,
    mentions,
    normalised,
    yes_no,
)
from lost_in_attention.benchmarks.numerals import exact_number, number, numbers, written

ANIMALS = {"A": "cat", "B": "dog", "C": "a red fox"}
TRICKY = {"A": "point B", "B": "Vitamin C", "C": "angle A", "D": "none"}
SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = st.text(alphabet="abcdefg ,.", max_size=20)


def spelled(value: int, joint: str = "-") -> str:
    """An integer from 0 to 99 in words."""
    if value < 20:
        return SMALL[value]
    tens, ones = TENS[value // 10 - 2], value % 10
    return f"{tens}{joint}{SMALL[ones]}" if ones else tens


@pytest.mark.parametrize(
    ("reply", "parsed"),
    [
        ("(B)", "B"), ("B.", "B"), ("B", "B"), ("b", "B"), ("B)", "B"), (" B \n", "B"),
        ("The answer is B", "B"), ("The answer is (B).", "B"), ("Answer: B", "B"),
        ("<answer>B</answer>", "B"), ("A or C? <answer> (B) </answer>", "B"),
        ("<answer>A</answer> no: <answer>B</answer>", "B"), ("The answer is **A**.", "A"),
        (r"\boxed{A}", "A"), ("A\nbecause it purrs", "A"), ("A because", "A"),
        ("B. dog", "B"), ("(A) cat", "A"),
        ("B: it barks", "B"), ("B, B and again B", "B"),
        # Lower case, where no article can be meant.
        ("(b)", "B"), ("b.", "B"), ("the answer is b", "B"), ("answer: (b).", "B"),
        ("the correct answer is option a.", "A"), ("the answer is a red fox", "C"),
        ("not option b", None), ("the answer is bad", None), ("it is b", None),
        ("dog", "B"), ("Dog.", "B"), ("It is a  red FOX.", "C"), ("a dog", "B"),
        # The English words A and I are no letters.
        ("A dog", "B"), ("I see a cat", "A"), ("A nice picture", None), ("I'm not sure", None),
        # Two answers, none, or an option that is not there.
        ("A or B", None), ("Both A and C.", None), ("A is right, B is wrong", None),
        ("A/B", None), ("B, not A", None), ("(A) (C)", None),
        ("a cat and a dog", None), ("dogs", None),
        ("", None), ("   ", None), ("<answer></answer>", None), ("E", None), ("24", None),
        ("Because", None), ("yes", None),
    ],
)  # fmt: skip
def test_letters(reply, parsed):
    assert letter(reply, ANIMALS) == parsed


@pytest.mark.parametrize(
    ("reply", "parsed"),
    [
        # Marks around a letter, and A where it is no article.
        ('"A"', "A"), ("'A'", "A"), ("A!", "A"), ("A\N{IDEOGRAPHIC FULL STOP}", "A"), ("*B*", "B"),
        ("\N{LEFT DOUBLE QUOTATION MARK}A\N{RIGHT DOUBLE QUOTATION MARK}", "A"),
        ('It is "A".', "A"), ("I would go with A for this one", "A"),
        ("I would go with B for this one", "B"), ("The answer is A dog.", "B"),
        # Letters inside words, numbers and units.
        ("This is a 3D picture. It shows a cat.", "A"), ("It is 25\N{DEGREE SIGN}C.", None),
        ("x_B", None), ("P(A) = 1", None), ("a B-52", None), ("25C", None), ("5 C", None),
        ("25 degrees C", None), ("Vitamin C is good", None), ("3 D", None),
        ("A - it", "A"), ("\u7b54\u6848\u662fB", "B"), ("\u7b54\u6848\u662fA", "A"),
        # What is denied is no answer, and what else is meant cannot be told.
        ("The answer is not B.", None), ("not (B)", None), ("It isn't B", None),
        ("B is wrong.", None), ("B is not the answer", None), ("It is not a cat.", None),
        ("There is no dog.", None), ("It is not A. The answer is B.", None),
        ("I don't think it is B", None), ("I doubt it is B", None), ("There is no B", None),
        ("It is anything but B", None), ("B is definitely not right", None),
        # What is denied may be something else.
        ("No doubt it is B", "B"), ("I do not see a bone, so B", "B"), ("Not clear, but B", "B"),
    ],
)  # fmt: skip
def test_letters_are_told_from_words_units_and_denials(reply, parsed):
    assert letter(reply, ANIMALS) == parsed


REASONED = [
    ("<think>It may be a dog. Option A says a dog, and", "", None),
    ("<answer>B", "B", "B"),
    ("<think>A is wrong.</think>\nB", "B", "B"),
    ("A is wrong.</think>B", "B", "B"),
    ("<think>A?</think><answer>B</answer>", "B", "B"),
    ("<think><answer>A</answer> no</think> B", "B", "B"),
    ("<think>so it is <answer>B</answer>", "B", "B"),
    ("<think>the tag <answer> will hold A", "", None),
    ("<THINK>A</THINK> <Answer>B</Answer>", "B", "B"),
]


@pytest.mark.parametrize(("reply", "said", "parsed"), REASONED)
def test_thoughts_hold_no_answers(reply, said, parsed):
    assert final(reply) == said
    assert letter(reply, ANIMALS) == parsed


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("so AC = 5", ""), ("B", ""), ("<answer>1", ""), ("<think>A</think>B", ""),
        ("<answer>B</answer> because it", "B"), ("<think><answer>A</answer></think>", ""),
    ],
)  # fmt: skip
def test_a_reply_that_was_cut_answers_in_a_closed_tag_alone(reply, said):
    assert completed(reply) == said


@pytest.mark.parametrize(
    ("reply", "text"),
    [("18", "18"), ("C", "18"), ("D", "18"), ("C or D", "18"), ("A or D", None), ("9", "9")],
)
def test_options_of_equal_text_are_one_choice(reply, text):
    options = {"A": "9", "B": "12", "C": "18", "D": "18"}
    assert choice(reply, options) == text
    assert letter("18", options) is None


@pytest.mark.parametrize(
    ("reply", "parsed"),
    [
        ("point B", "A"), ("It is Vitamin C.", "B"), ("(C) angle A", "C"), ("D. none", "D"),
        ("A. point B", "A"), ("B", "B"), ("The answer is point B", "A"),
    ],
)  # fmt: skip
def test_letters_inside_an_options_text_do_not_count(reply, parsed):
    assert letter(reply, TRICKY) == parsed


@pytest.mark.parametrize(
    ("reply", "options", "parsed"),
    [
        ("It is dark red.", {"A": "red", "B": "dark red"}, "B"),
        ("red, not dark red", {"A": "red", "B": "dark red"}, None),
        ("It is 10.5", {"A": "10", "B": "10.5"}, "B"),
        ("It is 10.5", {"A": "10", "B": "5"}, None),
        ("It is 1,000.", {"A": "1", "B": "1,000"}, "B"),
        ("It is -5", {"A": "5", "B": "7"}, None),
        ("It is \N{MINUS SIGN}5", {"A": "5", "B": "-5"}, "B"),
        ("cat", {"A": "cat", "B": "Cat"}, None),
        ("It is a cat.", {"A": "cat", "B": "Cat"}, None),
        ("It is a cat.", {"A": "", "B": "cat"}, "B"),
        ("I say f(x)", {"A": "f(y)", "B": "f(x)"}, "B"),
    ],
)
def test_texts_of_options_are_read_as_a_whole(reply, options, parsed):
    assert letter(reply, options) == parsed


def test_an_option_that_is_a_letter_is_named_by_its_own_letter():
    assert letter("B", {"A": "B", "B": "A"}) == "B"


@pytest.mark.parametrize(
    ("reply", "parsed"),
    [
        ("yes", "yes"), ("Yes.", "yes"), ("NO", "no"), (" no,", "no"), ("yes yes", "yes"),
        ("Yes, there is a seven.", "yes"), ("No, there is not.", "no"),
        ("no? <answer>yes</answer>", "yes"), ("<think>maybe no</think>yes", "yes"),
        ("Yes, there is no doubt about it.", "yes"), ("No, yes-men are not seen.", "no"),
        ("Yes. There is a dog and no cat.", "yes"), ("Look at it. Yes! No cat.", "yes"),
        ("**Yes**, no doubt", "yes"), ("There is no dog.", "no"),
        ("yes or no", None), ("yes/no", None), ("Yes, no.", None), ("no doubt: yes", "yes"),
        ("Not yes", None), ("The answer is yes, no doubt.", "yes"), ("It is not a no", None),
        ("", None), ("maybe", None), ("yes and no", None), ("yesterday", None), ("nothing", None),
        ("24", None), ("(B)", None),
    ],
)  # fmt: skip
def test_yes_and_no(reply, parsed):
    assert yes_no(reply) == parsed


@settings(deadline=None, derandomize=True)
@given(WORDS, WORDS, st.sampled_from(["yes", "no"]), st.booleans())
def test_yes_and_no_count_wherever_they_stand(before, after, word, capital):
    assert yes_no(f"{before} {word.upper() if capital else word} {after}") == word


@pytest.mark.parametrize(
    ("reply", "parsed"),
    [
        ("24", 24), ("24.", 24), ("24.0", 24), ("twenty-four", 24), ("Twenty four.", 24),
        ("There are 24 of them.", 24), ("1,000", 1000), ("1,234,567", 1234567), ("-3", -3),
        (".5", 0.5), ("0.50", 0.5), ("3 + 4 = 7", 7), ("$12.50", 12.5), ("50%", 50),
        ("\N{MINUS SIGN}3", -3), ("8-3", None),
        ("<answer>seven</answer>", 7), ("4, that is four", 4), ("ninety", 90), ("sixteen", 16),
        ("", None), ("many", None), ("3 or 4", None), ("1/2", None), ("1,2", None),
        ("two hundred", None), ("5 million", None), ("someone", None), ("tenant", None),
        ("minus 3", -3), ("negative three", -3), ("It is minus 1,000.", -1000), ("5 minus 3", None),
        ("No one is there.", None), ("no-one", None), ("This one has 4.", 4), ("one", 1),
        ("24 cm2", 24), ("24cm2", 24), ("24 cm^2", 24), ("24 m^{2}", 24), ("x_1 is 5", 5),
        ("- 3", -3), ("\N{MINUS SIGN} 3", -3), ("It is - 3", -3), ("2 - 3", None), ("2nd", None),
        ("the big one", None), ("One can see 3 dogs", 3),
        ("1.5e3", 1500), ("2e-1", 0.2), ("3x4", None), (r"\boxed{24}", 24),
    ],
)  # fmt: skip
def test_numbers(reply, parsed):
    assert number(reply) == parsed


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 99), st.sampled_from(["-", " "]), st.booleans())
def test_numbers_in_words_are_those_in_figures(value, joint, capital):
    words = spelled(value, joint)
    assert number(words.capitalize() if capital else words) == value == number(str(value))


@settings(deadline=None, derandomize=True)
@given(st.integers(-(10**11), 10**11))
def test_written_numbers_are_read_back(value):
    assert number(written(value)) == value == number(f"{value:,}") == exact_number(f"{value:,}.")


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 99), max_size=5))
def test_all_numbers_of_a_text_are_found(values):
    assert numbers(", ".join(spelled(value) for value in values)) == values


def test_an_exact_number_stands_alone():
    assert exact_number("Twenty-four.") == 24
    assert exact_number("Route 66") is None
    assert exact_number("1 2") is None
    assert exact_number("Minus three") == -3
    assert exact_number("") is None


def test_zero_has_no_sign():
    assert written(number("-0")) == "0"


def test_texts_are_compared_without_case_space_and_last_stop():
    assert normalised(" The  Red\nfox. ") == "the red fox"
    assert normalised(".5") == ".5"
    assert mentions("It's the Red Fox!", "red fox")
    assert not mentions("foxes", "fox")
    assert not mentions("3.14", "14") and mentions("It is 3.14.", "3.14")
    assert not mentions("fox", "")
