"""The checks that a version must pass before it may answer, in a process whose end harms nobody."""
