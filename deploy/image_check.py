"""`make image-check`: build the image for real and do a user's work inside it.

Uses Docker or Podman where they answer. Elsewhere, as root on a Debian machine, buildah builds the same Dockerfile in
chroot isolation over a base that debootstrap makes (`apt-get install buildah debootstrap`). Inside, as the image's own
user and with read-only data: ingest the demo's radiographs, train, train again with a kill -9 in the middle, compare the
weights bit by bit, score, evaluate, verify the exports. Needs nothing but Python's own library, about 12 GB of disk and
ten minutes; ends with the image's size.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
IMAGE, BASE, BOX = "localhost/esad-check", "localhost/python-base", "esad-check"
PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "cert", "default-timeout")
TRAINING = ["--preset", "demo"]
for setting in ("checkpoint_seconds=1", "train.steps=60", "train.warmup.steps=20"):
    TRAINING += ["--set", setting]


def say(text: str) -> None:
    print(f"== image-check: {text}", flush=True)


def run(command: Sequence[object], **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command; where it fails, its name and status are the last line."""
    words = [str(word) for word in command]
    done = subprocess.run(words, text=True, check=False, **more)
    if done.returncode:
        sys.exit(f"== image-check: FAILED with status {done.returncode}: {' '.join(words)}")
    return done


def answers(engine: str) -> bool:
    """Whether a container engine is installed and its daemon, if it has one, is there."""
    if not shutil.which(engine):
        return False
    return subprocess.run([engine, "info"], capture_output=True, check=False).returncode == 0


def pip_settings() -> tuple[dict[str, str], list[Path]]:
    """This machine's own sources of packages, as PIP_* build arguments, and the local files and folders in them."""
    listed = run([sys.executable, "-m", "pip", "config", "list"], capture_output=True).stdout
    found = {}
    for line in sorted(
        listed.splitlines(), reverse=True
    ):  # what the environment says (:env:) comes last, and wins
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in PIP_OPTIONS:
            found["PIP_" + name.upper().replace("-", "_")] = value.strip("'")
    paths = [Path(word.removeprefix("file://")) for value in found.values() for word in value.split()]
    local = [
        path.parent if path.name == "simple" else path for path in paths
    ]  # an index's files lie beside it
    return found, [path for path in local if path.is_absolute()]


class Engine:
    """Docker or Podman: one command each."""

    def __init__(self, name: str, work: Path, base: str | None) -> None:
        self.name, self.work, self.base = name, work, base
        self.command: list[object] = [name]

    def build(self) -> None:
        """The image, with this machine's own package sources; local ones are mounted, which Docker cannot."""
        arguments, local = pip_settings()
        arguments["REVISION"] = revision()
        if self.base:
            arguments["BASE"] = self.base
        words: list[object] = [*self.command, "build", "--tag", IMAGE]
        for name, value in arguments.items():
            words += ["--build-arg", f"{name}={value}"]
        if self.name != "docker":
            for path in local:
                words += ["--volume", f"{path}:{path}:ro"]
        run([*words, ROOT])

    def configuration(self) -> dict[str, object]:
        """User and entry point of the image."""
        found = run([*self.command, "image", "inspect", IMAGE], capture_output=True).stdout
        return json.loads(found)[0]["Config"]

    def size(self) -> int:
        """Bytes of all layers."""
        found = run([*self.command, "image", "inspect", IMAGE], capture_output=True).stdout
        return int(json.loads(found)[0]["Size"])

    def inside(self, words: Sequence[str], data: Path, runs: Path, program: str = "esad") -> list[object]:
        """The command that runs `program` in a new container of the image."""
        named = ["--rm", "--name", BOX, "--entrypoint", program]
        return [*self.command, "run", *named, *self.options(data, runs), IMAGE, *words]

    def options(self, data: Path, runs: Path) -> list[str]:
        """Mounts, and the caller's number of threads: on a busy machine one is many times faster than two."""
        threads = os.environ.get("OMP_NUM_THREADS")
        limit = ["--env", f"OMP_NUM_THREADS={threads}"] if threads else []
        return [*limit, "--volume", f"{data}:/data:ro", "--volume", f"{runs}:/runs"]

    def kill(self, process: subprocess.Popen[str]) -> None:
        """kill -9 for what runs in the container."""
        run([*self.command, "kill", "--signal", "KILL", BOX], stdout=subprocess.DEVNULL)
        process.wait()

    def clear(self) -> None:
        """Remove the image."""
        run([*self.command, "image", "rm", "--force", IMAGE], stdout=subprocess.DEVNULL)


