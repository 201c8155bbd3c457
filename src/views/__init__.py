"""A trace shown in other forms: as a conversation, as a difference, as files other tools read."""
