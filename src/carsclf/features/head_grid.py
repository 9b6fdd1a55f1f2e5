"""Linear heads for a falling series of penalties, each from the two before it.

What differs from head to head is the penalty alone, so their solutions lie on a smooth curve: a
line through the last two begins close to the next. L-BFGS does the rest, in coordinates in which
the rows are centred and turned to their principal axes, and with each class's curvature known
where it starts. A head then takes some three evaluations, where one from nothing takes 150.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch.optim import Optimizer

TOLERANCE = 1e-5  # of the loss: how far above its least a head may be, as its curvature tells
ITERATIONS = 200  # at most, for one head
HISTORY = 20  # pairs of L-BFGS
NEAR = 32  # rows of which each class knows the curvature exactly
NEAR_BYTES = 256 << 20  # for those rows
BIAS = 1e-6  # in place of a penalty on the bias, so that its curvature is never zero


class HeadGrid(Optimizer):
    """Fits a linear head to all rows at once, at the penalty `weight_decay` of its one group.

    Minimises mean cross-entropy + weight_decay / 2 x |weights|^2, the bias left alone. The two
    last solutions are its state; it expects penalties at equal ratios, and the same rows in the
    same order each time. vectors: so many stand side by side in a row (see
    carsclf.models.pooling); the group's `vector` says which one the head is fitted to, counted
    from 1, or 0 for all. Weights of the others are zero.
    """

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter, *, vectors: int = 1) -> None:
        own = {"params": [weight, bias], "name": "head", "vector": 0}
        super().__init__([own], {"weight_decay": 0.0})
        self.vectors = vectors
        self._rows: tuple[int, Rows] | None = None  # of which vector they are

    @torch.no_grad()
    def fit(self, x: torch.Tensor, y: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Puts the best head for (n, width) rows in place; its (n, classes) logits."""
        (group,) = self.param_groups
        weight, bias = group["params"]
        vector, columns = group["vector"], self._columns(group["vector"], x.shape[1])
        if self._rows is None or self._rows[0] != vector:
            self._rows = vector, Rows.of(x[:, columns], y, smoothing)
        rows, state = self._rows[1], self.state[weight]
        if state.get("vector") != vector:
            state |= {"vector": vector, "solved": []}
        solved = state["solved"]
        if len(solved) == 2:
            start = 2 * solved[1] - solved[0]
        else:
            start = torch.cat([weight.flatten(1)[:, columns], bias[:, None]], 1)
        found = fit_head(rows, rows.turn(start), group["weight_decay"])
        head = rows.turn_back(found.head)
        state["solved"] = [*solved, head][-2:]
        weight.zero_().flatten(1)[:, columns] = head[:, :-1]
        bias.copy_(head[:, -1])
        return found.logits

    def _columns(self, vector: int, width: int) -> slice:
        each = width // self.vectors
        return slice(each * (vector - 1), each * vector) if vector else slice(None)


@dataclass(frozen=True)
class Rows:
    """(n, width) rows, centred and turned to their principal axes, and what they should be.

    A head is (classes, width + 1), the bias last. Turning it changes neither its logits nor the
    length of its weights, so the problem stays the same.
    """

    z: torch.Tensor
    y: torch.Tensor
    smoothing: float
    mean: torch.Tensor  # (width,)
    axes: torch.Tensor  # (width, width), in columns
    spread: torch.Tensor  # (width + 1,) mean squares of z, and 1 for the bias

    @classmethod
    def of(cls, x: torch.Tensor, y: torch.Tensor, smoothing: float = 0.0) -> "Rows":
        mean = x.mean(0)
        centred = x - mean
        squares, axes = torch.linalg.eigh(centred.T @ centred / len(x))
        spread = torch.cat([squares.clamp(min=0), squares.new_ones(1)])
        return cls(centred @ axes, y, smoothing, mean, axes, spread)

    def turn(self, head: torch.Tensor) -> torch.Tensor:
        """A head on x as a head on z."""
        weight, bias = head[:, :-1], head[:, -1]
        return torch.cat([weight @ self.axes, (bias + weight @ self.mean)[:, None]], 1)

    def turn_back(self, head: torch.Tensor) -> torch.Tensor:
        """A head on z as a head on x."""
        weight = head[:, :-1] @ self.axes.T
        return torch.cat([weight, (head[:, -1] - weight @ self.mean)[:, None]], 1)


@dataclass(frozen=True)
class Point:
    """A head with the objective there: its value, gradient and logits."""

    head: torch.Tensor
    value: float
    slope: torch.Tensor
    logits: torch.Tensor

    @classmethod
    def at(cls, head: torch.Tensor, rows: Rows, decay: float) -> "Point":
        n, classes = len(rows.y), len(head)
        logits = torch.addmm(head[:, -1], rows.z, head[:, :-1].T)
        loss = nn.functional.cross_entropy(logits, rows.y, label_smoothing=rows.smoothing)
        wrong = logits.softmax(1).sub_(rows.smoothing / classes)
        right = wrong.new_full((1, 1), rows.smoothing - 1).expand(n, 1)
        wrong.scatter_add_(1, rows.y[:, None], right).div_(n)
        slope = torch.cat([wrong.T @ rows.z, wrong.sum(0)[:, None]], 1)
        slope[:, :-1].add_(head[:, :-1], alpha=decay)
        value = float(loss) + decay / 2 * float(head[:, :-1].square().sum())
        return cls(head, value, slope, logits)


