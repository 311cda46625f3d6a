"""Sweeps: one measurement at many points, each cut into shards, on the cores of one machine or on a cluster by Dask."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ._native import InputError, merge

Part = dict[str, Any]
Point = TypeVar("Point")
Point_contra = TypeVar("Point_contra", contravariant=True)
Shard = tuple[int, int]
Task = tuple[int, int]


class Measurement(Protocol[Point_contra]):
    """What a sweep calls for each point and shard."""

    def __call__(self, point: Point_contra, /, *, trials: int, shard: Shard) -> Part:
        """The part of this shard, as `sense`, `link`, `robustness` and `codec_curve` give it."""


def sweep(
    function: Measurement[Point],
    points: Sequence[Point],
    trials: int,
    client: Any = None,
    *,
    shards: int = 4,
    folder: str | os.PathLike[str] | None = None,
    retries: int = 3,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Measures at every point and gives a report for each, in their order.

    function: called as function(point, trials=trials, shard=(i, n)); gives what `sense`, `link`, `robustness` or
    `codec_curve` give for a shard. points: anything that pickles. trials: of each point. client: a dask.distributed
    Client, of a LocalCluster, an SLURMCluster or any other; threads of this process where absent. shards: parts of each
    point; the reports do not depend on their number. folder: parts are kept here as they come, and a sweep that was cut
    short goes on from them. retries: how often a part is tried again whose function or worker failed. progress: a line
    on the standard error.
    """
    if shards < 1 or trials < 1:
        raise InputError(f"shards, trials: found {shards}, {trials}; accepted: 1 or more")
    store = _Store(folder, points, trials, shards)
    tasks = [(point, shard) for point in range(len(points)) for shard in range(1, shards + 1)]
    left = [task for task in tasks if not store.has(task)]
    done = len(tasks) - len(left)
    begin = time.monotonic()
    run = _on_threads if client is None else _on_dask(client)
    for task, part in run(function, points, trials, shards, left, retries):
        store.put(task, part)
        done += 1
        if progress:
            print(f"\r{done} of {len(tasks)} parts, {time.monotonic() - begin:.0f} s", end="", file=sys.stderr, flush=True)
    if progress:
        print(file=sys.stderr)
    return [merge([store.get((point, shard)) for shard in range(1, shards + 1)]) for point in range(len(points))]


class _Store:
    """Parts by point and shard: in memory, and on disk where a folder is named."""

    def __init__(self, folder: str | os.PathLike[str] | None, points: Sequence[Any], trials: int, shards: int) -> None:
        self.parts: dict[Task, Part] = {}
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {"points": [_digest(point) for point in points], "trials": trials, "shards": shards}
        file = self.folder / "sweep.json"
        if file.exists():
            found = json.loads(file.read_text())
            if found != about:
                raise InputError(f"{file}: found another sweep; accepted: a new folder, or the same points, trials and shards")
        else:
            _write(file, about)
        for part in sorted(self.folder.glob("part-*.json")):
            _, point, shard = part.stem.split("-")
            self.parts[int(point), int(shard)] = json.loads(part.read_text())

    def has(self, task: Task) -> bool:
        return task in self.parts

    def get(self, task: Task) -> Part:
        return self.parts[task]

    def put(self, task: Task, part: Part) -> None:
        self.parts[task] = part
        if self.folder is not None:
            _write(self.folder / f"part-{task[0]}-{task[1]}.json", part)


def _digest(point: Any) -> str:
    return hashlib.sha256(repr(point).encode()).hexdigest()[:16]


def _write(file: Path, value: Any) -> None:
    """Writes a file that is there whole or not at all."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(value))
    partial.replace(file)


def _on_threads(
    function: Callable[..., Part],
    points: Sequence[Any],
    trials: int,
    shards: int,
    tasks: list[Task],
    retries: int,
) -> Iterator[tuple[Task, Part]]:
    """The parts as they come, made on a thread for each core: measurements give the interpreter's lock up."""

    def attempt(task: Task) -> tuple[Task, Part]:
        for left in reversed(range(retries + 1)):
            try:
                return task, function(points[task[0]], trials=trials, shard=(task[1], shards))
            except Exception:
                if left == 0:
                    raise
        raise AssertionError("the last attempt returns or raises")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = {pool.submit(attempt, task) for task in tasks}
        try:
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            for future in waiting:
                future.cancel()


def _on_dask(client: Any) -> Callable[..., Iterator[tuple[Task, Part]]]:
    def run(
        function: Callable[..., Part],
        points: Sequence[Any],
        trials: int,
        shards: int,
        tasks: list[Task],
        retries: int,
    ) -> Iterator[tuple[Task, Part]]:
        """The parts as they come. A worker that dies takes none of them with it: Dask gives its work to another."""
        from dask.distributed import as_completed

        futures = {
            client.submit(
                function,
                points[point],
                trials=trials,
                shard=(shard, shards),
                retries=retries,
                pure=False,
                key=f"issc-sweep-{point}-{shard}-{time.monotonic_ns()}",
            ): (point, shard)
            for point, shard in tasks
        }
        completed = as_completed(list(futures))
        try:
            for future in completed:
                task = futures.pop(future)
                part = future.result()
                future.release()
                yield task, part
        finally:
            client.cancel(list(futures))

    return run
