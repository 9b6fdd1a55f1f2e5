"""`advise.py`: an advice from its first look to its page."""

from pathlib import Path

from omegaconf import DictConfig

from carsclf.advising.advice import Advice, say
from carsclf.advising.command import advise as stages
from carsclf.advising.plan import SAME
from carsclf.figures.cost import hours
from carsclf.figures.style import look
from carsclf.options.command_line import argument, say_next
from carsclf.records import RANDOM_WEIGHTS, Run, RunFolder
from carsclf.report.advice import commands, sections
from carsclf.report.advice.material import Material
from carsclf.report.advice.more import twice_the_time
from carsclf.report.page import Desk, Figure, Page
from carsclf.report.words import percent

ORDER = (
    *(sections.answer, sections.choices, sections.candidates, sections.epochs),
    *(sections.growth, sections.time),
)


def advise(config: DictConfig, began: float | None = None) -> str:
    """All stages that are left, and the page; returns the advice's folder."""
    return stages(config, began, (page,))


def page(advice: Advice) -> None:
    """Writes index.html, with its figures and tables beside it."""
    material, desk = Material.of(advice), Desk(advice.folder.root)
    with look():
        parts = [part(material, desk) for part in ORDER]
    parts.append(commands.section(material))
    whole = Page(title(material), facts(material), warnings(material), glance(material), parts)
    say(f"page: {desk.write(whole)}")
    say_next(f"python serve.py {argument('run', advice.folder.root / material.winner.folder)}")


def title(material: Material) -> str:
    return f"The best classifier that {hours(material.advice.hours)} can buy"


def facts(material: Material) -> str:
    """Data, classes and splits, in a line."""
    found, config = material.look, material.advice.training
    parts = ", ".join(f"{n:,} {split}" for split, n in found["images"].items())
    root = Path(config.data.root).name if config.data.root else ""
    named = f"{config.data.name} ({root})" if root else str(config.data.name)
    classes = f", {found['classes']} classes" if "classes" in found else ""
    return f"{named}{classes}; pictures: {parts}; protocol {config.data.protocol}"


def warnings(material: Material) -> list[str]:
    """What a reader must know before any number."""
    told = []
    folder = material.advice.folder.root / material.winner.folder
    if Run.read(RunFolder(folder).run).weights == "random":
        told.append(RANDOM_WEIGHTS)
    if material.outcome.split != "test":
        told.append(
            "There is no test split, so the winner is judged on validation, by which it was chosen "
            "too: a flattered figure. data.test_fraction=0.2 holds one back."
        )
    if double := sum(material.look.get("duplicates", {}).get("counts", {}).values()):
        told.append(
            f"{double} pictures lie in two splits, byte for byte: the accuracy is flattered."
        )
    return told


def glance(material: Material) -> list[Figure]:
    """What it is; how good, how fast, and what more time would buy."""
    best, outcome = material.winner, material.outcome
    how = sections.MODES[best.mode]
    trained = f"trained in {hours(material.cost(best) / 3600)}"
    if outcome.head_as_good:
        same = (
            "; fine-tuning is no better" if best == material.head else "; a frozen head is as good"
        )
    else:
        same = "; fine-tuning would be no better" if material.plan.verdict == SAME else ""
    return [
        Figure(
            f"{best.network}, {how}, {best.image_size} px",
            f"{trained}; {best.parameters / 1e6:.1f} M parameters, licence of its weights: "
            f"{best.licence or 'none'}{same}; {best.folder}",
            "answer",
        ),
        Figure(
            percent(best.top1, 1),
            f"right [{100 * best.low:.1f} to {100 * best.high:.1f}] of {outcome.images:,} "
            f"{outcome.split} pictures, judged once",
            "answer",
        ),
        Figure(
            f"{best.answer_ms:.3g} ms",
            f"for one answer; {best.predict_rate:,.0f} pictures a second in batches, here",
            "choices",
        ),
        Figure(*twice_the_time(material)[:2], "more"),
    ]
