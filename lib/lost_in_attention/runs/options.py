"""Options that several commands share, written down once."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Any


def sharing(shared: Callable[..., None]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: a command's `**` argument becomes the parameters of `shared`, by name."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = signature(command).parameters.values()
        parameters = [
            *(each for each in own if each.kind is not Parameter.VAR_KEYWORD),
            *signature(shared).parameters.values(),
        ]

        @wraps(command)
        def called(**given: Any) -> Any:
            return command(**given)

        called.__signature__ = signature(command).replace(parameters=parameters)
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorate
