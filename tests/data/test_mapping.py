"""Classes renamed, merged and told as wholes: for every source, and refused where it is unclear."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig
from scipy.io import savemat

from carsclf.data.build import make_data
from carsclf.data.mapping import ClassMapping, mapping_of, read_mapping
from carsclf.data.samples import Sample, Source
from carsclf.errors import ConfigError
from tests.conftest import draw
from tests.data.test_sources import write_annotations

Make = Callable[..., DictConfig]
SAME = {
    "map.yaml": "rename:\n  911: 1.10\n  b, old: b\n  b: b\nreport:\n  b: whole\n  c: whole\n",
    "map.csv": 'old,new,report\n911,1.10,\n"b, old",b,whole\nb,b,\nc,,whole\n',
}


def source(*names: str) -> Source:
    samples = [Sample(f"{name}.png", Path(name), i) for i, name in enumerate(names)]
    return Source("listed", Path("x"), list(names), samples)


def labels(found: Source) -> dict[str, str]:
    return {sample.id: found.class_names[sample.target] for sample in found.samples}


@pytest.mark.parametrize("name", SAME)
def test_both_kinds_of_file_say_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(SAME[name])
    assert read_mapping(path) == {
        "rename": {"911": "1.10", "b, old": "b", "b": "b"},
        "report": {"b": "whole", "c": "whole"},
    }


def test_a_class_keeps_its_place_and_a_merged_one_the_first() -> None:
    mapping = ClassMapping({"d": "both", "b": "both", "a": "A"})
    found = mapping.applied(source("a", "b", "c", "d"))
    assert found.class_names == ["A", "both", "c"]
    assert labels(found) == {"a.png": "A", "b.png": "both", "c.png": "c", "d.png": "both"}
    assert labels(mapping.applied(found)) == labels(found)  # twice is as once


@pytest.mark.parametrize(
    ("rename", "report", "said"),
    [
        ({"Audi A3": "A4"}, {}, "names Audi A3, which the photos do not have: did you mean 'Audi'"),
        ({"b": "Audi"}, {}, "add the line Audi: Audi, else"),
        ({"b": "Audi", "Audi": "Audi", "c": "Audi"}, {}, "makes one class of all, Audi"),
        ({}, {"x": "whole"}, "report names x"),
        ({}, {"b": "Audi"}, "report makes Audi of b, and the photos have a class Audi"),
        ({}, {"Audi": "w", "b": "w", "c": "w"}, "report makes one class of all"),
        ({"b": "B"}, {"b": "w"}, "report names b"),  # parts have their new names
    ],
)
def test_what_does_not_fit_the_photos(
    rename: dict[str, str], report: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        ClassMapping(rename, report).applied(source("Audi", "b", "c"))


def test_a_line_for_an_earlier_head_needs_the_new_name_among_the_photos() -> None:
    found = ClassMapping({"as it was": "b"}).applied(source("a", "b"))
    assert found.class_names == ["a", "b"]


def test_it_says_what_it_did() -> None:
    mapping = ClassMapping({"a": "ab", "b": "ab", "gone": "c"}, {"c": "w", "d": "w"})
    assert mapping.told(["a", "b", "c", "d"]) == (
        "mapping: 2 renamed (a, b), 1 merged (ab), 2 told as parts (c, d), 1 not among the photos "
        "(gone)"
    )


BAD = {
    "rename: {a: b, b: c}": "from a to b and on to c: each line counts once",
    "rename: {a: b, b: a}": "from a to b and back in a cycle",
    "report: {a: b, b: c}": "report leads from a to b",
    "rename: {a: b}\nreports: {a: b}": "no section 'reports'",
    "a: b": "no section 'a'",
    "rename: {a: b, a: c}": "rename: a stands there twice",
    "rename: {a: b}\nrename: {c: d}": "the section rename stands there twice",
    "rename: {a: [b, c]}": "a needs one name",
    "rename: [a, b]": "no list of lines",
    "rename: {a: ''}": "a has no name",
    "rename: {}": "names no class",
    "- a": "expected rename",
    "": "expected rename",
    "rename: {a: b": "cannot be read",
}
BAD_TABLES = {
    "a,b\n1,2\n": "expected the columns old, new, report",
    "old\na\n": "expected the columns",
    "old,new\na,b\na,c\n": "a becomes b and c: once",
    "old,new,report\nb,,w\nc,b,v\n": "b becomes w and v",
    "old,new\na, b, c\n": "line 2 has more cells than there are columns",
}


@pytest.mark.parametrize("text", [*BAD, *BAD_TABLES])
def test_files_without_one_reading(text: str, tmp_path: Path) -> None:
    path = tmp_path / ("map.yaml" if text in BAD else "map.csv")
    path.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_mapping(path)
    assert (BAD | BAD_TABLES)[text] in str(refusal.value)
    assert str(refusal.value).startswith("data.mapping=")
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gone.yaml cannot be read: No such file"):
        read_mapping(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="no section"):
        mapping_of({"names": {}})


def in_folders(root: Path) -> list[str]:
    for target, name in enumerate(("a", "b", "c")):
        for seed in range(7):
            draw(root / name / f"{seed}.png", target, seed)
    return ["data=folder", f"data.root={root}"]


def in_a_table(root: Path) -> list[str]:
    in_folders(root)
    rows = [f"{name}/{seed}.png,{name}" for name in "abc" for seed in range(7)]
    (root / "labels.csv").write_text("\n".join(["path,class", *rows]))
    return ["data=table", f"data.root={root}", "data.table=labels.csv"]


def as_stanford_cars(root: Path) -> list[str]:
    files = [f"{i:05}.jpg" for i in range(21)]
    for i, file in enumerate(files):
        draw(root / "cars_train" / file, i % 3, i)
    annotations = root / "devkit" / "cars_train_annos.mat"
    write_annotations(annotations, files, [1 + i % 3 for i in range(21)])
    names = np.array(["a", "b", "c"], dtype=object)
    savemat(root / "devkit/cars_meta.mat", {"class_names": names})
    return ["data=stanford_cars", f"data.root={root}", "data.protocol=fractions"]


@pytest.mark.parametrize("made", [in_folders, in_a_table, as_stanford_cars])
def test_every_source_is_mapped_before_it_is_split(
    made: Callable[[Path], list[str]], config_of: Make, tiny: list[str], tmp_path: Path
) -> None:
    own = made(tmp_path / "photos")
    path = tmp_path / "map.yaml"
    path.write_text("rename: {a: old ones, b: old ones}\n")
    given = [*tiny, *own, f"data.mapping={path}", "data.batch_size=4"]
    config = config_of(*given)
    path.unlink()  # the run knows what it said
    data, _ = make_data(config)
    assert data.class_names == ["old ones", "c"]
    # a fifth of 14, rounded down, is 2; of 7 and 7 it would be 1 and 1, as of the 7 of c
    assert Counter(s.target for s in data.splits["val"]) == {0: 2, 1: 1}
    assert {len(part) for part in data.splits.values()} == {18, 3}


def test_it_goes_before_classes_and_cutoff(
    config_of: Make, tiny: list[str], tmp_path: Path
) -> None:
    own = in_folders(tmp_path / "photos")
    path = tmp_path / "map.csv"
    path.write_text("old,new\na,ab\nb,ab\n")
    given = [*tiny, *own, f"data.mapping={path}", "data.batch_size=4"]
    data, _ = make_data(config_of(*given, "data.classes=[c,ab]"))
    assert data.class_names == ["c", "ab"]
    data, _ = make_data(config_of(*given[:-1], "data.batch_size=4", "data.min_images_per_class=7"))
    assert data.below == {}
    with pytest.raises(ConfigError, match="names 'a', which"):
        make_data(config_of(*given, "data.classes=[a,c]"))
