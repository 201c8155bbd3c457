"""Trees of raw values (mappings and lists) and the ways through them."""

from __future__ import annotations

from pydantic import BaseModel

from .errors import Loc

_MISSING = object()
# What takes the place of a list's item that is wrong, so that those after it keep their number.
_STAND_INS: dict[str, object] = {
    "middlewares": "trace",
    "prices": {"model": "wrong", "input": 0},
}


def has(values: object, loc: Loc) -> bool:
    """Whether something stands at `loc`."""
    return _get(values, loc) is not _MISSING


def take_out(values: object, loc: Loc) -> bool:
    """Removes what stands at `loc`; False where nothing does. List items get a stand-in."""
    if not loc or not has(values, loc):
        return False
    owner, last = _get(values, loc[:-1]), loc[-1]
    if isinstance(owner, dict):
        del owner[last]
    elif isinstance(owner, list) and isinstance(last, int):
        owner[last] = _STAND_INS.get(str(loc[0]), _upstream(last))
    return True


def leaves(model: BaseModel, at: Loc = ()) -> list[Loc]:
    """The way to every single setting of `model`, in the order they are declared."""
    found: list[Loc] = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        here = (*at, name)
        if isinstance(value, BaseModel):
            found += leaves(value, here)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for index, item in enumerate(value):
                found += leaves(item, (*here, index))
        else:
            found.append(here)
    return found


def _get(values: object, loc: Loc) -> object:
    for part in loc:
        if isinstance(values, dict):
            values = values.get(part, _MISSING)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            return _MISSING
    return values


def _upstream(index: int) -> dict[str, object]:
    return {"name": f"wrong-{index}", "base_url": "http://wrong", "prefix": f"/wrong-{index}"}
