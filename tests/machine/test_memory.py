"""What a batch frees stays with the process, and goes back when the work is over."""

import platform
import subprocess
import sys

import pytest

BLOCKS = """
import resource, threading, torch
from carsclf.machine.memory import give_back_freed_memory, keep_freed_memory
if {keep}:
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def held():
    return int(open("/proc/self/statm").read().split()[1])
torch.set_num_threads(1)
def blocks(n):
    for _ in range(n):
        torch.ones(32, 1024, 1024)  # 128 MB, freed at once
def measure():
    blocks(16)  # until the heap has found its shape
    before = faults()
    blocks(4)
    again, most = faults() - before, held()
    give_back_freed_memory()
    print(again, most - held())
if {threaded}:
    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
else:
    measure()
"""
PAGES = 128 * 1024 // 4


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's allocator")
@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_freed_blocks_are_not_fetched_again(keep: bool, threaded: bool) -> None:
    """Nor by a thread, which glibc would give an arena that holds no block above 64 MB."""
    child = [sys.executable, "-c", BLOCKS.format(keep=keep, threaded=threaded)]
    done = subprocess.run(child, capture_output=True, text=True, check=True)
    faults, returned = map(int, done.stdout.split())
    if keep:
        assert faults < PAGES / 4
        assert returned > PAGES / 2
    else:
        assert faults > 2 * PAGES  # else the remedy remedies nothing any more
