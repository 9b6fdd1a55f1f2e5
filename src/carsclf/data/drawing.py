"""Cars drawn by the project itself: data without a download, and the true cause of every error."""

import json
import shutil
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from scipy.interpolate import PchipInterpolator
from scipy.io import savemat
from tqdm import tqdm

from carsclf.errors import DataError

VERSION = 1  # of the drawing: raise it whenever the pictures change
BOX = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
RECT = ((0, 0), (0, 1), (1, 1), (1, 0))
CONE, SLANT = ((0, 0), (0.4, 1), (0.6, 1), (1, 0)), ((0, 0), (1, 1), (1.1, 1), (0.2, 0))
DISC = np.array([(np.cos(a), np.sin(a)) for a in np.arange(32) * np.pi / 16])
OVAL = 0.5 + DISC / 2  # in the unit square, as the others
BLACK, CHROME, DARK, SHINE = np.array([[22] * 3, [190, 194, 198], [24, 29, 35], [112, 128, 142]])
TYRE = ((1.16, 0, BLACK), (1, 0.2, BLACK), (1, 0, BLACK), (0.7, 0, CHROME), (0.62, 0.03, DARK))
# Metres, then windscreen and rear window (x in lengths), bonnet, boot (z in heights), pillars (x).
Model = namedtuple("Model", "make name body length height glass hood trunk pillars")
Design = namedtuple("Design", "lamp grille at up tail spoke sill year bars spokes tall chrome")
MODELS = (
    Model("Aldora", "Lyra", "Sedan", 4.6, 1.44, (0.29, 0.43, 0.67, 0.86), 0.64, 0.69, (0.52, 0.7)),
    Model("Aldora", "Orion", "Wagon", 4.7, 1.48, (0.28, 0.42, 0.85, 0.97), 0.63, 0.66, (0.5, 0.68)),
    Model("Aldora", "Vela", "Coupe", 4.4, 1.34, (0.33, 0.48, 0.62, 0.9), 0.66, 0.71, (0.63,)),
    Model("Brixen", "Fell", "Pickup", 5.2, 1.8, (0.26, 0.35, 0.56, 0.585), 0.62, 0.6, (0.44,)),
    Model("Brixen", "Moor", "Van", 4.9, 1.95, (0.14, 0.27, 0.93, 0.98), 0.6, 0.6, (0.4, 0.7)),
    Model("Brixen", "Tarn", "SUV", 4.7, 1.86, (0.27, 0.35, 0.9, 0.97), 0.62, 0.62, (0.5, 0.72)),
    Model("Norvik", "Fjord", "Sedan", 5.0, 1.47, (0.31, 0.43, 0.7, 0.87), 0.67, 0.7, (0.54, 0.7)),
    Model("Norvik", "Skua", "Hatchback", 4.0, 1.44, (0.27, 0.43, 0.74, 0.965), 0.64, 0.66, (0.58,)),
    Model("Norvik", "Tern", "Convertible", 4.3, 1.36, (0.31, 0.45, 0.6, 0.7), 0.67, 0.7, (0.6,)),
    Model("Veltra", "Aria", "Sedan", 4.3, 1.5, (0.25, 0.42, 0.64, 0.88), 0.61, 0.7, (0.5, 0.68)),
    Model("Veltra", "Pico", "Hatchback", 3.6, 1.58, (0.2, 0.36, 0.82, 0.97), 0.6, 0.64, (0.5, 0.8)),
    Model("Veltra", "Terra", "SUV", 4.4, 1.66, (0.26, 0.41, 0.76, 0.97), 0.63, 0.67, (0.52, 0.7)),
)
MAKES: dict[str, Any] = {  # a design, then what years make of it: so little that they are mixed up
    "Aldora": ((CONE, CONE, (1, 1.8, .9), 0, .5, .2, .05), (2008, 3, 5, 1, 0), (2012, 5, 7, .8, 1)),
    "Brixen": ((RECT, RECT, (1.3, 1.4, 1), 1, .8, .3, .1), (2007, 7, 5, 1, 1), (2011, 4, 6, 1, 0)),
    "Norvik": ((OVAL, OVAL, (.7, 2, .6), 1, .7, .1, .08), (2009, 5, 10, 1, 0), (2012, 9, 8, .8, 1)),
    "Veltra": ((SLANT, RECT, (2, .5, .9), 0, .3, .3, 0), (2010, 1, 4, 1, 1), (2012, 2, 5, 1.3, 0)),
}  # fmt: skip
CLASSES = [(m, Design(*MAKES[m.make][0], *year)) for m in MODELS for year in MAKES[m.make][1:]]
PAINTS = {"white": (228, 228, 224), "silver": (176, 181, 186), "grey": (98, 102, 108),
          "black": (26, 27, 31), "red": (176, 22, 26), "blue": (26, 66, 150), "navy": (24, 34, 72),
          "green": (28, 84, 58), "gold": (186, 158, 104), "orange": (222, 100, 24)}  # fmt: skip
