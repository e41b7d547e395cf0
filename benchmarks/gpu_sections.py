"""The sections of benchmarks/gpu.py, whose docstring says what each is for: each takes the options, what earlier sections found,
and whom to tell what it finds as it goes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import training
from matrix_products import measure, products
from torch.utils.flop_counter import FlopCounterMode
from training import FULL, Work, bare_loop, pictures, seconds, training_step

from esad.pipeline.cli.app import call
from esad.pipeline.runs.run_folder import resolve_device
from esad.pipeline.settings.config import RunSettings, resolve

ROOT = Path(__file__).resolve().parents[1]
Found = dict[str, Any]
Report = Callable[[Found], None]
"""Takes what a section knows so far; it stays if the section then dies."""


def side_of(given: Namespace, device: torch.device) -> int:
    """Side of the matrices of the product that speeds are held against."""
    return 64 if given.smoke else 8192 if device.type == "cuda" else 2048


def product_rate(given: Namespace, device: torch.device) -> float:
    """FLOP/s of the fastest product, the best of three rounds."""
    side = side_of(given, device)
    libraries = products(side, device)
    rounds = [measure(libraries, side, lambda task: seconds(task, device)) for _ in range(4)][1:]
    return max(rate for found in rounds for rate in found.values())


def machine(given: Namespace, known: Found, report: Report) -> None:
    """What computes here, and how fast."""
    device = resolve_device(given.device)
    found: Found = {"device": "CPU", "torch": torch.__version__, "cores": os.cpu_count()}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found |= {
            "device": card.name, "memory_gib": round(card.total_memory / 2**30), "cuda": torch.version.cuda,
            "capability": f"{card.major}.{card.minor}", "bf16": torch.cuda.is_bf16_supported(),
        }  # fmt: skip
    report(found)
    report({**found, "product_tflops": product_rate(given, device) / 1e12})


def tests(given: Namespace, known: Found, report: Report) -> None:
    """The outcome of each test of tests/gpu; they skip without a CUDA device."""
    import pytest  # noqa: PLC0415 - the other sections do without

    outcomes: dict[str, str] = {}

    class Outcomes:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.when == "call" or report.outcome != "passed":
                outcomes[report.nodeid.rsplit("::", 1)[-1]] = report.outcome

    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    pytest.main(["tests/gpu", "-q", "-p", "no:cacheprovider"], plugins=[Outcomes()])
    report(
        {
            outcome: sum(value == outcome for value in outcomes.values())
            for outcome in ("passed", "failed", "skipped")
        }
    )
    expected = ("passed",) if resolve_device(given.device).type == "cuda" else ("passed", "skipped")
    bad = [name for name, outcome in outcomes.items() if outcome not in expected]
    if bad or not outcomes:
        raise RuntimeError(f"not passed: {', '.join(bad) or 'there were no tests'}")


def resume(given: Namespace, known: Found, report: Report) -> None:
    """Bit-equal on a CPU; on CUDA sums in any order leave other last bits, and scores are compared by correlation."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = made_up_store(folder, 64)
        steps = 12 if given.smoke else 200
        command = [
            "train", str(store), "--device", given.device, f"--set=train.steps={steps}", "--set=train.warmup.steps=4",
            "--set=network.width=0.05", "--set=checkpoint_seconds=0", "--set=train.batch_size=16", "--out",
        ]  # fmt: skip
        number = os.fork()  # before this process touches CUDA, which does not outlive a fork
        if number == 0:
            os._exit(call([*command, str(folder / "killed")]))
        while (
            not list((folder / "killed").glob("checkpoints/**/*.pt"))
            and os.waitpid(number, os.WNOHANG)[0] == 0
        ):
            time.sleep(0.002)
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(number, 0)
        found: Found = {"killed_before_the_end": not (folder / "killed" / "model.safetensors").exists()}
        report(found)
        for run in ("killed", "whole"):
            if call([*command, str(folder / run)]) or call(
                ["score", str(folder / run), "--overlays", "none"]
            ):
                raise RuntimeError(f"training or scoring of the {run} run failed")
        weights = [(folder / run / "model.safetensors").read_bytes() for run in ("killed", "whole")]
        scores = [scores_of(folder / run) for run in ("killed", "whole")]
        same = weights[0] == weights[1]
        report(
            {
                **found,
                "same_weights": same,
                "score_correlation": float(np.corrcoef(scores[0], scores[1])[0, 1]),
            }
        )


def made_up_store(folder: Path, items: int) -> Path:
    """A STORE of pictures of noise, a quarter of them anomalies."""
    x, _ = pictures(items)
    np.savez(folder / "pictures.npz", x=x, y=(np.arange(items) % 4 == 3).astype(int))
    if call(["images", str(folder / "pictures.npz"), "--out", str(folder / "store")]):
        raise RuntimeError("esad images failed")
    return folder / "store"


def scores_of(run: Path) -> np.ndarray:
    """The scores (N,) of a RUN's own store."""
    import pandas as pd  # noqa: PLC0415 - the other sections do without

    return pd.read_parquet(next(run.glob("scores/*/scores.parquet")))["score"].to_numpy()


def timed(task: Callable[[], object], steps: int, device: torch.device) -> Found:
    """Milliseconds a step of `task`, which does `steps`: median and lowest of five, after one that warms up."""
    task()
    times = [seconds(task, device) / steps * 1e3 for _ in range(5)]
    return {
        "ms": median(times),
        "ms_lowest": min(times),
        "images_per_second": training.BATCH / median(times) * 1e3,
    }


