"""Zip archives of unknown origin: members are read within limits, and nothing in them is unpickled."""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from polserve.training.errors import ImportRefused

LARGEST_JSON = 64 * 2**20
"""Most bytes of a JSON member: SB3's holds the last observations, as text."""
LARGEST_WEIGHTS = 4 * 2**30
"""Most bytes of a member with weights, which may be stored without compression only."""


def open_archive(path: Path, kind: str, members: Sequence[str]) -> zipfile.ZipFile:
    """Open an archive that has these members; `kind` says in words what was expected.

    Raises:
        ImportRefused: it is no zip file, or lacks a member.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ImportRefused(f"{path}: expected {kind}, got a file that is no zip archive ({error})") from error
    names = archive.namelist()
    if missing := [name for name in members if name not in names]:
        archive.close()
        raise ImportRefused(
            f"{path}: expected {kind}, with the members {', '.join(members)}; it lacks {', '.join(missing)} and holds "
            f"{_listed(names)}"
        )
    return archive


def read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Read a member of at most `limit` bytes, whatever its header says of its size.

    Raises:
        ImportRefused: it is larger, encrypted or damaged.
    """
    where = f"{archive.filename}: {name}"
    try:
        with archive.open(name) as member:
            content = member.read(limit + 1)
    except (OSError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ImportRefused(f"{where}: expected a whole member, got one that cannot be read ({error})") from error
    if len(content) > limit:
        raise ImportRefused(f"{where}: expected at most {limit:,} bytes, got more; it is not read")
    return content


def read_json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Read a member that is a JSON object.

    Raises:
        ImportRefused: it is none.
    """
    content = read_member(archive, name, LARGEST_JSON)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ImportRefused(f"{archive.filename}: {name}: expected a JSON object, got other text ({error})") from error
    if not isinstance(value, dict):
        raise ImportRefused(f"{archive.filename}: {name}: expected a JSON object, got a {type(value).__name__}")
    return value


def read_state(archive: zipfile.ZipFile, name: str) -> dict[str, torch.Tensor]:
    """Read a member that torch wrote: a dictionary of tensors by name.

    Raises:
        ImportRefused: it holds anything else, or a number that is not finite.
    """
    declared = archive.getinfo(name)
    if declared.compress_type != zipfile.ZIP_STORED and declared.file_size > LARGEST_JSON:
        raise ImportRefused(
            f"{archive.filename}: {name}: expected weights stored as they are, got {declared.file_size:,} bytes "
            "compressed; it is not read"
        )
    return load_state(read_member(archive, name, LARGEST_WEIGHTS), f"{archive.filename}: {name}")


def load_state(content: bytes, where: str) -> dict[str, torch.Tensor]:
    """Load a dictionary of tensors that torch wrote, by `weights_only=True`; `where` names it in errors.

    Raises:
        ImportRefused: it holds anything else, or a number that is not finite.
    """
    _check_stored(content, where)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen unrelated classes on what it does not take
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImportRefused(
            f"{where}: expected nothing but tensors by name, as torch.save writes a state_dict; got a file that "
            f"torch.load(weights_only=True) refuses: {reason}"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ImportRefused(f"{where}: expected a dictionary of tensors by name, got a {type(state).__name__}")
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ImportRefused(f"{where}: {key}: expected finite weights, got NaN or infinity; training diverged")
    return {str(key): tensor for key, tensor in state.items()}


def _check_stored(content: bytes, where: str) -> None:
    """Raise ImportRefused where torch's own archive would unpack to more than it is."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return  # torch's older format, which is not compressed
    with zipfile.ZipFile(io.BytesIO(content)) as inner:
        size = sum(member.file_size for member in inner.infolist())
        is_packed = any(member.compress_type != zipfile.ZIP_STORED for member in inner.infolist())
    if size > 2 * len(content) or (is_packed and size > LARGEST_JSON):
        raise ImportRefused(f"{where}: expected weights stored as they are, got {size:,} bytes when unpacked")


def _listed(names: Sequence[str]) -> str:
    few = ", ".join(repr(name[:60]) for name in names[:8])
    return f"{few} and {len(names) - 8} more" if len(names) > 8 else few or "nothing"  # noqa: PLR2004 - still read
