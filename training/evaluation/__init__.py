"""Evaluation: episodes played to the end, and what their returns say."""
