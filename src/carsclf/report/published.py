"""The published study's figures, to stand beside those of the same network and protocol.

SigOpt 2019-2020, "Insights for Building High-Performing Image Classification Models". Protocol as
run there: 20 % of each label of all 16,185 photos, drawn anew in every run; the last epoch's
accuracy on that validation part; one training each.
"""

from dataclasses import dataclass

from carsclf.report.groups import Group
from carsclf.report.material import Material

SOURCE, SPLITS, CLASSES, SIZE = "stanford_cars", "published", 196, 224
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
    timm: str
    baseline: float
    searched: float
    hours: float


FIGURES = {
    "freeze": Published("ResNet-50", "resnet50", 0.4641, 0.4799, 4.08),
    "finetune": Published("ResNet-18", "resnet18", 0.8341, 0.8733, 4.2),
}


def published(material: Material, group: Group) -> Published | None:
    """The figures that stand beside a configuration: the same network, mode and protocol only."""
    figures = FIGURES.get(group.mode)
    if figures is None or group.random or group.model.split(".")[0] != figures.timm:
        return None
    classes = group.runs[0].run.classes if group.runs else CLASSES
    alike = (
        (material.source, material.protocol, material.split) == (SOURCE, SPLITS, "val")
        and classes == CLASSES
        and group.size in (None, SIZE)
        and group.config.get("data.fraction", 1.0) == 1.0
    )
    return figures if alike else None


def published_accuracy(material: Material, group: Group) -> float | None:
    """Of the role that a configuration has in its study."""
    figures = published(material, group)
    if figures is None or group.role not in ("baseline", "searched"):
        return None
    return figures.baseline if group.role == "baseline" else figures.searched


def any_published(material: Material, groups: list[Group]) -> bool:
    """Whether a published figure stands beside any of them."""
    return any(published(material, group) is not None for group in groups)
