#!/usr/bin/env -S uv run --script

# /// script
# dependencies = ["nox>=2025.10.14"]
# ///

"""``nox -s STAGE`` runs a stage of ``.ci/run``, which has its own environments; see ``nox -l``."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv|virtualenv"

STAGES = re.findall(r"^stage_(\w+)\(\)", Path(".ci/run").read_text(), re.MULTILINE)


def run(session: nox.Session, stage: str) -> None:
    session.run("bash", ".ci/run", stage, external=True)


for name in STAGES:
    usual = name in ("lint", "tests")
    nox.session(partial(run, stage=name), name=name, python=False, default=usual)

if __name__ == "__main__":
    nox.main()
