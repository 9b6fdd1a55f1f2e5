"""Every number in a README of experiments/ stands in a results file beside it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carsclf.analysis.forecast import Short, forecast
from tests.conftest import ROOT

FOLDERS = sorted(path.parent for path in (ROOT / "experiments").glob("*/README.md"))
NUMBER = re.compile(
    r"(?<![\w.\-/])([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?![\d]|\.\d)(?!-?(?!x\b)[A-Za-z_])"
)
COMMIT = re.compile(r"[0-9a-f]{7}")
Rows = list[list[str]]


def plain_text(readme: str) -> str:
    """What is said: without commands, code, addresses of links, pictures and headings."""
    lines = [x for x in readme.splitlines() if not x.startswith(("    ", "#", "![", "|---"))]
    text = re.sub(r"`[^`]*`", "", "\n".join(lines))
    return re.sub(r"\]\([^)]*\)", "]", text).replace("−", "-").replace("**", "")


def numbers(text: str) -> list[str]:
    """As they are written, without thousands' commas."""
    return [found.rstrip(",").replace(",", "") for found in NUMBER.findall(text)]


def tables(readme: str) -> list[Rows]:
    """The body rows of each table, cell by cell, without emphasis."""
    found: list[Rows] = []
    for block in re.findall(r"(?:^\|.*\n)+", readme, re.MULTILINE):
        rows = [[c.strip() for c in x.strip("|\n ").split("|")] for x in block.splitlines()]
        found.append([[cell.replace("**", "") for cell in row] for row in rows[2:]])
    return found


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / name, dtype={"recorded_in": str})


# Tables that are computed here from the results file, by folder and place ------------------------


def spread_of(shares: Any) -> list[str]:
    """Of each seed, in their order; their mean and, of several, deviation."""
    deviation = f" ± {shares.std():.1f}" if len(shares) > 1 else ""
    return [", ".join(f"{share:.1f}" for share in shares), f"{shares.mean():.1f}{deviation}"]


def seeds_of(table: pd.DataFrame) -> list[str]:
    """Three seeds, their mean and deviation, of accuracies on test."""
    return spread_of(100 * table.query("split == 'test'").sort_values("seed")["top1"])


def searched(folder: Path, study: str, configurations: list[str], cost: list[str]) -> Rows:
    results, rows = read(folder, "results.csv"), []
    for name in configurations:
        own = results.loc[(results["study"] == study) & (results["configuration"] == name)]
        val = 100 * own.query("split == 'val'")["top1"].mean()
        rows.append([*cost, *seeds_of(own), f"{val:.1f}"])
    return rows


def frozen(folder: Path) -> Rows:
    names = ["He et al. baseline", "winner of asha", "default head", "L-BFGS"]
    return searched(folder, "frozen", names, [])


def audi_bmw(folder: Path) -> Rows:
    trials = read(folder, "trials.csv")
    rows = []
    for name in ("He et al. baseline", "winner of asha", "winner of bohb"):
        own = trials[trials["study"] == f"audi_bmw {name.split()[-1]}"]
        cost = f"{len(own)}, {own['cost'].sum():.1f}" if len(own) else ""
        rows += searched(folder, "audi_bmw", [name], [cost])
    return rows


def first_cars(folder: Path) -> Rows:
    rows = []
    for row in read(folder, "results.csv").to_dict("records"):
        if row["run"] in ("first_cars-finetune", "first_cars-freeze") or row["split"] == "test":
            shares = [f"{100 * row[key]:.1f} %" for key in ("top1", "top5", "macro_f1")]
            rows.append([f"{row['images']:,}", *shares, str(row["epochs"]), f"{row['seconds']:,}"])
    return rows


def cars_report(folder: Path) -> Rows:
    runs = read(folder, "tables/runs.csv").assign(split="test")
    finals = ["lite0-finetune/final/0000", "lite0-finetune/final/0004",
              "lite0-finetune-asha/final/0004", "lite2-freeze/final/0000",
              "lite2-freeze/final/0179", "lite2-freeze-asha/final/0030"]  # fmt: skip
    rows = []
    for name in finals:
        own = runs.loc[runs["run"].str.startswith(name)]
        rows.append([*seeds_of(own), f"{3600 * own['hours'].mean():.0f}"])
    return rows


