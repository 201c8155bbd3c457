"""OpenAI's own encodings by `tiktoken`, where both are on this machine; else the rule by script.

tiktoken fetches an encoding that it does not find in its cache. Nothing here ever asks it for one
that is not there, whole: no request of ours goes to the net. To have them: install
`llmtap[tiktoken]` and run `python -c "import tiktoken; tiktoken.get_encoding('o200k_base')"` once,
with `TIKTOKEN_CACHE_DIR` set as the proxy will have it. A loaded encoding takes 30 to 80 MB.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from .estimate import Counter, by_script

# The file in tiktoken's cache (tiktoken/load.py: the SHA-1 of its address) and its SHA-256
# (tiktoken_ext/openai_public.py). o200k_harmony differs in special tokens only.
_FILES = {
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}
_SAME = {"o200k_harmony": "o200k_base"}
_MOST_CHARACTERS = 256 << 10  # a second's work for 3 MB: longer texts are not worth it
_WITHOUT_BLANKS = 4096  # one "word" of this length takes tiktoken quadratic time


def counter(model: str | None) -> Counter:
    """What counts the tokens of this model's texts, the best there is here."""
    rule = by_script(model)
    encoded = _encoding(model) if model is not None else None
    if encoded is None:
        return rule

    def tokens(text: str) -> int:
        fits = len(text) <= _MOST_CHARACTERS
        if not fits or max(map(len, text.split()), default=0) > _WITHOUT_BLANKS:
            return rule(text)
        return encoded(text)

    return tokens


@lru_cache(maxsize=256)
def _encoding(model: str) -> Counter | None:
    try:
        name = import_module("tiktoken.model").encoding_name_for_model(model)
    except (ImportError, KeyError):
        return None
    name = _SAME.get(name, name)
    return _loaded(name) if name in _FILES and _cached(*_FILES[name]) else None


@lru_cache(maxsize=2)
def _loaded(name: str) -> Counter:
    encoding = import_module("tiktoken").get_encoding(name)

    def tokens(text: str) -> int:
        return len(encoding.encode_ordinary(text))

    return tokens


def _cached(file: str, sha256: str) -> bool:
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    if folder == "":  # tiktoken keeps nothing then: it would fetch
        return False
    path = Path(folder or Path(tempfile.gettempdir(), "data-gym-cache"), file)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False
