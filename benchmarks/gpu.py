"""All that wants a GPU, in one go of under ten minutes: tests, a resumed training, speeds beside the card's own, an AUC.

    python benchmarks/gpu.py [--tiny] [--data STORE] [--out FOLDER] [--minutes 9] [--only SECTION ...] [--gpu-only]

machine     the card, and its bf16 product of two matrices of 8192 x 8192
tests       the tests marked `gpu` in tests/gpu
step        a training step on Table 6's network (64x64, batch 32, bf16): the plain PyTorch loop of benchmarks/training.py in
            bf16 and channels last, ours, and ours over the machine's product (asked: 0.5)
compiled    ours with `train.compile`, which is CUDA graphs on CUDA, beside the same plain loop (asked: 1.3 times as fast)
resume      a training killed with -9 after its first checkpoint and continued, beside an undisturbed one
pcam        a training at the paper's width for --train-minutes on the store of --data, and its AUC on the test part
scoring     items a second of `esad score` and of the bare forward pass, at the paper's width
training    the trainer over a bare loop at an eighth of the width

A section is a process of its own with a time limit of its own: one that fails, hangs or dies leaves the others alone. What is
known stands in FOLDER/gpu.json, gpu.md (a table with the card's name) and gpu.log at any time. Without a GPU everything runs
on the CPU; --tiny (or --smoke) makes it so small that this takes half a minute and measures nothing. `make gpu-check` gives
--gpu-only: without a GPU it says so and ends with 0.

On a lent machine that has PyTorch but cannot install anything, from the root of a checkout. Once here, before the lease (git
ignores `.gpu`):

    .venv/bin/python benchmarks/gpu.py --prepare .gpu/pcam --data ../shared/data
    .venv/bin/python -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \\
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d .gpu/wheels \\
        pydantic==2.14.3 pydantic-core==2.50.4 annotated-types typing-inspection monai==1.6.1 pytorch-ignite==0.5.5 \\
        piqp==0.7.0

Then one command there, with `.gpu` and `src/esad.egg-info` carried (50 MB) and a limit of 600 s, of which this takes 9 minutes
(the reply's files are gpu.json, gpu.md and gpu.log):

    python3 -m pip install -q --no-index --no-deps --no-compile --target /tmp/site .gpu/wheels/*.whl;
    PYTHONPATH=src:/tmp/site PYTHONUNBUFFERED=1 python3 benchmarks/gpu.py --data .gpu/pcam --out $OUT --minutes 9

Commit gpu.md's table into docs/results.md.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from command import parsed, parser
from gpu_sections import SECTIONS, Found

from esad.pipeline.cli.app import call

ITEMS = 3000
"""Pictures that --prepare takes: what a lease carries is limited."""
LIMITS = {
    "machine": 60, "tests": 120, "step": 60, "compiled": 120, "resume": 90, "pcam": 270, "scoring": 60, "training": 60,
}  # fmt: skip
"""Seconds that a section may take, in the order in which they run; together at most --minutes."""
GOALS = {
    ("step", "vs_product"): ">= 0.5", ("compiled", "vs_product"): ">= 0.5", ("compiled", "vs_plain"): ">= 1.3",
}  # fmt: skip


def run_section(name: str, given: Namespace, known: Found, limit: float, log: Path) -> Found:
    """What the section reported, `seconds` that it took, and `error` where it failed or was stopped at its limit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        began, number = time.monotonic(), os.fork()
        if number == 0:
            _become(SECTIONS[name], given, known, path, log)
        status = None
        with _stopped_with_us(number):
            while status is None and time.monotonic() - began < limit:
                done, code = os.waitpid(number, os.WNOHANG)
                status = os.waitstatus_to_exitcode(code) if done else None
                time.sleep(0.02)
        if status is None:
            os.waitpid(number, 0)
        found: Found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if status is None:
        found["error"] = f"stopped after {limit:.0f} s"
    elif status:
        found.setdefault("error", f"ended with status {status}; see {log.name}")
    return {**found, "seconds": round(time.monotonic() - began, 1)}


