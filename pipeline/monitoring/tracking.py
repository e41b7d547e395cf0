"""Following a training in MLflow: settings as parameters, terms as metrics by step, provenance and final figures.

RUN/mlflow.json names the MLflow run, so that a training that goes on after a stop goes on there, too. A tracking
server that fails while a model trains costs the metrics, never the training.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from esad.pipeline.stage.errors import EsadError, Stopped, UsageError
from esad.pipeline.stage.log import read_log
from esad.pipeline.stage.progress import say

FORMS = "http://HOST:PORT, https://HOST:PORT, file:FOLDER or sqlite:///FILE"
EXPERIMENT = "esad"
METRICS_A_CALL = 1000
PARAMETERS_A_CALL = 100
LONGEST_PARAMETER = 6000
"""MLflow's own limits of one call."""
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
"""A server that is down must not hold up a training for the minutes that MLflow waits by default; `file:` stays allowed."""


def check_address(uri: str) -> None:
    """UsageError where `uri` is none of FORMS: MLflow would take any other word for a folder's name."""
    try:
        parts = urlsplit(uri)
        right = {
            "http": bool(parts.hostname) and parts.port != 0,
            "https": bool(parts.hostname) and parts.port != 0,
            "file": bool(parts.path.strip("/")),
            "sqlite": uri.startswith("sqlite:///") and bool(parts.path.strip("/")),
        }.get(parts.scheme, False)
    except ValueError:  # a port that is no number
        right = False
    if not right:
        hint = f" For a folder: file:{uri}" if uri and re.fullmatch(r"[\w./~-]+", uri) else ""
        raise UsageError(f"--mlflow {without_password(uri)!r}: expected {FORMS}.{hint}")


