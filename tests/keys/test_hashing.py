"""What a key looks like and what is kept of it."""

from __future__ import annotations

import hashlib
import re

import pytest

from src.keys.hashing import digest_of, hash_key, new_key
from src.utils.redaction import redact_text


def test_new_keys_are_long_random_and_safe_in_headers_and_urls() -> None:
    keys = {new_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(re.fullmatch(r"sk-llmtap-[A-Za-z0-9_-]{43}", key) for key in keys)


def test_hash_is_plain_sha256_with_its_name() -> None:
    key = new_key()
    assert hash_key(key) == f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    assert digest_of(hash_key(key)) == hashlib.sha256(key.encode()).digest()


def test_keys_have_a_shape_that_logs_mask() -> None:
    key = new_key()
    assert key not in redact_text(f"a line that holds {key} by mistake")


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:12", "md5:" + "0" * 64, "0" * 64])
def test_other_texts_are_no_hash(text: str) -> None:
    assert digest_of(text) is None
