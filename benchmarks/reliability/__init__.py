"""What holds under overload, over time, and when processes are killed: the table of docs/reliability.md."""
