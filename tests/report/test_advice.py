"""The page of an advice: what stands on it is what its stages wrote; and a whole run to it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from carsclf.advising import carry_out as stage
from carsclf.advising import speed
from carsclf.advising.advice import GROWTH
from carsclf.advising.carry_out import carry_out, lines
from carsclf.advising.choose import choose
from carsclf.advising.plan import SAME, AdvicePlan
from carsclf.report.advice.command import page
from carsclf.report.advice.material import Material
from carsclf.report.advice.more import more_pictures, needed, twice_the_time
from carsclf.report.advice.sections import _verdict
from tests.advising.conftest import advice_of, candidate, head
from tests.conftest import ROOT

__all__ = ["advice_of"]
GROWN = {
    "candidate": "test_resnet", "images": 36, "judged": 12,
    "law": {name: {"value": v, "low": v, "high": v} for name, v in
            (("a", 1.0), ("b", 0.5), ("c", 0.1))},
    "now": {"value": 0.733, "low": 0.6, "high": 0.8},
    "twice": {"images": 72, "value": 0.782, "low": 0.65, "high": 0.9},
    "pictures_per_point": {"value": 4.5, "low": 2.0, "high": None},
}  # fmt: skip


@pytest.fixture
def paged(advice_of, monkeypatch):
    """An advice with its page, of these two candidates."""
    monkeypatch.setattr(stage, "predicting", lambda *_: (123.0, 45.6))

    def make(hours: float = 1.0, **asked):
        none = {"predict_rate": None, "train_rate": None, "answer_ms": None}
        rows = [candidate("test_resnet"), candidate("test_vit", answer_ms=9.0)]
        rows += [candidate(name, skipped=f"no weights here: {name} is not in the cache", **none)
                 for name in ("gone", "away")]  # fmt: skip
        low = head("test_vit", 0.3, share=0.1, dropped="at most 40 %, where the leader has 50 %")
        advice = advice_of(rows, [head("test_resnet", 0.5), low], hours, **asked)
        advice.folder.growth.write_text(json.dumps(GROWN))
        draws = [("test_resnet", n / 36, n, 0, 1 - n**-0.5 - 0.1) for n in (4, 9, 18, 36)]
        pd.DataFrame(draws, columns=list(GROWTH)).to_csv(advice.folder.growth_table, index=False)
        choose(advice)
        carry_out(advice)
        page(advice)
        return advice, Material.of(advice), (advice.folder.root / "index.html").read_text()

    return make


def test_the_page_of_a_fine_tuning(paged):
    advice, material, html = paged(mode="finetune", image_size=32, epochs=3, network="test_resnet")
    best = material.winner
    glance = re.findall(r"<li><a href=\"#[a-z]+\"><b>(.*?)</b>", html)
    assert glance[0].startswith(f"{best.network}, ")
    assert glance[1] == f"{100 * best.top1:.1f} %"
    assert glance[2] == "45.6 ms"
    assert glance[3] == twice_the_time(material)[0]
    assert "<td>gone, away</td>" in re.sub("<td[^>]*>", "<td>", html)
    assert "is not in the cache" not in html
    assert "at most 40 %, where the leader has 50 %" in html
    for name in ("choices", "epochs", "growth"):
        assert (advice.folder.root / f"figures/{name}.svg").is_file()
    assert len(re.findall("<section ", html)) == 7
    told = material.foretold(material.tuned, 6)
    assert told.value >= material.training.val - 0.05  # the training itself is a point of it


def test_its_commands_compose(paged, advice_of):
    """What train.py is told on the page is what the plan's run was told."""
    _, material, html = paged(mode="finetune", image_size=32, epochs=3, network="test_resnet")
    assert f"{material.training.folder}/overrides.yaml" in html or "&lt;overrides.yaml&gt;" in html
    (line,) = re.findall(r"python advise\.py [^\n<]*hours=1[^\n<]*", html)
    for asked in ("plan.mode=finetune", "plan.epochs=3", "plan.image_size=32"):
        assert asked in line


def test_the_page_of_a_head_for_lack_of_time(paged):
    """Nothing was tried: the page says from which time on something would be."""
    _, material, html = paged(hours=0.003)
    assert material.plan.verdict == "frozen"
    assert twice_the_time(material)[0] == "not tried"
    # 7 epochs of (36 / 360 + 12 / 600) s at 32 px, at 96 px nine times as long
    before = 3600 * 0.003 - material.plan.left + material.plan.reserve
    assert needed(material) == pytest.approx((before + 7 * 9 * 0.12) / 0.96)
    assert "No fine-tuning fits" in html


def test_as_good_is_said(paged):
    _, material, _ = paged(hours=0.003)
    plan = AdvicePlan(**(vars(material.plan) | {"verdict": SAME, "why": "so it is"}))
    told = _verdict(Material(**(vars(material) | {"plan": plan})))
    assert told == "A frozen head is as good as fine-tuning here, or better: so it is"


