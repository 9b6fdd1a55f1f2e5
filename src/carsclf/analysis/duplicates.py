"""Pairs of photos that are one: candidates by nearest rows, checked on their pixels."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.fft import irfft2, rfft2

BLOCK_BYTES = 64 << 20  # of similarities at once, so that memory grows with n and not with n^2
SHARES = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6)  # of a side that a crop may have kept
COARSE = 0.1  # by which a pair may fall short at half the size
PAIRS = 512  # compared at once: their pixels stay in the processor's cache


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """(n, d) rows of length 1, float32; rows of zeros stay."""
    rows = np.asarray(rows, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length == 0, 1, length)


def neighbours(rows: np.ndarray, others: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of (n, d) rows the `most` of as many others with the largest product, not itself.

    Returns positions and products, (n, most), best first; in blocks of one matrix product.
    """
    n = len(rows)
    most = min(most, n - 1)
    where, product = np.empty((n, most), np.int64), np.empty((n, most), np.float32)
    for part in _blocks(n, max(1, BLOCK_BYTES // (4 * n))):
        like = rows[part] @ others.T
        like[np.arange(len(like)), np.arange(part.start, part.stop)] = -np.inf
        best = np.argpartition(-like, most - 1, axis=1)[:, :most] if most else where[part]
        value = np.take_along_axis(like, best, 1)
        order = np.argsort(-value, axis=1, kind="stable")
        where[part] = np.take_along_axis(best, order, 1)
        product[part] = np.take_along_axis(value, order, 1)
    return where, product


def pairs_above(where: np.ndarray, product: np.ndarray, least: float) -> np.ndarray:
    """(p, 2) positions of neighbours with at least a product: the smaller first, each pair once."""
    first, place = np.nonzero(product >= least)
    pairs = np.sort(np.stack([first, where[first, place]], 1), axis=1)
    return np.unique(pairs, axis=0)


def equal_pairs(keys: list[str]) -> np.ndarray:
    """(p, 2) positions of equal keys, each with the first of its kind only."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(key, i), i) for i, key in enumerate(keys) if key]
    return np.array([p for p in pairs if p[0] != p[1]], np.int64).reshape(-1, 2)


def likeness(
    thumbs: np.ndarray, pairs: np.ndarray, least: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """How alike two photos are at the best placement of one in the other, and whether mirrored.

    thumbs: (n, side, side), side even. The normalised cross-correlation of grey values (Lewis
    1995), at most 1, where each of the two, as it is and mirrored, is shrunk to SHARES of the
    other's sides and moved over it: so crops are found too. Flat pictures are like nothing: 0.
    Pairs that at half the size are not nearly as alike as `least` keep the value of there.
    """
    n, side = len(thumbs), thumbs.shape[1]
    halves = thumbs.reshape(n, side // 2, 2, side // 2, 2).mean((2, 4), dtype=np.float32)
    scores, mirrored = _likeness(halves, pairs)
    near = np.flatnonzero(scores >= least - COARSE)
    scores[near], mirrored[near] = _likeness(thumbs, pairs[near])
    return scores, mirrored


def _likeness(thumbs: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores = np.zeros(len(pairs), np.float32)
    mirrored = np.zeros(len(pairs), bool)
    for part in _blocks(len(pairs), PAIRS):
        one, two = (thumbs[pairs[part, side]] for side in (0, 1))
        for flip in (False, True):
            turned = two[:, :, ::-1] if flip else two
            best = np.maximum(_placed(one, turned), _placed(turned, one))
            mirrored[part] = np.where(best > scores[part], flip, mirrored[part])
            scores[part] = np.maximum(scores[part], best)
    return scores, mirrored


def _placed(whole: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """(p,) the best correlation of `piece`, shrunk, with any place in `whole`."""
    side = whole.shape[1]
    whole = whole - whole.mean((1, 2), keepdims=True)
    best, waves = np.zeros(len(whole), np.float32), rfft2(whole)
    sums = [_corner_sums(part) for part in (whole, whole * whole)]
    for height, width in _sizes(side):
        size = height * width
        small = _shrink(side, height) @ piece @ _shrink(side, width).T
        small = unit_rows((small - small.mean((1, 2), keepdims=True)).reshape(-1, size))
        # around the edges it wraps, but there the piece would not lie within the whole
        turned: Any = rfft2(small.reshape(-1, height, width), (side, side))
        product: Any = irfft2(waves * turned.conj(), (side, side))
        product = product[:, : side - height + 1, : side - width + 1]
        mean, square = (_windows(part, height, width) for part in sums)
        spread = np.sqrt(np.maximum(square - mean * mean / size, 0))
        # a place that is flat but for a grey value of noise is like nothing
        value = product / np.maximum(spread, size**0.5)
        best = np.maximum(best, value.max((1, 2)))
    return best.astype(np.float32)


def _corner_sums(x: np.ndarray) -> np.ndarray:
    """(p, side + 1, side + 1) sums of all above and left, in double precision."""
    return np.pad(x.astype(np.float64).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))


def _windows(sums: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sums of all windows of a size, from sums of all above and left."""
    below, above = sums[:, height:], sums[:, :-height]
    return below[:, :, width:] - below[:, :, :-width] - above[:, :, width:] + above[:, :, :-width]


def _sizes(side: int) -> list[tuple[int, int]]:
    """Heights and widths of a crop, whose shares of the sides differ by one step at most."""
    steps = range(len(SHARES))
    near = [(a, b) for a in steps for b in steps if abs(a - b) <= 1]
    return [(round(side * SHARES[a]), round(side * SHARES[b])) for a, b in near]


def _shrink(side: int, to: int) -> np.ndarray:
    """(to, side) weights that average a row of pixels by area."""
    edges = np.linspace(0, side, to + 1)
    low, high = edges[:-1, None], edges[1:, None]
    cells = np.arange(side)
    inside = np.minimum(high, cells + 1) - np.maximum(low, cells)
    return (np.clip(inside, 0, None) * to / side).astype(np.float32)


def _blocks(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
