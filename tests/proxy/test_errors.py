from __future__ import annotations

import inspect

import pytest

from src.proxy import errors
from src.proxy.errors import BodyError, ProxyError
from src.proxy.exchange import Cause

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ProxyError) and kind is not ProxyError
]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_a_code_and_a_cause_the_trace_knows(kind: type[ProxyError]):
    assert 400 <= kind.status <= 504
    assert kind.code.isidentifier()
    Cause(kind.cause)


def test_codes_tell_errors_apart():
    assert len({kind.code for kind in ALL}) == len(ALL)


def test_body_error_keeps_its_cause_and_text():
    error = BodyError("timeout", "too long")
    assert (error.cause, str(error)) == ("timeout", "too long")
