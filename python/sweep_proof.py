"""A sweep of 64 points by 100 000 blocks of 64-QAM through the threshold of its code, on a LocalCluster of two workers, of which
one is killed in the middle, against the same without a fault and against shards that were merged by themselves. Prints a JSON object for each claim."""

import json
import os
import resource
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import issc
from dask.distributed import Client, LocalCluster

# From one block in three lost to none.
POINTS = [round(10.2 + 0.05 * n, 2) for n in range(64)]
TRIALS = int(os.environ.get("ISSC_TRIALS", "100000"))
SHARDS = 4


def at_snr(snr_db: float, *, trials: int, shard: tuple[int, int]) -> dict[str, Any]:
    return issc.link("64qam", 3.0, snr_db, trials, rescue=True, shard=shard)


def numbers(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in report.items() if key != "decode_bits_per_s"} for report in reports]


def cpu_s(which: int) -> float:
    used = resource.getrusage(which)
    return used.ru_utime + used.ru_stime


def say(asked: str, found: str, held: bool) -> None:
    print(json.dumps({"asked": asked, "found": found, "held": held}), flush=True)


def on_cluster(kill: bool) -> tuple[list[dict[str, Any]], float, int]:
    """The reports, the processor time of all processes, and how many workers were killed."""
    before = cpu_s(resource.RUSAGE_SELF) + cpu_s(resource.RUSAGE_CHILDREN)
    killed = []
    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        if kill:
            pids = list(client.run(os.getpid).values())

            def strike() -> None:
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])

            timer = threading.Timer(float(os.environ.get("ISSC_KILL_S", "60")), strike)
            timer.start()
        reports = issc.sweep(at_snr, POINTS, TRIALS, client, shards=SHARDS, progress=True)
        if kill:
            timer.cancel()
    after = cpu_s(resource.RUSAGE_SELF) + cpu_s(resource.RUSAGE_CHILDREN)
    return reports, after - before, len(killed)


def alone(snr_db: float) -> tuple[dict[str, Any], float]:
    """A point's shards, one after the other and merged, and the processor time that they took."""
    begin = cpu_s(resource.RUSAGE_SELF)
    parts = [at_snr(snr_db, trials=TRIALS, shard=(i, SHARDS)) for i in range(1, SHARDS + 1)]
    return issc.merge(parts), cpu_s(resource.RUSAGE_SELF) - begin


def main() -> None:
    # On two cores as the cluster, so that both share caches and clock alike.
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        measured = list(pool.map(alone, POINTS))
    merged, bare_s = [report for report, _ in measured], sum(seconds for _, seconds in measured)
    whole, swept_s, _ = on_cluster(kill=False)
    say(
        f"64 points × {TRIALS} blocks on LocalCluster(2) are the shards that were merged, bit for bit",
        f"{sum(a == b for a, b in zip(numbers(whole), numbers(merged), strict=True))} of 64 points equal",
        numbers(whole) == numbers(merged),
    )
    overhead = swept_s / bare_s - 1
    say(
        "processor time of the sweep, with scheduler and workers, within 5 % of the bare measurements'",
        f"{bare_s:.1f} s bare, {swept_s:.1f} s on the cluster: {100 * overhead:+.1f} %",
        overhead < 0.05,
    )
    hurt, _, killed = on_cluster(kill=True)
    say(
        "one worker killed in the middle: the same, bit for bit",
        f"{killed} killed, {sum(a == b for a, b in zip(numbers(hurt), numbers(whole), strict=True))} of 64 points equal",
        killed == 1 and numbers(hurt) == numbers(whole),
    )


if __name__ == "__main__":
    main()