LIGHTS = {"day": (0.85, 1.15, (1, 1, 1)), "dusk": (0.5, 0.75, (1.12, 0.94, 0.76)),
          "night": (0.26, 0.42, (0.78, 0.9, 1.15))}  # lowest and highest gain, cast  # fmt: skip
SCENES = (((96, 150, 214), (214, 224, 228), (104, 106, 110)), ((166, 178, 190), (220, 222, 222),
          (92, 94, 98)), ((120, 164, 214), (226, 222, 206), (96, 122, 66)))  # fmt: skip
PROPS = {  # metres wide and high; shapes: left, bottom, width, height, colour
    "tree": (4, 5.5, (RECT, .46, 0, .08, .5, "#5b4636"), (OVAL, .05, .3, .65, .55, "#2f5a2c"),
             (OVAL, .3, .35, .68, .55, "#3a6b33"), (OVAL, .2, .5, .6, .5, "#4a7d3d")),
    "bush": (1.3, .8, (OVAL, 0, 0, .7, .75, "#2e5529"), (OVAL, .25, 0, .75, 1, "#417036")),
    "pole": (.14, 5, (RECT, 0, 0, 1, 1, "#6f7275"), (RECT, 0, 0, .4, 1, "#94979a")),
    "sign": (.7, 2.3, (RECT, .46, 0, .08, .7, "#8b8d90"), (OVAL, 0, .69, 1, .31, "#b5262b"),
             (RECT, .15, .82, .7, .05, "#f0f0ee")),
    "cone": (.5, .75, (RECT, 0, 0, 1, .08, "#3a3a3c"), (CONE, .1, .08, .8, .92, "#e2622a")),
    "person": (.5, 1.75, (RECT, .2, 0, .26, .5, "#2b3448"), (RECT, .54, 0, .26, .5, "#27303f"),
               (OVAL, .08, .36, .84, .5, "#7c3b3b"), (OVAL, .32, .84, .36, .16, "#c99a78")),
    "house": (9, 8, (RECT, 0, 0, 1, 1, "#9a8f86"), *((RECT, .2 * x + .08, .25 * z + .1, .09,
              .13, "#59626c") for x in range(5) for z in range(4))),
}  # fmt: skip


def class_names() -> list[str]:
    """Names as in Stanford Cars, "Make Model Body Year", in the order of the labels."""
    return [f"{m.make} {m.name} {m.body} {d.year}" for m, d in CLASSES]


def fit(shape: Any, left: float, bottom: float, wide: float, high: float) -> np.ndarray:
    return np.asarray(shape) * [wide, high] + [left, bottom]


