"""Where the arithmetic of learning is done: device, threads and precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from polserve.training.errors import InvalidOption, require
from polserve.training.machine.cores import cores

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Compute:
    """A device that is there, and whether it is faster at bfloat16."""

    device: torch.device
    has_bfloat16: bool

    def autocast(self, *, is_mixed: bool) -> torch.autocast:
        """Context in which a network computes: in bfloat16 where that is wanted and faster."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_mixed and self.has_bfloat16)


def choose(device: Device = "auto") -> Compute:
    """Device of that name; "auto" is the GPU where there is one.

    Raises:
        InvalidOption: there is no GPU.
    """
    require(device in get_args(Device), "device", " or ".join(get_args(Device)), device)
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidOption("device: cuda was asked for and torch finds no GPU; leave out --device, or give cpu")
    if device != "cpu" and torch.cuda.is_available():
        return Compute(torch.device("cuda"), torch.cuda.is_bf16_supported(including_emulation=False))
    has_bfloat16 = torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 - torch tells it nowhere else
    return Compute(torch.device("cpu"), has_bfloat16)


def set_threads(threads: int) -> None:
    """Torch computes with `threads` threads on the CPU; 0 is one for each core that this process may use."""
    torch.set_num_threads(threads or cores())


@contextmanager
def kept_threads() -> Iterator[None]:
    """Give torch the number of threads back that it had before the block."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
