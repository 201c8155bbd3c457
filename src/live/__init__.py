"""What runs and what has just ended, joined from the journals and the trace files."""
