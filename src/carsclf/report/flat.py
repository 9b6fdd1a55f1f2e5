"""Configurations as dotted keys, read back from a folder."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

Flat = dict[str, Any]


def read_overrides(path: Path) -> list[str] | None:
    """A file of overrides; None where there is none."""
    return list(yaml.safe_load(path.read_text()) or []) if path.is_file() else None


def read_config(path: Path) -> Flat:
    """A config.yaml as dotted keys."""
    return flat(OmegaConf.load(path))


def flat(config: Any) -> Flat:
    """A configuration as dotted keys, values as they stand."""
    return _flat(OmegaConf.to_container(config), "")


def _flat(node: Any, path: str) -> Flat:
    if not isinstance(node, dict) or not node:
        return {path: node}
    parts = [_flat(value, f"{path}.{key}" if path else str(key)) for key, value in node.items()]
    return {key: value for part in parts for key, value in part.items()}
