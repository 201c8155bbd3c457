"""`${NAME}` and `${NAME:-default}` in the text of a config file."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$?\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class UnsetVariableError(ValueError):
    """A reference that cannot be followed; the message says which and what to do."""


def interpolate(text: str, env: Mapping[str, str]) -> str:
    """`text` with every reference replaced; `$${` stands for a literal `${`.

    Raises `UnsetVariableError` for a variable that is unset or empty and has no default.
    """
    return _REFERENCE.sub(lambda match: _replace(match, env), text)


def references(text: str) -> list[str]:
    """The names of the variables that `text` refers to."""
    found = (m for m in _REFERENCE.finditer(text) if not m[0].startswith("$$"))
    return [m[1].partition(":-")[0] for m in found]


def _replace(match: re.Match[str], env: Mapping[str, str]) -> str:
    if match[0].startswith("$$"):
        return match[0][1:]
    if not match[2]:
        raise UnsetVariableError(
            "has a ${ that is not closed; write ${NAME}, or $${ for the text itself"
        )
    name, has_default, default = match[1].partition(":-")
    if not _NAME.fullmatch(name):
        raise UnsetVariableError(
            "has ${…} around no variable's name; write ${NAME} or ${NAME:-default}"
        )
    value = env.get(name, "")
    if value or has_default:
        return value or default
    state = "empty" if name in env else "not set"
    raise UnsetVariableError(
        f"the environment variable {name} is {state}; set it, or write ${{{name}:-default}}"
    )
