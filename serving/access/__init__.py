"""Who calls, and what they may do: knows tokens and certificates, and no transport."""
