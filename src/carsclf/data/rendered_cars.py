"""The embedded default: drawn cars, read by the same reader as the real ones."""

from pathlib import Path

from carsclf.data.drawing import render
from carsclf.data.samples import Source
from carsclf.data.stanford_cars import stanford_cars
from carsclf.files import cache_root


def rendered_cars(root: str | Path | None = None, *, images: int, seed: int) -> Source:
    """Draws `images` photos below the cache folder (or `root`) unless they are there already."""
    root = Path(root) if root else cache_root() / f"rendered_cars-{images}-{seed}"
    return stanford_cars(render(root, images=images, seed=seed), name="rendered_cars")
