"""One way to import something by its name, with errors that say which part of the name is wrong."""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from types import ModuleType


class ImportNameError(ValueError):
    """The name leads nowhere; the message says where it stops and what to do."""


def import_from_string(name: str) -> object:
    """What `package.module:attribute` names; the attribute may be dotted.

    Raises `ImportNameError` where the name is wrong. What the module itself raises while it is
    imported (a ModuleNotFoundError of its own included) comes through unchanged.
    """
    module_name, colon, attributes = name.partition(":")
    parts = [*module_name.split("."), *attributes.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise ImportNameError(f"{name!r} is no import path; write package.module:Class")
    found: object = _module(module_name)
    where = module_name
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            raise ImportNameError(_no_attribute(where, found, attribute)) from error
        where = f"{where}.{attribute}"
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(missing + "."):
            raise  # an import inside the module failed: the name itself was right
        raise ImportNameError(
            f"there is no module {missing}; install it, or put its folder on PYTHONPATH"
        ) from error


def _no_attribute(where: str, owner: object, attribute: str) -> str:
    near = get_close_matches(attribute, [name for name in dir(owner) if name[0] != "_"], n=1)
    hint = f"did you mean {near[0]}?" if near else "check its spelling"
    return f"{where} has no {attribute}; {hint}"
