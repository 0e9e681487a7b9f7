"""Fails if a loop over elements is no longer vectorised, by gcc's own record of what it did.

Run from the top of the repository: python .ci/vectorized.py
"""

import gzip
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

VECTOR_BYTES = {"baseline": 16, "avx2": 32, "avx512": 64}
# Whatever else is vectors in a function, these loops are what it spends its time in.
LANE_LOOP = "for (int lane = 0; lane < lanes; ++lane)"
# Its results are 32 bytes at a time, which decides on the vectors.
WIDEST = {"philox_keep": 32}


def compile_with_record(isa: str, folder: Path) -> tuple[Path, list[dict]]:
    """Compile one table; return the object and what gcc says about every loop in it."""
    flags = Path("compile_flags.txt").read_text().split()
    built = folder / f"{isa}.o"
    command = [
        "g++",
        *flags,
        "-fPIC",
        "-fsave-optimization-record",
        "-c",
        f"csrc/kernels/isa/{isa}.cpp",
    ]
    subprocess.run([*command, "-o", str(built)], check=True)
    with gzip.open(folder / f"{isa}.cpp.opt-record.json.gz") as record:
        return built, json.load(record)[2]


def loops_of(isa: str, built: Path) -> dict[str, str]:
    """Return the functions that are loops: mangled and readable names."""
    symbols = subprocess.run(["nm", built], check=True, capture_output=True, text=True).stdout
    names = re.findall(rf"[tT] (_ZN7fastopt{len(isa)}{isa}\S+)$", symbols, flags=re.MULTILINE)
    text = subprocess.run(["c++filt", *names], check=True, capture_output=True, text=True).stdout
    readable = [line.split("::(anonymous namespace)::")[1] for line in text.splitlines()]
    calls = "RuleKernels"  # these only pass arguments on
    return {
        name: loop for name, loop in zip(names, readable, strict=True) if not loop.startswith(calls)
    }


def lane_loops() -> dict[str, set[tuple[str, int]]]:
    """Return where loops over lanes are: file and line, by the name of their function."""
    found: dict[str, set[tuple[str, int]]] = {}
    for file in Path("csrc/kernels").glob("*.inl"):
        function = ""
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if begins := re.match(r"(?:FASTOPT_\w+ )?\w+ (\w+)\(", line):
                function = begins[1]
            if LANE_LOOP in line and function != "folded":  # which is at the end of the others
                found.setdefault(function, set()).add((file.name, number))
    return found


def widths_of(entries: list[dict]) -> dict[str, dict[tuple[str, int], int]]:
    """Return the widest vectors that gcc used in every loop of every function, in bytes."""
    widths: dict[str, dict[tuple[str, int], int]] = {}
    for entry in entries:
        message = " ".join(map(str, entry.get("message", [])))
        if done := re.search(r"loop vectorized using (\d+) byte vectors", message):
            at = entry["location"]
            of_function = widths.setdefault(entry.get("function", ""), {})
            line = (Path(at["file"]).name, at["line"])
            of_function[line] = max(of_function.get(line, 0), int(done[1]))
    return widths


def main() -> int:
    failed, lanes = False, lane_loops()
    with tempfile.TemporaryDirectory() as folder:
        for isa, width in VECTOR_BYTES.items():
            built, entries = compile_with_record(isa, Path(folder))
            loops, widths = loops_of(isa, built), widths_of(entries)
            narrow = []
            for name, loop in loops.items():
                of_loops = widths.get(name, {})
                wanted = min(width, WIDEST.get(loop.split("(")[0], width))
                own = lanes.get(re.split(r"[<(]", loop)[0], set())
                reached = [
                    # Where it is unrolled first, the loop around it is what becomes vectors.
                    max(of_loops.get((file, line), 0), of_loops.get((file, line - 1), 0))
                    for file, line in own
                ]
                if min(reached, default=max(of_loops.values(), default=0)) < wanted:
                    narrow.append(loop)
            print(f"{isa}: {len(loops) - len(narrow)} of {len(loops)} loops are vectors of {width}")
            for loop in narrow:
                print("  scalar or too narrow:", loop)
            failed |= bool(narrow) or not loops
    return failed


if __name__ == "__main__":
    sys.exit(main())
