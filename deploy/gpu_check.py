"""`make gpu-check`: the tests marked `gpu` and the training benchmark on this machine's CUDA device, as one JSON.

Run by the environment's own Python. Without a CUDA device it says so, writes `{"skipped": …}` and ends with status 0.
With --smoke it then runs the benchmark at its smallest size on the CPU, and the tests of tests/gpu, which skip themselves:
that shows that this script still finds what it calls, nothing more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("esad", "torch", "monai", "pytorch-ignite", "numpy")
BENCHMARK = ROOT / "benchmarks" / "training.py"


def device() -> dict[str, Any] | None:
    """What the first CUDA device is; None where there is none."""
    import torch

    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(0)
    return {
        "name": found.name, "memory_bytes": found.total_memory, "capability": f"{found.major}.{found.minor}",
        "count": torch.cuda.device_count(), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
    }  # fmt: skip


def run_tests(folder: Path, below: str = "tests") -> dict[str, str]:
    """Name -> passed, failed or skipped, of every test marked `gpu` in the folder `below` of the repository."""
    report = folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", below, "-m", "gpu", "-q", f"--junitxml={report}"]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if not report.is_file():
        return {"pytest": f"failed with status {done.returncode} before any test"}
    return outcomes(report)


def outcomes(report: Path) -> dict[str, str]:
    """The outcome of each test of a JUnit file, which pytest of this checkout has just written."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314
        kinds = {child.tag for child in case}
        name = f"{case.get('classname')}::{case.get('name')}"
        found[name] = (
            "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        )
    return found


def run_benchmark(folder: Path, size: str = "--quick") -> dict[str, Any]:
    """The figures of benchmarks/training.py, or `error`."""
    figures = folder / "benchmark.json"
    command = [sys.executable, str(BENCHMARK), size, "--json", str(figures)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode or not figures.is_file():
        return {"error": f"benchmarks/training.py ended with status {done.returncode}"}
    return json.loads(figures.read_text(encoding="utf-8"))


def smoke() -> dict[str, Any]:
    """The benchmark and the tests without a GPU: figures, and outcomes, none of which should be `passed` or `failed`."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            "benchmark": run_benchmark(Path(folder), "--smoke"),
            "tests": run_tests(Path(folder), "tests/gpu"),
        }


def main() -> int:
    """Parse the options, check, write the JSON; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path("gpu-check.json"), help="JSON to write [gpu-check.json]"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="without a GPU: see that the parts of the check still run"
    )
    given = parser.parse_args()
    out = given.out
    found: dict[str, Any] = {"versions": {name: version(name) for name in PACKAGES}, "device": device()}
    failed = False
    if found["device"] is None:
        found["skipped"] = "no CUDA device"
        print("gpu-check: SKIPPED, this machine has no CUDA device; no GPU was checked.")
        if given.smoke:
            found["smoke"] = smoke()
            ran = "error" not in found["smoke"]["benchmark"] and set(found["smoke"]["tests"].values()) == {
                "skipped"
            }
            failed = not ran
            print(f"gpu-check: its parts {'run' if ran else 'FAILED'} without a GPU")
    else:
        with tempfile.TemporaryDirectory() as folder:
            found["tests"] = run_tests(Path(folder))
            found["benchmark"] = run_benchmark(Path(folder))
        failed = (
            "error" in found["benchmark"] or not found["tests"] or set(found["tests"].values()) != {"passed"}
        )
        print(f"gpu-check: {'FAILED' if failed else 'passed'} on {found['device']['name']}; see {out}")
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"gpu-check: status {int(failed)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
