"""Programs that print the tables of the README: `python benchmarks/NAME.py`."""
