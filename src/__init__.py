"""llmtap: the tap on the wire between any LLM client and any LLM API.

The package has two names: `llmtap` where it is installed, `src` in the checkout. An extension
imports `llmtap`, a checkout runs `src`, and both must get the same classes: so whichever name is
imported first, the other becomes an alias of it, submodules included.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__version__ = "0.1.0"


class _Alias(MetaPathFinder, Loader):
    """Finds `<other>.x` as `<own>.x`."""

    def __init__(self, own: str, other: str) -> None:
        self._own = own
        self._other = other

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system's form
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname.startswith(self._other + "."):
            return ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._own + spec.name[len(self._other) :])
        spec.loader_state = module.__spec__  # the import system is about to overwrite it
        return module

    def exec_module(self, module: ModuleType) -> None:
        alias = module.__spec__
        if alias is not None:
            module.__spec__ = alias.loader_state


def _alias() -> None:
    other = {"llmtap": "src", "src": "llmtap"}.get(__name__)
    if other is not None and other not in sys.modules:
        sys.modules[other] = sys.modules[__name__]
        sys.meta_path.insert(0, _Alias(__name__, other))


_alias()
