"""Interrupts come at any moment; what they find half done is finished or was not begun."""

from __future__ import annotations

import signal

import pytest
from processes import run

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no timer of signals"
)

INTERRUPTED = """
    def interrupt(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, interrupt)
    rng = np.random.default_rng(0)

    # No loop stands in here: CPython 3.13.0 forgets the handler where a loop jumps back.
    def interrupted(work, longest, error=KeyboardInterrupt):
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-5 + longest * rng.random())
            work()
            look_again()
        except error:
            return
        raise AssertionError("the interrupt was lost")

    def look_again():
        # A signal that came while no thread had the GIL may go unnoticed until it is taken again.
        for _ in range(1000):
            time.sleep(0.01)
"""


def test_averages_come_back() -> None:
    run(
        INTERRUPTED
        + """
    w = [np.full(100_000, 3.0) for _ in range(3)]
    opt = fastopt.SGD(w, lr=1.0, ema_decay=0.5)
    for average in opt.ema:
        average[:] = 7
    def evaluate():
        with opt.averaged():
            assert all((p == 7).all() for p in w)
    for _ in range(150):
        interrupted(evaluate, 2e-3)
        assert all((p == 3).all() for p in w)
        assert all((average == 7).all() for average in opt.ema)
        opt.accumulate([np.zeros(100_000)] * 3)   # refused if they were not back
        opt.discard_accumulated()
    """
    )


def test_what_a_step_used_up_is_gone() -> None:
    run(
        INTERRUPTED
        + """
    w = np.zeros(300_000)
    opt = fastopt.SGD(w, lr=1.0)
    for _ in range(150):
        opt.accumulate(np.ones(300_000))
        before = opt.step_count
        interrupted(opt.step, 1e-3)
        made = opt.step_count - before
        assert opt.state_dict()["accumulated"]["count"] == 1 - made
        opt.discard_accumulated()
        assert (w == -opt.step_count).all()
    """
    )


def test_no_interrupt_is_lost() -> None:
    """Messages ask objects for their text, and asking lets signals in."""
    run(
        INTERRUPTED
        + """
    class Stop(BaseException):
        pass
    def stop(*_):
        raise Stop
    signal.signal(signal.SIGALRM, stop)
    opt = fastopt.SGD(np.zeros(3))
    def steps():
        began = time.monotonic()
        while time.monotonic() < began + 5:
            opt.groups[0]["lr"] = 0.1
            opt.step(np.zeros(3))
    for _ in range(300):
        interrupted(steps, 1e-4, Stop)
    """
    )


def test_a_child_of_a_step() -> None:
    """Forked while another thread is within a step, which the child does not have."""
    run(
        """
    w, g = np.zeros(3_000_000), np.ones(3_000_000)
    opt, stop = fastopt.SGD(w), False
    def train():
        while not stop:
            opt.step(g)
    thread = threading.Thread(target=train)
    thread.start()
    for _ in range(5):
        time.sleep(0.02)
        child = os.fork()
        if child == 0:
            opt.step(g)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    stop = True
    thread.join()
    """
    )
