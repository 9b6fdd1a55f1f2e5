"""Many mini-batches of cached features in one training step.

On features an optimizer step is two small products and an update; Lightning's hooks around it cost
several times as much. So a training step gets a chunk, up to an epoch, and goes through it itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from carsclf.features.head_grid import HeadGrid
from carsclf.models.heads import Head

Gradients = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(features, targets) of a mini-batch to its logits, leaving the loss's gradients in `.grad`."""


def train_on_chunk(
    gradients: Gradients,
    loss: nn.CrossEntropyLoss,
    optimizer: Optimizer,
    features: torch.Tensor,
    targets: torch.Tensor,
    *,
    batch_size: int,
    after_step: Callable[[], None],
    clip: Callable[[list[nn.Parameter]], None] = lambda parameters: None,
) -> torch.Tensor:
    """One optimizer step per mini-batch, in order; the (n, classes) logits before each.

    Of a grid of heads those after it: each epoch is told of its own head.

    features: (n, ...), targets: (n,), or (n, classes) of mixed ones; the last mini-batch may be
    smaller. clip: applied to the gradients before each step. Nothing is read back from the
    accelerator here, but by a line search.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    searches = isinstance(optimizer, torch.optim.LBFGS)
    kept = []
    for x, y in zip(features.split(batch_size), targets.split(batch_size), strict=True):
        if isinstance(optimizer, HeadGrid):
            kept.append(optimizer.fit(x, y, loss.label_smoothing))
        elif searches:
            kept.append(_search(gradients, loss, optimizer, x, y))
        else:
            kept.append(gradients(x, y))
            clip(parameters)
            optimizer.step()
        after_step()
    return torch.cat(kept)


def _search(
    gradients: Gradients, loss: nn.Module, optimizer: Any, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Iterations with a line search, which evaluate several times; the first logits."""
    first: list[torch.Tensor] = []

    def evaluate() -> torch.Tensor:
        logits = gradients(x, y)
        if not first:
            first.append(logits)
        return loss(logits, y)

    optimizer.step(evaluate)
    return first[0]


def gradients_of(rest: nn.Module, loss: nn.CrossEntropyLoss) -> Gradients:
    """Autograd, or for a linear head its formula: autograd takes about as long as the products.

    The formula is that of plain cross-entropy, in which all pictures count alike.
    """
    linear = rest.linear if isinstance(rest, Head) else None
    if linear is not None and linear.bias is not None and type(loss) is nn.CrossEntropyLoss:
        return _of_linear(linear, loss.label_smoothing)
    parameters = list(rest.parameters())

    def by_autograd(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for parameter in parameters:
            parameter.grad = None
        logits = rest(x).float()  # a softmax in bfloat16 loses too much
        loss(logits, y).backward()
        return logits.detach()

    return by_autograd


def _of_linear(linear: nn.Linear, smoothing: float) -> Gradients:
    """d/dz of softmax cross-entropy is (softmax(z) - target) / n, with smoothed targets."""
    weight, bias = linear.weight, linear.bias
    weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
    wrong, spread = 1 - smoothing, smoothing / len(bias)

    @torch.no_grad()
    def by_formula(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = x.new_empty(len(x), len(bias))
        torch.addmm(bias, x, weight.t(), out=logits)  # with out=, not autocast
        slope = logits.softmax(1)
        if spread:
            slope.sub_(spread)
        if y.ndim == 2:  # shares of classes
            slope.sub_(y, alpha=wrong)
        else:
            slope.scatter_add_(1, y[:, None], slope.new_full((1, 1), -wrong).expand(len(y), 1))
        slope.div_(len(y))
        torch.mm(slope.t(), x, out=weight.grad)
        torch.sum(slope, 0, out=bias.grad)
        return logits

    return by_formula


def count_steps(trainer: Any, steps: int) -> None:
    """Tells Lightning of the steps of one chunk, for `global_step` and loggers."""
    loop = trainer.fit_loop.epoch_loop
    for _ in range(steps):
        loop.manual_optimization.optim_step_progress.increment_ready()
        loop.manual_optimization.optim_step_progress.increment_completed()
    loop._batches_that_stepped += steps - 1  # it adds one itself
