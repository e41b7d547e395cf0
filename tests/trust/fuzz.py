"""`make fuzz`: seeded mutants of every file that esad reads, its own folders included, each through a command.

    python -m tests.trust.fuzz --inputs 10000 [--only store run …] [--start 0] [--show 40]

Mutants are made and driven in a process of their own, so that a death of the interpreter is an ending like
others: it is counted with its seed, and the next seed goes on in a new process. Ends with status 1 where there was a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

PATIENCE = 150.0
"""Seconds without a line from a process until it is taken for hanging: a start takes some, a mutant at most ten."""


def work_on(folder: Path) -> None:
    """The child: takes [name, seed] pairs from stdin, a JSON list, and gives a JSON line before and after each mutant."""
    import torch

    from tests.trust.subjects import subjects
    from tests.trust.trial import attempt, limit_memory

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    known = {subject.name: subject for subject in subjects(folder)}
    limit_memory()
    for name, seed in json.loads(sys.stdin.read()):
        for content in ({"name": name, "seed": seed}, None):
            told = content or {
                "name": name,
                "seed": seed,
                **vars(attempt(known[name], seed, folder / "work")),
            }
            out.write(json.dumps(told) + "\n")
            out.flush()


def endings(pairs: list[tuple[str, int]], folder: Path) -> Iterator[dict[str, Any]]:
    """Each ending of (subject's name, seed), deaths and hangs of the child among them; what is left goes on in a new one."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
    }  # more threads would wait for each other on a busy machine
    words = [sys.executable, "-m", "tests.trust.fuzz", "--child", str(folder)]
    (folder / "work").mkdir(exist_ok=True)
    while pairs:
        at = None
        with (folder / "stderr").open("w") as noise, (folder / "pairs").open("w+") as asked:
            json.dump(pairs, asked)
            asked.seek(0)
            with subprocess.Popen(
                words, stdin=asked, stdout=subprocess.PIPE, stderr=noise, text=True, env=environment
            ) as child:
                assert child.stdout is not None
                watch = _watched(child)
                for line in child.stdout:
                    watch.cancel()
                    watch = _watched(child)
                    told = json.loads(line)
                    at = (told["name"], told["seed"])
                    if "kind" in told:
                        yield told
                        pairs, at = pairs[1:], None
                watch.cancel()
        if pairs:
            tail = (folder / "stderr").read_text(errors="replace")[-1500:]
            if at is None:
                raise SystemExit(f"the fuzzer itself failed:\n{tail}")
            told = f"the interpreter died or hung ({child.returncode}): {tail}"
            yield {"name": at[0], "seed": at[1], "kind": "fault", "told": told, "seconds": 0, "peak": 0}
            pairs = pairs[1:]


def _watched(child: subprocess.Popen[str]) -> threading.Timer:
    timer = threading.Timer(PATIENCE, child.kill)
    timer.daemon = True
    timer.start()
    return timer


def main() -> int:
    """Run, and print a line a subject; faults in full."""
    reading = argparse.ArgumentParser()
    reading.add_argument("--inputs", type=int, default=10000)
    reading.add_argument("--start", type=int, default=0)
    reading.add_argument("--only", nargs="*", default=[])
    reading.add_argument("--show", type=int, default=600)
    reading.add_argument("--child")
    given = reading.parse_args()
    if given.child:
        work_on(Path(given.child))
        return 0
    from tests.trust.subjects import prepare, subjects

    with tempfile.TemporaryDirectory(prefix="esad-fuzz-") as name:
        folder = Path(name)
        prepare(folder)
        chosen = [
            each
            for each in subjects(folder)
            if not given.only or any(fnmatch(each.name, word) for word in given.only)
        ]
        return run({each.name: each.format for each in chosen}, given.inputs, given.start, folder, given.show)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(formats: dict[str, str], inputs: int, start: int, folder: Path, show: int) -> int:
    """`inputs` mutants in all, as many of each subject; 1 where there was a fault."""
    share = -(-inputs // len(formats))
    counts = {name: Counter[str]() for name in formats}
    pairs = [(name, start + number) for name in formats for number in range(share)][:inputs]
    whole, began, longest, most = Counter[str](), time.monotonic(), 0.0, 0
    for number, told in enumerate(endings(pairs, folder)):
        name, kind = told["name"], told["kind"]
        whole[kind] += 1
        counts[name][kind] += 1
        longest, most = max(longest, told["seconds"]), max(most, told["peak"])
        if kind == "fault":
            _say(f"FAULT {name} seed {told['seed']}: {told['told'][-show:]}")
        if number + 1 == len(pairs) or pairs[number + 1][0] != name:
            found = counts[name]
            told_counts = f"taken {found['taken']:5} refused {found['refused']:5} faults {found['fault']:3}"
            _say(
                f"{name:40} {formats[name]:12} {told_counts}  longest {longest:.1f} s, {most / 1e6:.0f} MB",
            )
            longest, most = 0.0, 0
    minutes = (time.monotonic() - began) / 60
    _say(
        f"{sum(whole.values())} inputs in {minutes:.0f} min: {whole['taken']} taken, {whole['refused']} refused, {whole['fault']} faults."
    )
    return 1 if whole["fault"] else 0


if __name__ == "__main__":
    sys.exit(main())
