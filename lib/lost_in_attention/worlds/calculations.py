"""Questions with numbers in MathVista's schema."""

from collections.abc import Sequence

Question = dict


def number(text: str, answer: int, task: str) -> Question:
    """A question whose answer is a whole number; `task` names what is to be done."""
    return {
        "question": text,
        "choices": None,
        "answer": str(answer),
        "question_type": "free_form",
        "answer_type": "integer",
        "task": task,
    }


def which(text: str, choices: Sequence[str], answer: str, task: str) -> Question:
    """A question that is answered by one of the choices."""
    return {
        "question": text,
        "choices": list(choices),
        "answer": answer,
        "question_type": "multi_choice",
        "answer_type": "text",
        "task": task,
    }
