"""A Dask cluster of two processes, for the tests of what runs on one."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def dask_cluster():
    import dask
    from distributed import LocalCluster

    one_task_each = {
        "distributed.scheduler.worker-saturation": 1.0
    }  # none waits beside one that kills its worker
    with (
        dask.config.set(one_task_each),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as started,
    ):
        yield started
