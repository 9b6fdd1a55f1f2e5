"""The report in Weights & Biases: its tables, galleries and figures, in the order of the page."""

import argparse
import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from carsclf.errors import ConfigError, one_line_errors
from carsclf.files import atomic_write
from carsclf.report.page import Page, Part, Section
from carsclf.report.studies import StudyMaterial

WIDTH = 24
"""Columns of W&B's grid."""
SPEC = "dashboard.json"


@dataclass(frozen=True)
class Destination:
    """Where in W&B; without an entity the user's own."""

    project: str
    entity: str | None = None


def workspaces() -> Any:
    """The module that describes W&B reports. Raises ConfigError where it is not installed."""
    try:
        from wandb_workspaces.reports import v2
    except ImportError as error:
        raise ConfigError(
            f"upload=true needs wandb-workspaces ({error}): pip install 'carsclf[dashboards]'"
        ) from None
    return v2


def upload(folder: Path, page: Page, studies: Sequence[StudyMaterial], to: Destination) -> None:
    """Logs what the page shows to one W&B run and saves a W&B report in the page's order.

    `folder` holds the page's tables and figures, these as PNG too. The W&B report is written to
    `folder`/dashboard.json; a run that went online saves it at once, for an offline one the
    commands to do so are printed. Raises ConfigError for what W&B refuses.
    """
    import wandb

    workspaces()  # before anything goes out
    media = {k: v for section in page.sections for k, v in logged(folder, section).items()}
    with _refusals():
        settings = wandb.Settings(silent=True)
        about = {"title": page.title, "judged": page.facts, "studies": [s.name for s in studies]}
        with wandb.init(
            project=to.project,
            entity=to.entity,
            job_type="report",
            name=folder.resolve().name,
            dir=folder,
            config=about,
            settings=settings,
        ) as run:
            run.log(media)
            online, written = not (run.offline or run.disabled), Path(run.dir).parent
        report = describe(page, studies, to, run.id)
        spec = folder / SPEC
        with atomic_write(spec) as temporary:
            temporary.write_text(
                report._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=1)
            )
        if online:
            save(spec)
            return
    print(f"W&B run, offline: {written}\nto upload it and its report ({spec}):")
    print(f"wandb sync {written} && python -m carsclf.report.dashboards {spec}")


def logged(folder: Path, section: Section) -> dict[str, Any]:
    """Keys and W&B's own objects for a section's figures, tables and gallery."""
    import wandb

    found: dict[str, Any] = {}
    for part in section.parts:
        if part.kind == "figure":
            picture = (folder / part.content["file"]).with_suffix(".png")
            found[_key(section, part)] = wandb.Image(str(picture), caption=part.caption)
        elif part.kind == "table":
            table = pd.read_csv(folder / part.content["file"])
            found[_key(section, part)] = wandb.Table(dataframe=table, allow_mixed_types=True)
        elif part.kind == "gallery":
            found[_key(section, part)] = _gallery(part.content)
    return found


def _gallery(items: Sequence[dict[str, Any]]) -> Any:
    """One row per error; a photo that is missing leaves its cell empty."""
    import wandb

    columns = {
        "photo": "photo",
        "class": "given",
        "its probability": "given_probability",
        "predicted": "said",
        "photo of predicted class": "example",
        "probability of predicted class": "said_probability",
        "attention": "attention",
        "id": "id",
    }
    shown = {k: v for k, v in columns.items() if k != "attention" or any(i[v] for i in items)}
    table = wandb.Table(list(shown))
    for item in items:
        row = [item[name] for name in shown.values()]
        table.add_data(*(_picture(v) if str(v).startswith("data:image") else v for v in row))
    return table


def _picture(uri: str) -> Any:
    import wandb

    content = base64.b64decode(uri.partition(",")[2])
    return wandb.Image(Image.open(io.BytesIO(content)))


