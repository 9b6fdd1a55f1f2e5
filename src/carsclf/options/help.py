"""`--help`: the settings as they are composed, with the comments that their YAML files make."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

KEY = re.compile(r"( *)([\w-]+):(?= |$)")


@dataclass
class Comments:
    """What YAML files say of their keys: above a key, and behind it."""

    heads: list[str] = field(default_factory=list)  # of files that belong to no key
    above: dict[str, list[str]] = field(default_factory=dict)  # dotted key -> lines
    behind: dict[str, str] = field(default_factory=dict)

    def read(self, text: str, package: str, group: str | None) -> None:
        """A file's comments; those it opens with belong to its group, or to the whole."""
        head, began, above = [], False, []
        for line, key in keyed(text, package):
            if line.lstrip().startswith("#"):
                (above if began else head).append(line.strip())
                continue
            began = began or bool(line.strip())
            if key is None:
                above = []  # of an entry of a list, such as the defaults
                continue
            _, hash_, comment = line.partition(" # ")
            if hash_:
                self.behind[key] = f"# {comment.strip()}"
            if above:
                self.above[key] = above
            above = []
        head = [line for line in head if not line.startswith("# @package")]
        if group is not None:
            self.above[group] = head
        else:
            self.heads += head


def commented_settings(*, _root_: DictConfig) -> str:
    """The OmegaConf resolver of `hydra.help.template`: settings and comments, `$` doubled."""
    settings = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "hydra"])
    comments = _comments(settings)
    lines = [*comments.heads, ""]
    for line, key in keyed(OmegaConf.to_yaml(settings), ""):
        indent = line[: len(line) - len(line.lstrip())]
        lines += [indent + comment for comment in comments.above.get(key or "", [])]
        comment = comments.behind.get(key or "")
        lines.append(f"{line} {comment}" if comment else line)
    return "\n".join(lines).replace("$", "$$")


def keyed(text: str, package: str) -> Iterator[tuple[str, str | None]]:
    """Each line of block-style YAML with the dotted key that it holds, if any."""
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = KEY.match(line)
        if match is None:
            yield line, None
            continue
        indent = len(match[1])
        while stack and stack[-1][0] >= indent:
            stack.pop()
        stack.append((indent, match[2]))
        yield line, ".".join([*([package] if package else []), *(name for _, name in stack)])


def _comments(settings: DictConfig) -> Comments:
    """Those of all files that were composed, in their order: the last word on a key counts."""
    hydra, loader = HydraConfig.get(), GlobalHydra.instance().config_loader()
    overrides = [*hydra.overrides.hydra, *hydra.overrides.task]
    composed = loader.compute_defaults_list(hydra.job.config_name, overrides, RunMode.RUN)
    folders = [Path(s.path) for s in hydra.runtime.config_sources if s.schema == "file"]
    comments = Comments()
    for part in composed.defaults:
        path = next(
            (f for f in (d / f"{part.config_path}.yaml" for d in folders) if f.is_file()), None
        )
        if path is None or part.config_path.startswith("hydra/"):
            continue
        group = part.config_path.rpartition("/")[0]
        package = "" if part.package in (None, "_global_") else part.package
        named = next((name for name in (group, package) if name in settings), None)
        comments.read(path.read_text(encoding="utf-8"), package, named)
    return comments
