"""The store: every finished exchange as a row in SQLite or Postgres, made from the trace files."""
