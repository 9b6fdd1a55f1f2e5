"""Cars drawn by the project itself: the same everywhere, complete or absent, with true causes."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import loadmat

from carsclf.data import drawing
from carsclf.data.drawing import BOX, CLASSES, class_names, render
from carsclf.data.stanford_cars import stanford_cars
from carsclf.errors import DataError

IMAGES, SIZE = 2 * len(CLASSES) + 4, (160, 100)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "cars"
    return render(root, images=IMAGES, size=SIZE, workers=2)


def _hashes(root: Path) -> dict[str, str]:
    files = (p for p in root.rglob("*") if p.is_file())
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def _rows(root: Path, name: str) -> pd.DataFrame:
    annotations = loadmat(root / "devkit" / f"{name}.mat", squeeze_me=True)["annotations"]
    return pd.DataFrame({field: annotations[field] for field in annotations.dtype.names})


def test_classes_are_make_model_body_year():
    assert len(set(class_names())) == len(CLASSES) == 24
    assert all(len(name.split()) == 4 and name[-4:].isdigit() for name in class_names())


def test_files_do_not_depend_on_the_number_of_workers(drawn: Path, tmp_path: Path):
    (tmp_path / ".cars.unfinished" / "cars_train").mkdir(parents=True)  # left by a killed drawing
    (tmp_path / ".cars.unfinished" / "cars_train" / "00001.jpg").touch()
    again = render(tmp_path / "cars", images=IMAGES, size=SIZE, workers=1)
    assert _hashes(drawn) == _hashes(again)


def test_another_seed_draws_other_photos(drawn: Path, tmp_path: Path):
    (tmp_path / "cars_train").mkdir()
    drawing.photograph(0, tmp_path, 1, SIZE)
    photo = "cars_train/00001.jpg"
    assert (drawn / photo).read_bytes() != (tmp_path / photo).read_bytes()


def test_layout_is_the_official_one(drawn: Path):
    meta = loadmat(drawn / "devkit" / "cars_meta.mat", squeeze_me=True)
    assert list(meta["class_names"]) == class_names()
    for half in ("train", "test"):
        rows = _rows(drawn, f"cars_{half}_annos" + "_withlabels" * (half == "test"))
        assert list(rows) == [*BOX, "class", "fname"]
        assert len(rows) == IMAGES // 2
        assert all(Image.open(drawn / f"cars_{half}" / f).size == SIZE for f in rows["fname"])
        counts = np.bincount(rows["class"].astype(int), minlength=len(CLASSES) + 1)[1:]
        assert counts.min() >= 1
        assert counts.max() - counts.min() <= 1


def test_reader_of_the_real_set_reads_it(drawn: Path):
    source = stanford_cars(drawn)
    assert source.class_names == class_names()
    names = {s.id: source.class_names[s.target] for s in source.samples}
    causes = pd.read_csv(drawn / "causes.csv").set_index("id")
    labels = causes[["make", "model", "body", "year"]].astype(str).agg(" ".join, axis=1)
    assert labels.to_dict() == names


def test_box_holds_the_car(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    painted: list[np.ndarray] = []
    paint = drawing.Car.paint

    def record(car: drawing.Car, pixels: np.ndarray, fill: object) -> None:
        painted.append(pixels[:, :2] / 2)
        paint(car, pixels, fill)

    for half in ("train", "test"):
        (tmp_path / f"cars_{half}").mkdir()
    monkeypatch.setattr(drawing, "backdrop", lambda r, size, v, c: Image.new("RGB", size))
    monkeypatch.setattr(drawing.Car, "paint", record)
    for index in range(12):
        painted.clear()
        truth = drawing.photograph(index, tmp_path, 0, (320, 200))
        x1, y1, x2, y2 = (truth[side] for side in BOX)
        assert 1 <= x1 < x2 <= 320
        assert 1 <= y1 < y2 <= 200
        car = np.concatenate(painted).clip(0, [320, 200])
        left, right = car[:, 0].min(), car[:, 0].max()
        if truth["flip"]:
            left, right = 320 - right, 320 - left
        assert x1 - 1 <= left + 1  # drawn to whole pixels of the doubled canvas
        assert right - 1 <= x2
        assert y1 - 1 <= car[:, 1].min() + 1
        assert car[:, 1].max() - 1 <= y2


def test_causes_are_recorded_for_every_photo(drawn: Path):
    causes = pd.read_csv(drawn / "causes.csv")
    assert len(causes) == IMAGES
    assert all((drawn / photo).is_file() for photo in causes["id"])
    limits = {"yaw": (-60, 60), "scale": (0.5, 1.2), "clutter": (0, 9)}
    limits |= {"illumination": (0.2, 1.2), "occlusion": (0, 1), "blur": (0, 2)}
    for cause, (low, high) in limits.items():
        assert low <= causes[cause].min() <= causes[cause].max() <= high, cause
        assert len(set(causes[cause])) > 5, cause
    assert set(causes["light"].tolist()) <= {"day", "dusk", "night"}
    assert set(causes["flip"]) == {False, True}
    assert bool(causes.notna().to_numpy().all())


def test_killed_drawing_is_never_taken_for_a_finished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drawing, "ProcessPoolExecutor", killed)
    for _ in range(2):  # the second finds what the first has left
        with pytest.raises(KeyboardInterrupt):
            render(tmp_path / "cars", images=IMAGES, size=SIZE)
        assert not (tmp_path / "cars").exists()


def test_complete_drawing_is_left_alone(drawn: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drawing, "photograph", None)
    assert render(drawn, images=IMAGES, size=SIZE) == drawn


def test_other_files_are_never_overwritten(drawn: Path, tmp_path: Path):
    shutil.copytree(drawn / "devkit", tmp_path / "mine")
    for root in (drawn, tmp_path / "mine"):
        with pytest.raises(DataError, match="name another"):
            render(root, images=IMAGES, size=SIZE, seed=1)


def test_too_few_images_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"images=20 .* type images=48 or more"):
        render(tmp_path / "cars", images=20)
