"""Runs scripts as `python FILE ARGUMENTS` would, without seconds of imports for each.

One process imports the large libraries; each script then runs in a fresh copy (a fork) of it, as `__main__`, with its own
folder first on the path. Asked by a line of JSON on stdin, it answers each line with the script's exit status.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import runpy
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from tests import ROOT

LIBRARIES = (
    "torch", "torch._dynamo", "torch.utils.flop_counter", "torch.utils.tensorboard", "ignite.engine", "monai.data",
    "monai.handlers", "pandas", "pyarrow.dataset", "pyarrow.parquet", "scipy.ndimage", "sklearn.datasets",
    "sklearn.ensemble", "sklearn.metrics", "numba.np.ufunc", "pydantic", "typer", "jinja2", "matplotlib", "openslide",
    "tifffile", "imagecodecs", "simplejpeg", "pydicom", "shapely", "PIL.Image", "onnx",
)  # fmt: skip
"""Without onnxruntime: it starts a thread as it is imported, and a copy would wait for that thread for ever."""
LONGEST = 120
"""Seconds after which a script that hangs says where, and ends."""


class ScriptRunner:
    """The process that has imported the libraries."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.script_runner"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, script: Path, arguments: list[str], output: Path) -> int:
        """Exit status of the script; what it prints, errors too, goes to the file `output`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"script": str(script), "arguments": arguments, "output": str(output)}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the runner died while {script.name} ran"
        return int(answer)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


def become(script: str, arguments: list[str], output: str) -> None:
    """Run the script in this process, which then ends with the script's exit status."""
    with Path(output).open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")
    sys.exit(0)


def serve() -> None:
    """Answer until stdin ends."""
    for name in LIBRARIES:
        with suppress(ImportError):  # an optional one; a script that needs it says so itself
            import_module(name)
    gc.collect()
    gc.freeze()  # or each copy spends seconds on clearing up what it shares with this process
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            become(**json.loads(line))
        status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        print(status, flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
