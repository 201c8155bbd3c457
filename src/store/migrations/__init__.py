"""How the store came to its present form: `env.py` is run by Alembic, one file a step."""
