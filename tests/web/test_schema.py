"""The API against its own OpenAPI document, by schemathesis: no 5xx, and no answer of another form
than it says. What is asked is generated from the document, most of it wrong."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.web.kit import ADMIN, KEYS, Made, started

PATHS = (  # and /api/live, which does not end: see test_live.py
    "/api/me",
    "/api/requests",
    "/api/request/{id}",
    "/api/request/{id}/body/{which}",
    "/api/sessions",
    "/api/stats",
    "/api/search",
)
_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def url(made: Made) -> Iterator[str]:
    with started(made) as web:
        yield web.url


@pytest.fixture(scope="module")
def document(url: str) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{url}/api/openapi.json")


@pytest.mark.parametrize("mode", schemathesis.GenerationMode)
@pytest.mark.parametrize("path", PATHS)
def test_nothing_asked_is_a_server_error(
    document: schemathesis.BaseSchema,
    url: str,
    made: Made,
    path: str,
    mode: schemathesis.GenerationMode,
) -> None:
    asked = 0
    examples = 50 if made.database_url is None else 4  # what a Postgres is strict about
    with requests.Session() as session:

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=document[path]["GET"].as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            for key in (ADMIN, KEYS["bob"]):
                headers = {"Authorization": f"Bearer {key}"}
                case.call_and_validate(
                    base_url=url, session=session, headers=headers, checks=_CHECKS
                )
                asked += 1

        ask()
    assert asked > 1


def test_the_document_names_every_endpoint(url: str) -> None:
    document = httpx.get(f"{url}/api/openapi.json").json()
    assert set(document["paths"]) == {*PATHS, "/api/live"}
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
