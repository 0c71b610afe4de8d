"""Policies that other tools trained, made into versions: read, compared with the original, evaluated, registered."""
