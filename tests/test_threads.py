"""Any number of threads gives the same bits; forks, exits and signals never hang or leak."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from cases import (
    PLAIN_CASES,
    TERMS,
    Case,
    assert_same_bits,
    check_against_reference,
    name_of_terms,
    random_like,
)

import fastopt
from fastopt import threads as fastopt_threads

TIMEOUT = 120  # seconds; a hang is a failure, slowness is not
unix_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PREAMBLE = """
import os, signal, sys, threading, time
import numpy as np
import fastopt

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored

def big_step(threads=4):
    p, g = np.zeros(300_000, np.float32), np.ones(300_000, np.float32)
    fastopt.sgd_step(p, g, lr=1.0, threads=threads)
    assert (p == -1).all()

def count_threads():
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


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("terms", [TERMS[0], TERMS[-1]], ids=name_of_terms)
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_same_bits_for_any_number_of_threads(
    case: Case, terms: dict, rng: np.random.Generator
) -> None:
    sizes = [100_003, 5, 0, 70_000, 1, 33_333]
    like = [np.empty(n, np.float32 if n % 2 else np.float64) for n in sizes]
    like += [np.empty((300, 200)).T, np.empty((200, 500))[:, ::2]]
    for threads in (1, 2, 3, 7):
        check_against_reference(case, random_like(like, rng), rng, terms, 2, threads=threads)


def test_strided_chunks(rng: np.random.Generator) -> None:
    """Threads begin in the middle of rows and of buffers."""
    whole, grads = random_like([np.empty((400, 301))] * 2, rng)
    expected = whole.copy()
    expected[::-1, 1:300:3] -= 0.5 * grads.T[1:300:3].T[::-1]
    fastopt.sgd_step(whole[::-1, 1:300:3], grads[::-1, 1:300:3], lr=0.5, threads=5)
    assert_same_bits(whole, expected)


def test_many_python_threads_at_once(rng: np.random.Generator) -> None:
    """Disjoint arrays, stepped at the same time, large and small ones."""
    starts = [random_like([np.empty(n, np.float32)], rng) for n in (50_000, 10, 5_000, 200_000) * 3]
    expected = copy.deepcopy(starts)
    for params in expected:
        state = fastopt.adam_init(params)
        for _ in range(30):
            fastopt.adam_step(params, params_as_grads(params), state, threads=1)
    barrier = threading.Barrier(len(starts))

    def train(params: list) -> None:
        barrier.wait()
        state = fastopt.adam_init(params)
        for _ in range(30):
            fastopt.adam_step(params, params_as_grads(params), state, threads=3)

    workers = [threading.Thread(target=train, args=(params,)) for params in starts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(TIMEOUT)
        assert not worker.is_alive()
    assert_same_bits(starts, expected)


def params_as_grads(params: list) -> list:
    return [p * np.float32(0.5) for p in params]


def test_other_python_threads_run_during_a_step() -> None:
    """The GIL is released: a counter advances while one long step is under way."""
    out = run(
        """
        p = np.zeros(30_000_000, np.float32)
        ticks, stop = 0, False
        def count():
            global ticks
            while not stop:
                ticks += 1
                time.sleep(0.0005)
        thread = threading.Thread(target=count)
        thread.start()
        time.sleep(0.01)
        before = ticks
        fastopt.sgd_step(p, p.copy(), threads=1)
        during = ticks - before
        stop = True
        thread.join()
        print(during)
        """
    )
    assert int(out) >= 1


def test_set_num_threads() -> None:
    before = fastopt.get_num_threads()
    try:
        for n in (1, 5, np.int64(2)):
            fastopt.set_num_threads(n)
            assert fastopt.get_num_threads() == n
            assert fastopt.info()["threads"] == n
        for bad, error in [(0, ValueError), (-1, ValueError), (10**10, ValueError)] + [
            (kind, TypeError) for kind in (1.5, "2", None, True)
        ]:
            with pytest.raises(error, match=r"^set_num_threads: .*\bn\b"):
                fastopt.set_num_threads(bad)
        assert fastopt.get_num_threads() == 2
    finally:
        fastopt.set_num_threads(before)


@linux_only
def test_thousands_of_changes_leak_no_threads() -> None:
    out = run(
        """
        fastopt.set_num_threads(1)
        before = count_threads()
        for i in range(2000):
            fastopt.set_num_threads(1 + i % 5)
            if i % 7 == 0:
                big_step(threads=None)
        fastopt.set_num_threads(1)
        print(count_threads() - before)
        """
    )
    assert int(out) == 0


@linux_only
def test_workers_are_few() -> None:
    out = run(
        """
        before = count_threads()
        for i in range(50):
            big_step(threads=3)
        print(count_threads() - before)
        """
    )
    assert int(out) == 2


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
        try:
            while True:
                big_step()
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


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FASTOPT_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1,4"}, 1),
        ({"FASTOPT_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}, 1),
        ({"FASTOPT_NUM_THREADS": "3"}, 3),
        ({"FASTOPT_NUM_THREADS": "", "OMP_NUM_THREADS": "3"}, 3),
        ({"FASTOPT_NUM_THREADS": "nonsense", "OMP_NUM_THREADS": "0"}, None),
        ({}, None),
    ],
)
def test_environment(environment: dict[str, str], expected: int | None) -> None:
    clean = {"FASTOPT_NUM_THREADS": "", "OMP_NUM_THREADS": ""}
    out = run("print(fastopt.get_num_threads())", **(clean | environment))
    assert int(out) == (expected or fastopt_threads.usable_cpus())


@linux_only
def test_affinity_is_respected() -> None:
    out = run(
        """
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from fastopt.threads import usable_cpus
        print(usable_cpus())
        """
    )
    assert int(out) == 1


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a\n", {"a/cpu.max": "300000 100000", "cpu.max": "100000 100000"}, 1.0),
        ("0::/\n", {}, None),
        ("0::/../x\n", {}, None),
        ("no sense\n", {}, None),
        (
            "5:cpu,cpuacct:/a\n4:memory:/a\n",
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            0.5,
        ),
        (
            "5:cpu,cpuacct:/a\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
    ],
)
def test_control_groups(
    cgroup: str, files: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    (tmp_path / "self").write_text(cgroup)
    root = tmp_path / "root"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert fastopt_threads._cgroup_quota(tmp_path / "self", root) == expected
