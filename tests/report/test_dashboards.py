"""A report in W&B: the offline run is read back, and the W&B report by its own library."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wandb
import yaml
from PIL import Image

from tests.offline_wandb import logged, records
from tests.report.folders import add_predictions, make_photos, make_run, make_study

Command = Callable[..., int]


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Two runs with 40 photos, of which one is missing, and a study logged to W&B."""
    make_photos(tmp_path / "photos", 40)
    (tmp_path / "photos/cars/00001.jpg").unlink()
    for number, mode in enumerate(("finetune", "freeze")):
        run = make_run(tmp_path / mode, mode, sizes={"train": 160, "val": 40})
        hits = np.random.default_rng(number).random(40) < 0.7
        hits[1] = False
        add_predictions(run, hits, photos=tmp_path / "photos", seed=number)
    study = make_study(tmp_path / "study", trials=12)
    config = yaml.safe_load((study / "config.yaml").read_text())
    config["logger"] = {"_target_": "pytorch_lightning.loggers.WandbLogger"}
    (study / "config.yaml").write_text(yaml.safe_dump(config))
    return ["runs=[finetune,freeze]", "studies=[study]", "upload=true", "entity=team"]


@pytest.fixture
def uploaded(command: Command, folders: list[str], tmp_path: Path) -> Path:
    """The folder of the offline run that `report.py upload=true` left."""
    pytest.importorskip("wandb_workspaces")
    assert command("report.py", *folders) == 0
    wandb.teardown()  # its service writes the last records when it ends
    (file,) = (tmp_path / "runs/report/wandb").glob("offline-run-*/*.wandb")
    return file.parent


def told(value: Any) -> Any:
    """A specification without what is None or empty, and a default that reading adds."""
    if isinstance(value, dict):
        kept = {k: told(v) for k, v in value.items() if k != "columnVisible"}
        return {k: v for k, v in kept.items() if v not in (None, [], {})}
    return [told(v) for v in value] if isinstance(value, list) else value


def laid_down(folder: Path) -> set[str]:
    """What should have been logged, by the files beside the page."""
    tables = {f"{p.stem}_table" for p in (folder / "tables").glob("*.csv")}
    return tables | {f"{p.stem}_figure" for p in (folder / "figures").glob("*.svg")} | {"gallery"}


def test_the_offline_run_holds_tables_figures_and_gallery(uploaded: Path, tmp_path: Path) -> None:
    (file,) = uploaded.glob("*.wandb")
    found = records(file)
    (run,) = [r.run for r in found if r.HasField("run")]
    assert (run.project, run.entity, run.job_type) == ("carsclf", "team", "report")
    names = {key.split("/")[1] for key in logged(found) if "/" in key}
    assert names == laid_down(tmp_path / "runs/report")
    table = next(uploaded.rglob("media/table/models/accuracy_table*.json"))
    kept = pd.read_csv(tmp_path / "runs/report/tables/accuracy.csv")
    content = json.loads(table.read_text())
    assert content["columns"] == list(kept)
    assert [row[0] for row in content["data"]] == kept.iloc[:, 0].tolist()


def test_the_gallery_shows_photos_and_leaves_out_the_missing(uploaded: Path) -> None:
    (table,) = uploaded.rglob("media/table/errors/gallery*.json")
    content = json.loads(table.read_text())
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    photos = {row["id"]: row["photo"] for row in rows}
    assert {id for id, photo in photos.items() if photo != "Image"} == {"cars/00001.jpg"}
    assert photos["cars/00001.jpg"] is None
    (file,) = uploaded.glob("*.wandb")
    (kept,) = [
        r.artifact.manifest.contents
        for r in records(file)
        if r.HasField("artifact") and "errorsgallery" in r.artifact.name
    ]  # pictures of a table wait in W&B's staging folder
    pictures = [Path(entry.local_path) for entry in kept if entry.path.endswith(".png")]
    assert len(pictures) > 5
    assert all(Image.open(picture).size == (48, 30) for picture in pictures)
    assert all(r["class"] != r["predicted"] for r in rows)


def test_the_report_shows_what_was_logged_in_the_order_of_the_page(
    uploaded: Path, tmp_path: Path, capfd
) -> None:
    from wandb_workspaces.reports import v2 as library
    from wandb_workspaces.reports.v2 import internal

    v2: Any = library  # its own types are narrower than its objects
    spec = (tmp_path / "runs/report/dashboard.json").read_text()
    model = internal.ReportViewspec.model_validate_json(spec)
    assert told(model.model_dump(mode="json", by_alias=True)) == told(json.loads(spec))
    report = v2.Report._from_model(model)
    page = (tmp_path / "runs/report/index.html").read_text()
    titles = re.findall(r"<h2><small>\d</small>(.*?)</h2>", page)
    assert [block.text for block in report.blocks if isinstance(block, v2.H1)] == titles
    (warning,) = [block.text for block in report.blocks if isinstance(block, v2.CalloutBlock)][-1:]
    assert "photos of the gallery are missing" in str(warning)
    glance = re.findall(r"<li><a [^>]*><b>(.*?)</b> (.*?)</a></li>", page)
    (said, *_) = [b.items for b in report.blocks if isinstance(b, v2.UnorderedList)]
    assert [str(item) for item in said] == [" ".join(figure) for figure in glance]

    grids = [block for block in report.blocks if isinstance(block, v2.PanelGrid)]
    assert {g.runsets[0].filters for g in grids} == {
        f"""Metric("ID") == '{uploaded.name.split("-")[-1]}'""",
        """Metric("Group") == 'study'""",
    }
    panels = [panel for grid in grids for panel in grid.panels]
    media = [k for p in panels if isinstance(p, v2.MediaBrowser) for k in p.media_keys]
    tables = [p.table_name for p in panels if isinstance(p, v2.WeavePanelSummaryTable)]
    assert {key.split("/")[1] for key in [*media, *tables]} == laid_down(tmp_path / "runs/report")
    assert any(isinstance(p, v2.ParallelCoordinatesPlot) for p in panels)


def test_a_missing_package_is_told_before_the_work(
    command: Command, folders: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports", None)
    assert command("report.py", *folders) == 1
    assert "pip install 'carsclf[dashboards]'" in capfd.readouterr().err
    assert not (tmp_path / "runs/report").exists()
