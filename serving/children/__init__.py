"""Child processes that do what they are told, in JSON lines: one request, one reply."""
