"""``python -m fastopt bench``: its options, and what it prints."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from functools import partial
from pathlib import Path

import fastopt
from fastopt import _core
from fastopt._command import CommandError, check_plot, check_writable, import_extra
from fastopt.bench import measure, workloads
from fastopt.bench.dropout import DROPOUT
from fastopt.bench.errors import WrongAnswerError
from fastopt.bench.machine import describe_machine
from fastopt.bench.peers import PEERS, Peer
from fastopt.bench.plot import save_plot
from fastopt.bench.record import save_json
from fastopt.bench.results import Result
from fastopt.bench.rows import ROWS
from fastopt.bench.suite import Plan, Suite
from fastopt.bench.table import LEGEND, format_machine, format_row, format_table
from fastopt.bench.workloads import Workload


def configure(parser: argparse.ArgumentParser) -> None:
    """Give the parser of the command its options."""
    add = parser.add_argument
    add("--quick", action="store_true", help="a first impression, within a minute")
    add("--rules", nargs="+", choices=ROWS, metavar="RULE", help=f"of {', '.join(ROWS)}")
    add(
        "--workloads",
        nargs="+",
        type=_workload,
        metavar="W",
        help=f"numbers of parameters (of dropout: elements), or of {', '.join(workloads.NETWORKS)}",
    )
    add(
        "--threads",
        nargs="+",
        type=_threads,
        metavar="N",
        help="numbers of threads (default: 1, and as many as steps use by default)",
    )
    add(
        "--peers",
        nargs="+",
        choices=[*PEERS, "none"],
        metavar="PEER",
        help=f"of {', '.join(PEERS)}, or none (default: those that are installed)",
    )
    add("--seconds", type=_seconds, help="spent on each comparison (default: 1; --quick: 0.1)")
    add("--json", metavar="FILE", type=Path, help="save all figures")
    add("--plot", metavar="FILE.png", type=Path, help="save a picture of the times of each row")
    parser.set_defaults(run=partial(run, parser))


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Measure, print, and return the exit status: 1 if the kernels give wrong answers."""
    try:
        return _run(options)
    except CommandError as error:
        parser.error(str(error))
    except WrongAnswerError as error:
        print(error, file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    plan = _plan(options)
    if options.json:
        check_writable(options.json)
    if options.plot:
        check_plot(options.plot, "bench")
        if not any(workload.is_one_array for workload in plan.workloads):
            raise CommandError("--plot needs a number of parameters among --workloads")
    tqdm = import_extra("tqdm", "bench").tqdm
    machine = describe_machine()
    headline = format_machine(machine)
    print(f"{headline}\n\n{LEGEND}", flush=True)

    results: list[Result] = []
    total = sum(len(plan.workloads_of(row)) * plan.comparisons(row) for row in plan.rows)
    with tqdm(total=total, unit="comparison", leave=False) as bar:
        suite = Suite(plan, on_start=bar.set_description, on_done=bar.update, note=bar.write)
        for row in plan.rows:
            found = list(suite.run(row))
            if found:
                bar.write(f"\n{format_row(row)}\n{format_table(found)}")
            results += found

    if options.json:
        save_json(options.json, results, machine, plan.budget)
        print(f"\nsaved {options.json}")
    if options.plot:
        save_plot(options.plot, results, headline)
        print(f"\nsaved {options.plot}")
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    budget = measure.QUICK if options.quick else measure.FULL
    if options.seconds is not None:
        budget = dataclasses.replace(budget, seconds=options.seconds)
    if options.quick:
        parameters, activations = workloads.QUICK, workloads.QUICK_ACTIVATIONS
    else:
        parameters, activations = workloads.DEFAULT, workloads.ACTIVATIONS
    if options.workloads:
        parameters = tuple(options.workloads)
        activations = tuple(workload for workload in parameters if workload.is_one_array)
        if not activations and DROPOUT.name in (options.rules or []):
            raise CommandError("dropout needs a number of elements among --workloads")
    return Plan(
        rows=[ROWS[name] for name in options.rules or ROWS],
        workloads=parameters,
        activations=activations,
        threads=options.threads or sorted({1, fastopt.get_num_threads()}),
        peers=_peers(options.peers),
        budget=budget,
    )


def _peers(names: list[str] | None) -> list[Peer]:
    if names is None:
        return [peer for peer in PEERS.values() if peer.is_installed]
    chosen = [PEERS[name] for name in names if name != "none"]
    for peer in chosen:
        if not peer.is_installed:
            raise CommandError(f"{peer.package} is not installed, which --peers {peer.name} needs")
    return chosen


def _workload(text: str) -> Workload:
    try:
        return workloads.parse_workload(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _threads(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= _core.max_threads):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an integer from 1 to {_core.max_threads}"
        )
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to 3600")
    return seconds
