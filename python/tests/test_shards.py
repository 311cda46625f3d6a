"""Shards and sweeps: the same bits as one run, whoever makes them and whatever fails on the way."""

import functools
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import issc
import pytest
from conftest import Cli, without_clock


def at_snr(snr_db: float, *, trials: int, shard: tuple[int, int]) -> dict[str, Any]:
    return issc.link("qpsk", 1.0, snr_db, trials, seed=5, shard=shard)


def test_shards_of_every_measurement_are_one_run() -> None:
    scene = issc.Scene.load("paper")
    pictures = [picture[:64, :64].copy() for picture in issc.shipped_pictures()[:2]]
    measurements: list[tuple[Any, int]] = [
        (functools.partial(issc.sense, scene, trials=2100, seed=2), 3),
        (functools.partial(issc.link, "16qam", 2.0, 6.4, 9000, seed=3), 2),
        (functools.partial(issc.robustness, receiver="sensing", only="none", frames=20), 2),
        (functools.partial(issc.codec_curve, pictures, models=["mse-1", 2]), 3),
    ]
    for measure, shards in measurements:
        parts = [json.loads(json.dumps(measure(shard=(index, shards)))) for index in range(shards, 0, -1)]
        assert without_clock(issc.merge(parts)) == without_clock(measure()), measure
    with pytest.raises(issc.InputError, match="shard 2/3 is missing"):
        issc.merge([measurements[0][0](shard=(index, 3)) for index in (1, 3)])
    with pytest.raises(issc.InputError, match="--shard 3/2; accepted: I/N"):
        issc.link("qpsk", 1.0, 3.0, 100, shard=(3, 2))


def test_the_command_lines_shards_merge_with_it_and_with_the_packages(issc_cli: Cli, tmp_path: Path) -> None:
    options = ["--modulation", "qpsk", "--rate", "1", "--snr-db", "1.4", "--blocks", "10000", "--seed", "5"]
    files = []
    for index in (1, 2):
        part = issc_cli("link", *options, "--shard", f"{index}/2")
        files.append(tmp_path / f"{index}.json")
        files[-1].write_text(json.dumps(part))
    whole = without_clock(issc_cli("link", *options, "--json"))
    assert without_clock(issc_cli("merge", *map(str, files), "--json")) == whole
    assert without_clock(issc.merge([at_snr(1.4, trials=10000, shard=(2, 2)), json.loads(files[0].read_text())])) == whole
    assert whole["block_error_rate"] > 0


def test_a_sweep_goes_on_where_it_was_cut_short_and_tries_again_what_failed(tmp_path: Path) -> None:
    points = [0.8, 1.2, 1.6]
    expected = [without_clock(issc.link("qpsk", 1.0, snr_db, 9000, seed=5)) for snr_db in points]
    calls: list[tuple[float, tuple[int, int]]] = []
    left = {"failures": 2}

    def fragile(snr_db: float, *, trials: int, shard: tuple[int, int]) -> dict[str, Any]:
        calls.append((snr_db, shard))
        if left["failures"] > 0:
            left["failures"] -= 1
            raise OSError("this machine went away")
        return at_snr(snr_db, trials=trials, shard=shard)

    with pytest.raises(OSError, match="went away"):
        issc.sweep(fragile, points, 9000, shards=3, folder=tmp_path, retries=0)
    done = len(list(tmp_path.glob("part-*.json")))
    left["failures"] = 1
    calls.clear()
    found = issc.sweep(fragile, points, 9000, shards=3, folder=tmp_path)
    assert [without_clock(report) for report in found] == expected
    assert len(calls) == 9 - done + 1, "what was done is not done again, what failed once is"
    calls.clear()
    assert [without_clock(r) for r in issc.sweep(fragile, points, 9000, shards=3, folder=tmp_path)] == expected
    assert not calls
    with pytest.raises(issc.InputError, match="found another sweep"):
        issc.sweep(fragile, points, 9001, shards=3, folder=tmp_path)


def slow_at_snr(snr_db: float, *, trials: int, shard: tuple[int, int]) -> dict[str, Any]:
    time.sleep(0.2)
    return at_snr(snr_db, trials=trials, shard=shard)


def test_a_worker_that_is_killed_changes_no_bit() -> None:
    distributed = pytest.importorskip("dask.distributed", reason="no dask: sweeps are tried on threads alone")
    points = [0.8, 1.2, 1.6, 2.0]
    expected = [without_clock(issc.link("qpsk", 1.0, snr_db, 9000, seed=5)) for snr_db in points]
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster, distributed.Client(cluster) as client:
        workers = [int(pid) for pid in client.run(os.getpid).values()]
        killed: list[int] = []

        class Killing:
            """A client that kills a worker once the first tasks are under way."""

            def __getattr__(self, name: str) -> Any:
                return getattr(client, name)

            def submit(self, *arguments: Any, **options: Any) -> Any:
                future = client.submit(*arguments, **options)
                self.count = getattr(self, "count", 0) + 1
                if self.count == 8:
                    time.sleep(0.3)
                    os.kill(workers[0], signal.SIGKILL)
                    killed.append(workers[0])
                return future

        found = issc.sweep(slow_at_snr, points, 9000, Killing(), shards=3)
    assert killed and [without_clock(report) for report in found] == expected


def test_the_slurm_example_is_shell(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples/slurm_array.sh"
    assert subprocess.run(["bash", "-n", example], check=False).returncode == 0
