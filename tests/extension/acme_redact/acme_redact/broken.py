"""Needs something that is not installed."""

import acme_is_not_installed  # noqa: F401


class Broken: ...
