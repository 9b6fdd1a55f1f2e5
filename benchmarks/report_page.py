"""How long `report.py` takes for a study of 220 trials and runs of 8,000 photos of 196 classes.

Folders and photos are made up; the photos have the size of Stanford Cars' (600 x 400 JPEG), and
their proxies are measured. Run from the root: python -m benchmarks.report_page
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from carsclf.report.command import write_report
from tests.report.folders import FOUND, HE, add_predictions, make_run, make_study

PHOTOS, CLASSES = 8_000, 196


def make_material(root: Path) -> tuple[list[Path], list[Path]]:
    """Baseline and winner of a study, two seeds each, with predictions of the same photos."""
    (root / "photos/cars").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(PHOTOS):
        noise = Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8))
        photo = noise.resize((600, 400)).filter(ImageFilter.GaussianBlur(2))
        photo.save(root / f"photos/cars/{i:05}.jpg", quality=85)
    names = [f"Make{i % 49} Model{i // 4} Sedan {2000 + i % 4}" for i in range(CLASSES)]
    runs = []
    for role, values, share in (("baseline", HE, 0.7), ("winner", FOUND, 0.8)):
        for seed in (1, 2):
            run = make_run(root / f"{role}-{seed}", values=values, seed=seed, accuracy=share)
            hits = rng.random(PHOTOS) < share
            add_predictions(run, hits, names, split="test", photos=root / "photos", seed=seed)
            runs.append(run)
    return runs, [make_study(root / "study", trials=220)]


def main() -> None:
    """Prints one table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        runs, studies = make_material(root)
        print("trials  photos  gallery  seconds  of processor  page MB")
        for gallery in (0, 24):
            start, busy = time.perf_counter(), time.process_time()
            page = write_report(runs=runs, studies=studies, folder=root / "report", gallery=gallery)
            seconds, cpu = time.perf_counter() - start, time.process_time() - busy
            size = page.stat().st_size / 1e6
            print(f"{220:6}  {PHOTOS:6}  {gallery:7}  {seconds:7.1f}  {cpu:12.1f}  {size:7.2f}")


if __name__ == "__main__":
    main()