class Car:
    """A car on a canvas; `view`: yaw, height of the eye, pixels per metre, where it stands."""

    def __init__(self, image: Image.Image, model: Model, design: Design, view: Any) -> None:
        self.pen, self.model, self.design, self.view = ImageDraw.Draw(image), model, design, view
        self.low, rim = (0.17, 0.41) if model.body in ("SUV", "Pickup") else (0.13, 0.325)
        (cowl, front, rear, deck), hood, trunk = model.glass, model.hood, model.trunk
        roof = (trunk,) * 3 if model.body == "Convertible" else (0.97, 1, 0.955)
        x = (0.01, 0, 0.012, 0.06, cowl, front, (front + rear) / 2, rear, deck, 0.985, 1, 0.99)
        z = (self.low, 0.36, 0.5, hood - 0.06, hood, *roof, trunk, trunk - 0.03, 0.48, self.low)
        self.outline = PchipInterpolator(np.arange(12), np.stack([x, z], 1))
        self.rim = (rim / model.length, rim / model.height)

    def project(self, x: Any, across: Any, z: Any, inset: float = 0) -> np.ndarray:
        """Pixels (right, down, away); `across` in half widths, `inset` in metres."""
        yaw, tall, focal, centre, ground = self.view
        bulge = np.interp(z, [0.1, 0.3, 0.5, 0.62, 0.68, 1], [0.92, 0.97, 1, 0.98, 0.92, 0.72])
        y = across * bulge * (1 - 0.07 * abs(2 * x - 1) ** 3) * 0.8 * self.model.height**0.2 + inset
        x = x + 0.045 * (y / 0.9) ** 4 * np.sign(0.5 - x) * abs(2 * x - 1) ** 8  # round corners
        x, z = (x - 0.5) * self.model.length, z * self.model.height
        sin, cos = np.sin(np.radians(yaw)), np.cos(np.radians(yaw))
        near = focal * 9 / (9 + x * sin + y * cos)  # perspective of an eye nine metres away
        right, down = centre + (x * cos - y * sin) * near, ground - tall * focal + (tall - z) * near
        return np.stack([right, down, (x * sin + y * cos) * focal], -1)

    def paint(self, pixels: np.ndarray, fill: Any) -> None:
        self.pen.polygon(pixels[:, :2].ravel().tolist(), tuple(np.asarray(fill, int).tolist()))

    def side(self, shape: Any, fill: Any, inset: float = 0) -> None:
        """Paints (x, z) on the near side, or `inset` metres behind it."""
        x, z = np.asarray(shape, float).T
        self.paint(self.project(x, -1, z, inset), fill)

    def face(self, shape: Any, place: tuple[float, ...], fill: Any) -> None:
        """Paints (up, outwards) on what is seen of front, top and rear; `place` as in `fit`."""
        along, across = fit(np.append(RECT, shape, 0), *place).T
        x, z = self.outline(along).T
        pixels = self.project(x, across * 0.97, z)
        (a, b, _), (c, d, _) = pixels[2] - pixels[0], pixels[3] - pixels[1]
        if (a * d - b * c) * place[2] * place[3] > 0 and (place[0] > 3 or self.view[0] > 0):
            self.paint(pixels[4:], fill)

    def draw_body(self, paint: Any) -> None:
        """Shadow; a mesh of facets lit by the sun and mirroring the sky; glass."""
        corners = np.array([[0.04, 0.04, 0.96, 0.96], [-0.75, 0.9, 0.9, -0.75], [0, 0, 0, 0]])
        self.paint(self.project(*corners), 1.6 * BLACK)
        x, top = self.outline(np.linspace(0, 11, 80)).T[..., None]
        level = [*np.linspace(self.low, 0.48, 6), 0.52, 0.57, 0.62, 0.65, 0.68, 0.8, 0.9, 0.95, 1]
        z = np.minimum([*level, 9, 9, 9, 9, 9, 9], top)
        across = np.array([*-np.ones(len(level)), -0.95, -0.8, 0, 0.8, 0.95, 1])
        edge = 0.07 * (1 - abs(2 * x - 1) ** 9) * (1 - np.clip((top - z) / 0.06, 0, 1)) ** 2
        mesh = self.project(x + 0 * z, across * (1 - edge), z)
        facets = np.stack([mesh[:-1, :-1], mesh[1:, :-1], mesh[1:, 1:], mesh[:-1, 1:]], 2)
        facets = facets.reshape(-1, 4, 3)
        normal = np.cross(facets[:, 2] - facets[:, 0], facets[:, 3] - facets[:, 1])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        sun = 0.36 + 0.65 * np.clip((normal * [-0.35, -0.79, -0.5]).sum(1), 0, 1)
        mirrored = 2 * normal[:, 1] * normal[:, 2]  # how steeply the reflected line of sight climbs
        sky = np.interp(mirrored, [-1, -0.25, 0, 0.08, 0.4, 1], [30, 50, 70, 235, 190, 150])
        colours = np.clip(np.outer(sun, paint) + 0.22 * sky[:, None], 0, 235).astype(int).tolist()
        pixels = facets[..., :2].reshape(-1, 8).tolist()
        for i in np.argsort(-facets[..., 2].mean(1)):
            if normal[i, 2] < 0:
                self.pen.polygon(pixels[i], tuple(colours[i]))
        (cowl, front, rear, deck), low = self.model.glass, self.model.hood + 0.035
        if self.model.body == "Convertible":
            self.face(RECT, (4.6, -0.85, 3, 1.7), BLACK)
            for inset in (0.7, 0.12):  # far and near
                self.side(fit(OVAL, rear - 0.02, 0.6, 0.05, 0.26), (92, 58, 40), inset + 0.4)
                self.side(fit(SLANT, cowl, low, front - cowl, 1 - low), paint, 2 * inset)
            return
        for step in np.arange(8) / 10:
            for start in (4.12 + step, 7.78 - step):
                self.face(RECT, (start, -0.86, 0.11, 1.72), SHINE + (DARK - SHINE) * step / 0.7)
        x = np.linspace(cowl + 0.04, min(deck - 0.035, 0.93), 25)
        high = np.interp(x, *self.outline(np.linspace(0, 11, 80)).T) - 0.055
        top, bottom = (np.stack([x, z], 1)[high > low + 0.02] for z in (high, 0 * x + low))
        edge = [0, 0.018 if self.design.chrome else 0.01]
        self.side((*bottom - edge, *(top + edge)[::-1]), CHROME if self.design.chrome else BLACK)
        for i in range(len(top) - 1):
            pane = (*bottom[i : i + 2], *top[i : i + 2][::-1])
            self.side(pane, DARK + (SHINE - DARK) * (0.27 + 0.27 * np.sin(i / 2.5)))
        for x in self.model.pillars:
            self.side(fit(RECT, x - 0.01, low, 0.02, np.interp(x, *top.T) - low), BLACK)

    def draw(self, paint: Any, lit: bool) -> None:
        self.draw_body(paint)
        new, belt, seam = self.design, self.model.hood + 0.02, 0.3 * np.array(paint) + 0.7 * BLACK
        hinge, metal = self.model.glass[0] + 0.05, CHROME if self.design.chrome else seam
        for x in (hinge, *self.model.pillars):
            self.side(fit(RECT, x, self.low, 0.003, belt - self.low), seam)
            self.side(fit(RECT, x - 0.055, belt - 0.07, 0.04 * (x > hinge), 0.022), metal)
        self.side(fit(RECT, 0.28, self.low, 0.44, new.sill), BLACK)
        self.side(fit(OVAL, hinge, belt, 0.036, 0.07), 0.8 * np.array(paint), -0.1)  # mirror
        for bumper in ((0.25, -0.62, 0.45, 1.24), (10.7, -0.9, 0.25, 1.8)):
            self.face(RECT, bumper, BLACK)
        start, high, wide = new.at
        self.face(new.grille, (start - 0.1, -wide / 2 - 0.04, high + 0.2, wide + 0.08), CHROME)
        self.face(new.grille, (start, -wide / 2, high, wide), BLACK)
        for i in (np.arange(new.bars) + 0.75) / (new.bars + 0.5):
            bar = (0.1, i - 0.03, 0.8, 0.06) if new.up else (i, 0.1, 0.08, 0.8)
            self.face(fit(RECT, *bar), (start, -wide / 2, high, wide), CHROME)
        for plate in ((0.62, -0.2, 0.3, 0.4), (9.95, -0.2, 0.3, 0.4)):
            self.face(RECT, plate, (220, 220, 214))
        white, red = ((255, 255, 235), (255, 50, 40)) if lit else ((214, 221, 228), (150, 14, 20))
        for end, high in ((1, 0.85 * new.tall), (-1, 0.85 * new.tall)):
            self.face(new.lamp, (2, 0.5 * end, high + 0.1, 0.47 * end), BLACK)
            self.face(new.lamp, (2.05, 0.53 * end, high, 0.42 * end), white)
            self.face(RECT, (9.1, new.tail * end, 0.9 * high, (0.98 - new.tail) * end), red)
        for x in (0.19, 0.805):
            hub = (x, self.rim[1], *self.rim)
            for size, inset, fill in TYRE:
                floor = [0, self.low * (size > 1)]
                self.side(np.maximum(fit(size * DISC, *hub), floor), fill, inset)
            for angle in np.arange(new.spokes) * 2 * np.pi / new.spokes + 0.3:
                turn = angle + new.spoke * np.array([-1.4, -0.7, 0.7, 1.4])
                spoke = np.array([np.cos(turn), np.sin(turn)]) * [0, 0.66, 0.66, 0]
                self.side(fit(spoke.T, *hub), CHROME)