def cars_report_before(folder: Path) -> Rows:
    runs, rows = read(folder, "before_runs.csv"), []
    names = ["finetune-baseline", "finetune-winner", "finetune-default", "freeze-baseline",
             "freeze-winner", "freeze-lbfgs"]  # fmt: skip
    for name in names:
        own = runs[runs["run"].str.contains(name)].assign(split="test")
        rows.append([*seeds_of(own), f"{3600 * own['hours'].mean():.0f}"])
    return rows


NOW, BEFORE = ["random", "asha", "freeze_thaw"], ["random", "asha", "bohb", "multitask"]
"""Searches that begin from an incumbent, and those that began from nothing."""


def speedups_now(folder: Path) -> Rows:
    return speedups(folder, "results.csv", ["blank", *NOW])


def speedups(folder: Path, name: str = "before.csv", searches: list[str] = BEFORE) -> Rows:
    """20 full trainings over the budget that reaches the goal; 0 where it is not reached."""
    one = read(folder, name).query("workers == 1")
    wide = one.pivot(index="table", columns="search", values="speedup")
    wide = wide[searches]
    lines = [*(wide.loc[name] for name in wide.index), wide.median(), wide.min()]
    return [["not reached" if v == 0 else f"{v:.2f}" for v in line] for line in lines]


def twenty_workers_now(folder: Path) -> Rows:
    return twenty_workers(folder, "results.csv", NOW)


def finals(folder: Path) -> Rows:
    """Studies, share that named another, and the true gains."""
    rows: Any = read(folder, "results.csv").itertuples()
    return [
        [
            *(row.incumbent, row.search, str(row.studies), f"{100 * row.another:.1f} %"),
            *(f"{round(row.mean_gain, 1) + 0.0:.1f}", f"{row.worst_gain:.2f}"),
        ]
        for row in rows
    ]  # fmt: skip


def twenty_workers(folder: Path, name: str = "before.csv", order: list[str] = BEFORE) -> Rows:
    many = read(folder, name).query("workers == 20")
    medians = many.groupby("search")[["regret_1", "regret_2", "regret_4"]].median()
    return [[f"{medians.loc[s, f'regret_{n}']:.4f}" for s in order] for n in (1, 2, 4)]


HEADS = [
    *(f"SGD, one-cycle, rate {rate}" for rate in ("0.1", "0.01")),
    *(f"AdamW, one-cycle, rate {rate}" for rate in ("2e-3", "5e-3", "1e-2", "1e-3")),
    *(f"L-BFGS, decay {decay}" for decay in ("1e-4", "3e-4", "1e-3", "3e-3")),
]


def heads_by_network(folder: Path) -> Rows:
    """Validation, mean and deviation of three seeds."""
    table = read(folder, "results.csv").query("fraction == 1")
    rows = []
    for way in HEADS:
        cells = table[table["way"] == way].groupby(["data", "network"])["val"]
        rows.append([f"{val.mean():.1f} ± {val.std():.1f}" for _, val in cells])
    return rows


def heads_in_all(folder: Path) -> Rows:
    """Over networks and seeds, cars before scenes: validation, last epoch, test, deepest fall."""
    table = read(folder, "results.csv").query("fraction == 1")
    means: Any = table.groupby(["way", "data"])[["val", "last_val", "test"]].mean()
    falls: Any = table.groupby(["way", "data"])["deepest_fall"].max()
    places = ("cars", "scenes")
    return [
        [f"{means.loc[(way, d), key]:.1f}" for key in means for d in places]
        + [f"{falls[way, d]:.1f}" for d in places]
        for way in HEADS
    ]


def heads_of_few(folder: Path) -> Rows:
    """Validation by decay, mean of three seeds of Lite0."""
    table = read(folder, "results.csv").query("fraction < 1")
    means: Any = table.groupby(["data", "photos", "way"])["val"].mean()
    wide: Any = means.unstack()
    wide = wide.sort_index(
        axis="columns", key=lambda names: names.str.split().str[-1].astype(float)
    )
    return [
        [f"{photos:,}", *(f"{val:.1f}" for val in row)]
        for (_, photos), row in zip(wide.index, wide.to_numpy(), strict=True)
    ]


def cut_networks(folder: Path) -> Rows:
    """Boundaries of each family that work, and what is refused."""
    table, rows = read(folder, "contract.csv"), []
    for _, own in table[~table["boundary"].isin(["none", "adapt"])].groupby("family", sort=False):
        works = own["said"] == "works"
        rows.append(
            [f"{works.sum()} of {len(own)}", ", ".join(own.loc[~works, "boundary"]) or "none"]
        )
    return rows


