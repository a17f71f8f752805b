"""A sandbox as if it were new for each test, and a project whose commands run in this process.

What a process shows and nothing else does (signals, kills, two at once) starts one: `project.process`, `project.start`.
"""

from __future__ import annotations

from tests.cli.conftest import project, stand_in, tmp_path

__all__ = ["project", "stand_in", "tmp_path"]
