"""Which styles a folder holds, which photo is shown in which, and where that is written."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carsclf.data.samples import Sample
from carsclf.errors import DataError
from carsclf.styles.drawing import STYLES, draw_styles
from carsclf.styles.pictures import class_folder, fitted, plan, read_styles
from tests.conftest import draw


def paint(path: Path, size: tuple[int, int] = (80, 70)) -> None:
    draw(path, 1, 0, size)


def samples_of(count: int) -> list[Sample]:
    return [Sample(f"x/{i}.jpg", Path(f"/{i}"), i % 2) for i in range(count)]


def test_a_folder_or_a_picture_is_a_style(tmp_path: Path) -> None:
    for name in ("cubism/a.png", "cubism/deep/b.png", "Größe 1.png", ".hidden/c.png"):
        paint(tmp_path / name)
    paint(tmp_path / "wide.png", (1000, 500))
    (tmp_path / "notes.txt").write_text("no picture")
    styles = read_styles(str(tmp_path))
    assert {name: len(found) for name, found in styles.items()} == {
        "Größe 1": 1,
        "cubism": 2,
        "wide": 1,
    }
    assert styles["wide"][0].shape == (3, 256, 512)
    assert styles["cubism"][0].shape == (3, 70, 80)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "styles=.* holds no pictures: expected a folder with a picture or"),
        (["a.txt"], r"styles=.* holds no pictures; left out: 1 not pictures \(a.txt\)"),
        (["a/broken.jpg"], "broken.jpg cannot be read as a picture .*: replace or remove it"),
        (["a/small.png"], r"small.png has \(30, 40\) pixels: expected at least 64 on each side"),
    ],
)
def test_folders_that_hold_no_styles(files: list[str], said: str, tmp_path: Path) -> None:
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.stem == "small":
            draw(path, 0, 0)
        else:
            path.write_text("text")
    with pytest.raises(DataError, match=said) as refusal:
        read_styles(str(tmp_path))
    assert "\n" not in str(refusal.value)


def test_no_folder_of_styles_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="^styles=.*gone is no folder"):
        read_styles(str(tmp_path / "gone"))


def test_a_photo_comes_in_every_style_once_before_one_comes_twice() -> None:
    styles = {"a": [0, 1, 2], "b c": [0], "d": [0, 1]}
    planned = plan(samples_of(60), ["one", "two"], styles, per_image=4, seed=0)
    assert len({one.name for one in planned}) == len(planned) == 240
    for i in range(60):
        own = planned[4 * i : 4 * i + 4]
        assert {one.style for one in own[:3]} == set(styles)
        assert own[3].style == own[0].style
        assert own[3].number == (own[0].number + 1) % len(styles[own[0].style])
        assert all(one.name.startswith(["one/", "two/"][i % 2]) for one in own)
    first = [one.style for one in planned[::4]]
    assert all(10 <= first.count(style) <= 30 for style in styles)  # 20 expected


def test_what_is_drawn_for_a_photo_depends_on_it_and_the_seed_alone() -> None:
    styles = {name: [0] for name in "abcdef"}

    def of(samples: list[Sample], seed: int = 0) -> dict[str, str]:
        planned = plan(samples, ["one", "two"], styles, per_image=1, seed=seed)
        return {one.sample.id: one.style for one in planned}

    samples = samples_of(40)
    assert of(samples[::-1][:20]).items() <= of(samples).items()
    assert of(samples) != of(samples, seed=1)
    assert len(plan([*samples, *samples], ["one", "two"], styles, per_image=1, seed=0)) == 40


@pytest.mark.parametrize(
    "name", ["Audi A4", "Ram C/V Van 2012", "größe", "v1.0", "a\\b", "-x", "…"]
)
def test_class_names_that_folders_can_have(name: str) -> None:
    assert class_folder(name) == name


@pytest.mark.parametrize(
    "name", ["..", ".", "a/../b", "/etc", "a//b", "a/", "", "../up", ".hidden", "a\0", "x" * 256]
)
def test_class_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(DataError, match="cannot be the name of a folder") as refusal:
        plan([Sample("x", Path("/x"), 0)], [name], {"a": [0]}, per_image=1, seed=0)
    assert "\n" not in str(refusal.value)


def test_photos_are_made_smaller_and_never_larger(tmp_path: Path) -> None:
    for name, size in (("large", (400, 100)), ("tall", (3, 300)), ("small", (40, 30))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")

    def shape(name: str) -> tuple[int, ...]:
        sample = Sample(name, tmp_path / f"{name}.png", 0)
        return tuple(fitted(sample, 160, crop="none", margin=0.0).shape)

    assert [shape(n) for n in ("large", "tall", "small")] == [
        (3, 40, 160),
        (3, 160, 2),
        (3, 30, 40),
    ]


@pytest.mark.slow
def test_the_project_draws_the_same_styles_again(tmp_path: Path) -> None:
    first, again = draw_styles(tmp_path / "a"), draw_styles(tmp_path / "b")
    files = sorted(path.relative_to(first) for path in first.glob("*/*.png"))
    assert len(files) == 4 * len(STYLES) == 24
    for file in files:
        assert (first / file).read_bytes() == (again / file).read_bytes()
    lines = np.asarray(Image.open(first / "etching" / "0.png")).astype(int)
    assert np.ptp(lines, axis=2).max() == 0  # grey
    time = (first / "cubism" / "0.png").stat().st_mtime_ns
    draw_styles(first)
    assert (first / "cubism" / "0.png").stat().st_mtime_ns == time
