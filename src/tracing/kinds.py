"""What people most often want masked, by name: each a pattern, and a check where the shape alone
would match too much."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple


class Kind(NamedTuple):
    """A pattern, whether a text that fits it is really meant, and texts of which it needs one."""

    pattern: re.Pattern[str]
    meant: Callable[[str], bool] | None = None
    needs: tuple[str, ...] = ("",)


def _is_card(text: str) -> bool:
    """The issuers' first digits and the check digit (ISO/IEC 7812): numbers of many digits are
    common in traces, times in milliseconds above all."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = sum(d * 2 - 9 * (d > 4) for d in digits[-2::-2])
    return digits[0] in {2, 3, 4, 5, 6} and (sum(digits[-1::-2]) + doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: the number made of it leaves 1 when divided by 97."""
    plain = re.sub(r"\s", "", text)
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


# Each begins where nothing of its own kind stands before: a long run of letters is tried once. With
# a class of letters first, not a look behind, the search skips what cannot begin it.
KINDS: dict[str, Kind] = {
    "email": Kind(
        re.compile(r"(?<![\w.%+-])[\w.%+-]+@[A-Za-z0-9](?:[A-Za-z0-9-]*\.)+[A-Za-z0-9-]{2,}")
    ),
    "credit_card": Kind(re.compile(r"\d(?<!\d\d)(?:[ -]?\d){12,18}(?!\d)"), _is_card),
    "iban": Kind(
        re.compile(r"[A-Z](?<![A-Za-z0-9].)[A-Z]\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"),
        _is_iban,
    ),
    "us_ssn": Kind(
        re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"),
        needs=("-",),
    ),
    "ip_address": Kind(
        re.compile(
            r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d)"
        )
    ),
    "api_key": Kind(
        re.compile(
            r"(?<![A-Za-z0-9_-])(?:sk-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}"
            r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|xox[abprs]-[A-Za-z0-9-]{10,}"
            r"|A(?:KIA|SIA)[A-Z0-9]{16}|glpat-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{30,}"
            r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"
        ),
        needs=("sk-", "AIza", "gh", "xox", "AKIA", "ASIA", "glpat-", "hf_", "eyJ"),
    ),
    "private_key": Kind(
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
        ),
        needs=("-----BEGIN ",),
    ),
}
