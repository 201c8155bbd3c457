"""How the program ends when it does not end well."""

CANNOT_LISTEN = 1
BAD_CONFIG = 2
START_FAILED = 3
"""uvicorn's own: a supervisor whose worker ends with it stops instead of trying again."""

NO_TRACES = 1
INTERRUPTED = 130