def adapted(folder: Path) -> Rows:
    """What trains, test by seed and in the mean, validation, processor seconds, peak memory."""
    table, rows = read(folder, "results.csv"), []
    for _, own in table.assign(split="test", top1=table["test_top1"]).groupby("way", sort=False):
        share = 100 * own["trained"].iloc[0] / own["network"].iloc[0]
        rows.append([
            f"{own['trained'].iloc[0]:,}", f"{share:.0f} %", *seeds_of(own),
            f"{100 * own['val_top1'].mean():.1f}", f"{own['cpu_seconds'].mean():.0f}",
            f"{own['peak_mib'].mean():,.0f}",
            f"{(own['peak_mib'] - own['evaluation_mib']).mean():.0f}",
        ])  # fmt: skip
    return rows


def adapted_rates(folder: Path) -> Rows:
    rows: Any = read(folder, "rates.csv").itertuples()
    return [[f"{r.lr:g}", f"{r.head_lr_factor:g}", f"{100 * r.val_top1:.1f}"] for r in rows]


def flipped_labels(folder: Path) -> Rows:
    """Of each data set and rule: seeds, photos, flipped, top-1, named, precision and recall."""
    rows = []
    for _, own in read(folder, "results.csv").groupby(["data", "rule"], sort=False):
        hits, named = sum(own["hits"].tolist()), sum(own["named"].tolist())
        rows.append([
            str(len(own)), f"{own['photos'].iloc[0]:,}", str(own["flipped"].iloc[0]),
            f"{100 * own['top1'].mean():.1f} %", f"{own['named'].mean():,.0f}",
            f"{100 * hits / named:.0f} %" if named else "none named",
            f"{100 * hits / own['flipped'].sum():.0f} %",
        ])  # fmt: skip
    return rows


def found_copies(folder: Path) -> Rows:
    return [[str(n), str(m)] for n, m in read(folder, "copies.csv")[["found", "copies"]].to_numpy()]


def leaked(folder: Path) -> Rows:
    """Means over seeds, and what they gain over the training without augmentation."""
    table, rows, first = read(folder, "results.csv"), [], []
    for _, own in table.groupby("way", sort=False):
        means = [100 * own[f"{split}_top1"].mean() for split in ("val", "test")]
        first = first or means
        gains = [f"{one - none:+.1f}" for one, none in zip(means, first, strict=True)]
        rows.append(
            [f"{own['train'].iloc[0]:,}", f"{own['epochs'].iloc[0]}", *(f"{m:.1f}" for m in means)]
            + (gains if rows else ["–", "–"])
        )
    return rows


def searched_augmentation(folder: Path) -> Rows:
    """Test by seed and in the mean, validation, and what each is ahead of our defaults."""
    table, rows = read(folder, "results.csv"), []
    table = table.assign(split="test", top1=table["test_top1"])
    ours_of = table.query("way == 'ours'").set_index(["setting", "seed"])["top1"]
    for _, own in table.groupby(["setting", "way"], sort=False):
        way, ours = own["way"].iloc[0], ours_of.loc[own["setting"].iloc[0]]
        ahead = 100 * (own.set_index("seed")["top1"].sort_index() - ours).dropna()
        beside = [", ".join(f"{points:+.1f}" for points in ahead), f"{ahead.mean():+.1f}"]
        val = 100 * own["val_top1"].mean()
        rows.append([*seeds_of(own), f"{val:.1f}", *(["–", "–"] if way == "ours" else beside)])
    return rows


def augmentation_studies(folder: Path) -> Rows:
    """What each began with and the best it found, on validation; how far that is ahead."""
    table, rows = read(folder, "studies.csv"), []
    of = ["best_val_top1", "difference", "low", "high"]
    for _, own in table.groupby("space", sort=False):
        known, found = (100 * own.set_index("role").loc[["incumbent", "search"], of]).to_numpy()
        ahead = [f"{found[1]:+.1f}", f"{found[2]:+.1f} to {found[3]:+.1f}"]
        rows.append([f"{known[0]:.1f}", f"{found[0]:.1f}", *ahead])
    return rows


