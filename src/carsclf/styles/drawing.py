"""Style pictures that the project draws itself: stand-ins, named after what they imitate.

No painting is among them. What they show means nothing: fields of colour, in palettes that all
styles share, so that styles differ in how the colours are put down.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

VERSION = 1  # of the drawing: raise it whenever the pictures change
SIZE = 256  # pixels, of both sides
FINE = 2  # times as large while they are drawn: smooth edges
Array = np.ndarray
PALETTES = np.array([[[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in row.split()] for row in (
    "2c2826 70543c a8865c ccb48a 808682 e2d4b8",
    "14264e 285c96 6ca4c8 e8ce78 c66238 f0e8d2",
    "1e3a2c 4c7646 96ac5c dace82 ba7882 ece6d8",
    "3a1a2c 962c34 d66e40 eeb860 606e96 f4e4cc",
)])  # fmt: skip


def cubism(rng: np.random.Generator, field: Array) -> Image.Image:
    """Overlapping flat facets with hard edges, each shaded from one side to the other."""
    side = len(field)
    image = Image.fromarray(field)
    for scale in np.geomspace(0.3, 0.06, 160) * side:
        middle = rng.uniform(0, side, 2)
        turn = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 5)))
        corners = middle + scale * rng.uniform(0.5, 1.2) * np.stack([np.cos(turn), np.sin(turn)], 1)
        x, y = np.clip(middle, 0, side - 1).astype(int)
        dark = field[y, x] * rng.uniform(0.45, 0.8)
        slope = rng.normal(size=2)
        left, top = np.floor(corners.min(0)).astype(int)
        wide, high = np.ceil(corners.max(0)).astype(int) - (left, top) + 1
        places = np.stack(np.meshgrid(np.arange(wide), np.arange(high)), -1) - (
            middle - [left, top]
        )
        shade = np.clip(0.5 + places @ (slope / np.linalg.norm(slope)) / scale / 2, 0, 1)
        facet = dark + (field[y, x] * 1.15 - dark) * shade[..., None]
        mask = Image.new("L", (wide, high))
        ImageDraw.Draw(mask).polygon((corners - (left, top)).ravel().tolist(), 255)
        image.paste(Image.fromarray(facet.clip(0, 255).astype(np.uint8)), (left, top), mask)
        if rng.random() < 0.5:
            line = [tuple(corner) for corner in (*corners, corners[0])]
            ImageDraw.Draw(image).line(line, tuple((dark * 0.4).astype(int)), 2 * FINE)
    return image


def pointillism(rng: np.random.Generator, field: Array) -> Image.Image:
    """Dots of pure colours beside one another, on a light ground."""
    side = len(field)
    image = Image.new("RGB", (side, side), (236, 230, 216))
    pen = ImageDraw.Draw(image)
    for x, y in rng.uniform(0, side, (9000, 2)):
        colour = field[int(y), int(x)] + rng.normal(0, 42, 3)
        reach = rng.uniform(1.6, 3.4) * FINE
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), _colour(colour))
    return image


def impressionism(rng: np.random.Generator, field: Array) -> Image.Image:
    """Short strokes of a brush, lighter and darker, along a current."""
    side = len(field)
    image = Image.fromarray(field)
    pen = ImageDraw.Draw(image)
    angle = np.pi * gaussian_filter(rng.normal(size=(side, side)), side / 8, mode="wrap") * side / 5
    for x, y in rng.uniform(0, side, (4500, 2)):
        turn, length = angle[int(y), int(x)], rng.uniform(6, 14) * FINE
        along = np.array([np.cos(turn), np.sin(turn)])
        colour = field[int(y), int(x)] + rng.normal(0, 22) + rng.normal(0, 10, 3)
        for bristle in (-1.4, 0, 1.4):
            start = np.array([x, y]) + bristle * FINE * along[::-1] * [-1, 1]
            end = start + length * along
            pen.line([*start, *end], _colour(colour + rng.normal(0, 14)), 2 * FINE)
    return image


def etching(rng: np.random.Generator, field: Array) -> Image.Image:
    """Black lines on paper, crossing where it is dark."""
    side = len(field)
    light = gaussian_filter(field.mean(2), 2 * FINE)
    down, right = np.mgrid[:side, :side]
    paper = np.full((side, side), 236.0)
    bent = gaussian_filter(rng.normal(size=(side, side)), side / 10) * side / 3
    for angle, below in ((0.8, 210), (-0.7, 150), (0.1, 105), (1.5, 70)):
        phase = (right * np.cos(angle) + down * np.sin(angle) + bent) % (4.5 * FINE)
        width = FINE * np.clip((below - light) / 70, 0, 1) * 1.6
        paper[phase < width] = 28
    steep_down, steep_right = np.gradient(light)
    edges = np.hypot(steep_down, steep_right)
    paper[edges > np.quantile(edges, 0.97)] = 28
    return Image.fromarray(paper.astype(np.uint8)).convert("RGB")


def stained_glass(rng: np.random.Generator, field: Array) -> Image.Image:
    """Cells of one bright colour each, between black lead."""
    side = len(field)
    seeds = rng.uniform(0, side, (220, 2))
    points = np.moveaxis(np.mgrid[:side, :side], 0, -1).reshape(-1, 2)
    distance, cell = map(np.asarray, KDTree(seeds).query(points, 2))
    y, x = seeds.astype(int).T
    colours = field[y, x].astype(float)
    colours = (
        128
        + 1.7 * (colours - colours.mean(1, keepdims=True))
        + (colours.mean(1, keepdims=True) - 128)
    )
    glass = colours[cell[:, 0]] * rng.uniform(0.9, 1.1, (220, 1))[cell[:, 0]]
    glass[distance[:, 1] - distance[:, 0] < 3.2 * FINE] = 16
    return Image.fromarray(glass.reshape(side, side, 3).clip(0, 255).astype(np.uint8))


def woodblock(rng: np.random.Generator, field: Array) -> Image.Image:
    """Flat colours with dark contours, fading towards one side, as in ukiyo-e."""
    side = len(field)
    fade = np.linspace(1.08, 0.86, side)[:, None, None]
    flat = field * fade
    edges = np.abs(np.diff(field.astype(int).sum(2), axis=0, prepend=field[:1].astype(int).sum(2)))
    edges += np.abs(
        np.diff(field.astype(int).sum(2), axis=1, prepend=field[:, :1].astype(int).sum(2))
    )
    line = gaussian_filter((edges > 12).astype(float), 0.8 * FINE) > 0.12
    flat[line] = (30, 28, 40)
    grain = gaussian_filter(rng.normal(size=(side, side)), (0.5, 12)) * 18
    return Image.fromarray((flat + grain[..., None]).clip(0, 255).astype(np.uint8))


STYLES: dict[str, Callable[[np.random.Generator, Array], Image.Image]] = {
    style.__name__: style
    for style in (cubism, etching, impressionism, pointillism, stained_glass, woodblock)
}


def colour_field(rng: np.random.Generator, palette: Array) -> Array:
    """(side, side, 3) uint8: bands of a palette's colours, in curved shapes of many sizes."""
    side = SIZE * FINE
    rough = sum(
        weight * gaussian_filter(rng.normal(size=(side, side)), side * reach, mode="wrap") * reach
        for weight, reach in ((1, 0.08), (0.5, 0.03))
    )
    ranks = np.searchsorted(np.quantile(rough, np.linspace(0, 1, 13)[1:-1]), rough)
    order = np.concatenate([rng.permutation(len(palette)), rng.permutation(len(palette))])
    return palette[order][ranks].astype(np.uint8)


def draw_styles(root: Path) -> Path:
    """`root`/<style>/<palette>.png, unless they are there already; all or nothing."""
    draft, mark = root.with_name(f".{root.name}.unfinished"), root / ".drawn.json"
    with FileLock(root.with_name(f".{root.name}.lock")):
        if mark.is_file():
            return root
        shutil.rmtree(draft, ignore_errors=True)
        for number, palette in enumerate(PALETTES):
            field = colour_field(np.random.default_rng((VERSION, number)), palette)
            for place, (name, style) in enumerate(STYLES.items()):
                (draft / name).mkdir(parents=True, exist_ok=True)
                picture = style(np.random.default_rng((VERSION, number, place)), field)
                picture.reduce(FINE).save(draft / name / f"{number}.png")
        (draft / mark.name).write_text(json.dumps({"version": VERSION}))
        draft.rename(root)
    return root


def _colour(colour: Array) -> tuple[int, ...]:
    return tuple(colour.clip(0, 255).astype(int).tolist())