def describe(page: Page, studies: Sequence[StudyMaterial], to: Destination, run_id: str) -> Any:
    """The W&B report (`wandb_workspaces.reports.v2.Report`), not yet saved.

    Panels show what run `run_id` logged; below the search come the trials of each study that was
    logged itself (logger=wandb), as the group it is.
    """
    wr = workspaces()
    blocks: list[Any] = [wr.P(page.facts), *map(wr.CalloutBlock, page.warnings)]
    if page.figures:
        glance = [f"{figure.value} {figure.what}" for figure in page.figures]
        blocks.append(wr.UnorderedList(glance))
    blocks.append(wr.TableOfContents())
    for section in page.sections:
        blocks += [wr.H1(section.title), wr.P(section.answer)]
        for part in section.parts:
            blocks += _blocks(section, part, run_id)
        if section.id == "search":
            blocks += [block for study in studies for block in _trials(study)]
    return wr.Report(
        project=to.project,
        entity=to.entity or "",
        title=page.title[:128],
        description=page.facts,
        blocks=blocks,
        width="fluid",
    )


def _blocks(section: Section, part: Part, run_id: str) -> list[Any]:
    wr = workspaces()
    if part.kind == "note":
        return [wr.P(part.content)]
    if part.kind == "heading":
        return [wr.H2(part.content)]
    if part.kind == "commands":
        code = wr.CodeBlock("\n".join(part.content), language="markdown")
        return [wr.P(part.caption), code] if part.caption else [code]
    if part.kind == "definitions":
        return [wr.H2(part.caption), wr.UnorderedList([f"{k}: {v}" for k, v in part.content])]
    key = _key(section, part)
    if part.kind == "figure":
        layout = wr.Layout(w=WIDTH, h=14)
        panel = wr.MediaBrowser(media_keys=[key], num_columns=1, layout=layout)
    else:
        rows = len(part.content["rows"]) if part.kind == "table" else 12
        layout = wr.Layout(w=WIDTH, h=min(6 + rows, 18))
        panel = wr.WeavePanelSummaryTable(table_name=key, layout=layout)
    runs = wr.Runset(name="report", filters=f"Metric('ID') == '{run_id}'")
    return [wr.PanelGrid(runsets=[runs], panels=[panel], hide_run_sets=True), wr.P(part.caption)]


def _trials(study: StudyMaterial) -> list[Any]:
    """Curves of a study's trials, and what was tried, from the runs of its group."""
    if "WandbLogger" not in str(study.config.get("logger._target_")):
        return []
    wr = workspaces()
    runs = wr.Runset(name=study.name, filters=f"Metric('Group') == '{study.name}'")
    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in study.searched]
    columns.append(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(study.metric)))
    panels = [
        wr.LinePlot(x="epoch", y=[study.metric], layout=wr.Layout(w=WIDTH // 2, h=12)),
        wr.ParallelCoordinatesPlot(
            columns=columns, layout=wr.Layout(x=WIDTH // 2, w=WIDTH // 2, h=12)
        ),
    ]
    return [wr.H2(f"Trials of {study.name}"), wr.PanelGrid(runsets=[runs], panels=panels)]


def save(spec: Path) -> None:
    """Saves a report written by `upload` to W&B, which prints its address."""
    import wandb

    wr = workspaces()
    from wandb_workspaces.reports.v2 import internal

    with _refusals():
        model = internal.ReportViewspec.model_validate_json(spec.read_text(encoding="utf-8"))
        if not model.project.entity_name:
            model.project.entity_name = str(wandb.Api().default_entity)

        class Kept(wr.Report):  # its own way back from a model forgets layouts (0.4.13)
            def _to_model(self) -> Any:
                return model

        Kept(model.project.name, model.project.entity_name, model.display_name).save()


def _key(section: Section, part: Part) -> str:
    name = "" if part.kind == "gallery" else f"{Path(part.content['file']).stem}_"
    return f"{section.id}/{name}{part.kind}"


@contextmanager
def _refusals() -> Iterator[None]:
    import wandb

    try:
        yield
    except (wandb.Error, ConnectionError) as error:
        raise ConfigError(
            f"W&B: {error}; wandb login, or WANDB_MODE=offline to upload later"
        ) from error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Saves a report's dashboard.json to W&B.")
    parser.add_argument("spec", type=Path)
    with one_line_errors():
        save(parser.parse_args().spec)
