"""llmtap: the tap on the wire between any LLM client and any LLM API."""

__version__ = "0.1.0"
