"""What a trace says, for lists, filters, searches and views: one row, one conversation."""
