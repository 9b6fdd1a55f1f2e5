"""The published study's figures, to stand beside measured ones where the data is Stanford Cars.

SigOpt 2019-2020, "Insights for Building High-Performing Image Classification Models". Protocol as
run there: 20 % of each label of all 16,185 photos, drawn anew in every run; the last epoch's
accuracy on that validation part; one training each.
"""

from dataclasses import dataclass

SOURCE = "stanford_cars"
PROTOCOL = (
    "published figures: ResNet-18 fine-tuned and ResNet-50 frozen; validation, 20 % of each label "
    "of all 16,185 photos, split drawn anew in every run, last epoch; not comparable with the "
    "official test split"
)
TRIALS, WORKERS = 220, 20


@dataclass(frozen=True)
class Published:
    """One mode's figures: accuracies in [0, 1], hours of one training on one K80."""

    model: str
    baseline: float
    searched: float
    hours: float


FIGURES = {
    "freeze": Published("ResNet-50", 0.4641, 0.4799, 4.08),
    "finetune": Published("ResNet-18", 0.8341, 0.8733, 4.2),
}


def published(source: str, mode: str, role: str) -> float | None:
    """The published accuracy that stands beside a measured one, if there is one."""
    if source != SOURCE or mode not in FIGURES or role not in ("baseline", "winner"):
        return None
    figures = FIGURES[mode]
    return figures.baseline if role == "baseline" else figures.searched
