"""One step each; what has been released is never changed."""
