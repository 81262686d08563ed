"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SHARED_DATA = PROJECT.parent / "shared" / "data"

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real tokenizers, a real small checkpoint and benchmarks, where it is present."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the data folder at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root folder."""
    return PROJECT
