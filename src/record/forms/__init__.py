"""The providers' forms of a conversation, one file each: parsed JSON in, parts out."""
