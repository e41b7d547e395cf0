"""Several processes killed one at a time: workers of a Dask cluster, those of torchrun, and a pool's; the same bytes in the end."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from distributed import Client

from esad.pipeline.cli.app import call
from tests.forks import as_torchrun, wait
from tests.pipeline.conftest import dask_cluster
from tests.trust.kills import KILLED, die_at, unlike
from tests.trust.kills_world import Made, commands_of

__all__ = ["dask_cluster"]
ON_A_CLUSTER = ("images", "embed", "score-table", "sweep")
"""Not benchmark, whose workers have clocks of their own."""
OF_A_WORKER, OF_RANKS = 3, 4
KILLS: dict[str, int] = {}


def words_of(world: Path, stage: str, place: Path) -> list[str]:
    (command,) = commands_of(world)[stage](place)
    return [str(word) for word in command]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ON_A_CLUSTER)
def test_workers_of_a_cluster_that_die_change_no_byte(world, dask_cluster, stage):
    """Each dies at a moment of its own work; the client goes on with those that are left, and nothing is left lying about."""
    whole, numbers = Made(world, stage).undisturbed(), random.Random(stage)
    for run in range(OF_A_WORKER):
        place = Made(world, stage).place("cluster", f"{stage}-{run}")
        place.parent.mkdir(parents=True)
        with Client(dask_cluster.scheduler_address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            before = _processes(client)
            for address in before:
                client.run(die_at, numbers.randint(2, 9), place.parent, workers=[address])
            assert call([*words_of(world, stage, place), "--scheduler", dask_cluster.scheduler_address]) == 0
            KILLS[stage] = KILLS.get(stage, 0) + len(set(before.values()) - set(_processes(client).values()))
        assert unlike(place, whole) == []
    assert KILLS[stage]


def _processes(client: Client) -> dict[str, int]:
    return client.run(os.getpid)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train-images", "score-table"])
def test_processes_of_torchrun_that_die_change_no_byte(world, stage):
    """Now the first dies, at a moment of its writing, now the second, by the clock; the same torchrun goes on."""
    made, numbers = Made(world, stage), random.Random(stage)
    made.undisturbed()  # imports, for the copies

    def started(place: Path, dying: int | None, moment: int = 0) -> list[int]:
        def command() -> None:
            if os.environ["RANK"] == str(dying) and moment:
                die_at(moment, place.parent)
            os._exit(call(words_of(world, stage, place)))

        return as_torchrun(command)

    whole = made.place("ranks", "0")
    whole.parent.mkdir(parents=True)
    began = time.monotonic()
    assert [wait(number) for number in started(whole, None)] == [0, 0]
    seconds, kills = time.monotonic() - began, 0
    place = made.place("ranks", "1")
    place.parent.mkdir(parents=True)
    for turn in range(OF_RANKS):
        if turn % 2:
            both = started(place, None)
            time.sleep(numbers.uniform(0.3, 0.9) * seconds)
            os.kill(both[1], signal.SIGKILL)
        else:
            both = started(place, 0, numbers.randint(2, 40))
        ends = [wait(number) for number in both]
        kills += KILLED in ends
        assert KILLED not in ends or set(ends) <= {KILLED, 1, 0}
    assert [wait(number) for number in started(place, None)] == [0, 0]
    assert unlike(place, whole) == []
    KILLS[f"{stage}, torchrun"] = kills
    assert kills


@pytest.mark.slow
def test_a_pool_whose_first_process_dies_leaves_what_can_be_gone_on_with(world):
    """`--workers 2`: killed by the clock, the pool's processes end by themselves, and the same command goes on."""
    made, numbers = Made(world, "images"), random.Random(0)
    whole = made.undisturbed()
    place = made.place("pool", "0")
    place.parent.mkdir(parents=True)
    command = [*words_of(world, "images", place)[:-1], "2"]
    from tests.forks import fork

    for _ in range(4):
        number = fork(lambda: os._exit(call(command)))
        time.sleep(numbers.uniform(0.2, 3))
        os.kill(number, signal.SIGKILL)
        KILLS["pool"] = KILLS.get("pool", 0) + (wait(number) == KILLED)
    assert wait(fork(lambda: os._exit(call(command)))) == 0
    assert unlike(place, whole) == []


@pytest.mark.slow
def test_how_many_there_were():
    print("\nkills of several processes:", sum(KILLS.values()), KILLS)  # noqa: T201 - what `make trust` is asked for