def test_as_good_is_said_where_it_was_measured(paged):
    _, material, _ = paged(mode="finetune", image_size=32, epochs=3, network="test_resnet")

    def verdict(*difference: float) -> str:
        outcome = replace(material.outcome, difference=list(difference))
        said = _verdict(replace(material, outcome=outcome))
        assert outcome.head_as_good == ("frozen head is as good" in said)
        assert outcome.head_as_good == lines(outcome)[1].endswith("as good as fine-tuning here")
        return said

    assert "here: on the same 12 test pictures test_resnet fine-tuned is +1.0 points from it " in (
        verdict(0.01, -0.02, 0.04)
    )
    assert "as good as fine-tuning here, or better" in verdict(-0.01, -0.05, 0.02)
    assert verdict(0.03, 0.01, 0.05) == "Fine-tuned, as asked"


def test_what_a_point_costs_is_told_with_its_interval(paged):
    _, material, html = paged(hours=0.003)
    told = more_pictures(material)
    assert "(72) would probably bring the frozen head of test_resnet from 73.3 % to 78.2 %" in told
    assert "another point costs about 4 more labelled pictures [2 to any number]" in told
    assert told in html


@pytest.mark.slow
def test_from_drawn_cars_to_the_page(
    command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny budget; then another plan on the same measurements, which are not made again."""
    monkeypatch.setattr(speed, "SECONDS", 0.02)
    asked = ["data=rendered_cars", "data.source.images=120", "data.protocol=fractions",
             "data.test_fraction=0.2", "data.image_size=32", "data.batch_size=8", "data.workers=0",
             "trainer.precision=32-true", "hours=0.02", "name=a",
             "candidates=[{name: test_resnet, weights: none}]"]  # fmt: skip
    # left to itself it fills its hours, and whether another plan still fits hangs on the machine
    short = ["plan.mode=finetune", "plan.epochs=4", "plan.image_size=32"]
    assert command("advise.py", *asked, *short) == 0
    folder = tmp_path / "runs/advise/a"
    assert "<h1>The best classifier that" in (folder / "index.html").read_text()
    measured = (folder / "probe.csv").read_bytes(), (folder / "candidates.csv").read_bytes()
    outcome = json.loads((folder / "outcome.json").read_text())
    assert outcome["split"] == "test"
    other = ["plan.mode=finetune", "plan.epochs=3", "plan.image_size=32"]
    assert command("advise.py", f"resume={folder}", *other) == 0
    assert (
        (folder / "probe.csv").read_bytes(),
        (folder / "candidates.csv").read_bytes(),
    ) == measured
    assert json.loads((folder / "outcome.json").read_text())["training"]["epochs"] == 3
    before = (folder / "outcome.json").stat().st_mtime_ns
    assert command("advise.py", f"resume={folder}") == 0  # the plan stays as it was last asked
    assert (folder / "outcome.json").stat().st_mtime_ns == before


def started(folder: Path) -> subprocess.Popen[bytes]:
    asked = ["data=rendered_cars", "data.source.images=120", "data.protocol=fractions",
             "data.test_fraction=0.2", "data.image_size=32", "data.batch_size=8", "data.workers=0",
             "trainer.precision=32-true", "hours=1", "plan.mode=finetune", "plan.epochs=8",
             "plan.image_size=32", "candidates=[{name: test_resnet, weights: none}]"]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    arguments = [str(ROOT / "advise.py"), *asked, f"name={folder.name}", f"runs={folder.parent}"]
    return subprocess.Popen(
        [sys.executable, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
def test_killed_while_it_tries_and_trains(tmp_path: Path) -> None:
    """SIGKILL in the second short training and in the training: the bits of one left alone."""
    folder = tmp_path / "killed"
    for place, epochs in (("short/test_resnet-finetune-32px-4-*", 1), ("train/*finetune*-8-*", 3)):
        process = started(folder)
        while process.poll() is None and not any(
            len(path.read_text().splitlines()) > epochs
            for path in folder.glob(f"{place}/metrics.csv")
        ):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = started(folder)
    said = process.communicate()[0].decode()
    assert process.returncode == 0
    assert "plan:" not in said  # which was made before
    whole = tmp_path / "whole"
    process = started(whole)
    process.communicate()
    assert process.returncode == 0
    train = json.loads((whole / "outcome.json").read_text())["training"]["folder"]
    for name in ("model.safetensors", "predictions/test.parquet"):
        assert (folder / train / name).read_bytes() == (whole / train / name).read_bytes()
    one, two = (json.loads((f / "outcome.json").read_text()) for f in (folder, whole))
    for model in ("winner", "probe", "training"):
        for key in ("folder", "val", "top1", "low", "high"):
            assert one[model][key] == two[model][key]
    assert one["expected"] == two["expected"]
