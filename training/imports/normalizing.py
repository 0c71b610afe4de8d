"""VecNormalize's statistics: read from its pickle, of which nothing is run, or from an .npz."""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.training.errors import ImportRefused
from polserve.training.imports.archives import open_archive, read_member
from polserve.training.imports.inert import Attributes, array_of, read_attributes

LARGEST_FILE = 256 * 2**20
"""Most bytes of a file with statistics."""
CLIP = 10.0
EPSILON = 1e-8
"""VecNormalize's own defaults, for an .npz that leaves them out."""
NPZ_KEYS = ("mean", "var", "clip_obs", "epsilon")


@dataclass(frozen=True, slots=True)
class Statistics:
    """What VecNormalize does to an observation, frozen."""

    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    clip: float
    epsilon: float

    @property
    def deviation(self) -> NDArray[np.float64]:
        """What observations are divided by."""
        return np.asarray(np.sqrt(self.var + self.epsilon))

    def shaped(self, shape: tuple[int, ...]) -> "Statistics":
        """Statistics of the same numbers in another shape."""
        return replace(self, mean=self.mean.reshape(shape), var=self.var.reshape(shape))

    def apply(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Observations (n, *shape) as the policy was trained on them."""
        scaled = (observations - self.mean) / self.deviation
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)


def read_statistics(path: Path) -> Statistics | None:
    """Read a .pkl that `VecNormalize.save()` wrote, or an .npz with mean, var and maybe clip_obs and epsilon.

    Returns:
        None where VecNormalize normalised rewards only.

    Raises:
        ImportRefused: it is neither, or the numbers in it cannot be.
    """
    if not path.is_file():
        got = "something else, such as a folder" if path.exists() else "no such file"
        raise ImportRefused(f"{path}: expected a .pkl or an .npz with statistics, got {got}; check --normalize")
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise ImportRefused(f"{path}: expected at most {LARGEST_FILE:,} bytes of statistics, got {size:,}")
        if zipfile.is_zipfile(path):
            return _of_npz(path)
        content = path.read_bytes()
    except OSError as error:
        raise ImportRefused(f"{path}: expected a file that can be read: {error.strerror}; check --normalize") from error
    return _of_pickle(path, content)


def _of_npz(path: Path) -> Statistics:
    kind = "an .npz with the arrays mean and var"
    with open_archive(path, kind, ("mean.npy", "var.npy")) as archive:
        found: dict[str, NDArray[Any]] = {}
        for key in NPZ_KEYS:
            if f"{key}.npy" in archive.namelist():
                found[key] = _npy(read_member(archive, f"{key}.npy", LARGEST_FILE), f"{path}: {key}")
    return _checked(path, found["mean"], found["var"], found.get("clip_obs", CLIP), found.get("epsilon", EPSILON))


def _npy(content: bytes, where: str) -> NDArray[Any]:
    import io

    try:
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise ImportRefused(f"{where}: expected an array of numbers, got {error}") from error


def _of_pickle(path: Path, content: bytes) -> Statistics | None:
    state = read_attributes(content, str(path), "what VecNormalize.save() writes")
    if "norm_obs" not in state or ("obs_rms" not in state and state.get("norm_obs")):
        raise ImportRefused(f"{path}: expected what VecNormalize.save() writes, got a pickle without norm_obs, obs_rms")
    if not state["norm_obs"]:
        return None
    running = state["obs_rms"]
    if not isinstance(running, Attributes):
        raise ImportRefused(
            f"{path}: expected statistics of one array of observations, got {type(running).__name__}: those of a "
            "Dict are not imported; export the network, with its normalising, by polserve.export(module, ...)"
        )
    mean, var = (array_of(vars(running).get(name)) for name in ("mean", "var"))
    if mean is None or var is None:
        raise ImportRefused(f"{path}: obs_rms: expected arrays mean and var of numbers, got none")
    clip, epsilon = (array_of(state.get(name)) for name in ("clip_obs", "epsilon"))
    return _checked(path, mean, var, CLIP if clip is None else clip, EPSILON if epsilon is None else epsilon)


def _checked(
    path: Path, mean: NDArray[Any], var: NDArray[Any], clip: float | NDArray[Any], epsilon: float | NDArray[Any]
) -> Statistics:
    if {mean.dtype.kind, var.dtype.kind} - set("iuf") or mean.shape != var.shape:
        raise ImportRefused(
            f"{path}: expected mean and var of one shape, got {mean.dtype} {mean.shape} and {var.dtype} {var.shape}"
        )
    limits = np.asarray(clip, np.float64).ravel(), np.asarray(epsilon, np.float64).ravel()
    if any(limit.size != 1 or not limit[0] >= 0 for limit in limits):
        raise ImportRefused(f"{path}: expected numbers clip_obs and epsilon of 0 or more, got {clip} and {epsilon}")
    is_usable = np.isfinite(mean).all() and np.isfinite(var).all() and (var + limits[1] > 0).all()
    if not is_usable:
        raise ImportRefused(f"{path}: expected a finite mean and a var above 0, got {mean} and {var}")
    return Statistics(mean.astype(np.float64), var.astype(np.float64), float(limits[0][0]), float(limits[1][0]))
