"""Fails if the loop of a rule is no longer vectorised, by gcc's own record of what it did.

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
KERNEL = re.compile(r"update_range.*kind = .*Terms::(\w+); Rule = fastopt::(\w+); Stored = (\w+)")


def compile_with_record(isa: str, folder: Path) -> tuple[Path, list[dict]]:
    """Compile one table; return the object and what gcc says about every loop in it."""
    flags = Path("compile_flags.txt").read_text().split()
    built = folder / f"{isa}.o"
    command = ["g++", *flags, "-fPIC", "-fsave-optimization-record", "-c", f"csrc/isa/{isa}.cpp"]
    subprocess.run([*command, "-o", str(built)], check=True)
    with gzip.open(folder / f"{isa}.cpp.opt-record.json.gz") as record:
        return built, json.load(record)[2]


def kernel_of(entry: dict) -> tuple[str, ...] | None:
    for call in entry.get("inlining_chain", []):
        if found := KERNEL.search(call.get("fndecl", "")):
            return found.groups()
    return None


def main() -> int:
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for isa, width in VECTOR_BYTES.items():
            built, entries = compile_with_record(isa, Path(folder))
            done = f"loop vectorized using {width} byte vectors\n"
            vectorised = {kernel_of(e) for e in entries if done in map(str, e.get("message", []))}
            seen = {kernel_of(e) for e in entries} - {None}
            symbols = subprocess.run(["nm", built], check=True, capture_output=True, text=True)
            compiled = len(set(re.findall(r"12update_range\w+", symbols.stdout)))
            print(f"{isa}: {len(seen & vectorised)} of {compiled} loops use {width}-byte vectors")
            for kernel in sorted(seen - vectorised):
                print("  scalar or too narrow:", *kernel)
            failed |= len(seen & vectorised) != compiled or not compiled
    return failed


if __name__ == "__main__":
    sys.exit(main())
