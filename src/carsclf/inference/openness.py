"""How far a picture lies from all that a model was trained on: "none of these".

Two measures: the distance to the k-th nearest training picture among the normalised features that
the classifier sees (Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors"),
and how small the largest probability is (Hendrycks & Gimpel 2017, "A Baseline for Detecting
Misclassified and Out-of-Distribution Examples"). Each is set against what validation photos, of
known classes, have; both together as Fisher (1925) combines tests. Which of the known measures, and
which k, was measured: experiments/unknown.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from carsclf.errors import CheckpointError
from carsclf.files import AnyPath, atomic_write

NEIGHBOURS = 1  # k
EXCEEDED = 0.05  # share of validation photos beyond the threshold, where the tail begins
THRESHOLD = 1 - EXCEEDED
POINTS = 256  # quantiles that are kept
AT_ONCE = 1 << 24  # similarities in memory


def doubt(logits: np.ndarray) -> np.ndarray:
    """(n,) of logits (n, classes): minus the logarithm of the largest probability."""
    below = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(below).sum(1))


def normalised(embeddings: np.ndarray) -> np.ndarray:
    """Rows (n, d) of unit length, float32."""
    rows = np.asarray(embeddings, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def distance(embeddings: np.ndarray, bank: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """(n,) Euclidean distances to the k-th nearest row of the bank (m, d) of unit rows.

    The farthest where there are fewer than k.
    """
    rows, bank = normalised(embeddings), np.asarray(bank, np.float32)
    k, step = min(k, len(bank)), max(1, AT_ONCE // len(bank))
    nearest = [np.empty(0, np.float32)]
    for start in range(0, len(rows), step):
        similar = rows[start : start + step] @ bank.T
        nearest.append(np.partition(similar, -k, axis=1)[:, -k])
    # a product of unit rows is the cosine; below 0 by rounding where they are equal
    return np.sqrt(np.maximum(2 - 2 * np.concatenate(nearest), 0))


@dataclass(frozen=True)
class Scale:
    """Where a value lies among those of validation, at any height.

    quantiles: (POINTS,) float64, of shares 0 to THRESHOLD; beyond the last, an exponential tail of
    mean `excess`, as excesses over a threshold have it (Pickands 1975, with shape 0).
    """

    quantiles: np.ndarray
    excess: float

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """Of what validation photos have, (n,)."""
        values = np.asarray(values, np.float64)
        quantiles = np.quantile(values, np.linspace(0, THRESHOLD, POINTS))
        beyond = values[values > quantiles[-1]] - quantiles[-1]
        spread = float(np.ptp(values)) or 1.0
        return cls(quantiles, float(beyond.mean()) if len(beyond) else 1e-3 * spread)

    def surprise(self, values: np.ndarray) -> np.ndarray:
        """Minus the logarithm of the share of validation that lies higher, (n,) from 0 upwards."""
        values = np.asarray(values, np.float64)
        below = np.interp(values, self.quantiles, np.linspace(0, THRESHOLD, POINTS))
        beyond = np.maximum(values - self.quantiles[-1], 0) / self.excess
        return beyond - np.log1p(-below)

    def share(self, values: np.ndarray) -> np.ndarray:
        """The share of validation that lies lower, (n,) in [0, 1]."""
        return -np.expm1(-self.surprise(values))


@dataclass(frozen=True)
class Openness:
    """All that a model's openness needs, as `openness.safetensors` in its run folder holds it.

    bank: (m, d) float16 unit rows, features of training photos; key: of the model whose they are.
    """

    bank: np.ndarray
    distances: Scale
    doubts: Scale
    both: Scale
    key: str
    k: int = NEIGHBOURS

    @classmethod
    def fit(
        cls, train: np.ndarray, val: np.ndarray, logits: np.ndarray, key: str, k: int = NEIGHBOURS
    ) -> Self:
        """Of features of training photos (m, d), and of features and logits of validation's."""
        bank = normalised(train).astype(np.float16)
        far, high = distance(val, bank, k), doubt(logits)
        distances, doubts = Scale.of(far), Scale.of(high)
        both = Scale.of(distances.surprise(far) + doubts.surprise(high))
        return cls(bank, distances, doubts, both, key, k)

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """(n,) float32 in [0, 1]; 5 % of validation photos lie above THRESHOLD."""
        far = self.distances.surprise(self._distance(embeddings))
        return self.both.share(far + self.doubts.surprise(doubt(logits))).astype(np.float32)

    def remoteness(self, embeddings: np.ndarray) -> np.ndarray:
        """(n,) float32 in [0, 1]: the distance alone, by the share of validation that is nearer."""
        return self.distances.share(self._distance(embeddings)).astype(np.float32)

    def _distance(self, embeddings: np.ndarray) -> np.ndarray:
        return distance(embeddings, self._rows, self.k)

    @cached_property
    def _rows(self) -> np.ndarray:
        """The bank as `distance` multiplies it: to convert it takes longer than one picture's."""
        return self.bank.astype(np.float32)

    @property
    def digest(self) -> str:
        """Another one for each content: what was scored with it can be told apart."""
        digest = hashlib.blake2b(f"{self.key}|{self.k}".encode(), digest_size=16)
        for array in self._arrays().values():
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def write(self, path: AnyPath) -> None:
        from safetensors.numpy import save_file

        with atomic_write(path) as temporary:
            save_file(self._arrays(), temporary, {"key": self.key, "k": json.dumps(self.k)})

    @classmethod
    def read(cls, path: AnyPath) -> Self:
        """Raises CheckpointError for what is none."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                told = file.metadata() or {}
            scales = [
                Scale(held[name][:-1], float(held[name][-1]))
                for name in ("distances", "doubts", "both")
            ]
            return cls(held["bank"], *scales, key=told["key"], k=json.loads(told["k"]))
        except (OSError, SafetensorError, KeyError, ValueError, IndexError) as error:
            raise CheckpointError(
                f"{path} cannot be read ({' '.join(str(error).split())}): remove it, and "
                "predict.py openness=true measures it anew"
            ) from None

    def _arrays(self) -> dict[str, np.ndarray]:
        scales = {"distances": self.distances, "doubts": self.doubts, "both": self.both}
        each = {name: np.append(scale.quantiles, scale.excess) for name, scale in scales.items()}
        return {"bank": self.bank, **each}
