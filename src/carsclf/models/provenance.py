"""Whose weights they are: the licence and the origin that their publisher states."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carsclf.errors import CheckpointError
from carsclf.models.checkpoint_files import short, told_inside
from carsclf.records import UNKNOWN, ModelCard, RunFolder

ORIGIN = ("hf_hub_id", "url", "tag", "origin_url", "paper_name", "paper_ids")  # timm's words
LICENSE = ("weights_license", "license", "modelspec.license")  # ours, anyone's, ModelSpec's
RESTRICTED = re.compile(r"\bnc\b|non-?commercial|research|\bamlr\b|\bseer\b")
"""cc-by-nc and what says so; Apple's AMLR and Meta's SEER allow research only in their text."""


@dataclass(frozen=True)
class Provenance:
    """What is stated of weights; license: None where there are no weights to have one."""

    license: str | None = UNKNOWN
    source: dict[str, str] = field(default_factory=dict)  # see ORIGIN


NO_WEIGHTS = Provenance(None)


def stated_by_timm(config: Mapping[str, Any]) -> Provenance:
    """What a network's pretrained_cfg says of the weights that timm has for it."""
    return Provenance(config.get("license") or UNKNOWN, _origin(config))


def stated_at(path: Path) -> Provenance:
    """What is known of a weights file or folder: from a run's model.json, else from the file.

    A run passes on what is stated of the weights that it began with itself.
    """
    if card := card_of(path):
        return Provenance(card.weights_license, card.weights_source)
    told = told_inside(path)
    license = next((told[key] for key in LICENSE if told.get(key)), UNKNOWN)
    return Provenance(short(license), _origin(told))


def card_of(path: Path) -> ModelCard | None:
    """The model.json of a run's folder or weights; None where there is none of ours."""
    files = RunFolder(path if path.is_dir() else path.parent)
    if path in (files.root, files.weights) and files.card.is_file():
        with suppress(CheckpointError):  # some other program's model.json
            return ModelCard.read(files.card)
    return None


def forbids_commerce(license: str | None) -> bool:
    """Whether a licence's name is known for allowing research or non-commercial use only."""
    return license is not None and RESTRICTED.search(license.lower()) is not None


def _origin(told: Mapping[str, Any]) -> dict[str, str]:
    found = {key: told[key] for key in ORIGIN if told.get(key)}
    if "hf_hub_id" in found:
        found.pop("url", None)  # which timm takes only where there is no hub's
    return {k: short(v if isinstance(v, str) else ", ".join(map(str, v))) for k, v in found.items()}
