"""Scenes: keys, checks, copies."""

import copy
import pickle

import issc
import numpy as np
import pytest

SHIPPED = ["paper", "moving", "outdoor", "clutter", "coherent", "several", "hall", "hall-2"]


def test_keys_are_read_set_and_checked() -> None:
    scene = issc.Scene.load("paper")
    scene["constraints.power_dbm"] = -3
    scene["scene.geometry.target"] = np.array([80.0, 20.0])
    assert scene["constraints.power_dbm"] == -3.0 and scene["geometry.target"] == [80.0, 20.0]
    assert scene["waveform.roll_off"] == 0.25, "a key that the file leaves out has its default"
    assert scene["channel.leakage_db"] is None
    with pytest.raises(issc.InputError, match="constraints.power_dbm = 1000.* is out of range; accepted: -200 to 100"):
        scene["constraints.power_dbm"] = 1000
    assert scene["constraints.power_dbm"] == -3.0, "a change that is refused changes nothing"
    with pytest.raises(issc.InputError, match="the nearest known key is"):
        scene["constraints.powr_dbm"] = 1
    with pytest.raises(KeyError, match="nearest known key"):
        scene["constraints.powr_dbm"]
    with pytest.raises(issc.InputError, match="a key of flowgraphs"):
        scene["frames"] = 3
    with pytest.raises(issc.InputError, match="no such file"):
        issc.Scene.load("papre")


def test_lists_are_reached_by_id_and_place() -> None:
    scene = issc.Scene.load("several")
    first = scene["target"][0]["id"]
    scene[f"target.{first}.position_m"] = [70.0, 10.0]
    assert scene["target.0.position_m"] == [70.0, 10.0]


def test_every_shipped_scene_survives_its_text_a_copy_and_a_pickle() -> None:
    for name in SHIPPED:
        scene = issc.Scene.load(name)
        assert issc.Scene.from_toml(scene.to_toml()) == scene
        assert copy.deepcopy(scene) == scene and pickle.loads(pickle.dumps(scene)) == scene
    other = scene.copy({"constraints.power_dbm": scene["constraints.power_dbm"] - 1})
    assert other != scene


def test_errors_have_the_class_of_their_cause() -> None:
    for kind in (issc.InputError, issc.InfeasibleError, issc.DeviceError, issc.PeerError, issc.DamagedError, issc.InternalError):
        assert issubclass(kind, issc.Error)
    with pytest.raises(issc.DamagedError):
        issc.Codec().decode(b"nothing of the kind")
