"""Memory: what one batch frees the next one gets as it is, what is free, what a work takes."""

import contextlib
import ctypes
import re
from collections.abc import Callable
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
NEVER, LARGEST, ONE = -1, 2**31 - 1, 1


def keep_freed_memory() -> None:
    """Lets the next batch have the memory that this one has freed: faster on a CPU.

    glibc returns blocks above 32 MB to the system as soon as they are free, and gets them back a
    zeroed page at a time. Of a thread with a place of its own to allocate from that holds for all
    above 64 MB, whatever it is told: threads that start from now on share one place. Another C
    library is left as it is. With deterministic algorithms torch fills all new memory with NaN, to
    show who reads what nobody wrote; nothing here does. Measured: benchmarks/step_memory.py.
    """
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST)
        library.mallopt(M_TRIM_THRESHOLD, NEVER)
        library.mallopt(M_ARENA_MAX, ONE)


def give_back_freed_memory() -> None:
    """Returns to the system what is free, when the work is over."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def free_memory(device: torch.device) -> float:
    """Bytes that this process may still take, as far as the system tells; infinite where not.

    What an allocator keeps of freed memory is free.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + kept)
    give_back_freed_memory()
    group = Path("/sys/fs/cgroup")
    limit, taken = (_number(group / f"memory.{name}") for name in ("max", "current"))
    # files kept in memory count as taken, and go when it is needed
    kept = _named(group / "memory.stat", "inactive_file", 1)
    own = limit - taken + (kept or 0) if limit is not None and taken is not None else float("inf")
    free = _named(Path("/proc/meminfo"), "MemAvailable:", 1024)
    return min(own, float("inf") if free is None else free)


def peak_memory(work: Callable[[], object], device: torch.device) -> float | None:
    """Bytes by which memory grew at most while `work` was done; None where nothing tells."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return float(torch.cuda.max_memory_allocated(device) - before)
    give_back_freed_memory()
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    before = _named(status, "VmRSS:", 1024)
    try:
        reset.write_text("5")  # the highest so far is forgotten (Linux 4.0)
    except OSError:
        before = None
    work()
    highest = _named(status, "VmHWM:", 1024)
    if device.type != "cpu" or before is None or highest is None:
        return None
    return max(0.0, highest - before)


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):  # "max": no limit
        return None


def _named(path: Path, name: str, unit: int) -> float | None:
    """The number behind a name, in bytes."""
    try:
        found = re.search(rf"^{re.escape(name)}\s+(\d+)", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return float(found[1]) * unit if found else None
