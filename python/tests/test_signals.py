"""Codec, channel code, frame modem, world, estimator."""

from pathlib import Path

import issc
import numpy as np
import pytest
from numpy.typing import NDArray


def picture() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:96, 0:128]
    waves = [128 + 80 * np.sin(x / 9 + k) * np.cos(y / (11 + k)) for k in range(3)]
    return np.stack(waves, axis=-1).clip(0, 255).astype(np.uint8)


def test_a_picture_survives_and_lost_slices_are_counted_and_concealed() -> None:
    codec, shown = issc.Codec(), picture()
    assert [model["index"] for model in codec.models] == list(range(len(codec.models)))
    data = codec.encode(shown, "mse-4")
    whole = codec.decode_report(data)
    assert whole.lost_slices == 0 and np.array_equal(whole.image, codec.decode(data))
    quality = issc.psnr_db(shown, whole.image)
    assert quality is not None and quality > 28
    parts = codec.split(data)
    assert (parts.width, parts.height) == (128, 96) and len(parts.slices) == whole.slices
    assert parts.slices[0][0] == 0 and parts.slices[-1][1] == 8 * len(parts.body)
    assert data == b"ISSC" + parts.protected + parts.body
    lost = parts.slices[:1]
    hurt = codec.decode_parts(parts.protected, parts.body, lost)
    assert hurt.lost_slices == 1
    worse = issc.psnr_db(shown, hurt.image)
    assert worse is not None and worse < quality
    assert issc.psnr_db(shown, shown) is None and issc.mse(shown, shown) == 0
    with pytest.raises(issc.InputError, match="lost: found"):
        codec.decode(data, [(0, 10**9)])
    with pytest.raises(issc.InputError, match="model `9999`"):
        codec.encode(shown, 9999)


def test_shipped_pictures_are_pictures(tmp_path: Path) -> None:
    pictures = issc.shipped_pictures()
    assert pictures and all(array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8 for array in pictures)
    with pytest.raises(issc.InputError, match="nowhere.png"):
        issc.read_picture(tmp_path / "nowhere.png")


def test_blocks_come_through_noise_and_a_hopeless_one_is_not_called_decoded() -> None:
    code = issc.LinkCode("16qam", 2.0, crc="16")
    assert (code.information_bits, code.payload_bits, code.coded_bits, code.symbols) == (512, 496, 1024, 256)
    random = np.random.default_rng(1)
    bits = random.integers(0, 2, (40, code.payload_bits), dtype=np.uint8)
    symbols = code.modulate(bits)
    assert symbols.dtype == np.complex64 and abs(np.mean(np.abs(symbols) ** 2) - 1) < 0.02
    for snr_db, share in [(9.0, 1.0), (-5.0, 0.0)]:
        variance = 10 ** (-snr_db / 10)
        noise = random.normal(scale=np.sqrt(variance / 2), size=(2, *symbols.shape))
        found, decoded = code.decode(code.demap(symbols + noise[0] + 1j * noise[1], variance))
        assert decoded.mean() == share
        assert np.array_equal(found[decoded], bits[decoded])
    with pytest.raises(issc.InputError, match="bits: found rows of 5; accepted: 496"):
        code.modulate(np.zeros((1, 5)))
    with pytest.raises(issc.InputError, match="no bit"):
        code.modulate(np.full((1, 496), 2))
    with pytest.raises(issc.InputError, match="--modulation"):
        issc.LinkCode("8psk", 1.0)


