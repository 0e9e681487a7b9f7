"""Promise 2 across platforms: the engine, built for each without Python, gives the same bits.

Builds tests/native for all platforms, runs it where an emulator can, and compares the checksums.
Where nothing here runs a platform's programs, their sources are compiled, by clang as it comes
with ziglang; the other compilers are Debian's. All but Linux on the two kinds of processors that
people train on are optimised less, to be built sooner.

Run from the top of the repository: python .ci/platforms.py FOLDER, which keeps what is built.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FLAGS = [
    *Path("compile_flags.txt").read_text().split(),
    '-DFASTOPT_MORE_RULES="../../tests/native/more_rules.hpp"',
]
SOURCES = [
    source
    for folder in ("csrc/rules", "csrc/kernels", "csrc/engine", "csrc/capi", "tests/native")
    for source in sorted(Path(folder).rglob("*.cpp"))
]


@dataclass
class Platform:
    name: str
    compiler: list[str]
    run: list[str] | None  # what runs its programs; None where nothing does
    link: tuple[str, ...] = ()
    level: str = "-O3"


def gcc(name: str, emulator: str, level: str, compiler: str = "g++") -> Platform:
    return Platform(name, [f"{name}-{compiler}"], [emulator], ("-static", "-pthread"), level)


def clang(name: str) -> Platform:
    compiler = [sys.executable, "-m", "ziglang", "c++", "-target", name]
    return Platform(name, compiler, None, (), "-O0")


PLATFORMS = [
    Platform("native", [os.environ.get("CXX", "g++"), "-Wpedantic"], [], ("-pthread",)),
    gcc("aarch64-linux-gnu", "qemu-aarch64", "-O3"),
    gcc("s390x-linux-gnu", "qemu-s390x", "-O1"),  # the bytes of its numbers have the other order
    gcc("x86_64-w64-mingw32", "/usr/lib/wine/wine64", "-O1", "g++-posix"),
    clang("aarch64-macos"),
    clang("x86_64-macos"),
]


def call(command: list[str]) -> str:
    """Run a command; return its output, or raise with all that it said."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def compile_one(platform: Platform, source: Path, folder: Path) -> str:
    built = str(folder / ("_".join(source.parts) + ".o"))
    call([*platform.compiler, *FLAGS, platform.level, "-Werror", "-c", str(source), "-o", built])
    return built


def build(platform: Platform, folder: Path, pool: ThreadPoolExecutor) -> Path:
    """Return the program, which is whole and linked where something can run it."""
    folder = folder / platform.name
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "checksum.exe"
    sources = [
        source for source in SOURCES if platform.run is not None or source.parts[0] == "csrc"
    ]
    built = list(pool.map(lambda source: compile_one(platform, source, folder), sources))
    if platform.run is not None:
        call([*platform.compiler, *FLAGS, *platform.link, *built, "-o", str(program)])
    return program


def checksums(platform: Platform, program: Path) -> list[str]:
    assert platform.run is not None
    return call([*platform.run, str(program.resolve())]).splitlines()


def compare(name: str, lines: list[str], native: list[str]) -> bool:
    """Print what differs from the native program; return whether something does."""
    other = [(line, wanted) for line, wanted in zip(lines, native, strict=True) if line != wanted]
    print(f"{name}: {len(native) - len(other)} of {len(native)} checksums are the native ones")
    for line, wanted in other:
        print(f"  {line}, not {wanted.split()[-1]}")
    return bool(other)


def main() -> int:
    folder = Path(sys.argv[1])
    os.environ["ZIG_GLOBAL_CACHE_DIR"] = os.environ["ZIG_LOCAL_CACHE_DIR"] = str(folder / "zig")
    os.environ["WINEPREFIX"] = str((folder / "wine").resolve())
    os.environ["WINEDEBUG"] = "-all"
    began = time.monotonic()
    runs_of = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool, ThreadPoolExecutor(len(PLATFORMS)) as runs:
        for platform in PLATFORMS:
            program = build(platform, folder, pool)
            print(f"{platform.name}: built, {time.monotonic() - began:.0f} s", flush=True)
            if platform.run is not None:
                runs_of[platform.name] = runs.submit(checksums, platform, program)
        print("native, with the numbers of real trainings")  # alike on any number of threads
        call([str(folder / "native" / "checksum.exe"), "realistic"])
    native = runs_of.pop("native").result()
    failed = [name for name, lines in runs_of.items() if compare(name, lines.result(), native)]
    return bool(failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        sys.exit(str(error))
