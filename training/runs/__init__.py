"""Runs: from a recipe to a trained, evaluated and registered policy version."""
