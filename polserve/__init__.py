"""Serve trained reinforcement-learning policies over gRPC, and train them."""

from pathlib import Path

if not Path(__file__).with_name("serving").is_dir():  # a checkout that lost its links
    __path__.append(str(Path(__file__).parents[1]))
