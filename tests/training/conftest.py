"""What several tests of training watch."""

import pytest


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures went through the frozen part, each time some did."""
    from carsclf.features import extract

    counts: list[int] = []
    real = extract.run_prefix

    def counting(module, loader, *settings):
        counts.append(len(loader.dataset))
        return real(module, loader, *settings)

    monkeypatch.setattr(extract, "run_prefix", counting)
    return counts
