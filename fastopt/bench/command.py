"""``python -m fastopt bench``: its options, and what it prints."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import fastopt
from fastopt import _core
from fastopt._command import CommandError, check_plot, check_writable, checked, import_extra
from fastopt.bench import measure, workloads
from fastopt.bench.machine import describe_machine, format_machine
from fastopt.bench.peers import PEERS
from fastopt.bench.plot import save_plot
from fastopt.bench.results import LEGEND, Result, format_row, format_table, save_json
from fastopt.bench.rules import ROWS
from fastopt.bench.suite import Plan, run

EXTRAS = ("tabulate", "psutil", "tqdm", "cpuinfo")


def configure(parser: argparse.ArgumentParser) -> None:
    """Give the parser of the command its options."""
    add = parser.add_argument
    add("--quick", action="store_true", help="a first impression, within a minute")
    add("--rules", nargs="+", choices=ROWS, metavar="RULE", help=f"of {', '.join(ROWS)}")
    add(
        "--workloads",
        nargs="+",
        type=workloads.parse_workload,
        metavar="W",
        help=f"numbers of parameters (of dropout: elements), or of {', '.join(workloads.NETWORKS)}",
    )
    most = _core.max_threads
    add(
        "--threads",
        nargs="+",
        type=checked(int, range(1, most + 1).__contains__, f"an integer from 1 to {most}"),
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
    add(
        "--seconds",
        type=checked(float, lambda value: 0 < value <= 3600, "a number of seconds up to 3600"),
        help="spent on each comparison (default: 1; --quick: 0.1)",
    )
    add("--json", metavar="FILE", type=Path, help="save all figures")
    add("--plot", metavar="FILE.png", type=Path, help="save a picture of the times of each row")
    parser.set_defaults(run=measure_all)


def measure_all(options: argparse.Namespace) -> None:
    """Measure, print and save."""
    plan = _plan(options)
    if options.json:
        check_writable(options.json)
    if options.plot:
        check_plot(options.plot, "bench")
        if not any(workload.is_one_array for workload in plan.workloads):
            raise CommandError("--plot needs a number of parameters among --workloads")
    modules = {name: import_extra(name, "bench") for name in EXTRAS}
    machine = describe_machine()
    headline = format_machine(machine)
    print(f"{headline}\n\n{LEGEND}", flush=True)

    results: list[Result] = []
    total = sum(len(plan.workloads_of(row)) * plan.comparisons(row) for row in plan.rows)
    with modules["tqdm"].tqdm(total=total, unit="comparison", leave=False) as bar:
        for row in plan.rows:
            found = list(run(plan, row, bar))
            if found:
                bar.write(f"\n{format_row(row)}\n{format_table(found)}")
            results += found

    if options.json:
        save_json(options.json, results, machine, plan.budget)
        print(f"\nsaved {options.json}")
    if options.plot:
        save_plot(options.plot, results, headline)
        print(f"\nsaved {options.plot}")


def _plan(options: argparse.Namespace) -> Plan:
    budget = measure.QUICK if options.quick else measure.FULL
    if options.seconds:
        budget = dataclasses.replace(budget, seconds=options.seconds)
    chosen = options.workloads or (workloads.QUICK if options.quick else workloads.DEFAULT)
    activations = options.workloads or workloads.ACTIVATIONS
    activations = [one for one in chosen if one.is_one_array and one in activations]
    if not activations and "dropout" in (options.rules or []):
        raise CommandError("dropout needs a number of elements among --workloads")
    peers = [PEERS[name] for name in options.peers or PEERS if name != "none"]
    missing = [peer for peer in peers if not peer.is_installed]
    if options.peers and missing:
        package, name = missing[0].package, missing[0].name
        raise CommandError(f"{package} is not installed, which --peers {name} needs")
    return Plan(
        rows=[ROWS[name] for name in options.rules or ROWS],
        workloads=chosen,
        activations=activations,
        threads=options.threads or sorted({1, fastopt.get_num_threads()}),
        peers=[peer for peer in peers if peer not in missing],
        budget=budget,
    )
