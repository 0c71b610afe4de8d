"""Paths as people write them."""

import os


def expanded(path: str | os.PathLike[str]) -> str:
    """Return a path with its ~ expanded; as it is where there is no such home."""
    return os.path.expanduser(os.fspath(path))  # noqa: PTH111 - pathlib's raises where there is no home
