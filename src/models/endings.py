"""How an exchange ended, in the words of the trace: who reads or filters traces knows no others.

Without Pydantic, for those who need nothing but the words.
"""

from __future__ import annotations

from typing import Literal

CauseName = Literal[
    "ok",
    "upstream_error",
    "in_stream_error",
    "client_disconnected",
    "connect_failed",
    "tls_failed",
    "upstream_reset",
    "upstream_eof",
    "timeout",
    "rejected",
    "shutdown",
    "crash",
]
PhaseName = Literal["request", "connect", "headers", "body", "done"]
StateName = Literal["complete", "recovered"]
