"""Runs programs that step on several threads."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

TIMEOUT = 120  # seconds; a hang is a failure, slowness is not

PREAMBLE = """
import os, signal, sys, threading, time
import numpy as np
import fastopt

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored

def big_step(threads=4):
    p, g = np.zeros(300_000, np.float32), np.ones(300_000, np.float32)
    fastopt.sgd_step(p, g, lr=1.0, threads=threads)
    assert (p == -1).all()

# With a program's first thread, TSan starts one of its own. The stack of this one is too small
# for another to take over.
threading.stack_size(2**18)
first = threading.Thread(target=int)
first.start()
first.join()
threading.stack_size(0)

def count_threads():
    time.sleep(0.2)  # until the system has ended it
    return len(os.listdir("/proc/self/task"))
"""


def run(code: str, **environment: str) -> str:
    """Run a program that steps on several threads; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", PREAMBLE + textwrap.dedent(code)],
        check=False,
        timeout=TIMEOUT,
        text=True,
        capture_output=True,
        env=os.environ | environment,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
