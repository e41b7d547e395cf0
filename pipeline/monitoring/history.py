"""RUN/history.csv: a row per logged step and term, in long form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def flush_history(out: Path) -> None:
    """Flush the rows so far to disk, where there are any: a checkpoint counts on them."""
    from esad.preprocessing.store.durable import flush

    if (out / "history.csv").is_file():
        flush(out / "history.csv")


class History:
    """Columns step, phase, term, value; a continued run cuts the rows after its checkpoint."""

    def __init__(self, out: Path, start: int) -> None:
        """`start` is the step that training goes on from."""
        from esad.preprocessing.store.store import write_atomically

        self.path = out / "history.csv"
        kept = ["step,phase,term,value\n"]
        if start and self.path.exists():
            lines = self.path.read_text().splitlines(keepends=True)[1:]
            kept += [line for line in lines if line.endswith("\n") and int(line.split(",", 1)[0]) < start]
        write_atomically(self.path, lambda temporary: temporary.write_text("".join(kept)))
        self.file = self.path.open("a")

    def add(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """A row for each of the values, with eight significant digits."""
        self.file.writelines(f"{step},{phase},{name},{value:.8g}\n" for name, value in values.items())
        self.file.flush()

    def close(self) -> None:
        """Nothing is buffered: `add` flushes."""
        self.file.close()
