"""Forks, exits and signals never hang or leak."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import PREAMBLE, TIMEOUT, run

unix_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

FORKS = {
    "fork in the middle": """
        big_step()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                big_step()
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            big_step()
        """,
    "fork of a fork": """
        big_step()
        for _ in range(3):
            if os.fork():
                status = os.wait()[1]
                big_step()
                os._exit(os.waitstatus_to_exitcode(status))
            big_step()
        os._exit(0)
        """,
    "fork from threads while others step": """
        stop = False
        def keep_stepping():
            while not stop:
                big_step()
        threads = [threading.Thread(target=keep_stepping) for _ in range(2)]
        for thread in threads:
            thread.start()
        def fork_some():
            for _ in range(20):
                child = os.fork()
                if child == 0:
                    big_step()
                    os._exit(7)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        forking = threading.Thread(target=fork_some)
        forking.start()
        forking.join()
        stop = True
        for thread in threads:
            thread.join()
        """,
    "exit right after a step": "big_step()",
    "exit by os._exit": "big_step(); os._exit(0)",
    "exit while a daemon thread steps": """
        def forever():
            while True:
                big_step()
        for _ in range(2):
            threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.2)
        """,
    "exit while daemon threads drop and sum": """
        x = np.ones(300_000)
        def forever(call):
            while True:
                call()
        drop = lambda: fastopt.dropout(x, 0.5, seed=1)
        for call in (drop, lambda: fastopt.penalty(x, l2=0.1), lambda: fastopt.max_norm(+x, 1.0)):
            threading.Thread(target=forever, args=(call,), daemon=True).start()
        time.sleep(0.2)
        """,
    "step at exit": """
        import atexit
        atexit.register(big_step)
        big_step()
        """,
    "a thread that ends": """
        for _ in range(50):
            thread = threading.Thread(target=big_step)
            thread.start()
            thread.join()
        """,
    "subclasses in many threads at once": """
        class Sub(np.ndarray):
            pass
        def step():
            for _ in range(50):
                fastopt.sgd_step(np.zeros(5).view(Sub), np.ones(5).view(Sub))
        threads = [threading.Thread(target=step) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """,
    "no threads to be had": """
        import resource
        # Thread stacks count as address space: with no room for one, starting a thread fails.
        used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        p, g = np.zeros(300_000, np.float32), np.ones(300_000, np.float32)
        before = count_threads()
        resource.setrlimit(resource.RLIMIT_AS, (used + 6_000_000, used + 6_000_000))
        for _ in range(3):
            fastopt.sgd_step(p, g, lr=1.0, threads=4)
        assert (p == -3).all()
        assert count_threads() == before
        """,
    "Ctrl-C between steps": """
        big_step()
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        def forever():
            while True:
                big_step()
        try:
            forever()
        except KeyboardInterrupt:
            sys.exit(0)
        """,
    "Ctrl-C while asleep after a step": """
        big_step()
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        interrupted = False
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            interrupted = True
        assert interrupted
        big_step()
        """,
}


@unix_only
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("code", FORKS.values(), ids=FORKS.keys())
def test_forks_exits_and_signals(code: str) -> None:
    run(code)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, tmp_path: Path) -> None:
    if sys.platform == "win32" and method != "spawn":
        pytest.skip("Windows can only spawn")
    script = tmp_path / "program.py"
    body = f"""
def work(seed):
    rng = np.random.default_rng(seed)
    p = rng.standard_normal(100_000)
    state = fastopt.adam_init(p)
    for _ in range(5):
        fastopt.adam_step(p, rng.standard_normal(100_000), state, threads=3)
    return p.tobytes()

if __name__ == "__main__":
    import multiprocessing
    here = [work(seed) for seed in range(4)]
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        assert pool.map(work, range(4)) == here
    big_step()
"""
    script.write_text(PREAMBLE + body)
    result = subprocess.run(
        [sys.executable, str(script)], check=False, timeout=TIMEOUT, text=True, capture_output=True
    )
    assert result.returncode == 0, result.stderr
