"""Memory that costs no time: what one batch frees, the next one gets as it is."""

import contextlib
import ctypes

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
NEVER, LARGEST = -1, 2**31 - 1


def keep_freed_memory() -> None:
    """Lets the next batch have the memory that this one has freed: faster on a CPU.

    glibc returns blocks above 32 MB to the system as soon as they are free, and gets them back a
    zeroed page at a time; another C library is left as it is. With deterministic algorithms torch
    fills all new memory with NaN, to show who reads what nobody wrote; nothing here does.
    Measured: benchmarks/step_memory.py.
    """
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST)
        library.mallopt(M_TRIM_THRESHOLD, NEVER)


def give_back_freed_memory() -> None:
    """Returns to the system what is free, when the work is over."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
