"""Systems: events, commands, own optimizers and estimators, recordings."""

from pathlib import Path
from typing import Any

import issc
import numpy as np
import pytest


def test_events_tell_of_every_frame_and_are_a_data_frame() -> None:
    pytest.importorskip("pandas", reason="no pandas: events are not made a table")
    with issc.System("loopback", frames=40, seed=2).start() as run:
        events = run.events()
        seen = list(events)
    report = run.join()
    assert events.lost == 0 and [e["frame"] for e in seen if e["event"] == "sent"] == list(range(40))
    table = issc.data_frame(seen, "received")
    assert len(table) == report["frames_decoded"] == 40
    assert abs(float(table["sinr_db"].mean()) - report["sinr_db"]["measured"]) < 0.5


def test_commands_are_answered_and_change_the_plan() -> None:
    run = issc.System("loopback", frames=100_000).start()
    answer = run.command("power_dbm=-2")
    assert answer["accepted"] and answer["feasible"]
    for event in run.events():
        if event["event"] == "sent" and event["frame"] >= answer["frame"]:
            assert event["power_dbm"] <= -2 + 1e-6
            break
    assert run.status()["state"] in ("running", "waiting") and "model" in run.plan()
    with pytest.raises(issc.InputError, match="powr_dbm"):
        run.command("powr_dbm=1")
    run.stop()
    assert run.join()["frames_sent"] > 0
    assert run.join() == run.join() and run.is_finished


def test_an_optimizer_in_python_makes_the_plans_that_are_sent() -> None:
    asked: list[tuple[int, int]] = []

    def maximum_ratio(request: issc.Request) -> tuple[Any, Any]:
        asked.append((request.epoch, request.frame))
        assert request.targets_m == [[100.0, 50.0]] and request.hcrb_max_m2 > 0
        channel = request.channel
        return np.sqrt(request.power_w) * channel / np.linalg.norm(channel), np.zeros(4)

    own = issc.System("loopback", frames=160, optimizer=maximum_ratio).start().join()
    shipped = issc.System("loopback", frames=160).start().join()
    assert asked[0] == (0, 0) and len(asked) > 2, "it is asked for the first plan and after each sounding"
    assert own["sinr_db"]["measured"] > shipped["sinr_db"]["measured"] + 0.1
    same = issc.System("loopback", frames=160, optimizer=lambda request: None).start().join()
    assert same["sinr_db"] == shipped["sinr_db"], "None leaves the beams to the shipped optimizer"

    def certified(request: issc.Request) -> issc.Plan:
        return issc.optimize(request.scene, channel=request.channel)

    report = issc.System("loopback", frames=160, optimizer=certified).start().join()
    assert abs(report["sinr_db"]["predicted"] - shipped["sinr_db"]["predicted"]) < 0.01


def test_what_callables_raise_comes_out_of_the_run() -> None:
    def broken(request: issc.Request) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        issc.System("loopback", frames=40, optimizer=broken).start()

    def late(request: issc.Request) -> None:
        if request.epoch > 0:
            raise ZeroDivisionError("later")

    with pytest.raises(ZeroDivisionError, match="later"):
        issc.System("loopback", frames=400, optimizer=late).start().join()

    def deaf(frame: issc.EchoFrame) -> None:
        raise KeyError(frame.number)

    with pytest.raises(KeyError):
        issc.System("loopback", frames=400, on_echo=deaf).start().join()
    with pytest.raises(issc.InputError, match="w_c: found 3 weights; accepted: 4"):
        issc.System("loopback", frames=40, optimizer=lambda request: (np.zeros(3), np.zeros(4))).start()


def test_an_own_estimator_gets_every_frames_echo_and_the_shipped_one_agrees_on_it() -> None:
    scene = issc.Scene.load("paper")
    estimator = issc.Estimator(scene)
    numbers, differences = [], []

    def look(frame: issc.EchoFrame) -> None:
        numbers.append(frame.number)
        assert frame.echo.dtype == np.complex64 and frame.echo.shape == (4, estimator.echo_samples)
        mine, theirs = estimator.estimate(frame).position_m, frame.estimates[0].position_m
        assert mine is not None and theirs is not None
        differences.append(np.subtract(mine, theirs))

    report = issc.System("loopback", frames=50, seed=6, on_echo=look).start().join()
    assert numbers == list(range(50)) and report["target"]["frames"] == 50
    assert np.abs(differences).max() < 1e-3, "the shipped one also knows its track"


def test_a_run_that_is_left_alone_is_stopped() -> None:
    for _ in range(3):
        run = issc.System("loopback", frames=100_000, optimizer=lambda request: None).start()
        del run


def test_a_recording_is_read_and_replayed(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    report = issc.System("loopback", frames=20, record=folder).start().join()
    rows = issc.read_recording(folder)
    assert [recording.samples.shape[0] for recording in rows.values()] == [5], "the receiver and the four rows of the array"
    for recording in rows.values():
        assert recording.samples.dtype == np.complex64 and recording.sample_rate_hz == 2e8
        assert recording.blemishes is None and np.isfinite(recording.samples).all()
        assert recording.metadata["global"]["core:datatype"] == "cf32_le" and len(recording.stretches) == 1
    replayed = issc.System(replay=folder).start().join()
    assert replayed["target"]["estimate_m"] == report["target"]["estimate_m"]
    with pytest.raises(issc.InputError, match="found no .sigmf-meta file"):
        issc.read_recording(tmp_path)


def test_a_watched_run_shows_its_spectrum() -> None:
    with issc.System("loopback", frames=100_000, watched=True).start() as run:
        views: list[dict[str, Any]] = []
        while not views:
            views = run.views("constellation")
        assert views[0]["frame"] is not None
        with pytest.raises(issc.InputError, match="topic: found noise; accepted: spectrum"):
            run.views("noise")  # type: ignore[arg-type]


def test_a_wrong_system_is_refused_before_it_starts() -> None:
    with pytest.raises(issc.InputError, match="nearest known key"):
        issc.System("loopback", set={"scene.constraints.powr_dbm": 1})
    with pytest.raises(issc.InputError, match="out of range"):
        issc.System("loopback", set={"scene.constraints.power_dbm": 1e6}).start()
    assert issc.System("loopback", frames=10, at=[(20, "power_dbm=-1")]).check()[0].startswith("--at 20:power_dbm")