class Buildah(Engine):
    """The same without an engine: chroot isolation, plain copies as storage, all below the work folder."""

    def __init__(self, work: Path, base: str | None) -> None:
        super().__init__("buildah", work, base)
        places = ["--root", work / "storage", "--runroot", work / "run"]
        self.command = ["buildah", *places, "--storage-driver", "vfs"]
        os.environ["BUILDAH_ISOLATION"] = "chroot"

    def build(self) -> None:
        if self.base is None:
            self._make_base()
        super().build()
        run([*self.command, "from", "--name", BOX, "--pull-never", IMAGE], stdout=subprocess.DEVNULL)

    def _make_base(self) -> None:
        """A small Debian with Python, in place of the slim image that cannot be fetched here."""
        folder, packages = self.work / "base", "python3,python3-venv,ca-certificates"
        say("base image with debootstrap")
        log = (self.work / "debootstrap.log").open("w")
        run(["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", folder], stdout=log)
        run([*self.command, "from", "--name", "base", "scratch"], stdout=subprocess.DEVNULL)
        run([*self.command, "add", "--quiet", "base", folder, "/"], stdout=subprocess.DEVNULL)
        run([*self.command, "commit", "--quiet", "--rm", "base", BASE], stdout=subprocess.DEVNULL)
        shutil.rmtree(folder)
        self.base = BASE

    def configuration(self) -> dict[str, object]:
        found = run([*self.command, "inspect", "--type", "image", IMAGE], capture_output=True).stdout
        return json.loads(found)["OCIv1"]["config"]

    def size(self) -> int:
        """Bytes of the files in the image."""
        where = run([*self.command, "mount", BOX], capture_output=True).stdout.strip()
        return int(run(["du", "--summarize", "--bytes", where], capture_output=True).stdout.split()[0])

    def inside(self, words: Sequence[str], data: Path, runs: Path, program: str = "esad") -> list[object]:
        return [*self.command, "run", *self.options(data, runs), BOX, "--", program, *words]

    def kill(self, process: subprocess.Popen[str]) -> None:
        """All below the buildah process; it has no namespace of processes, so they are ours to name."""
        for number in descendants(process.pid):
            os.kill(number, signal.SIGKILL)
        process.wait()

    def clear(self) -> None:
        """Nothing: the images lie in the work folder."""


def descendants(parent: int) -> list[int]:
    """Process ids below `parent`, the deepest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            children.setdefault(int(after_name[1]), []).append(int(entry.name))
    order = [parent]
    for number in order:
        order += children.get(number, [])
    return order[:0:-1]


def revision() -> str:
    done = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def check(engine: Engine, work: Path) -> dict[str, object]:
    """Build, work inside, and say what came out; leaves with status 1 at the first thing that is not as it should be."""
    began = time.monotonic()
    say(f"building with {engine.name}")
    engine.build()
    built = time.monotonic() - began
    config = engine.configuration()
    expect(config["User"] == "esad" and config["Entrypoint"] == ["esad"], f"user and entry point: {config}")
    data, runs = work / "data", work / "runs"
    for folder in (data, runs):
        folder.mkdir()
        folder.chmod(0o777)  # the image's user is none of this machine's

    def esad(*words: str) -> None:
        say("esad " + " ".join(words))
        run(engine.inside(words, data, runs))

    user = run(engine.inside(["-u"], data, runs, "id"), capture_output=True).stdout.strip()
    expect(user == "1000", f"the user inside: {user}")
    esad("synthetic", "--out", "/runs/archive", "--slides", "0", "--radiographs", "80")
    shutil.copytree(runs / "archive", data, dirs_exist_ok=True)
    written = subprocess.run([str(w) for w in engine.inside(["/data/x"], data, runs, "touch")], check=False)
    expect(written.returncode != 0 and not (data / "x").exists(), "/data is read-only inside")
    archive = "/data/radiographs"
    esad("radiographs", archive, "--labels", f"{archive}/labels.csv", "--out", "/runs/store")
    esad("train", "/runs/store", "--out", "/runs/whole", *TRAINING)
    say("the same, killed with -9 soon after its first checkpoint")
    words = ["train", "/runs/store", "--out", "/runs/killed", *TRAINING]
    process = subprocess.Popen([str(word) for word in engine.inside(words, data, runs)], text=True)
    killed = runs / "killed"
    while not any((killed / "checkpoints").glob("*.pt")):
        expect(process.poll() is None, "training runs until its first checkpoint")
        time.sleep(0.1)
    time.sleep(0.3)
    engine.kill(process)
    expect(not (killed / "model.safetensors").exists(), "killed before its end")
    esad(*words)
    same = (killed / "model.safetensors").read_bytes() == (runs / "whole" / "model.safetensors").read_bytes()
    expect(same, "the killed training ends with the weights of the other, bit by bit")
    esad("score", "/runs/killed", "--overlays", "worst:5")
    esad("evaluate", "/runs/killed")
    esad("verify", "/runs/killed")
    metrics = json.loads((killed / "scores" / "store" / "metrics.json").read_text())
    return {
        "engine": engine.name, "size_bytes": engine.size(), "build_seconds": round(built), "auc": metrics["auc"],
        "seconds": round(time.monotonic() - began),
    }  # fmt: skip


def expect(condition: bool, what: str) -> None:
    if not condition:
        sys.exit(f"== image-check: FAILED: {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", help="base image [python:3.11-slim; without an engine one is made]")
    parser.add_argument("--work", type=Path, help="folder of everything; kept if given [a temporary one]")
    parser.add_argument("--keep", action="store_true", help="leave image and folder in place")
    parser.add_argument("--json", type=Path, help="write what was found to this file, too")
    options = parser.parse_args()
    engines = [name for name in ("docker", "podman") if answers(name)]
    missing = [name for name in ("buildah", "debootstrap") if not shutil.which(name)]
    if not engines and missing:
        sys.exit(f"image-check needs Docker or Podman, or as root: apt-get install {' '.join(missing)}")
    work = Path(options.work or tempfile.mkdtemp(prefix="esad-image-")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    engine = Engine(engines[0], work, options.base) if engines else Buildah(work, options.base)
    try:
        found = check(engine, work)
    finally:
        if not options.keep:
            engine.clear()
            shutil.rmtree(work, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    say(f"passed; the image has {found['size_bytes'] / 1e9:.2f} GB. {json.dumps(found)}")  # type: ignore[operator]


if __name__ == "__main__":
    main()
