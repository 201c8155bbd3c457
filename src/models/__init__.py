"""The shapes that are written or served."""
