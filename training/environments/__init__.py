"""Environments: made by id, looked at, described, and checked at every step."""
