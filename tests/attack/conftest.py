"""Projects whose commands run in this process, and a stand-in per test."""

from __future__ import annotations

from tests.cli.conftest import project, stand_in

__all__ = ["project", "stand_in"]
