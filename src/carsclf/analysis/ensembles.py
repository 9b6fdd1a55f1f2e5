"""Several models' predictions of the same photos as one: Predictions in, Predictions out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from carsclf.analysis.metrics import LARGEST_LOSS
from carsclf.errors import DataError
from carsclf.records import Predictions

LEAST = np.exp(-LARGEST_LOSS)  # the least probability that float32 tells from none


def align(members: Mapping[str, Predictions]) -> list[Predictions]:
    """Each member's predictions of the photos and classes that all have, in the first one's order.

    Photos are known by their ids, classes by their names. A photo of a class that not all know is
    left out; probabilities of classes that not all know are, and the others then sum to 1 again.
    Raises DataError, naming the member, where nothing is shared or a photo has two classes.
    """
    first = next(iter(members.values()))
    classes, ids = first.class_names, list(dict.fromkeys(first.ids))
    labels = dict(zip(first.ids, (first.class_names[t] for t in first.targets), strict=True))
    for name, member in members.items():
        known, seen = set(member.class_names), set(member.ids)
        classes, ids = [c for c in classes if c in known], [i for i in ids if i in seen]
        check_shared(name, classes)
        if not any(labels[i] in classes for i in ids):
            raise DataError(
                f"{name} shares no photo of this split with those named before it: train all on "
                "one split, with data.split_seed=0 or data.protocol=official, or leave it out"
            )
    wanted = set(classes)
    ids = [i for i in ids if labels[i] in wanted]
    return [_restricted(name, member, ids, classes, labels) for name, member in members.items()]


def check_shared(name: str, classes: Collection[str]) -> None:
    """Raises DataError where a member shares fewer than two classes with those before it."""
    if len(classes) < 2:
        raise DataError(
            f"{name} shares {len(classes)} classes with those named before it, and an ensemble "
            "needs two or more, by their names: leave it out of runs="
        )


def mean(members: Sequence[Predictions], weights: Sequence[float] | None = None) -> Predictions:
    """Their mean of probabilities; weights are at least 0 and sum to 1 (equal ones by default).

    Hansen & Salamon, IEEE PAMI 12 (1990).
    """
    shares = np.full(len(members), 1 / len(members)) if weights is None else np.asarray(weights)
    whole = np.tensordot(shares, np.stack([m.probabilities for m in members]), axes=1)
    return replace(members[0], probabilities=whole)


def vote(members: Sequence[Predictions], seed: int) -> Predictions:
    """The class that most members say: its probability is its share of votes.

    Where several have most, the seed draws one of them, and half a vote more tells which.
    """
    members_said = np.stack([member.predicted for member in members])
    n, k = members[0].probabilities.shape
    votes = np.zeros((n, k))
    for said in members_said:
        votes[np.arange(n), said] += 1
    most = votes == votes.max(axis=1, keepdims=True)
    drawn = np.where(most, np.random.default_rng(seed).random((n, k)), -1).argmax(axis=1)
    tied = np.flatnonzero(most.sum(axis=1) > 1)
    votes[tied, drawn[tied]] += 0.5
    return replace(members[0], probabilities=votes / votes.sum(axis=1, keepdims=True))


def fit_weights(members: Sequence[Predictions]) -> np.ndarray:
    """(members,) weights, at least 0 and of sum 1, whose mean has the least log loss on them.

    The log loss of a mixture is convex in its weights, so there is one optimum; the search begins
    at equal weights.
    """
    targets = members[0].targets
    own = np.stack([m.probabilities[np.arange(len(targets)), targets] for m in members], axis=1)
    own = np.maximum(own.astype(np.float64), LEAST)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(own @ weights, LEAST)
        return float(-np.log(mixed).mean()), -(own / mixed[:, None]).mean(axis=0)

    count = len(members)
    found = minimize(
        loss,
        np.full(count, 1 / count),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-10, "maxiter": 1000},
    )
    weights = np.clip(found.x, 0, None)
    return weights / weights.sum()


def agreement(members: Sequence[Predictions]) -> np.ndarray:
    """(members, members): the share of photos of which both say the same class, in [0, 1]."""
    said = np.stack([member.predicted for member in members])
    return (said[:, None] == said[None]).mean(axis=2)


def _restricted(
    name: str,
    member: Predictions,
    ids: list[str],
    classes: list[str],
    labels: Mapping[str, str],
) -> Predictions:
    """A member's predictions of these photos and classes."""
    row = {id: i for i, id in enumerate(member.ids)}
    rows = [row[id] for id in ids]
    named = [member.class_names[target] for target in member.targets[rows]]
    other = next((i for i, c in zip(ids, named, strict=True) if c != labels[i]), None)
    if other is not None:
        raise DataError(
            f"{name} was trained with another label of {other} than the first of runs= "
            f"({labels[other]}): leave it out, or train it anew on the same labels"
        )
    column = {c: i for i, c in enumerate(member.class_names)}
    probabilities = member.probabilities[np.ix_(rows, [column[c] for c in classes])]
    if len(classes) < len(member.class_names):
        probabilities = np.maximum(probabilities.astype(np.float64), LEAST)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    index = {c: i for i, c in enumerate(classes)}
    targets = np.array([index[c] for c in named])
    return Predictions(ids, [member.paths[i] for i in rows], targets, probabilities, classes)
