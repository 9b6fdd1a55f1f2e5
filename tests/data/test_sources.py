"""Sources: the layouts of Stanford Cars, folders, and what is wrong with broken ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from carsclf.data.folder import folder
from carsclf.data.rendered_cars import rendered_cars
from carsclf.data.stanford_cars import stanford_cars
from carsclf.errors import ConfigError, DataError
from tests.conftest import REAL, draw

NAMES = ["Aldora Flux Sedan 2008", "Aldora Flux Sedan 2012"]


BOX = {"bbox_x1": 1, "bbox_y1": 1, "bbox_x2": 40, "bbox_y2": 30}


def write_annotations(
    path: Path,
    files: list[str],
    labels: list[int],
    box: dict[str, int] = BOX,
    **more: list[int],
) -> None:
    columns = box
    key = "relative_im_path" if more else "fname"
    kinds = [(name, "O") for name in (*columns, "class", key, *more)]
    rows = np.zeros(len(files), dtype=kinds)
    for name, value in columns.items():
        rows[name] = value
    rows["class"], rows[key] = labels, files
    for name, values in more.items():
        rows[name] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"annotations": rows, "class_names": np.array(NAMES, dtype=object)})


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Four training and two test photos in the official layout."""
    root = tmp_path / "cars"
    for half, count in (("train", 4), ("test", 2)):
        files = [f"{i:05}.jpg" for i in range(1, count + 1)]
        for i, file in enumerate(files):
            draw(root / f"cars_{half}" / file, i % 2, i)
        annos = f"cars_{half}_annos{'_withlabels' if half == 'test' else ''}.mat"
        write_annotations(root / "devkit" / annos, files, [1 + i % 2 for i in range(count)])
    savemat(root / "devkit/cars_meta.mat", {"class_names": np.array(NAMES, dtype=object)})
    return root


def test_official_layout(official: Path) -> None:
    source = stanford_cars(official)
    assert [s.id for s in source.samples][-2:] == ["cars_test/00001.jpg", "cars_test/00002.jpg"]
    assert [s.target for s in source.samples] == [0, 1, 0, 1, 0, 1]
    assert [s.given for s in source.samples] == ["train"] * 4 + ["test"] * 2
    assert source.samples[0].box == (0, 0, 40, 30)
    assert source.class_names == NAMES


def test_train_half_alone_is_fine(official: Path) -> None:
    shutil.rmtree(official / "cars_test")
    source = stanford_cars(official)
    assert len(source.samples) == 4
    assert "needs 8144 train" in str(source.protocols["official"])


def test_all_in_one_layout(tmp_path: Path) -> None:
    files = ["car_ims/000001.jpg", "car_ims/000002.jpg"]
    for i, file in enumerate(files):
        draw(tmp_path / file, i, i)
    write_annotations(tmp_path / "cars_annos.mat", files, [1, 2], test=[0, 1])
    source = stanford_cars(tmp_path)
    assert [(s.id, s.target, s.given) for s in source.samples] == [
        ("car_ims/000001.jpg", 0, "train"),
        ("car_ims/000002.jpg", 1, "test"),
    ]


def test_absent_photos_are_named_and_counted(official: Path) -> None:
    (official / "cars_train" / "00003.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 6 annotated photos are absent.*cars_train/00003"):
        stanford_cars(official)


@pytest.mark.parametrize("label", [0, 3])
def test_labels_outside_the_names_are_refused(official: Path, label: int) -> None:
    annos = official / "devkit/cars_train_annos.mat"
    write_annotations(annos, ["00001.jpg"], [label])
    with pytest.raises(DataError, match=rf"class {label}, expected 1\.\.2"):
        stanford_cars(official)


def test_broken_mat_and_wrong_folder(official: Path, tmp_path: Path) -> None:
    (official / "devkit/cars_meta.mat").write_bytes(b"not a mat file")
    with pytest.raises(DataError, match=r"cars_meta\.mat is not a readable"):
        stanford_cars(official)
    with pytest.raises(DataError, match="is not Stanford Cars: expected cars_train"):
        stanford_cars(official / "cars_train")
    with pytest.raises(DataError, match="is no folder"):
        stanford_cars(tmp_path / "nowhere")


def test_folder_recognises_classes_and_splits(pictures: Path, tmp_path: Path) -> None:
    plain = folder(pictures)
    assert (len(plain.samples), plain.class_names[0]) == (60, "class 0")
    assert plain.samples[0].id == "class 0/00.png"
    divided = tmp_path / "divided"
    shutil.copytree(pictures, divided / "train")
    shutil.copytree(pictures, divided / "test")
    source = folder(divided)
    assert {s.given for s in source.samples} == {"train", "test"}
    assert source.class_names == plain.class_names
    assert source.protocols["official"] is None
    assert (plain.own_protocol, source.own_protocol) == ("fractions", "official")


def test_folder_mistakes(pictures: Path, tmp_path: Path) -> None:
    (pictures / "empty").mkdir()
    with pytest.raises(DataError, match=r"1 class folders .* hold no pictures: empty"):
        folder(pictures)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no pictures below"):
        folder(tmp_path / "nothing")


def test_select_classes_and_minimum(pictures: Path) -> None:
    source = folder(pictures)
    assert source.select(["class 2"]).samples[0].target == 0
    turned = source.select(["class 2", "class 0"])  # in the order asked for
    assert turned.class_names == ["class 2", "class 0"]
    assert all(turned.class_names[s.target] == s.path.parent.name for s in turned.samples)
    with pytest.raises(ConfigError, match="did you mean 'class 2'"):
        source.select(["klass 2"])
    with pytest.raises(ConfigError, match="names class 0 more than once"):
        source.select(["class 0", "class 1", "class 0"])
    with pytest.raises(ConfigError, match="leaves no class: the largest has 20"):
        source.select(None, 21)


def test_rendered_cars_go_through_the_same_reader(tmp_path: Path) -> None:
    source = rendered_cars(tmp_path / "drawn", images=60, seed=0)
    assert len(source.samples) == 60
    assert source.protocols["official"] is None
    assert {s.given for s in source.samples} == {"train", "test"}


@pytest.mark.real_data
def test_real_stanford_cars() -> None:
    source = stanford_cars(REAL / "stanford_cars")
    assert (len(source.samples), len(source.class_names)) == (6598, 196)
    assert source.class_names[0] == "AM General Hummer SUV 2000"
    assert all(s.box and s.box[0] == 0 for s in source.samples)
