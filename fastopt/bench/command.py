"""``python -m fastopt bench``: its options, and what it prints and saves."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import fastopt
from fastopt import _core
from fastopt._command import (
    CommandError,
    check_plot,
    check_writable,
    checked,
    import_extra,
    writing,
)
from fastopt.bench import measure, workloads
from fastopt.bench.machine import describe_machine, format_machine
from fastopt.bench.peers import PEERS
from fastopt.bench.plot import save_plot
from fastopt.bench.results import LEGEND, Record, format_table
from fastopt.bench.rules import ROWS
from fastopt.bench.suite import Plan, run

EXTRAS = ("tabulate", "psutil", "tqdm", "cpuinfo")


def configure(parser: argparse.ArgumentParser) -> None:
    """Give the parser of the command its options."""
    rows, networks, peers = (", ".join(names) for names in (ROWS, workloads.NETWORKS, PEERS))
    threads = range(1, _core.max_threads + 1)
    number = checked(int, threads.__contains__, f"an integer from 1 to {threads[-1]}")
    seconds = checked(float, lambda value: 0 < value <= 3600, "a number of seconds up to 3600")
    sizes = f"numbers of parameters (of dropout: elements), or of {networks}"
    counts = "numbers of threads (default: 1, and as many as steps use by default)"
    installed = f"of {peers}, or none (default: those that are installed)"
    add, several = parser.add_argument, partial(parser.add_argument, nargs="+")
    add("--quick", action="store_true", help="a first impression, within a minute")
    several("--rules", choices=ROWS, metavar="RULE", help=f"of {rows}")
    several("--workloads", type=workloads.parse_workload, metavar="W", help=sizes)
    several("--threads", type=number, metavar="N", help=counts)
    several("--peers", choices=[*PEERS, "none"], metavar="PEER", help=installed)
    add("--seconds", type=seconds, help="spent on each comparison (default: 1; --quick: 0.1)")
    add("--json", metavar="FILE", type=Path, help="save all figures")
    add("--plot", metavar="FILE.png", type=Path, help="save a picture of the times of each row")


def main(options: argparse.Namespace) -> None:
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

    records: list[Record] = []
    total = sum(len(plan.workloads_of(row)) * plan.comparisons(row) for row in plan.rows)
    with modules["tqdm"].tqdm(total=total, unit="comparison", leave=False) as bar:
        for row in plan.rows:
            if found := list(run(plan, row, bar)):
                bar.write(f"\n{format_table(row, found)}")
            records += found

    if options.json:
        content = {"machine": machine, "budget": plan.budget._asdict(), "results": records}
        with writing(options.json):
            options.json.write_text(json.dumps(content, indent=1) + "\n")
        print(f"\nsaved {options.json}")
    if options.plot:
        save_plot(options.plot, records, headline)
        print(f"\nsaved {options.plot}")


def _plan(options: argparse.Namespace) -> Plan:
    budget = measure.QUICK if options.quick else measure.FULL
    if options.seconds:
        budget = budget._replace(seconds=options.seconds)
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
