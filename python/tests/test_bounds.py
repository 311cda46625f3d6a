"""Fisher information and bound of 200 random scenes against NumPy."""

import issc
import numpy as np
import pytest
from reference import bound, information
from scenes import beams, draw

SCENES = range(200)


def test_information_and_bounds_of_200_random_scenes_are_those_of_the_formulas() -> None:
    worst = {"fim": 0.0, "covariance": 0.0, "trace": 0.0}
    for seed in SCENES:
        drawn = draw(seed)
        w_c, w_0 = beams(drawn, seed)
        sigma = np.outer(w_c, w_c.conj()) + np.outer(w_0, w_0.conj())
        found = issc.hcrb(drawn.scene, w_c, w_0)
        expected = information(drawn.targets[0], sigma)
        deviations = np.sqrt(np.diag(expected))
        error = np.abs(issc.fim(drawn.scene, w_c, w_0) - expected) / np.outer(deviations, deviations)
        worst["fim"] = max(worst["fim"], float(error.max()))
        covariance = bound(drawn.targets[0], sigma)
        error = np.abs(found.covariance_m2 - covariance) / np.trace(covariance)
        worst["covariance"] = max(worst["covariance"], float(error.max()))
        reported = found.to_dict()["targets"]
        assert len(reported) == len(drawn.targets)
        for target, entry in zip(drawn.targets, reported, strict=True):
            trace = float(np.trace(bound(target, sigma)))
            worst["trace"] = max(worst["trace"], abs(entry["trace_m2"] - trace) / trace)
        gain = np.abs(drawn.channel.conj() @ w_c) ** 2 / (np.abs(drawn.channel.conj() @ w_0) ** 2 + drawn.noise_w)
        assert found.sinr_db == pytest.approx(10 * np.log10(gain), abs=1e-9)
    print(f"largest relative differences: {worst}")
    assert max(worst.values()) < 1e-9, worst


def test_the_reference_values_of_the_papers_scene() -> None:
    for reflectivity, frequencies, trace_m2 in [
        ("known", "one-sided", 1.95848e-5),
        ("known", "centered", 9.41092e-6),
        ("unknown", "centered", 3.52153e-5),
        ("unknown", "one-sided", 3.52153e-5),
    ]:
        scene = issc.Scene.load("paper")
        scene.update({"model.reflectivity": reflectivity, "model.frequencies": frequencies, "constraints.power_dbm": 0.0})
        drawn = draw(0).targets[0]
        target = drawn.__class__(
            **{
                **drawn.__dict__,
                "transmitter": tuple(scene["geometry.transmitter"]),
                "receiver": tuple(scene["geometry.sensing_receiver"]),
                "position": tuple(scene["geometry.target"]),
                "beta": scene["channel.reflection_coefficient"],
                "n_t": 4,
                "n_r": scene["array.receive_antennas"],
                "unknown": reflectivity == "unknown",
                "centered": frequencies == "centered",
            }
        )
        found = np.trace(bound(target, np.eye(4) * 1e-3 / 4))
        assert found == pytest.approx(trace_m2, rel=3e-6), (reflectivity, frequencies)


def test_a_direction_that_no_beam_tells_is_named() -> None:
    scene = issc.Scene.load("paper")
    with pytest.raises(issc.InfeasibleError, match="cannot be identified"):
        issc.hcrb(scene, [0.01, 0, 0, 0], [0, 0, 0, 0])
    with pytest.raises(issc.InputError, match="w_0: found 3 weights; accepted: 4"):
        issc.fim(scene, [0.01, 0, 0, 0], [0, 0, 0])
    with pytest.raises(issc.InputError, match="not finite"):
        issc.fim(scene, [0.01, 0, 0, np.nan], [0, 0, 0, 0])
