"""Tasks: the kinds of problems that policies are trained for.

Each folder here knows one kind, from its environments to its report, and `catalog` lists them. Everything else in
training asks a task through the seam in `task`, and knows none of them by name but for the presets.
"""
