"""The machine that training runs on: its cores, its memory, its processes."""
