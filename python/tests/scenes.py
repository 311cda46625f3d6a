"""Random scenes with one to four targets, for the package and for the reference."""

from dataclasses import dataclass
from typing import Any

import issc
import numpy as np
from reference import Array, Target, channel


@dataclass
class Drawn:
    """A scene and what the reference makes of it."""

    scene: issc.Scene
    targets: list[Target]
    channel: Array
    noise_w: float
    power_w: float

    @property
    def hcrb_max_m2(self) -> float:
        return float(self.scene["constraints.hcrb_max_m2"])


def draw(seed: int) -> Drawn:
    """Scene number `seed`: geometry, arrays, powers, what is known of β_0 and which frequencies all differ."""
    random = np.random.default_rng(seed)
    scene = issc.Scene.load("paper")
    unknown, centered = bool(seed % 3), bool(seed % 2) or bool(seed % 3)
    targets = 1 + seed % 4
    transmitter, receiver = [0.0, 0.0], [float(random.uniform(-20, 20)), float(random.uniform(20, 60) * random.choice([-1, 1]))]
    communication = [float(random.uniform(50, 150)), float(random.uniform(-80, 80))]
    n_t, n_r = int(random.integers(3, 9)), int(random.integers(2, 9))
    power_dbm = float(random.uniform(-10, 15))
    common: dict[str, Any] = {
        "geometry.transmitter": transmitter,
        "geometry.sensing_receiver": receiver,
        "geometry.communication_receiver": communication,
        "array.transmit_antennas": n_t,
        "array.receive_antennas": n_r,
        "constraints.power_dbm": power_dbm,
        "model.reflectivity": "unknown" if unknown else "known",
        "model.frequencies": "centered" if centered else "one-sided",
    }
    positions = [(float(random.uniform(60, 140)), float(random.uniform(-70, 70))) for _ in range(targets)]
    betas = [float(random.uniform(0.5, 2) * scene["channel.reflection_coefficient"]) for _ in range(targets)]
    if targets == 1:
        scene.update({**common, "geometry.target": positions[0], "channel.reflection_coefficient": betas[0]})
    else:
        scene.update(common)
        lines = scene.to_toml().splitlines()
        # The list takes the place of the single keys.
        lines = [line for line in lines if not line.startswith(("target =", "reflection_coefficient ="))]
        for number, (position, beta) in enumerate(zip(positions, betas, strict=True)):
            lines += ["[[target]]", f'id = "t{number}"', f"position_m = {list(position)}", f"reflection_coefficient = {beta!r}"]
        scene = issc.Scene.from_toml("\n".join(lines), "drawn")
    spacing = float(scene["array.spacing_wavelengths"])
    known = {
        "transmitter": transmitter,
        "communication_receiver": communication,
        "path_loss_exponent": scene["channel.path_loss_exponent"],
        "n_t": n_t,
        "spacing": spacing,
    }
    of_target = [
        Target(
            transmitter=(transmitter[0], transmitter[1]),
            receiver=(receiver[0], receiver[1]),
            position=position,
            beta=beta,
            n_t=n_t,
            n_r=n_r,
            spacing=spacing,
            noise_w=1e-3 * 10 ** (scene["channel.sensing_noise_dbm"] / 10),
            clock_std_s=scene["channel.timing_error_std_s"],
            bandwidth_hz=scene["waveform.bandwidth_hz"],
            symbols=scene["waveform.frame_symbols"],
            unknown=unknown,
            centered=centered,
        )
        for position, beta in zip(positions, betas, strict=True)
    ]
    noise_w = 1e-3 * 10 ** (scene["channel.communication_noise_dbm"] / 10)
    return Drawn(scene, of_target, channel(known), noise_w, 1e-3 * 10 ** (power_dbm / 10))


def beams(drawn: Drawn, seed: int) -> tuple[Array, Array]:
    """Random beams of the scene's power."""
    random = np.random.default_rng([seed, 1])
    n_t = len(drawn.channel)
    w_c, w_0 = (random.normal(size=n_t) + 1j * random.normal(size=n_t) for _ in range(2))
    scale = np.sqrt(drawn.power_w / (np.linalg.norm(w_c) ** 2 + np.linalg.norm(w_0) ** 2))
    return scale * w_c, scale * w_0
