"""``python -m fastopt bench``: its options, and what it prints and saves."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

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
from fastopt.bench import loop, measure, workloads
from fastopt.bench.machine import describe_machine, format_machine
from fastopt.bench.peers import PEERS, Peer
from fastopt.bench.plot import save_plot
from fastopt.bench.results import LEGEND, Record, format_table
from fastopt.bench.rules import ROWS
from fastopt.bench.suite import opponents, run

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
    add("--quick", action="store_true", help="a first impression, within some minutes")
    add("--loop", action="store_true", help="steps in training loops of NumPy and of torch")
    several("--rules", choices=ROWS, metavar="RULE", help=f"of {rows}")
    several("--workloads", type=workloads.parse_workload, metavar="W", help=sizes)
    several("--threads", type=number, metavar="N", help=counts)
    several("--peers", choices=[*PEERS, "none"], metavar="PEER", help=installed)
    add("--seconds", type=seconds, help="spent on each comparison (default: 1; --quick: 0.1)")
    add("--json", metavar="FILE", type=Path, help="save all figures")
    add("--plot", metavar="FILE.png", type=Path, help="save a picture of the times of each row")


def main(options: argparse.Namespace) -> None:
    """Measure, print and save."""
    sizes = options.workloads or (workloads.QUICK if options.quick else workloads.DEFAULT)
    activations = options.workloads or workloads.ACTIVATIONS
    activations = [one for one in sizes if one.is_one_array and one in activations]
    if not activations and "dropout" in (options.rules or []):
        raise CommandError("dropout needs a number of elements among --workloads")
    budget = measure.QUICK if options.quick else measure.FULL
    if options.seconds:
        budget = budget._replace(seconds=options.seconds)
    peers, threads = (
        _peers(options.peers),
        options.threads or sorted({1, fastopt.get_num_threads()}),
    )
    tables = [
        (row, sizes if row.is_step else activations, opponents(row, threads, peers))
        for row in map(ROWS.__getitem__, options.rules or ROWS)
    ]
    if options.loop and (options.rules or options.workloads or options.plot):
        raise CommandError("--loop goes without --rules, --workloads and --plot")
    if options.json:
        check_writable(options.json)
    if options.plot:
        check_plot(options.plot, "bench")
        if not any(workload.is_one_array for workload in sizes):
            raise CommandError("--plot needs a number of parameters among --workloads")
    modules = {name: import_extra(name, "bench") for name in EXTRAS}
    machine = describe_machine()
    headline = format_machine(machine)
    print(f"{headline}\n\n{loop.LEGEND if options.loop else LEGEND}", flush=True)

    records: list[Record] = []
    new_bar = partial(modules["tqdm"].tqdm, unit="comparison", leave=False)
    if options.loop:
        records = _run_loops(threads, PEERS["torch-fused"] in peers, budget, new_bar)
    else:
        total = sum(len(sizes) * sum(map(len, against.values())) for _, sizes, against in tables)
        with new_bar(total=total) as bar:
            for row, sizes, against in tables:
                if found := list(run(row, sizes, against, budget, bar)):
                    bar.write(f"\n{format_table(row, found)}")
                records += found

    if options.json:
        content = {"machine": machine, "budget": budget._asdict(), "results": records}
        with writing(options.json):
            options.json.write_text(json.dumps(content, indent=1) + "\n")
        print(f"\nsaved {options.json}")
    if options.plot:
        save_plot(options.plot, records, headline)
        print(f"\nsaved {options.plot}")


def _run_loops(
    threads: list[int], with_torch: bool, budget: measure.Budget, new_bar: Any
) -> list[Record]:
    """Measure each loop with each number of threads, of its library and of fastopt."""
    loops = [(one, n) for one in (loop.NUMPY, *[loop.TORCH] * with_torch) for n in threads]
    records: list[Record] = []
    with new_bar(total=len(loops)) as bar:
        for one, n in loops:
            bar.set_description(f"{one.name} loop {n}T")
            records += loop.run(one, n, threads, budget)
            bar.update(1)
    print(f"\n{loop.format_table(records)}")
    return records


def _peers(names: list[str] | None) -> list[Peer]:
    """Return the peers of these names, which must be installed; by default those that are."""
    peers = [PEERS[name] for name in names or PEERS if name != "none"]
    missing = [peer for peer in peers if not peer.is_installed]
    if names and missing:
        package, name = missing[0].package, missing[0].name
        raise CommandError(f"{package} is not installed, which --peers {name} needs")
    return [peer for peer in peers if peer not in missing]
