"""The memory of training and inference: pictures per second with and without `keep_freed_memory`.

    python -m benchmarks.step_memory [--model tf_efficientnet_lite0] [--size 112] [--repeat 3]

Forward, backward and SGD update of a whole network, or its forward alone; random weights, noise for
pictures, float32, channels last, one thread, deterministic algorithms, as every training here has
them. Each figure is the median over processes, which take turns as an allocator's settings last as
long as its process, of the fastest step but the first.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from itertools import product

os.environ.setdefault("OMP_NUM_THREADS", "1")

import timm
import torch

from carsclf.machine.memory import keep_freed_memory

BATCHES = (16, 64, 256)
WAYS = {"as the system does it": False, "keep_freed_memory": True}


def measure(model: str, size: int, task: str, batch: int, *, keep: bool) -> float:
    """Pictures per second in this process."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    if keep:
        keep_freed_memory()
    train = task == "training"
    network = timm.create_model(model, num_classes=196).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train(train).requires_grad_(train)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    pictures = torch.rand(batch, 3, size, size).to(memory_format=torch.channels_last)
    targets = torch.arange(batch) % 196
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        loss = torch.nn.functional.cross_entropy(network(pictures), targets)
        if train:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        taken.append(time.perf_counter() - began)
    return batch / min(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # task, batch, keep: a child
    options = parser.parse_args()
    if options.one:
        task, batch, keep = options.one
        print(measure(options.model, options.size, task, int(batch), keep=keep == "True"))
        return
    print(f"{options.model} at {options.size} px, pictures per second, one thread")
    print(f"| task | batch | {' | '.join(WAYS)} | faster |")
    print("|---|---|---|---|---|")
    own = ["--model", options.model, "--size", str(options.size)]
    for task, batch in product(("training", "inference"), BATCHES):
        rates: dict[bool, list[float]] = {keep: [] for keep in WAYS.values()}
        for _ in range(options.repeat):
            for keep, found in rates.items():
                child = [sys.executable, "-m", "benchmarks.step_memory", *own]
                child += ["--one", task, str(batch), str(keep)]
                done = subprocess.run(child, capture_output=True, text=True, check=True)
                found.append(float(done.stdout.split()[-1]))
        before, after = (statistics.median(found) for found in rates.values())
        told = f"{before:.1f} | {after:.1f} | {after / before:.2f}"
        print(f"| {task} | {batch} | {told} |", flush=True)


if __name__ == "__main__":
    main()
