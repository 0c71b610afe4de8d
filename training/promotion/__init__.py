"""Promotion: whether a candidate may become champion, and the record of that decision."""
