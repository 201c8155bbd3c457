"""Worked examples of middlewares: copy one, change it, name it in your config."""