def draw_prop(image: Image.Image, name: str, metre: float, left: float, ground: float) -> None:
    wide, high, *shapes = PROPS[name]
    for shape, *place, colour in shapes:
        pixels = fit(fit(shape, *place), left, ground, wide * metre, -high * metre)
        ImageDraw.Draw(image).polygon(pixels.ravel().tolist(), colour)


def backdrop(rng: Any, size: tuple[int, int], view: np.ndarray, clutter: int) -> Image.Image:
    """Sky and ground, and things that stand behind the car."""
    horizon = int(view[4] - view[1] * view[2])
    sky, haze, ground = rng.choice(SCENES) * rng.uniform(0.85, 1, (3, 1))
    rows = *np.linspace(sky, haze, horizon), *np.tile(ground, (size[1] - horizon, 1))
    grain = rng.normal(0, 5, (size[1], size[0], 1)) * (np.arange(size[1]) > horizon)[:, None, None]
    image = Image.fromarray((np.array(rows)[:, None] + grain).clip(0, 255).astype(np.uint8))
    for near in np.sort(rng.uniform(0.3, 0.7, clutter)):  # far ones first
        name, metre = str(rng.choice([*PROPS, "car"])), view[2] * near
        place = metre, rng.uniform(-0.1, 1) * size[0], horizon + view[1] * metre
        if name == "car":
            model, design = CLASSES[rng.integers(len(CLASSES))]
            Car(image, model, design, (20, view[1], *place)).draw(PAINTS["grey"], lit=False)
        else:
            draw_prop(image, name, *place)
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))


