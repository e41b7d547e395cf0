"""`make mutants`: the code that decides over results is changed in one place at a time (mutmut); a test has to fail each time.

    python -m tests.mutants.run [--only figures stain …] [--out build/mutants]

A copy of the packages and tests is mutated, never the checkout. survivors.txt has the mutants that no test noticed, with what was
changed; those whose change makes no other result (tests/mutants/same.txt, with the reason) are counted apart.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT
from tests.mutants.groups import GROUPS, Group

PACKAGES = ("models", "preprocessing", "pipeline", "data_manifests")
BESIDE = ("tests", "benchmarks", "docs", "deploy", "README.md", "CHANGELOG.md", "constraints.txt", "Makefile")
KILLED, SURVIVED, NO_TEST = "killed", "survived", "no test"
SAME = Path(__file__).with_name("same.txt")


def tree(out: Path, group: Group) -> None:
    """The packages as real folders below src/esad, the tests, and mutmut's settings."""
    shutil.rmtree(out, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, out / "src" / "esad" / name, ignore=ignored)
    for path in (ROOT / "src" / "esad").iterdir():
        if path.is_file():
            shutil.copy(path, out / "src" / "esad" / path.name)
    for name in BESIDE:
        place = ROOT / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, out / name)
    files = [f"src/esad/{name}" for name in group.files]
    chosen = [f"tests/{name}" for name in group.tests]
    settings = {
        "source_paths": files,
        "also_copy": ["src", *BESIDE[1:]],
        "pytest_add_cli_args_test_selection": chosen,
    }
    said = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    (out / "pyproject.toml").write_text(f"{(ROOT / 'pyproject.toml').read_text()}\n[tool.mutmut]\n{said}")


def mutate(out: Path) -> None:
    """Run mutmut there; SystemExit where its tests do not pass to begin with."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    words = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", "1"]
    with (out / "log.txt").open("w") as log:
        status = subprocess.call(words, cwd=out, env=environment, stdout=log, stderr=log)
    if not list((out / "mutants").rglob("*.meta")) or status not in (0, 1):
        sys.exit(f"{out / 'log.txt'}: mutmut ended with {status}; its last words are there.")


def mutants(out: Path) -> Iterator[tuple[str, str, str]]:
    """Each mutant's name, how it ended, and what it changed: `- before` and `+ after`, lines that differ alone."""
    for meta in sorted((out / "mutants").rglob("*.meta")):
        found = json.loads(meta.read_text())["exit_code_by_key"]
        bodies = {
            node.name: ast.unparse(ast.Module(node.body, []))
            for node in ast.walk(ast.parse(meta.with_suffix("").read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        for name, code in found.items():
            own = name.rpartition(".")[2]
            before = bodies[re.sub(r"__mutmut_\d+$", "__mutmut_orig", own)]
            lines = difflib.ndiff(before.splitlines(), bodies[own].splitlines())
            change = "\n".join(line for line in lines if line[:1] in "+-")
            ended = {0: SURVIVED, 33: NO_TEST, None: NO_TEST}.get(code, KILLED)
            yield name, ended, change


def reasons() -> list[tuple[re.Pattern[str], str]]:
    """Pattern of a change that makes no other result, and why."""
    rows = [line.split("\t") for line in SAME.read_text().splitlines() if line and not line.startswith("#")]
    return [(re.compile(pattern, re.DOTALL), why) for pattern, why in rows]


def worked(name: str, out: Path) -> dict[str, object]:
    """Mutate a group; counts, and the survivors written to OUT/NAME.txt."""
    tree(out / name, GROUPS[name])
    mutate(out / name)
    counts: Counter[str] = Counter()
    survivors = []
    for mutant, ended, change in mutants(out / name):
        why = (
            next((why for pattern, why in reasons() if pattern.search(change)), None)
            if ended == SURVIVED
            else None
        )
        counts["same" if why else ended] += 1
        if ended != KILLED:
            survivors.append(f"{mutant}: {why or ended}\n{change}\n")
    (out / f"{name}.txt").write_text("\n".join(survivors))
    told = counts[KILLED] + counts[SURVIVED] + counts[NO_TEST]
    return {"group": name, **counts, "killed_share": round(counts[KILLED] / max(told, 1), 3)}


def main() -> None:
    """A line for each group; status 1 where less than 90 % of what makes another result was noticed."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP")
    options.add_argument("--out", type=Path, default=ROOT / "build" / "mutants")
    given = options.parse_args()
    found = []
    for name in given.only:
        found.append(worked(name, given.out))
        sys.stdout.write(json.dumps(found[-1]) + "\n")
        sys.stdout.flush()
    sys.exit(any(float(str(each["killed_share"])) < 0.9 for each in found))


if __name__ == "__main__":
    main()
