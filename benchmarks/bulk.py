"""Bulk identification against the network alone, and the five filters on a long table.

    python benchmarks/bulk.py <cars> [--photos 512] [--size 224] [--cores 2]

Files to a finished table (decoding, network, top 5, openness, embeddings, parquet and CSV) against
the same network's forward passes on batches that lie in memory: images per second of both, in one
run, alternating. Weights are random, which costs the same time. The table that is filtered has
--rows rows with embeddings of the network's width.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from carsclf.analysis.filters import FILTERS, Limits
from carsclf.inference.bulk import ROWS, write_parts
from carsclf.inference.filtering import read_said
from carsclf.inference.openness import Openness
from carsclf.inference.pace import Pace
from carsclf.inference.parts import Parts
from carsclf.inference.pictures import Pictures
from carsclf.inference.predict import TrainedModel, load_model
from carsclf.inference.rows import Columns
from carsclf.models.networks import create, normalisation
from carsclf.records import ModelCard, RunFolder

CLASSES = [f"class {i}" for i in range(196)]
BATCH = 64


def make_model(folder: Path, name: str, size: int) -> TrainedModel:
    network = create(name, num_classes=len(CLASSES), image_size=size)
    mean, std = normalisation(network)
    rule = {"rule": "squash", "size": size, "resize": size, "interpolation": "bicubic"}
    files = RunFolder(folder)
    folder.mkdir()
    save_file(network.state_dict(), files.weights)
    ModelCard(name, CLASSES, rule, mean, std, "none").write(files.card)
    return load_model(folder)


def lay_out(cars: Path, root: Path, count: int) -> Pictures:
    """root/<i // 100>/<i>.jpg: links to that many photos."""
    for i, photo in enumerate(sorted(cars.glob("cars_train/*.jpg"))[:count]):
        link = root / f"{i // 100:03}" / photo.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(photo.resolve())
    return Pictures([str(root)])


def bulk_rate(columns: Columns, pictures: Pictures, place: Path) -> float:
    total = pictures.count()
    began, parts = time.perf_counter(), Parts(place / "said.csv.parts", {})
    with parts.opened():
        count = write_parts(columns, pictures, parts, ROWS, BATCH, Pace(total, "pictures"))
        parts.finish(count, place / "said.parquet", place / "said.csv", columns.schema)
    return total / (time.perf_counter() - began)


@torch.inference_mode()
def network_rate(model: TrainedModel, size: int, count: int) -> float:
    batch = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8)
    batch = batch.contiguous(memory_format=torch.channels_last)
    began = time.perf_counter()
    for _ in range(count // BATCH):
        model({"pictures": batch}).cpu()
    return count // BATCH * BATCH / (time.perf_counter() - began)


def filter_seconds(place: Path, rows: int, width: int) -> dict[str, float]:
    """Seconds of each filter, the reading of the table included."""
    rng = np.random.default_rng(0)
    path = place / "long.parquet"
    names = np.array(CLASSES)
    schema = None
    writer = None
    for start in range(0, rows, ROWS):
        n = min(ROWS, rows - start)
        half = pa.array(rng.normal(size=n * width).astype(np.float16))
        table = pa.table(
            {
                "path": [f"/photos/{i // 100:04}/{i}.jpg" for i in range(start, start + n)],
                "error": pa.nulls(n, pa.string()),
                "predicted": names[rng.integers(0, len(names), n)],
                "probability": rng.random(n, np.float32),
                "predicted_2": names[rng.integers(0, len(names), n)],
                "probability_2": rng.random(n, np.float32) / 3,
                "openness": rng.random(n, np.float32),
                "distance": rng.random(n, np.float32),
                "embedding": pa.FixedSizeListArray.from_arrays(half, width),
            }
        )
        schema = schema or table.schema
        writer = writer or pq.ParquetWriter(path, schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    library = pd.DataFrame({"class": CLASSES, "photos": range(196), "synthetic": 40})
    took: dict[str, float] = {}
    for name, keep in FILTERS.items():
        began = time.perf_counter()
        keep(read_said(path, name), library, Limits())
        took[name] = time.perf_counter() - began
    return took


def main() -> None:
    """Parses the command line, measures, prints two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cars", type=Path)
    parser.add_argument("--photos", type=int, default=512)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--networks", nargs="+", default=["tf_efficientnet_lite0", "resnet50"])
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-args.cores :])
    torch.set_num_threads(args.cores)
    rows, width = [], 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pictures = lay_out(args.cars, place / "photos", args.photos)
        for name in args.networks:
            model = make_model(place / name, name, args.size)
            width = Columns(model, 5, None).width
            rng = np.random.default_rng(0)
            train, val = rng.random((5000, width)), rng.random((1000, width))
            openness = Openness.fit(train, val, rng.random((1000, len(CLASSES))), "")
            columns = Columns(model, 5, openness)
            bulk_rate(columns, pictures, place)  # to warm up
            pairs = [
                (bulk_rate(columns, pictures, place), network_rate(model, args.size, args.photos))
                for _ in range(args.repetitions)
            ]
            rows.append(
                {
                    "network": name,
                    "files to table, images/s": statistics.median(bulk for bulk, _ in pairs),
                    "network alone, images/s": statistics.median(alone for _, alone in pairs),
                    "ratio": statistics.median(bulk / alone for bulk, alone in pairs),
                }
            )
        took = filter_seconds(place, args.rows, width)
    print(f"{args.photos} photos, {args.size} px, {args.cores} core(s), batch {BATCH}")
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.2f"))
    print(f"\nfilters of {args.rows:,} rows, with reading the table")
    table = pd.DataFrame({"filter": list(took), "seconds": list(took.values())})
    print(table.to_string(index=False, float_format="%.2f"))


if __name__ == "__main__":
    main()
