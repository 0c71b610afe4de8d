"""Atari games, played from raw frames."""