@contextmanager
def _stopped_with_us(number: int) -> Iterator[None]:
    """End the section's processes as this ends, whichever way."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(number, signal.SIGKILL)


def _become(section: Callable[..., None], given: Namespace, known: Found, path: Path, log: Path) -> None:
    """Run a section in this process, a fresh copy, and end."""
    os.setsid()
    sys.stdout = sys.stderr = log.open("a", encoding="utf-8")
    for number in (1, 2):  # what libraries and child processes write
        os.dup2(sys.stdout.fileno(), number)
    last: Found = {}

    def report(found: Found) -> None:
        last.clear()
        last.update(found)
        path.with_suffix(".new").write_text(json.dumps(found), encoding="utf-8")
        path.with_suffix(".new").replace(path)

    print(f"\n== {section.__name__}", flush=True)
    status = 0
    try:
        section(given, known, report)
    except BaseException as error:  # noqa: BLE001 - whatever it is: the section failed, and says why
        traceback.print_exc()
        report({**last, "error": f"{type(error).__name__}: {error}"[:300]})
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def table(found: Found) -> str:
    """Everything that was found as Markdown, under the card's name."""
    about = found.get("machine", {})
    lines = [
        f"### {about.get('device', 'unknown device')}",
        "",
        f"torch {about.get('torch', '?')}, CUDA {about.get('cuda', 'none')}"
        + (" (tiny sizes: nothing is measured)" if found["tiny"] else ""),
        "",
        "| section | figure | value | asked |",
        "|---|---|---|---|",
    ]
    for name in SECTIONS:
        flat = dict(_flat(found.get(name, {"not run": "no time left, or not asked for"})))
        for figure, value in flat.items():
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            lines.append(
                f"| {name} | {figure.replace('_', ' ')} | {shown} | {GOALS.get((name, figure), '')} |"
            )
    return "\n".join(lines) + "\n"


def _flat(found: Found, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield prefix + name, value


def prepare(given: Namespace) -> int:
    """A STORE of ITEMS of PCam's pictures, evenly taken, for --data of a machine that has nothing."""
    source = given.data / "pcam" / "pcam_64.npz"
    if not source.is_file():
        print(f"error: {source}: no such file; expected PCam's pictures there (--data).", file=sys.stderr)
        return 2
    with np.load(source) as content, tempfile.TemporaryDirectory() as name:
        chosen = np.linspace(0, len(content["y"]) - 1, ITEMS).round().astype(int)
        np.savez(Path(name) / "pcam.npz", x=content["x"][chosen], y=content["y"][chosen])
        return call(["images", str(Path(name) / "pcam.npz"), "--out", str(given.prepare)])


def main() -> int:
    """Parse the options, run the sections; status 1 where one failed."""
    options = parser(__doc__, data=True)
    options.add_argument("--tiny", dest="smoke", action="store_true", help="the same as --smoke")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options.add_argument(
        "--out", type=Path, default=Path("build/gpu"), help="folder of gpu.json, gpu.md, gpu.log [build/gpu]"
    )
    options.add_argument("--minutes", type=float, default=9, help="time for all sections together [9]")
    options.add_argument("--train-minutes", type=float, default=3, help="time for the training of `pcam` [3]")
    options.add_argument("--only", nargs="+", choices=list(SECTIONS), help="run these sections alone")
    options.add_argument(
        "--gpu-only", action="store_true", help="without a CUDA device say so and end with status 0"
    )
    options.add_argument(
        "--prepare", type=Path, metavar="STORE", help="make STORE of PCam's pictures and end"
    )
    given = parsed(options)
    if given.prepare:
        return prepare(given)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu.log").write_text("", encoding="utf-8")
    began = time.monotonic()
    found: Found = {"tiny": given.smoke}
    for name in given.only or SECTIONS:
        left = given.minutes * 60 - (time.monotonic() - began)
        if left > 5:
            found[name] = run_section(name, given, found, min(LIMITS[name], left), given.out / "gpu.log")
            print(f"{name}: {found[name]}", flush=True)
        if given.gpu_only and found.get("machine", {}).get("device") == "CPU":
            found["skipped"] = "no CUDA device"
        (given.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (given.out / "gpu.md").write_text(table(found), encoding="utf-8")
        if "skipped" in found:
            print("gpu-check: SKIPPED, this machine has no CUDA device; no GPU was checked.")
            return 0
    print(table(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(any("error" in found[name] for name in SECTIONS if name in found))


if __name__ == "__main__":
    sys.exit(main())