class Tracker:
    """One MLflow run; a new one where RUN/mlflow.json names none at this address, else that one."""

    def __init__(self, uri: str, out: Path, settings: Mapping[str, Any]) -> None:
        """`settings` are logged as they are nested, dotted. UsageError where MLflow is not installed, EsadError where
        nothing answers at `uri`."""
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            import mlflow
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise UsageError("--mlflow needs MLflow: pip install 'esad[mlflow]'.") from error
        self._path, self._where = out / "mlflow.json", without_password(uri)
        self._settings = flattened(settings)
        self._failures: tuple[type[Exception], ...] = (MlflowException, OSError)
        self._waiting: list[Any] = []
        self._silent = False
        try:
            self._client = mlflow.MlflowClient(tracking_uri=uri)
            run_id = self._continued() or self._created(out.name)
            self.run_id: str | None = run_id
            self._last = self._last_step(run_id)
            self._log_parameters(run_id)
        except self._failures as error:
            raise EsadError(
                f"--mlflow {self._where}: cannot be used ({_first_line(error)}); expected the address of a tracking "
                "server, file:FOLDER or sqlite:///FILE (this one needs the full mlflow package)."
            ) from error

    def log(self, step: int, values: Mapping[str, float], flush: bool = False) -> None:
        """Take metrics of a step; those of steps that MLflow already has are left out. `flush`: send what waits."""
        from mlflow.entities import Metric

        if step > self._last:
            now = int(time.time() * 1000)
            self._waiting += [Metric(metric_name(name), value, now, step) for name, value in values.items()]
        if flush:
            self.flush()

    def flush(self) -> None:
        """Send what waits; what cannot be sent is kept for the next time, and said once."""

        def waiting(run_id: str) -> None:
            while self._waiting:
                self._client.log_batch(run_id, metrics=self._waiting[:METRICS_A_CALL])
                del self._waiting[:METRICS_A_CALL]

        self._send(waiting)

    def restart(self) -> None:
        """Training starts anew at half the rate: the metrics so far are void, and a new MLflow run takes over."""
        self.finish("FAILED")
        self._path.unlink(missing_ok=True)
        self._last, self._waiting, self.run_id = 0, [], None

        def begin() -> None:
            self.run_id = self._created(self._path.parent.name)
            self._log_parameters(self.run_id)

        self._try(begin)

    def finish(
        self, status: str, figures: Mapping[str, float] | None = None, files: list[Path] | None = None
    ) -> None:
        """End the MLflow run as FINISHED, FAILED or KILLED, with final figures and files."""
        self.flush()

        def end(run_id: str) -> None:
            for name, value in (figures or {}).items():
                self._client.log_metric(run_id, metric_name(name), value)
            for path in files or []:
                self._client.log_artifact(run_id, str(path))
            self._client.set_terminated(run_id, status)

        self._send(end)

    def tag(self, content: Mapping[str, Any]) -> None:
        """Provenance as tags."""

        def tags(run_id: str) -> None:
            for name, value in flattened(content).items():
                self._client.set_tag(run_id, name, str(value)[:LONGEST_PARAMETER])

        self._send(tags)

    def _send(self, what: Callable[[str], None]) -> None:
        """Call `what` with the MLflow run's id; nothing where none could be begun."""
        if self.run_id is not None:
            self._try(partial(what, self.run_id))

    def _try(self, what: Callable[[], None]) -> None:
        """Call `what`; a failure costs what it would have sent, and is said once."""
        try:
            what()
        except self._failures as error:
            if not self._silent:
                say(
                    f"warning: MLflow at {self._where} does not answer ({_first_line(error)}); training goes on."
                )
            self._silent = True

    def _continued(self) -> str | None:
        """The MLflow run of RUN/mlflow.json, set to running, where it is at this address and still there."""
        if not self._path.is_file():
            return None
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
        except ValueError:
            stored = None
        if not isinstance(stored, dict) or not isinstance(stored.get("run_id"), str):
            say(f"{self._path}: is damaged; a new MLflow run takes over.")
            return None
        if stored.get("uri") != self._where:
            return None
        try:
            if self._client.get_run(stored["run_id"]).info.lifecycle_stage != "active":
                return None
        except self._failures as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        self._client.update_run(stored["run_id"], status="RUNNING")
        return stored["run_id"]

    def _created(self, name: str) -> str:
        from esad.preprocessing.store.store import write_json

        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        number = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT)
        run_id = self._client.create_run(number, run_name=name).info.run_id
        write_json(self._path, {"uri": self._where, "experiment": EXPERIMENT, "run_id": run_id})
        return run_id

    def _last_step(self, run_id: str) -> int:
        return max((point.step for point in self._client.get_metric_history(run_id, "loss")), default=0)

    def _log_parameters(self, run_id: str) -> None:
        from mlflow.entities import Param

        known = self._client.get_run(run_id).data.params
        fresh = [
            Param(name, str(value)[:LONGEST_PARAMETER])
            for name, value in self._settings.items()
            if name not in known
        ]
        for start in range(0, len(fresh), PARAMETERS_A_CALL):
            self._client.log_batch(run_id, params=fresh[start : start + PARAMETERS_A_CALL])


@contextmanager
def tracked(uri: str | None, out: Path, config: Mapping[str, Any]) -> Iterator[Tracker | None]:
    """The tracker of a training, or None without `uri`; in the end its state, and RUN's provenance, go to MLflow."""
    if uri is None:
        yield None
        return
    tracker = Tracker(uri, out, config)
    try:
        yield tracker
    except BaseException as error:
        tracker.finish("KILLED" if isinstance(error, (Stopped, KeyboardInterrupt)) else "FAILED")
        raise
    provenance = out / "provenance.json"
    content = json.loads(provenance.read_text(encoding="utf-8"))
    content.pop("inputs", None)  # a tag for every file of an archive tells nobody anything
    tracker.tag(content)
    found = {**flattened(content), "seconds": read_log(out, "train.json").get("seconds")}
    numbers = {name: value for name, value in found.items() if isinstance(value, (int, float))}
    tracker.finish("FINISHED", numbers, [provenance])


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(flattened(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def metric_name(name: str) -> str:
    """`name` with what MLflow does not allow in a metric's name as `_`."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)


def without_password(uri: str) -> str:
    """`uri` without user and password, as it may be shown and stored."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return re.sub(r"//[^/]*@", "//", uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def _first_line(error: Exception) -> str:
    text = re.sub(
        r"//[^/@\s]*@", "//", str(error).strip()
    ).splitlines()  # MLflow's messages repeat user and password
    return text[0][:200] if text else type(error).__name__
