"""Real clients through the program: official SDKs (in the suite) and npm clients (`run.py`)."""
