"""The query API, in a process of its own beside the proxy: see `app.py`."""