def errors_by_kind(folder: Path) -> Rows:
    table = read(folder, "kinds.csv")
    return [[str(x) for x in row] for row in table.drop(columns="kind").to_numpy()]


def boundaries(folder: Path) -> Rows:
    """Little frozen first: means over seeds of validation and processor seconds; test by seed."""
    table, rows = read(folder, "results.csv").astype({"boundary": str}), []
    for boundary, own in table.assign(split="test", top1=table["test_top1"]).groupby("boundary"):
        rows.append([
            str(boundary), own["module"].iloc[0], f"{own['trained'].iloc[0]:,}",
            f"{100 * own['val_top1'].mean():.1f}", *seeds_of(own),
            f"{own['cpu_seconds'].mean():.0f}",
        ])  # fmt: skip
    return rows


def in_styles(folder: Path) -> Rows:
    """Per style, best known first: top-1 and distance from the photos, with intervals, twice."""
    table: Any = read(folder, "results.csv").set_index(["way", "style"])
    order = table.loc["finetune"].sort_values("top1", ascending=False, kind="stable").index
    rows = []
    for style in order:
        cells: list[str] = []
        for way in ("finetune", "freeze"):
            row = 100 * table.loc[(way, style)].drop("recorded_in").astype(float)
            cells += [f"{row.top1:.1f}", f"{row.low:.1f} to {row.high:.1f}"]
            if style != "original":
                cells += [f"{row.difference:+.1f}"]
                cells += [f"{row.difference_low:+.1f} to {row.difference_high:+.1f}"]
            else:
                cells += ["none", "none"]
        rows.append(cells)
    return rows


def told_apart(folder: Path) -> Rows:
    """By score: AUROC and the unknown photos found, fine-tuned, of both draws; AUROC frozen."""
    rows = read(folder, "results.csv").to_dict("records")
    known = {(row["way"], row["draw"], row["score"]): row for row in rows}
    runs = [("finetune", 0), ("finetune", 1)]
    return [
        [f"{known[(*run, score)]['auroc']:.3f}" for run in runs]
        + [f"{100 * known[(*run, score)]['found']:.1f} %" for run in runs]
        + [f"{known[('freeze', draw, score)]['auroc']:.3f}" for draw in (0, 1)]
        for score in dict.fromkeys(row["score"] for row in rows)
    ]


def tricks(folder: Path) -> Rows:
    """Of each trick, the first of them none: on cars and on scenes, beside none; its seconds."""
    card, cores = read(folder, "card.csv"), read(folder, "results.csv").query("data == 'scenes'")
    cost: Any = cores.groupby("trick")["cpu_seconds"].mean()
    rows: Rows = []
    for trick in dict.fromkeys(card["trick"]):
        row: list[str] = []
        for data in ("cars", "scenes"):
            own: Any = card[card["data"] == data].set_index(["trick", "seed"])["test_top1"] * 100
            beside = own[trick] - own["none"]
            by_seed = ", ".join(f"{points:+.1f}" for points in beside)
            row += [f"{own[trick].mean():.1f}"]
            row += ["", ""] if trick == "none" else [by_seed, f"{beside.mean():+.1f}"]
        rows.append([*row, f"{cost[trick]:,.0f}"])
    return rows


def generated(folder: Path) -> Rows:
    """Of each way: pictures and epochs, and what came on test, by seed and on average."""
    rows: Rows = []
    for _, own in read(folder, "results.csv").groupby("way", sort=False):
        first = own.iloc[0]
        size = [f"{first[key]}" for key in ("photos", "made", "epochs")]
        rows.append([*size, *spread_of(100 * own["test_top1"])])
    return rows


def advised(folder: Path) -> Rows:
    """Of each model that was judged, in percent."""
    rows: Any = read(folder, "results.csv").itertuples()
    return [
        [row.data, f"{row.minutes:g}", f"{row.image_size}",
         "–" if row.mode == "freeze" else f"{row.epochs}",
         f"{100 * row.val:.1f}", f"{100 * row.test:.1f}",
         f"{100 * row.low:.1f} to {100 * row.high:.1f}"]
        for row in rows
    ]  # fmt: skip


