"""Images per second over HTTP against the network's own, in the same run.

    python -m benchmarks.serving <run folder> <photos> [--clients 32] [--seconds 20] [--cores 2]

The service is a process of its own (`serve.py`, its log on) and so is the load: `clients` of them,
each with one request open at a time. The network's own rate is that of batches in memory, in this
process, of the best size among a few; it is taken before and after, and the ratio is to the mean.
LitServe and Ray Serve serve the same model the way their documentation shows, where installed.
"""

import argparse
import asyncio
import importlib
import itertools
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIZES = (8, 16, 32)
PEERS = {"litserve": "LitServe", "ray.serve": "Ray Serve"}
LITSERVE = """
import sys, io, litserve
from PIL import Image
from carsclf.inference.predict import load_model
class Api(litserve.LitAPI):
    def setup(self, device): self.model = load_model({run!r}, device='cpu')
    def decode_request(self, request): return Image.open(io.BytesIO(request['image'].file.read()))
    def predict(self, pictures): return self.model.predict(list(pictures))
    def encode_response(self, said): return {{'predicted': said.predicted}}
if __name__ == '__main__':
    api = Api(max_batch_size=32, batch_timeout=0.005)
    litserve.LitServer(api, accelerator='cpu').run(port={port}, generate_client_file=False)
"""
RAY = """
import io, time
from PIL import Image
from ray import serve
from carsclf.inference.predict import load_model
@serve.deployment(max_ongoing_requests=256)
class Api:
    def __init__(self): self.model = load_model({run!r}, device='cpu')
    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def together(self, contents):
        return self.model.predict([Image.open(io.BytesIO(c)) for c in contents])
    async def __call__(self, request):
        return {{'predicted': (await self.together(await request.body())).predicted}}
serve.start(http_options={{'port': {port}}})
serve.run(Api.bind(), route_prefix='/predict')
time.sleep(10**6)
"""


def own_rate(run: str, cores: int, seconds: float) -> float:
    """The network's images per second, of the best batch size; pictures are in memory."""
    program = f"""
import time, torch
from carsclf.inference.predict import load_model
torch.set_num_threads({cores})
model = load_model({run!r}, device='cpu')
size = model.card.eval_transform['size']
best = 0.0
for batch in {SIZES!r}:
    pictures = torch.randint(0, 255, (batch, 3, size, size), dtype=torch.uint8)
    model.see(pictures)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < {seconds / len(SIZES)}:
        model.see(pictures)
        done += batch
    best = max(best, done / (time.perf_counter() - began))
print(best)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


@contextmanager
def ours(run: str, cores: int) -> Iterator[str]:
    """The address of `serve.py` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "serve.py"), f"run={run}", "port=0", "device=cpu"]
        child = subprocess.Popen(
            [*command, f"folder={folder}"],
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": str(cores), "PYTHONUNBUFFERED": "1"},
            text=True,
        )
        assert child.stdout is not None
        try:
            address = next(m[1] for line in child.stdout if (m := re.search(r"on (http\S+)", line)))
            yield address
        finally:
            child.terminate()
            child.wait()


@contextmanager
def peer(program: str, run: str, cores: int, port: int) -> Iterator[str]:
    """The address of another server of the same model."""
    env = os.environ | {"OMP_NUM_THREADS": str(cores)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "server.py"  # its workers import it
        file.write_text(program.format(run=run, port=port))
        child = subprocess.Popen([sys.executable, str(file)], env=env, start_new_session=True)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()


async def load(
    address: str, contents: list[bytes], clients: int, seconds: float, form: bool
) -> tuple[list[float], int, float]:
    """Seconds of each answered request, how many failed, and how long it all took."""
    import aiohttp

    taken: list[float] = []
    failed = 0
    turns = itertools.cycle(contents)
    ends = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        while (began := time.perf_counter()) < ends:
            content = next(turns)
            data = {"image": content} if form else content
            async with session.post(f"{address}/predict", data=data) as told:
                await told.read()
                if told.status == 200:
                    taken.append(time.perf_counter() - began)
                else:
                    failed += 1

    began = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return taken, failed, time.perf_counter() - began


async def answers(address: str, content: bytes, form: bool) -> None:
    """Waits until the server is up."""
    for _ in range(300):
        try:
            _, failed, _ = await load(address, [content], 1, 0.01, form)
        except OSError:
            failed = 1
        if not failed:
            return
        await asyncio.sleep(0.5)
    raise SystemExit(f"{address} does not answer")


def measure(address: str, contents: list[bytes], args: argparse.Namespace, form: bool) -> str:
    """One row: images per second, p50 and p99 in ms, failures."""
    asyncio.run(answers(address, contents[0], form))
    asyncio.run(load(address, contents, args.clients, args.seconds / 4, form))
    taken, failed, whole = asyncio.run(load(address, contents, args.clients, args.seconds, form))
    centiles = statistics.quantiles(taken, n=100)
    rate = len(taken) / whole
    return f"{rate:.1f} | {1000 * centiles[49]:.0f} | {1000 * centiles[98]:.0f} | {failed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="a run folder")
    parser.add_argument("photos", type=Path, help="a folder of JPEGs, those below it too")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    run = str(Path(args.run).absolute())
    contents = [path.read_bytes() for path in sorted(args.photos.rglob("*.jpg"))[:256]]
    print(f"{len(contents)} photos, {args.clients} clients, {args.cores} cores shared by all")
    own = [own_rate(run, args.cores, args.seconds / 2)]
    rows = {}
    with ours(run, args.cores) as address:
        rows["carsclf"] = measure(address, contents, args, form=False)
    for number, (module, name) in enumerate(PEERS.items()):
        try:
            importlib.import_module(module)
        except ImportError as error:
            print(f"{name} is not installed here ({error.name} is missing)")
            continue
        program = LITSERVE if module == "litserve" else RAY
        with peer(program, run, args.cores, 8801 + number) as address:
            rows[name] = measure(address, contents, args, form=module == "litserve")
    own.append(own_rate(run, args.cores, args.seconds / 2))
    mean = statistics.mean(own)
    print(f"the network alone: {own[0]:.1f} before, {own[1]:.1f} after")
    print("| server | images/s | p50 ms | p99 ms | failed | of the network's own |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row} | {float(row.split()[0]) / mean:.2f} |")


if __name__ == "__main__":
    main()