def photograph(index: int, root: Path, seed: int, size: tuple[int, int]) -> dict[str, Any]:
    """Saves photo `index` (halves take turns); the truth about it: causes, class and box."""
    number, test = divmod(index, 2)
    block, place = divmod(number, len(CLASSES))  # a block shows every class
    label = int(np.random.default_rng((seed, test, block)).permutation(len(CLASSES))[place])
    rng, (model, design) = np.random.default_rng((seed, test, number, VERSION)), CLASSES[label]
    light = str(rng.choice(list(LIGHTS), p=[0.75, 0.15, 0.1]))
    truth: dict[str, Any] = {
        "id": f"cars_{('train', 'test')[test]}/{number + 1:05d}.jpg", "make": model.make,
        "model": model.name, "body": model.body, "year": design.year, "flip": bool(rng.integers(2)),
        "paint": str(rng.choice(list(PAINTS))), "clutter": int(rng.integers(10)), "light": light,
        "illumination": round(rng.uniform(*LIGHTS[light][:2]), 3), "occlusion": 0.0,
        "yaw": round(rng.choice([-1, 1]) * rng.uniform(8, 52), 1), "class": label + 1,
        "scale": round(rng.uniform(0.8, 1.05), 3), "blur": round(max(0, rng.uniform(-1.5, 1.8)), 2),
    }  # fmt: skip
    spot = rng.uniform([1.2, 0.46, 0.77], [2, 0.54, 0.84]) * [1, *size]  # eye, middle, ground
    view = np.insert(spot, [0, 1], [truth["yaw"], truth["scale"] * size[0] / 5.8])
    empty = backdrop(rng, size, view, truth["clutter"]).resize((2 * size[0], 2 * size[1]))
    car = Car(image := empty.copy(), model, design, view * [1, 1, 2, 2, 2])  # twice: smooth edges
    car.draw(PAINTS[truth["paint"]], light != "day")
    box = ImageChops.difference(empty, clear := image.copy()).getbbox() or (0, 0, 1, 1)
    for name in rng.choice(list(PROPS)[1:6], rng.choice(3, p=[0.65, 0.25, 0.1])):
        near = 2 * view[2] * rng.uniform(1.2, 1.5)
        draw_prop(image, name, near, rng.uniform(box[0], box[2]), 2 * view[4] + 0.3 * near)
    covered = ImageChops.difference(clear, image).crop(box)
    truth["occlusion"] = round(float(np.asarray(covered).any(-1).mean()), 4)
    image = image.reduce(2).filter(ImageFilter.GaussianBlur(truth["blur"]))
    share, gain = np.asarray(image, np.float32) / 255, truth["illumination"]
    photo = 255 * share * (gain + (1 - gain) * share**16) * LIGHTS[light][2]  # lamps stay bright
    photo = (photo + rng.normal(0, 2.5, (*size[::-1], 1))).clip(0, 255).astype(np.uint8)
    x1, y1, x2, y2 = box[0] // 2, box[1] // 2, (box[2] + 1) // 2, (box[3] + 1) // 2
    if truth["flip"]:
        photo, x1, x2 = photo[:, ::-1], size[0] - x2, size[0] - x1
    Image.fromarray(photo).save(root / truth["id"], quality=90)
    return truth | dict(zip(BOX, (x1 + 1, y1 + 1, x2, y2), strict=True))  # from 1