def promised(folder: Path) -> Rows:
    """Of each budget: what was used of it, and what was expected of what its plan trained."""
    rows = []
    table: Any = read(folder, "results.csv")
    for (data, minutes), own in table.groupby(["data", "minutes"], sort=False):
        tuned = own[own["mode"] != "freeze"]
        plan = (tuned if len(tuned) else own).iloc[0]
        used = plan["used_seconds"] / 60
        rows.append([
            data, f"{minutes:g}", f"{used:.1f}", f"{100 * used / minutes:.0f}",
            f"{100 * plan['expected']:.1f}",
            f"{100 * plan['expected_low']:.1f} to {100 * plan['expected_high']:.1f}",
            f"{100 * plan['test']:.1f}",
        ])  # fmt: skip
    return rows


def killed(folder: Path) -> Rows:
    """Of each kill: when, in which stage, and what there was."""
    names = ["at_second", "in_stage", "stages_ended", "rows", "epochs"]
    table = pd.read_csv(folder / "killed.csv", dtype=str)
    return [
        [f"{int(row['kill']) + 1}", *(row[n] for n in names)] for row in table.to_dict("records")
    ]


def best_classifiers(folder: Path) -> Rows:
    """Of each entry, plain and with flips on validation; on test as validation preferred it."""
    table: Any = read(folder, "results.csv")
    rows = []
    for _, own in table.groupby("entry", sort=False):
        val = own[own["split"] == "val"].set_index("views")["top1"]
        views = "flips" if val["flip"] > val["plain"] else "plain"
        test = own[(own["split"] == "test") & (own["views"] == views.removesuffix("s"))].iloc[0]
        low, high = (f"{100 * test[end]:.1f}" for end in ("low", "high"))
        rows.append([f"{100 * val[v]:.1f}" for v in ("plain", "flip")]
                    + [views, f"{100 * test['top1']:.1f}", f"{low} to {high}"])  # fmt: skip
    return rows


def best_recipes(folder: Path) -> Rows:
    table = read(folder, "recipes.csv")[["val_top1", "val_top1_flip"]]
    return [[f"{100 * share:.1f}" for share in row] for row in table.to_numpy()]


def quick_recipes(folder: Path) -> Rows:
    """Of each, by seed and on average."""
    rows = []
    for _, own in read(folder, "recipes.csv").groupby("recipe", sort=False):
        by_seed, spread = spread_of(100 * own["val_top1"])
        rows.append([by_seed, spread.partition(" ± ")[0]])
    return rows


def recipes(folder: Path) -> Rows:
    """Of trainings of about the same cost, by data and network: how large and long, what came."""
    table: Any = read(folder, "recipes.csv").query("image_size > 96")
    return [
        [row.data, f"{row.image_size}", f"{row.epochs}", f"{row.cpu_seconds:.0f}",
         f"{100 * row.top1:.1f}"]
        for _, own in table.groupby(["data", "network"])
        for row in own.sort_values("image_size").itertuples()
    ]  # fmt: skip


def lengths(folder: Path) -> Rows:
    """Of each set-up: after 1, 2, 4, 8 and 16 epochs, and what the first two foretell of 16."""
    table: Any = read(folder, "recipes.csv").query("image_size == 96 and epochs != 14")
    rows = []
    for (data, _), own in table.groupby(["data", "network"]):
        shorts = [Short(*one) for one in own.sort_values("epochs")[["epochs", "top1", "images"]]
                  .itertuples(index=False)]  # fmt: skip
        told = forecast(shorts[:2], 16, shorts[0].images)
        rows.append([
            data, *(f"{100 * short.top1:.1f}" for short in shorts), f"{100 * told.value:.1f}",
            f"{100 * told.low:.1f} to {100 * told.high:.1f}",
        ])  # fmt: skip
    return rows


def times_to_85(folder: Path) -> Rows:
    """Of each way, plain first: when it passed 85 % and after how long, and what it ended at."""
    table: Any = read(folder, "results.csv")
    rows, first = [], None
    for _, own in table.groupby("way", sort=False):
        passed = [g[g["top1"] >= 0.85].head(1) for _, g in own.groupby("seed")]
        ends = [100 * g["top1"].iloc[-1] for _, g in own.groupby("seed")]
        timed = own.dropna(subset=["seconds"])
        at = float(timed[timed["top1"] >= 0.85]["seconds"].min())  # nan: never
        first = first or at
        rows.append([
            ", ".join(str(p["epoch"].iloc[0]) if len(p) else "never" for p in passed),
            f"{at:,.0f}" if at == at else "–", f"{at / first:.2f}" if at == at else "–",
            f"{timed['seconds'].max():,.0f}", ", ".join(f"{end:.1f}" for end in ends),
        ])  # fmt: skip
    return rows


