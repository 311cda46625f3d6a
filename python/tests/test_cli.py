"""The package's numbers are the command line's, to the last digit."""

import json
from pathlib import Path

import issc
import numpy as np
from conftest import Cli, without_clock


def test_optimize_and_hcrb(issc_cli: Cli, tmp_path: Path) -> None:
    for scene, method in [("paper", "global"), ("paper", "alternating"), ("outdoor", "zf-wf"), ("several", "global")]:
        expected = issc_cli("optimize", "--scene", scene, "--method", method, "--json")
        plan = issc.optimize(issc.Scene.load(scene), method)  # type: ignore[arg-type]
        assert without_clock(plan.to_dict()) == without_clock(expected), scene
        if plan.hcrb_trace_m2 is None:
            # Beams of the other methods may leave a direction that no echo tells.
            assert method != "global"
            continue
        weights = tmp_path / f"{scene}-{method}.json"
        weights.write_text(json.dumps(expected))
        bound = issc.hcrb(issc.Scene.load(scene), plan.w_c, plan.w_0)
        assert bound.to_dict() == issc_cli("hcrb", "--scene", scene, "--weights", str(weights), "--json")


def test_sense_and_link(issc_cli: Cli) -> None:
    scene = issc.Scene.load("paper")
    scene["constraints.power_dbm"] = -10
    expected = issc_cli("sense", "--set", "constraints.power_dbm=-10", "--trials", "150", "--seed", "3", "--json")
    assert without_clock(issc.sense(scene, trials=150, seed=3)) == without_clock(expected)
    options = ["--modulation", "16qam", "--rate", "2", "--snr-db", "6.4", "--blocks", "5000", "--crc", "16", "--seed", "7"]
    expected = issc_cli("link", *options, "--json")
    assert expected["block_error_rate"] > 0
    assert without_clock(issc.link("16qam", 2.0, 6.4, 5000, crc="16", seed=7)) == without_clock(expected)


def test_codec(issc_cli: Cli, tmp_path: Path) -> None:
    from_file = issc.read_picture(next((Path(__file__).parents[2] / "pictures").glob("*.png"), None) or _picture(tmp_path))
    file = tmp_path / "picture.npy.png"
    data = issc.Codec().encode(from_file, "mse-2")
    (tmp_path / "coded.issc").write_bytes(data)
    issc_cli("decode", str(tmp_path / "coded.issc"), "-o", str(file))
    assert np.array_equal(issc.read_picture(file), issc.Codec().decode(data))
    issc_cli("encode", str(file), "--model", "3", "-o", str(tmp_path / "again.issc"), "--json")
    assert (tmp_path / "again.issc").read_bytes() == issc.Codec().encode(issc.read_picture(file), 3)


def _picture(folder: Path) -> Path:
    return Path(__file__).parents[2] / "tests/pictures/rgb.tif"


def test_run(issc_cli: Cli) -> None:
    expected = issc_cli("run", "--frames", "96", "--seed", "5", "--at", "40:power_dbm=-2", "--json")
    report = issc.System("loopback", frames=96, seed=5, at=[(40, "power_dbm=-2")]).start().join()
    assert without_clock(report) == without_clock(expected)
    assert report["frames_sent"] == 96


def test_keys() -> None:
    scene = issc.Scene.load("paper")
    paths = {key["path"] for key in issc.Scene.keys()}
    assert "constraints.power_dbm" in paths and len(paths) > 40
    assert scene["constraints.power_dbm"] == 0.0