def render(root: Path, *, images: int = 2000, seed: int = 0, size: tuple[int, int] = (320, 200),
           workers: int | None = None) -> Path:  # fmt: skip
    """Draws `images` photos, half of them for testing, in the layout of Stanford Cars with
    causes.csv beside it; nothing where they are complete. DataError: too few, or other files."""
    order = {"images": images, "seed": seed, "size": list(size), "version": VERSION}
    if images < (least := 2 * len(CLASSES)):
        raise DataError(f"images={images} is too few for each class: type images={least} or more")
    root = Path(root).expanduser().resolve()
    draft, mark = root.with_name(f".{root.name}.unfinished"), root / "rendered.json"
    with FileLock(root.with_name(f".{root.name}.lock")):
        if mark.is_file() and json.loads(mark.read_text()) == order:
            return root
        if any(root.glob("*")):
            raise DataError(f"{root} holds other files than {order}: delete it or name another")
        shutil.rmtree(draft, ignore_errors=True)  # of a drawing that was killed
        for folder in ("cars_train", "cars_test", "devkit"):
            (draft / folder).mkdir(parents=True)
        with ProcessPoolExecutor(workers) as pool:
            rows = pool.map(photograph, range(images), repeat(draft), repeat(seed), repeat(size))
            table = pd.DataFrame(tqdm(rows, "cars", images, delay=2, disable=None)).sort_values(
                "id"
            )
        content = {"cars_meta": {"class_names": np.array([class_names()], object)}}
        for half, name in (("train", "cars_train_annos"), ("test", "cars_test_annos_withlabels")):
            part = table.set_index("id").filter(like=f"cars_{half}/", axis=0)
            part = part.filter([*BOX, "class"]).astype(object).assign(fname=part.index.str[-9:])
            content[name] = {"annotations": part.to_records(index=False)[None]}
        for name, value in content.items():
            savemat(path := draft / f"devkit/{name}.mat", value)  # begins with the time of day
            path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + path.read_bytes()[116:])
        table.drop(columns=[*BOX, "class"]).to_csv(draft / "causes.csv", index=False)
        (draft / mark.name).write_text(json.dumps(order))
        draft.rename(root)  # all or nothing
    return root