def steps_of(given: Namespace, compiled: bool, device: torch.device) -> tuple[Callable[[], None], Found]:
    """Some of our steps at the paper's width, and their number and FLOPs."""
    changes = {"network.width": 0.02 if given.smoke else 1.0, "train.compile": compiled}
    x, semi = pictures(training.BATCH * 8)
    step = training_step(resolve(RunSettings, {**FULL, **changes}), torch.from_numpy(x), semi, device)
    count = 1 if given.smoke else 40 if device.type == "cuda" else 2
    flops = 0
    if not compiled:  # torch counts in eager mode
        with FlopCounterMode(display=False) as counter:
            step(0)
        flops = counter.get_total_flops()

    def several() -> None:
        for number in range(count):
            step(number)

    return several, {"steps": count, "flops": flops}


def step(given: Namespace, known: Found, report: Report) -> None:
    """The plain loop, and ours without train.compile."""
    device = resolve_device(given.device)
    ours, about = steps_of(given, False, device)
    changes = {
        "network.width": 0.02 if given.smoke else 1.0, "train.epochs": None, "train.steps": about["steps"],
    }  # fmt: skip
    x, semi = pictures(training.BATCH * 8)
    plain = bare_loop(resolve(RunSettings, {**FULL, **changes}), torch.from_numpy(x), semi, device)
    found: Found = {"gflop": about["flops"] / 1e9, "plain": timed(plain, about["steps"], device)}
    report(found)
    ours_found = timed(ours, about["steps"], device)
    rate = product_rate(given, device)
    report({
        **found, **ours_found, "vs_plain": found["plain"]["ms"] / ours_found["ms"],
        "vs_product": about["flops"] / (ours_found["ms"] / 1e3) / rate,
        "camelyon16_hours": training.PAPER_EPOCHS * training.PAPER_ITEMS / ours_found["images_per_second"] / 3600,
    })  # fmt: skip


def compiled(given: Namespace, known: Found, report: Report) -> None:
    """Ours with train.compile, beside what `step` found."""
    device = resolve_device(given.device)
    if device.type != "cuda":
        report(
            {
                "skipped": "compiling is for CUDA here; tests/models/training/test_precision.py compiles on a CPU"
            }
        )
        return
    ours, about = steps_of(given, True, device)
    found = timed(ours, about["steps"], device)
    report(found)
    before = known.get("step", {})
    if "plain" in before:
        rate = product_rate(given, device)
        report({
            **found, "vs_plain": before["plain"]["ms"] / found["ms"],
            "vs_product": before["gflop"] * 1e9 / (found["ms"] / 1e3) / rate,
            "camelyon16_hours": training.PAPER_EPOCHS * training.PAPER_ITEMS / found["images_per_second"] / 3600,
        })  # fmt: skip


def scoring(given: Namespace, known: Found, report: Report) -> None:
    """benchmarks/training.py's comparison at the paper's width."""
    device = resolve_device(given.device)
    items = 80 if given.smoke else 8192 if device.type == "cuda" else 128
    work = Work(1 if given.smoke else 5, items, scored=0.02 if given.smoke else 1.0)
    with tempfile.TemporaryDirectory() as name:
        report({name: median(values) for name, values in training.scoring(work, device, Path(name)).items()})


def trainer(given: Namespace, known: Found, report: Report) -> None:
    """benchmarks/training.py's overhead."""
    work = Work(1, 80, steps=2, narrow=0.02) if given.smoke else Work(3, 1024)
    with tempfile.TemporaryDirectory() as name:
        found = training.overhead(work, resolve_device(given.device), Path(name))
        report({name: median(values) for name, values in found.items()})


def pcam(given: Namespace, known: Found, report: Report) -> None:
    """As many steps as --train-minutes allow at the speed that `step` or `compiled` found."""
    speeds = {name: known.get(name, {}).get("ms") for name in ("step", "compiled")}
    fast = {name: value for name, value in speeds.items() if value}
    quickest = min(fast, key=lambda name: fast[name]) if fast else "step"
    milliseconds = fast.get(quickest, 2000.0) * 1.1  # logs, checkpoints
    steps = 4 if given.smoke else max(20, int(given.train_minutes * 60e3 / milliseconds))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = given.data if (given.data / "store.json").is_file() else made_up_store(folder, 80)
        run = folder / "run"
        settings = {
            "network.width": 0.02 if given.smoke else 1.0, "train.steps": steps - steps // 4,
            "train.warmup.steps": steps // 4, "seed": 0,
        }  # fmt: skip
        found: Found = {"steps": steps, "made_up": store != given.data}
        for graphs in [True, False] if quickest == "compiled" else [False]:
            began = time.perf_counter()
            pairs = [
                f"--set={name}={json.dumps(value)}"
                for name, value in {**settings, "train.compile": graphs}.items()
            ]
            failed = call(
                ["train", str(store), "--out", str(run), "--force", "--device", given.device, *pairs]
            )
            found |= {"compiled": graphs, "train_seconds": time.perf_counter() - began}
            report(found)
            if not failed:
                break
        else:
            raise RuntimeError("esad train failed")
        began = time.perf_counter()
        if call(["score", str(run), "--overlays", "none"]) or call(["evaluate", str(run)]):
            raise RuntimeError("esad score or evaluate failed")
        metrics = json.loads(next(run.glob("scores/*/metrics.json")).read_text(encoding="utf-8"))
        report(
            {
                **found,
                "score_seconds": time.perf_counter() - began,
                "auc": metrics["auc"],
                "items": metrics["items"],
            }
        )


SECTIONS: dict[str, Callable[[Namespace, Found, Report], None]] = {
    "machine": machine, "tests": tests, "step": step, "compiled": compiled, "resume": resume, "pcam": pcam,
    "scoring": scoring, "training": trainer,
}  # fmt: skip