def on_a_card(folder: Path) -> Rows:
    """Of each training: accuracy, epochs, seconds, pictures a second, and how often it waited."""
    rows: Any = read(folder, "trainings.csv").itertuples()
    return [
        [f"{100 * row.top1:.1f}", f"{row.epochs}", f"{row.seconds:.1f}",
         f"{row.images_per_second:,.0f}", f"{100 * row.share_waited:.1f}"]
        for row in rows
    ]  # fmt: skip


def passed_on_a_card(folder: Path) -> Rows:
    """Of plain and shortcut: the epoch that passed 85 %, there and on two cores."""
    card, cores = read(folder, "epochs.csv"), read(folder.parent / "time_to_85", "results.csv")
    rows: Rows = []
    for name in ("plain", "shortcut"):
        there = card[(card["training"] == name) & (card["top1"] >= 0.85)].iloc[0]
        own = (cores["way"] == name) & (cores["seed"] == 0)
        here = cores[own & (cores["top1"] >= 0.85)].iloc[0]
        seconds = [f"{row['seconds']:,.1f}" for row in (there, here)]
        rows.append([f"{there['epoch']}", *seconds])
    return rows


COMPUTED: dict[tuple[str, int], tuple[Callable[[Path], Rows], list[int]]] = {
    ("cars_search", 0): (frozen, [1, 2, 3]),
    ("cars_search", 1): (audi_bmw, [1, 2, 3, 4]),
    ("first_cars", 0): (first_cars, [3, 4, 5, 6, 7, 8]),
    ("cars_report", 0): (cars_report, [1, 2, 4]),
    ("cars_report", 1): (cars_report_before, [1, 2, 4]),
    ("frozen_head", 0): (heads_by_network, [2, 3, 4, 5, 6, 7]),
    ("frozen_head", 1): (heads_in_all, [2, 3, 4, 5, 6, 7, 8, 9]),
    ("frozen_head", 2): (heads_of_few, [1, 2, 3, 4, 5, 6]),
    ("search_replay", 0): (speedups_now, [1, 2, 3, 4]),
    ("search_replay", 1): (twenty_workers_now, [1, 2, 3]),
    ("search_replay", 2): (speedups, [1, 2, 3, 4]),
    ("search_replay", 3): (twenty_workers, [1, 2, 3, 4]),
    ("networks", 0): (cut_networks, [2, 3]),
    ("adapt", 0): (adapted, [1, 2, 3, 4, 5, 6, 7, 8]),
    ("adapt", 1): (adapted_rates, [1, 2, 3]),
    ("curation", 0): (flipped_labels, [2, 3, 4, 5, 6, 7, 8]),
    ("curation", 1): (found_copies, [1, 2]),
    ("augmentation_leak", 0): (leaked, [1, 2, 3, 4, 5, 6]),
    ("augmentation_search", 0): (augmentation_studies, [1, 2, 3, 4]),
    ("augmentation_search", 1): (searched_augmentation, [2, 3, 4, 5, 6]),
    ("augmentation_search", 2): (errors_by_kind, [1, 2, 3, 4]),
    ("boundary", 0): (boundaries, [0, 1, 2, 3, 4, 5, 6]),
    ("styles", 0): (in_styles, [1, 2, 3, 4, 5, 6, 7, 8]),
    ("generated", 0): (generated, [1, 2, 3, 4, 5]),
    ("tricks", 0): (tricks, [1, 2, 3, 4, 5, 6, 7]),
    ("unknown", 0): (told_apart, [1, 2, 3, 4, 5, 6]),
    ("advise", 0): (advised, [0, 1, 3, 4, 5, 6, 7]),
    ("advise", 1): (promised, [0, 1, 2, 3, 4, 5, 6]),
    ("advise", 2): (killed, [0, 1, 2, 3, 4, 5]),
    ("advise", 3): (recipes, [0, 2, 3, 4, 5]),
    ("advise", 4): (lengths, [0, 3, 4, 5, 6, 7, 8, 9]),
    ("cars_best", 0): (best_classifiers, [1, 2, 3, 4, 5]),
    ("cars_best", 1): (best_recipes, [1, 2]),
    ("time_to_85", 0): (times_to_85, [1, 2, 3, 4, 5]),
    ("time_to_85", 1): (quick_recipes, [1, 2]),
    ("gpu", 0): (on_a_card, [1, 2, 3, 4, 5]),
    ("gpu", 1): (passed_on_a_card, [1, 2, 3]),
    ("search_final", 0): (finals, [0, 1, 2, 3, 4, 5]),
}
"""And the columns that are compared; what a cell adds in brackets is not."""


