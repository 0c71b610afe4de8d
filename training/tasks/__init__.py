"""Kinds of problems: each folder knows one, from its environments to its report."""
