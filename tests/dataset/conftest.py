from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def listed_folders(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are listed during a test, by whatever library."""
    seen: list[Path] = []
    for name in ("listdir", "scandir"):
        original = getattr(os, name)

        def recording(path=".", original=original):
            seen.append(Path(path))
            return original(path)

        monkeypatch.setattr(os, name, recording)
    return seen
