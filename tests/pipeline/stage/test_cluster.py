"""What is asked of workers before any work: the same folders, this program, its versions, one thread each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from distributed.comm import CommClosedError

from esad.pipeline.stage.cluster import Cluster, Probe
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.preprocessing.store.store import write_json


class FakeClient:
    """Answers for two workers what it is told to."""

    def __init__(self, *answers):
        self.answers = dict(zip(("tcp://a", "tcp://b"), answers, strict=True))
        self.threads = {address: {"nthreads": 1} for address in self.answers}

    def run(self, function, *_, **__):
        return self.answers

    def scheduler_info(self, **_):
        return {"workers": self.threads}


@pytest.fixture
def probe(tmp_path):
    mark = tmp_path / "out" / "parts" / "settings.json"
    write_json(mark, {"stage": "test"})
    np.save(tmp_path / "0.npy", np.zeros(2))
    return Probe.here(
        tmp_path / "out", mark, [tmp_path / "0.npy" / "member of a zip.png"], ["numpy", "absent"]
    )


def test_a_worker_that_sees_other_folders_is_told_apart(probe, tmp_path):
    assert probe.look() == (None, {"numpy": np.__version__, "absent": "missing"})
    assert "is another folder there" in replace(probe, content="{}").look()[0]
    assert "No such file or directory" in replace(probe, root=tmp_path / "elsewhere").look()[0]
    np.save(tmp_path / "0.npy", np.zeros(3))
    problem, _ = probe.look()
    assert "0.npy is not there, or another file" in problem
    cluster = Cluster(FakeClient((None, {}), (problem, {})), "tcp://s")
    with pytest.raises(UsageError, match=r"worker tcp://b: .*0.npy is not there.*same paths"):
        cluster.check(replace(probe, packages=()), "archive and store", "")
    cluster = Cluster(FakeClient((None, {}), ("/out: No such file or directory.", {})), "tcp://s")
    with pytest.raises(UsageError, match=r"directory\. All workers must see archive and store"):
        cluster.check(replace(probe, packages=()), "archive and store", "")


@pytest.mark.parametrize(
    ("found", "told"), [(ModuleNotFoundError("no module"), "no module"), (None, "an older esad")]
)
def test_a_worker_without_this_program_is_told_apart(found, told):
    with pytest.raises(UsageError, match=rf"worker tcp://b does not have this program \({told}\)"):
        Cluster(FakeClient(object(), found), "tcp://s").check_package()


def test_other_versions_and_several_threads_are_said(probe, capsys):
    ours = {"numpy": np.__version__, "absent": "missing"}
    client = FakeClient((None, ours), (None, {**ours, "numpy": "1.0"}))
    client.threads = {"tcp://a": {"nthreads": 4}, "tcp://b": {"nthreads": 1}}
    Cluster(client, "tcp://s").check(probe, "archive and store", "and takes as many units at once")
    said = capsys.readouterr().err
    assert f"worker tcp://b has numpy 1.0 (here {np.__version__})" in said
    assert "worker tcp://a has 4 threads" in said
    assert said.count("worker tcp") == 2


def test_a_scheduler_that_is_lost_as_a_result_is_fetched_is_said():
    class Result:
        status, key = "finished", "a task"

        def result(self):
            raise CommClosedError("in <TCP (closed) ConnectionPool.gather>: Stream is closed")

    cluster = Cluster(FakeClient(None, None), "tcp://s")
    with pytest.raises(
        EsadError, match=r"--scheduler tcp://s: lost the scheduler\. Start it and run the same"
    ):
        cluster._found(Result())


def test_workers_that_do_not_answer_as_they_are_let_go_change_nothing():
    class Gone(FakeClient):
        status = "running"

        def run(self, *_, **__):
            raise CommClosedError("in <TCP (closed)>: Stream is closed")

    Cluster(Gone(None, None), "tcp://s").tell(str)
