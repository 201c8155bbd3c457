"""The members of the chain: from the name in the config to the class and its checked options.

A name with `:` is an import path; otherwise a built-in, the class of that name in
`middlewares/<name>.py` (`rate_limit`: `RateLimit`); otherwise an entry point of the group
`llmtap.middlewares`. Installed ones load only if named.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from pydantic import BaseModel, ValidationError

from ..utils.suggesting import did_you_mean
from .errors import ConfigError, Problem, dotted
from .explain import explain
from .importing import ImportNameError, import_from_string
from .settings import MiddlewareSpec

ENTRY_POINTS = "llmtap.middlewares"
_BUILT_IN = f"{__name__.split('.', maxsplit=1)[0]}.middlewares"
_NOT_MEMBERS = frozenset({"base", "chain"})


# Any: whoever calls knows what a middleware is, `config` lies below that.
def load_middleware(spec: MiddlewareSpec, services: object) -> Any:  # noqa: ANN401
    """The middleware that `spec` names, constructed with its validated options and `services`.

    The options are an instance of the class's own `Options` model, None for a class without one.
    Raises `ConfigError`, one line per mistake.
    """
    found, options, problems = inspect_middleware(spec)
    if found is not None and not problems:
        try:
            return found(options, services)
        except Exception as error:  # noqa: BLE001  the author's code: anything may come
            problems = [Problem((), f"{spec.name} cannot be made: {summarize(error)}")]
    place = spec.where or "middlewares"
    raise ConfigError(
        f"{' '.join(filter(None, (place, dotted(p.loc))))}: {p.text}" for p in problems
    )


def inspect_middleware(
    spec: MiddlewareSpec,
) -> tuple[type | None, BaseModel | None, list[Problem]]:
    """Class, options, and the mistakes, placed below the name. Nothing is constructed."""
    try:
        found = _find(spec.name)
    except ImportNameError as error:
        return None, None, [Problem((), str(error))]
    except Exception as error:  # noqa: BLE001  importing runs the author's code: anything may come
        return None, None, [Problem((), f"{spec.name} cannot be imported: {summarize(error)}")]
    if not isinstance(found, type):
        return None, None, [Problem((), f"{spec.name} is no class; name the middleware's class")]
    options, problems = _options(found, spec)
    return found, options, problems


def built_in() -> list[str]:
    """The names of the middlewares that come with the program."""
    folder = Path(__file__).parent.parent / "middlewares"
    names = (module.name for module in iter_modules([str(folder)]))
    return sorted(name for name in names if name not in _NOT_MEMBERS and name[0] != "_")


def _find(name: str) -> object:
    if ":" in name:
        return import_from_string(name)
    if name.isidentifier() and name in built_in():
        return import_from_string(f"{_BUILT_IN}.{name}:{_class_name(name)}")
    installed = entry_points(group=ENTRY_POINTS)
    for entry in installed:
        if entry.name == name:
            return import_from_string(entry.value)
    if "." in name and find_spec(name.partition(".")[0]):
        raise ImportNameError(f"{name} names no class; write package.module:Class")
    known = [*built_in(), *(entry.name for entry in installed)]
    raise ImportNameError(f"unknown middleware '{name}'; {did_you_mean(name, known)}")


def _class_name(name: str) -> str:
    """`rate_limit` as `RateLimit`."""
    return "".join(part.capitalize() for part in name.split("_"))


def _options(found: type, spec: MiddlewareSpec) -> tuple[BaseModel | None, list[Problem]]:
    model = getattr(found, "Options", None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        if spec.options:
            return None, [Problem((spec.name,), "takes no options; write the name alone")]
        return None, []
    try:
        return model.model_validate(dict(spec.options)), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        misspelt = {detail["loc"][:-1] for detail in details if detail["type"] == "extra_forbidden"}
        return None, [
            Problem((spec.name, *detail["loc"]), explain(detail, model, opaque=True))
            for detail in details
            # Perhaps the misspelt key beside it is the one that is missed.
            if detail["type"] != "missing" or detail["loc"][:-1] not in misspelt
        ]


def summarize(error: Exception) -> str:
    """An error in the author's code on one line, with its place:
    `ModuleNotFoundError: No module named 'x' (redact.py:3); mend it there`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    spot = ""
    if trace is not None and "importlib" not in trace.tb_frame.f_code.co_filename:
        spot = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{spot}; mend it there"