@pytest.mark.parametrize("place", COMPUTED, ids=str)
def test_tables_are_those_of_the_results(place: tuple[str, int]) -> None:
    (name, number), (compute, columns) = place, COMPUTED[place]
    folder = ROOT / "experiments" / name
    shown = tables((folder / "README.md").read_text())[number]
    cells = [[re.sub(r" \(.*", "", row[i]) for i in columns] for row in shown]
    assert cells == compute(folder)


# Tables that are a file, row by row ---------------------------------------------------------------

FILES = {
    "speed": [
        "finetune_speed.csv", "loader.csv", "head_training.csv", "frozen_trials.csv",
        "step_memory.csv", "bulk.csv", "serving.csv", "shortcuts.csv",
    ],
    "growing": ["frozen.csv", "rows.csv", "results.csv"],
}  # fmt: skip
WRITTEN = [(name, i) for name, files in FILES.items() for i in range(len(files))]


@pytest.mark.parametrize("place", WRITTEN, ids=str)
def test_tables_are_files(place: tuple[str, int]) -> None:
    """The numbers of each row, in their order."""
    name, number = place
    folder = ROOT / "experiments" / name
    found = tables((folder / "README.md").read_text())
    assert len(found) == len(FILES[name])
    file = pd.read_csv(folder / FILES[name][number], dtype=str).fillna("")
    assert all(COMMIT.fullmatch(commit) for commit in file["recorded_in"])
    kept = file.drop(columns="recorded_in").to_numpy().tolist()
    shown = [[float(n) for n in numbers(plain_text("|".join(row)))] for row in found[number]]
    assert [[float(n) for n in numbers("|".join(row))] for row in kept] == shown


def test_what_the_page_of_tricks_promises_was_measured() -> None:
    """Each `trick` +1.2 of docs/tricks.md, beside the mean over seeds."""
    table: Any = read(ROOT / "experiments/tricks", "card.csv").query("data == 'cars'")
    means: Any = 100 * table.groupby("trick")["test_top1"].mean()
    page = (ROOT / "docs/tricks.md").read_text()
    said = re.findall(r"`([\w ]+)`(?: up to 72 px)? ([+-]\d+\.\d)", page)
    assert len(said) > 15
    assert dict(said) == {trick: f"{means[trick] - means['none']:+.1f}" for trick, _ in said}


# Everything else ----------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_other_number_was_transcribed(folder: Path) -> None:
    """In the README's own order, beside the words around it and the commit that recorded it."""
    readme = (folder / "README.md").read_text()
    said = plain_text(drop_tables(folder.name, readme))
    kept = pd.read_csv(folder / "transcribed.csv", dtype=str)
    assert kept["value"].tolist() == numbers(said)
    words = " ".join(said.split())
    for row in kept.to_dict("records"):
        assert row["said"] in words
        assert row["value"] in numbers(row["said"])
        assert COMMIT.fullmatch(row["recorded_in"])


def drop_tables(name: str, readme: str) -> str:
    """Without the compared columns of computed tables, and the tables that are files."""
    blocks = re.findall(r"(?:^\|.*\n)+", readme, re.MULTILINE)
    for number, block in enumerate(blocks):
        if name in FILES:
            readme = readme.replace(block, block.splitlines()[0] + "\n")
        elif (name, number) in COMPUTED:
            columns = COMPUTED[name, number][1]
            rest = []
            for line in block.splitlines():
                cells = line.strip("|\n ").split("|")
                left = [
                    re.sub(r"^[^(]*", "", c) if i in columns else c for i, c in enumerate(cells)
                ]
                rest.append("|".join(left))
            readme = readme.replace(block, "\n".join(["", *rest, ""]))
    return readme


def test_results_name_the_commit_that_recorded_them() -> None:
    files = [f for folder in FOLDERS for f in folder.glob("results.csv")]
    assert files
    for file in files:
        assert all(COMMIT.fullmatch(c) for c in pd.read_csv(file, dtype=str)["recorded_in"])
