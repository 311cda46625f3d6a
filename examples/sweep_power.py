#!/usr/bin/env python3
"""Sweeps the power of a running system over HTTP and shows what it does to SINR and position, without any package of ours.

    issc run --pace 1 --seconds 600 --set scene.waveform.bandwidth_hz=2e5 --http &
    pip install requests websocket-client matplotlib
    python3 examples/sweep_power.py

Each power is asked for with POST /api/v1/commands; the answer names the frame from which it holds. The stream's events then
tell what each frame from there on was received with. Without matplotlib the table alone is printed.
"""

import argparse
import json
import math
import statistics

import requests
import websocket


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:8080")
    parser.add_argument("--token", help="of the server's --http-token-file")
    parser.add_argument("--powers", type=float, nargs="+", default=[0.0, -1.0, -2.0, -3.0, -4.0], help="dBm")
    parser.add_argument("--frames", type=int, default=100, help="frames at each power")
    parser.add_argument("--plot", default="sweep.png", help="where the drawing goes")
    options = parser.parse_args()
    headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}

    stream = websocket.create_connection(
        f"ws://{options.server}/api/v1/stream?topics=events&rate=20", header=headers, timeout=60
    )
    rows = []
    for power in options.powers:
        command = {"command": f"power_dbm={power}", "at_frame": None}
        answer = requests.post(f"http://{options.server}/api/v1/commands", json=command, headers=headers, timeout=60).json()
        if not answer.get("accepted"):
            print(f"{power:6.2f} dBm refused: {answer['error']}")
            continue
        first, last = answer["frame"], answer["frame"] + options.frames - 1
        sinr, deviations = [], []
        for event in events(stream):
            frame = event.get("frame", -1)
            if not first <= frame:
                continue
            if frame > last:
                break
            if event["event"] == "received" and event["sinr_db"] is not None:
                sinr.append(event["sinr_db"])
            if event["event"] == "detections":
                deviations += [math.sqrt(found["covariance_m2"][0][0] + found["covariance_m2"][1][1])
                               for found in event["detections"][:1]]
        if not sinr or not deviations:
            print(f"{power:6.2f} dBm: nothing was received")
            continue
        rows.append((power, statistics.mean(sinr), statistics.median(deviations)))
        print(f"{power:6.2f} dBm from frame {first}: SINR {rows[-1][1]:6.2f} dB, position ± {1e3 * rows[-1][2]:.2f} mm reported")
    stream.close()
    draw(rows, options.plot)


def events(stream):
    """The stream's events; one that says how many were missed is among them."""
    while True:
        yield json.loads(stream.recv())


def draw(rows, file):
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, sharex=True, figsize=(6, 6))
    powers = [row[0] for row in rows]
    above.plot(powers, [row[1] for row in rows], "o-")
    above.set_ylabel("SINR, dB")
    below.plot(powers, [1e3 * row[2] for row in rows], "s-", color="tab:orange")
    below.set_ylabel("reported deviation, mm")
    below.set_xlabel("power, dBm")
    figure.savefig(file, dpi=120)
    print(f"drawn to {file}")


if __name__ == "__main__":
    main()