class Curvature:
    """An approximate inverse of the Hessian at a head, class by class.

    Of a class it is sum over rows of w z z^T, w = p (1 - p) / n, plus the penalty. The NEAR rows
    with the largest w count as they are (Woodbury's identity), all others as rows of the mean
    spread, which is diagonal here. Strong penalties make all w alike, weak ones leave few.
    """

    def __init__(self, rows: Rows, logits: torch.Tensor, decay: float) -> None:
        share = logits.softmax(1)
        w = (share * (1 - share)).div_(len(rows.y))
        classes, width = w.shape[1], len(rows.spread)
        fits = NEAR_BYTES // (4 * classes * width)
        near, which = w.topk(max(1, min(NEAR, fits, len(w))), dim=0)
        least = torch.full_like(rows.spread, decay)
        least[-1] = BIAS
        others = (w.sum(0) - near.sum(0)).clamp(min=0)
        self.diagonal = others[:, None] * rows.spread + least
        z = nn.functional.pad(rows.z[which.T], (0, 1), value=1.0)  # (classes, near, width)
        z.mul_(near.T.sqrt()[:, :, None])
        self.scaled = z / self.diagonal[:, None]
        inner = self.scaled @ z.mT
        inner.diagonal(dim1=1, dim2=2).add_(1)
        self.factor = torch.linalg.cholesky(inner)

    def solve(self, slope: torch.Tensor) -> torch.Tensor:
        """(classes, width + 1) to the same; what is added to all classes alike has no effect."""
        slope = slope - slope.mean(0)
        inner = torch.cholesky_solve(self.scaled @ slope[:, :, None], self.factor)
        step = slope / self.diagonal - (self.scaled.mT @ inner)[:, :, 0]
        return step - step.mean(0)


@dataclass(frozen=True)
class Pair:
    """A step and how the gradient changed over it."""

    step: torch.Tensor
    change: torch.Tensor

    @cached_property
    def product(self) -> float:
        return dot(self.step, self.change)


def fit_head(
    rows: Rows, start: torch.Tensor, decay: float, *, tolerance: float = TOLERANCE
) -> Point:
    """The head that minimises mean cross-entropy + decay / 2 x |weights|^2, from `start` on.

    Both are on turned rows. Ends where the value is within about `tolerance` of itself of its
    least, or as near as float32 comes.
    """
    # what all classes share changes no probability, so the least penalty is without it
    point, pairs = Point.at(start - start.mean(0), rows, decay), []
    curvature = Curvature(rows, point.logits, decay)
    for _ in range(ITERATIONS):
        if dot(point.slope, curvature.solve(point.slope)) / 2 < tolerance * point.value:
            break
        step = direction(point.slope, pairs, curvature)
        further = search(point, step, rows, decay)
        if further is None:
            break
        pairs.append(Pair(further.head - point.head, further.slope - point.slope))
        point, pairs = further, pairs[-HISTORY:]
    return point


def next_head(
    rows: Rows, before: Sequence[torch.Tensor], classes: int, decay: float
) -> torch.Tensor:
    """The head (classes, width + 1) on x of a penalty, begun on the line through the two before it.

    The first one begins at zero.
    """
    start = before[-1] if before else rows.z.new_zeros(classes, rows.z.shape[1] + 1)
    if len(before) > 1:
        start = 2 * before[-1] - before[-2]
    return rows.turn_back(fit_head(rows, rows.turn(start), decay).head)


def direction(slope: torch.Tensor, pairs: list[Pair], curvature: Curvature) -> torch.Tensor:
    """L-BFGS's two loops (Nocedal and Wright 2006, algorithm 7.4), from a known curvature."""
    step, taken = -slope, []
    for pair in reversed(pairs):
        taken.append(dot(pair.step, step) / pair.product)
        step = step - taken[-1] * pair.change
    step = curvature.solve(step)
    if pairs:
        last = pairs[-1]
        step *= last.product / dot(last.change, curvature.solve(last.change))
    for pair, share in zip(pairs, reversed(taken), strict=True):
        step = step + (share - dot(pair.change, step) / pair.product) * pair.step
    return step


def search(point: Point, step: torch.Tensor, rows: Rows, decay: float) -> Point | None:
    """The point along `step` whose value has fallen enough (Armijo); None where none has.

    The objective is convex: a fall alone gives a pair of positive curvature.
    """
    fall, length = dot(point.slope, step), 1.0
    noise = 1e-7 * abs(point.value)
    while length > 1e-4:
        further = Point.at(point.head + length * step, rows, decay)
        rise = further.value - point.value
        if rise <= 1e-4 * length * fall + noise:
            return further
        least = -fall * length**2 / 2 / (rise - fall * length)  # of the parabola through both
        length = min(max(least, length / 10), length / 2)
    return None


def dot(one: torch.Tensor, two: torch.Tensor) -> float:
    return float((one * two).sum())
