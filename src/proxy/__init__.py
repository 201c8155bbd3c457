"""The data plane: what every request passes. Begin reading at `gateway`.

Empty on purpose: the recorder imports `proxy.providers` and must stay small and quick to start.
"""
