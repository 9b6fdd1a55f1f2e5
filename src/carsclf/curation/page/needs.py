"""What the page needs, asked before anything long begins."""

from importlib.util import find_spec

from carsclf.errors import ConfigError


def check_page() -> None:
    """Refuses to begin without the package that only the page needs."""
    if find_spec("nicegui") is None:
        raise ConfigError("page=true needs NiceGUI: pip install 'carsclf[page]'")
