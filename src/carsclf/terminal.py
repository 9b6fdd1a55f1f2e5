"""What is said on the terminal."""

from typing import Any

from rich.console import Console


def terminal(*, stderr: bool = False, **settings: Any) -> Console:
    """A rich console to which [brackets] and :colons: in names are nothing but text."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, **settings)
