"""Does a model know when it is right? hits (n,) bool, confidence (n,) = largest probability."""

import numpy as np
import pandas as pd


def reliability(hits: np.ndarray, confidence: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """Equal-width bins of confidence that hold pictures.

    Columns: low, high, images, confidence and accuracy (means, in [0, 1]).
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    there = images > 0
    sums = [np.bincount(place, weights=w, minlength=bins)[there] for w in (confidence, hits)]
    return pd.DataFrame(
        {
            "low": edges[:-1][there],
            "high": edges[1:][there],
            "images": images[there],
            "confidence": sums[0] / images[there],
            "accuracy": sums[1] / images[there],
        }
    )


def expected_calibration_error(hits: np.ndarray, confidence: np.ndarray, bins: int = 15) -> float:
    """Sum over bins of images/n · |accuracy - confidence|, in [0, 1]; 0 is calibrated.

    Naeini et al., AAAI 2015; Guo et al., ICML 2017.
    """
    table = reliability(hits, confidence, bins)
    images, sure, right = table[["images", "confidence", "accuracy"]].to_numpy(float).T
    return float((images * np.abs(right - sure)).sum() / len(hits))


def temperature(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """What logits are divided by so that the log loss is least; above 1: they were too sure.

    Guo et al., ICML 2017. Lies in [0.05, 20].
    """
    from scipy.optimize import minimize_scalar

    logits = _logarithms(probabilities)
    rows = np.arange(len(targets))

    def loss(log_t: float) -> float:
        return -float(_log_softmax(logits / np.exp(log_t))[rows, targets].mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """(n, k) probabilities whose logits were divided by a temperature."""
    return np.exp(_log_softmax(_logarithms(probabilities) / temperature))


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    tiny = np.finfo(np.float32).tiny
    return np.log(np.clip(probabilities.astype(np.float64), tiny, None))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def refusal(hits: np.ndarray, confidence: np.ndarray, points: int = 101) -> pd.DataFrame:
    """Accuracy on what is left when the least confident pictures are refused.

    Columns: refused (share in [0, 1)), accuracy (in [0, 1]); one row per distinct number refused.
    Equal confidences are refused in the pictures' order. At least one picture is left.
    """
    order = np.argsort(confidence, kind="stable")
    kept_hits = np.cumsum(np.asarray(hits, float)[order][::-1])[::-1]
    n = len(order)
    refused = np.unique(np.linspace(0, n - 1, points).astype(int))
    return pd.DataFrame({"refused": refused / n, "accuracy": kept_hits[refused] / (n - refused)})
