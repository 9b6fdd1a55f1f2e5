"""`predict.py filter=...`: from a table to a list to decide on, and back through decide.py."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from carsclf.errors import DataError
from carsclf.inference.library import count_library, count_synthetic
from tests.conftest import draw
from tests.inference.plain import make_model

Command = Callable[..., int]


@pytest.fixture
def said(tmp_path: Path) -> pd.DataFrame:
    """said.parquet: three pictures, one of them gone since, and one that could not be read."""
    for i in range(2):
        draw(tmp_path / f"new/{i}.png", i, 0)
    table = pd.DataFrame(
        {
            "path": [str(tmp_path / f"new/{i}.png") for i in range(4)],
            "error": [None, None, None, "cannot be read"],
            "predicted": ["sea", "forest", "sea", None],
            "probability": [0.9, 0.4, 0.2, None],
            "predicted_2": ["forest", "sea", "forest", None],
            "probability_2": [0.1, 0.3, 0.1, None],
            "embedding": [[1.0], [2.0], [3.0], None],
        }
    )
    table.to_parquet(tmp_path / "said.parquet", row_group_size=2)
    return table


def test_a_list_to_decide_on(command: Command, said, tmp_path: Path, capfd) -> None:
    make_model(tmp_path / "run")
    chosen = ["run=run", "filter=lowest", "limits.lowest=1", "table=said.parquet"]
    assert command("predict.py", *chosen) == 0
    out = capfd.readouterr().out
    assert "lowest: 3 of 3 pictures in" in out
    assert "the first 2: " in out  # the third is gone
    assert (tmp_path / "said_lowest.png").is_file()
    kept = pd.read_csv("said_lowest.csv")
    assert kept["path"].tolist() == [said["path"][i] for i in (2, 1, 0)]
    assert list(kept)[-4:] == ["decision", "who", "when", "why"]
    assert pd.isna(kept["decision"].to_numpy()).all()
    (tmp_path / "library/forest").mkdir(parents=True)
    kept.astype({"decision": object}).assign(decision=["skip", "forest", ""]).to_csv(
        "said_lowest.csv", index=False
    )
    assert command("decide.py", "decisions=said_lowest.csv", "photos=new", "library=library") == 0
    assert (tmp_path / "library/forest/1.png").is_file()
    assert (tmp_path / "new/0.png").is_file()
    assert command("predict.py", *chosen) == 0  # once more: what was decided is not lost
    assert "said_lowest.csv holds decisions, and is kept as" in capfd.readouterr().out
    assert pd.read_csv("said_lowest-1.csv")["decision"].tolist()[:2] == ["skip", "forest"]
    assert pd.isna(pd.read_csv("said_lowest.csv")["decision"].to_numpy()).all()


MISTAKES = {
    "no openness": (["filter=unknown"], "filter=unknown needs the column openness"),
    "no distance": (["filter=look_alikes"], "needs the column distance"),
    "no library": (["filter=few"], "how many photos each class has"),
    "library": (["filter=few", "library=gone.csv"], "library=gone.csv cannot be read"),
    "columns": (["filter=few", "library=bad.csv"], "expected a row per class"),
    "counts": (["filter=few", "library=words.csv"], "expected a row per class"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, command: Command, said, tmp_path: Path, capfd) -> None:
    make_model(tmp_path / "run")
    (tmp_path / "bad.csv").write_text("class,photos\nsea,1\n")
    (tmp_path / "words.csv").write_text("class,photos,synthetic\nsea,many,0\n")
    arguments, expected = MISTAKES[mistake]
    assert command("predict.py", "run=run", "table=said.parquet", *arguments) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert expected in line
    assert not list(tmp_path.glob("said_*"))


def test_the_library_is_counted_in_the_runs_data(
    command: Command, said, tiny: list[str], pictures: Path, tmp_path: Path, capfd
) -> None:
    for i in range(5):
        (pictures / f"class 2/{i:02}.png").unlink()
    assert command("train.py", *tiny, "name=one", "data.test_fraction=0.2") == 0
    said.assign(predicted=["class 1", "class 2", "class 0", None]).to_parquet("said.parquet")
    arguments = ["run=runs/train/one", "table=said.parquet", "filter=few", "limits.few=20"]
    assert command("predict.py", *arguments) == 0
    library = pd.read_csv("runs/train/one/library.csv")
    assert library.to_dict("list") == {
        "class": ["class 0", "class 1", "class 2"],
        "photos": [20, 20, 15],
        "synthetic": [0, 0, 0],
    }
    assert pd.read_csv("said_few.csv")["photos"].tolist() == [15]
    library.assign(synthetic=[0, 60, 0]).to_csv("runs/train/one/library.csv")  # as one corrects it
    assert command("predict.py", *arguments[:2], "filter=synthetic") == 0
    assert pd.read_csv("said_synthetic.csv")["synthetic_share"].tolist() == [0.75]


def test_parts_and_made_pictures_count_for_what_the_model_tells(
    command: Command, tiny: list[str], tmp_path: Path
) -> None:
    """Class 1, renamed, and class 2 are told as one: 40 photos, and 3 made ones of the old name."""
    (tmp_path / "mapping.yaml").write_text(
        "rename: {class 1: small}\nreport: {small: vehicle, class 2: vehicle}\n"
    )
    for i in range(3):
        draw(tmp_path / f"made/class 1/{i}.png", 1, i)
    record = {"kind": "wgan", "classes": ["class 1"], "photos": None}
    (tmp_path / "made/synthetic.json").write_text(json.dumps(record))
    own = ["name=one", "data.test_fraction=0.2", "data.mapping=mapping.yaml"]
    assert command("train.py", *tiny, *own) == 0
    config = tmp_path / "runs/train/one/config.yaml"
    text = config.read_text()
    assert "extra: []" in text
    config.write_text(text.replace("extra: []", f"extra: [{tmp_path / 'made'}]"))
    counted = count_library(tmp_path / "runs/train/one", None)
    assert counted.to_dict("list") == {
        "class": ["class 0", "vehicle"],
        "photos": [20, 40],
        "synthetic": [0, 3],
    }


def test_made_pictures_are_counted_where_they_lie(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / f"made/class 1/{i}.png", 1, i)
    record = tmp_path / "made/synthetic.json"
    record.write_text(json.dumps({"kind": "wgan", "classes": ["class 1", "class 0"]}))
    assert count_synthetic(tmp_path / "made") == {"class 1": 3}
    record.write_text("[]")
    with pytest.raises(DataError, match="which the run's data.extra names, cannot be read"):
        count_synthetic(tmp_path / "made")
