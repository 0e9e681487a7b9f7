"""How tests call ``python -m fastopt``: in this process, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fastopt.__main__ import main


def assert_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """Assert that the command says `message` in its only line and exits with status 2."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastopt", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
