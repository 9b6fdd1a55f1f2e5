"""The metrics of an epoch, added up batch by batch on the device, over all processes."""

from typing import Any

import torch
from torch import nn
from torchmetrics import CatMetric, MeanMetric

from carsclf.analysis.metrics import LARGEST_LOSS, macro_f1
from carsclf.data.wholes import Wholes


def mean_metric() -> MeanMetric:
    """Over pictures: by default it leaves out what is no number, and disabled, its weights."""
    return MeanMetric(nan_strategy="disable")


class Validation(nn.Module):
    """val/loss, val/top1, val/top5 and val/macro_f1 of the pictures it was told of, by wholes."""

    def __init__(self, wholes: Wholes) -> None:
        super().__init__()
        self.means = nn.ModuleDict({name: mean_metric() for name in ("loss", "top1", "top5")})
        # torchmetrics' own F1 takes as long as training a head does: its counts are kept instead
        # disable: else each batch waits for the device, to look for NaN among whole numbers
        self.targets = CatMetric(nan_strategy="disable")
        self.said, self.wholes = CatMetric(nan_strategy="disable"), wholes

    def update(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """(n, classes) float32 and (n,)."""
        logits, targets = self.wholes.logits(logits), self.wholes.targets(targets)
        ranked = logits.topk(min(5, logits.shape[1])).indices == targets[:, None]
        losses = nn.functional.cross_entropy(logits, targets, reduction="none")
        values = {
            "loss": losses.clamp(max=LARGEST_LOSS),  # as predictions are judged
            "top1": ranked[:, 0].float(),
            "top5": ranked.any(1).float(),
        }
        for name, value in values.items():
            metric: Any = self.means[name]
            metric.update(value)
        self.targets.update(targets)
        self.said.update(logits.argmax(1))

    def collect(self) -> dict[str, Any]:
        """The figures, after which it begins anew."""
        means: dict[str, Any] = dict(self.means)
        values = {f"val/{name}": metric.compute() for name, metric in means.items()}
        targets, said = (m.compute().long().cpu().numpy() for m in (self.targets, self.said))
        for metric in (*means.values(), self.targets, self.said):
            metric.reset()
        return values | {"val/macro_f1": macro_f1(targets, said, len(self.wholes.names))}
