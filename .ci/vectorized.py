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


def widths_of(entries: list[dict]) -> dict[str, int]:
    """Return the widest vectors that gcc used in every function, in bytes."""
    widths: dict[str, int] = {}
    for entry in entries:
        message = " ".join(map(str, entry.get("message", [])))
        if done := re.search(r"loop vectorized using (\d+) byte vectors", message):
            name = entry.get("function", "")
            widths[name] = max(widths.get(name, 0), int(done[1]))
    return widths


def main() -> int:
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for isa, width in VECTOR_BYTES.items():
            built, entries = compile_with_record(isa, Path(folder))
            loops, widths = loops_of(isa, built), widths_of(entries)
            narrow = [
                loop
                for name, loop in loops.items()
                if widths.get(name, 0) < min(width, WIDEST.get(loop.split("(")[0], width))
            ]
            print(f"{isa}: {len(loops) - len(narrow)} of {len(loops)} loops are vectors of {width}")
            for loop in narrow:
                print("  scalar or too narrow:", loop)
            failed |= bool(narrow) or not loops
    return failed


if __name__ == "__main__":
    sys.exit(main())