def test_frames_through_the_world_come_back_and_the_target_is_found_in_their_echo() -> None:
    scene = issc.Scene.load("paper")
    plan = issc.optimize(scene)
    modem = issc.FrameModem(scene, 443)
    random = np.random.default_rng(2)
    bits = random.integers(0, 2, (6, 4, modem.payload_bits), dtype=np.uint8)
    samples = modem.modulate(bits, plan.w_c, plan.w_0)
    power = np.mean(np.abs(samples) ** 2, axis=1).sum()
    assert samples.shape[0] == 4 and abs(power / plan.power_w - 1) < 0.05
    world = issc.World(scene, seed=3)
    received, echoes, start = [], [], 0
    for number in range(6):
        count = modem.frame_samples(number)
        to_receiver, to_array = world.receive(samples[:, start : start + count])
        received.append(to_receiver)
        echoes.append(to_array)
        start += count
        assert world.truths[0]["position_m"] == scene["geometry.target"]
    received.append(world.receive(np.zeros((4, 3000)))[0])
    heard = np.concatenate(received, axis=1)
    assert heard.shape[0] == 1 and echoes[0].shape[0] == 4 and heard.dtype == np.complex64
    frames = modem.demodulate(heard[0])
    assert [frame.number for frame in frames] == list(range(6))
    for frame in frames:
        assert frame.decoded.all() and np.array_equal(frame.bits, bits[frame.number])
        # Nothing is sent behind the last frame, which its estimate of the SINR takes for noise.
        assert frame.number == 5 or abs(frame.sinr_db - plan.sinr_db) < 1.0
        assert frame.symbols.shape == (4, 256)
    assert frames[0].sounding is not None and frames[1].sounding is None
    again = issc.World(scene, seed=3)
    assert np.array_equal(again.receive(samples[:, : modem.frame_samples(0)])[0], received[0]), "a seed decides the world"
    with pytest.raises(issc.InputError, match="bits: found shape 1×4×3"):
        modem.modulate(np.zeros((1, 4, 3)), plan.w_c, plan.w_0)


def test_trials_are_those_of_sense_and_the_map_peaks_at_the_target() -> None:
    scene = issc.Scene.load("paper")
    plan = issc.optimize(scene)
    trials, estimator = issc.EchoTrials(scene, plan.w_c, plan.w_0, seed=4), issc.Estimator(scene)
    errors, normalised = [], []
    for number in range(60):
        frame = trials.make(number)
        assert frame.echo.shape[0] == 4 and frame.reference.shape == (2, estimator.window_samples)
        estimate = estimator.estimate(frame)
        if estimate.position_m is not None and frame.truth_m is not None:
            errors.append(np.subtract(estimate.position_m, frame.truth_m))
            normalised.append(estimate.normalised_error((frame.truth_m[0], frame.truth_m[1])))
    expected = issc.sense(scene, plan.w_c, plan.w_0, trials=60, seed=4)
    assert len(errors) == 60 - expected["no_position"]
    squares = [float(error[0] * error[0] + error[1] * error[1]) for error in errors]
    assert np.sqrt(sum(squares) / len(squares)) == pytest.approx(expected["rmse_m"], rel=1e-12)
    frame = trials.make(0)
    found = estimator.likelihood_map(frame)
    assert found.log_likelihood.shape == (len(found.path_m), len(found.sines))
    row, column = np.unravel_index(int(np.argmax(found.log_likelihood)), found.log_likelihood.shape)
    assert frame.truth_delay_s is not None
    assert abs(found.path_m[row] - 299_792_458.0 * frame.truth_delay_s) < 3.0
    delta = np.subtract(scene["geometry.target"], scene["geometry.sensing_receiver"])
    assert abs(found.sines[column] - delta[1] / np.hypot(*delta)) < 0.1
    built = issc.EchoFrame(scene, frame.echo, frame.reference, frame.w_c, frame.w_0)
    assert estimator.estimate(built).position_m == estimator.estimate(frame).position_m
    with pytest.raises(issc.InputError, match="echo: found shape"):
        estimator.estimate(issc.EchoFrame(scene, frame.echo[:3], frame.reference, frame.w_c, frame.w_0))


def test_noise_alone_gives_no_position_and_says_why() -> None:
    scene = issc.Scene.load("paper")
    plan = issc.optimize(scene)
    frame = issc.EchoTrials(scene, plan.w_c, plan.w_0).make(0)
    random = np.random.default_rng(5)
    deviation = np.sqrt(1e-3 * 10 ** (scene["channel.sensing_noise_dbm"] / 10))
    noise = deviation * (random.normal(size=frame.echo.shape) + 1j * random.normal(size=frame.echo.shape))
    estimate = issc.Estimator(scene).estimate(issc.EchoFrame(scene, noise, frame.reference, plan.w_c, plan.w_0))
    assert estimate.position_m is None and estimate.covariance_m2 is None and estimate.refused == "too-weak"
