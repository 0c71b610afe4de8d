"""The way of one import: read a file, compare with the original, evaluate, register or write."""

from collections.abc import Callable
from typing import TypeAlias

from polserve.training.evaluation.game_progress import SILENT, GameProgress
from polserve.training.imports.imported import ImportedPolicy
from polserve.training.imports.making import prove_policy
from polserve.training.imports.places import Place, find_place
from polserve.training.imports.publishing import ImportedVersion, register, write
from polserve.training.imports.request import ImportRequest
from polserve.training.registry.address import reach

Read: TypeAlias = Callable[[Place], ImportedPolicy]
"""Reads a file of one tool, for the environment that was named."""


def import_policy(read: Read, request: ImportRequest, progress: GameProgress = SILENT) -> ImportedVersion:
    """Make a version of what `read` reads: proven to act as the original, evaluated, and registered or written.

    Raises:
        ImportRefused: the file cannot be read, or the graph does not act as the original does.
        TrainingError: the environment is faulty, or the registry does not answer.
    """
    if request.folder is None:
        reach(request.tracking_uri, on_wait=progress.note)
    place = find_place(request.environment())
    policy = read(place)
    for note in (*policy.notes, *(place.facts.notes + place.facts.cautions if place.facts else ())):
        progress.note(f"note: {note}")
    if place.facts is None:
        progress.note(f"warning: it is not evaluated: {place.missing}; polserve promote will ask for --force --reason")
    proven = prove_policy(policy, place, request, progress)
    if request.folder is not None:
        return write(proven, request.folder, request.sign_key)
    return register(proven, request.tracking_uri, request.sign_key)
