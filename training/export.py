#!/usr/bin/env python3
"""Exports a checkpoint as the weight file that the Rust codec reads: weights of 8 and 16 bits, and 16-bit coding tables.

    python export.py --checkpoint run.pt --images PICTURES --data CROPS --out ../models/NAME
    python export.py --weights FILE --out ../models/NAME

The second one packs a file of f16 weights. `--data` (training pictures) fits the concealment factors; `--images` (tuning pictures) orders the rates.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save

from data import Crops, picture_files, read_picture, to_tensor
from model import SCALE_LEVELS, SCALE_MIN, LOG_STEP, Codec, ms_ssim
from packing import pack

TOTAL = 1 << 16


def load(path):
    state = torch.load(path, map_location="cpu")
    model = Codec(**state["config"])
    model.load_state_dict(state["average"])
    return model.half().float().eval(), state["step"]


def cumulative_counts(probabilities):
    """Cumulative sums (without the final 2^16) of integer counts of at least one, in the order given."""
    p = np.asarray(probabilities, np.float64)
    counts = np.maximum(1, np.floor(p / p.sum() * (TOTAL - len(p)))).astype(np.int64)
    counts[np.argmax(counts)] += TOTAL - counts.sum()
    return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.uint16)


def zigzag(radius):
    return [0] + [sign * k for k in range(1, radius + 1) for sign in (1, -1)]


def table(pmf, tail, radius_max):
    """Smallest radius that leaves less than 2^-15 outside; the rest goes to the escape, the last symbol."""
    radius = next((r for r in range(1, radius_max) if tail(r) < 2**-15), radius_max)
    return cumulative_counts([pmf(v) for v in zigzag(radius)] + [tail(radius)])


def gaussian_tables():
    tables = []
    for level in range(SCALE_LEVELS):
        scale = SCALE_MIN * math.exp(LOG_STEP * level)
        above = lambda t, s=scale: 0.5 * math.erfc(t / s * 2**-0.5)
        tables.append(table(lambda v: above(abs(v) - 0.5) - above(abs(v) + 0.5), lambda r: 2 * above(r + 0.5), 1100))
    return tables


def prior_tables(model):
    values = torch.arange(-80, 81).float()
    tables = []
    rates, channels = model.prior.mean.shape[:2]
    for rate in range(rates):
        grid = values.view(1, 1, -1, 1).repeat(1, channels, 1, 1)
        with torch.no_grad():
            p = model.prior.probability(grid, torch.tensor([rate]))[0, :, :, 0].double().numpy()
        for row in p:
            tables.append(table(lambda v: row[v + 80], lambda r: row[: 80 - r].sum() + row[81 + r :].sum(), 79))
    return tables


def joined(tables):
    ends = np.cumsum([len(t) for t in tables]).astype(np.uint32)
    return np.concatenate(tables), ends


@torch.no_grad()
def measure(model, files, rate):
    """Mean estimated bits per pixel, PSNR and MS-SSIM, with the shipped tables' floor."""
    rows = []
    for path in files:
        x = to_tensor(read_picture(path))
        x = x[..., : x.shape[2] // 64 * 64, : x.shape[3] // 64 * 64]
        out, y, z = model(x, torch.tensor([rate]), tables=True)
        out = (out.clamp(0, 1) * 255).round() / 255
        mse = float(((out - x) ** 2).mean())
        rows.append((float(y + z), -10 * math.log10(mse), float(ms_ssim(x, out)), mse * 65025))
    return np.mean(rows, 0)


def digest(data):
    """64-bit FNV-1a."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def write(folder, tensors, config, packed=True):
    """The weight file of a model's folder, with its digest."""
    tensors = pack(tensors) if packed else tensors
    body = save(tensors)
    begin = 8 + int.from_bytes(body[:8], "little")
    blob = save(tensors, metadata=dict(config=json.dumps(config), digest=f"{digest(body[begin:]):016x}"))
    path = Path(folder) / "weights.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    print(f"{path}: {len(blob)} bytes, step {config['step']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint")
    parser.add_argument("--weights", help="a file of f16 weights, in place of the three that follow")
    parser.add_argument("--images", nargs="+")
    parser.add_argument("--data", nargs="+")
    parser.add_argument("--f16", action="store_true", help="f16 weights throughout, to train on from (widen.py)")
    parser.add_argument("--tuned-for", nargs="+", default=["mse", "ms-ssim"], help="which rates to export: mse, ms-ssim")
    parser.add_argument("--limit", type=int, default=12, help="how many of --images to use")
    parser.add_argument("--out", required=True, help="folder of the model")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.weights:
        with safe_open(args.weights, "np") as file:
            write(args.out, {k: file.get_tensor(k) for k in file.keys()}, json.loads(file.metadata()["config"]))
        return
    if not (args.checkpoint and args.images and args.data):
        parser.error("--checkpoint needs --images and --data")
    model, step = load(args.checkpoint)
    targets = model.config["targets"]
    model.fit_concealment(Crops(args.data, 256).batch(32, np.random.default_rng(1)))
    files = picture_files(args.images)
    files = files[:: max(1, len(files) // args.limit)][: args.limit]
    rows = {r: measure(model, files, r) for r, (kind, _) in enumerate(targets) if kind in args.tuned_for}
    order = sorted(rows, key=lambda r: (targets[r][0] != "mse", rows[r][0]))  # plans choose among the first ones
    names = []
    for rate in order:
        kind = targets[rate][0]
        names.append(f"{kind}-{1 + sum(n.startswith(kind + '-') for n in names)}")
        print(f"{names[-1]:10} {targets[rate]} bpp {rows[rate][0]:.4f} psnr {rows[rate][1]:.2f} ms-ssim {rows[rate][2]:.4f}", flush=True)
    tensors = {k: v.numpy().astype(np.float16) for k, v in model.state_dict().items() if not k.startswith("prior.")}
    for name in [n for n in tensors if "log_s" in n and n != "log_scale_bias"]:
        tensors[name.replace("log_", "")] = np.exp(tensors.pop(name).astype(np.float32)).astype(np.float16)
    for name, value in tensors.items():
        if value.ndim >= 1 and value.shape[0] == len(targets) and name.split(".")[-1] not in ("weight", "bias"):
            tensors[name] = value[order]
    per_rate = prior_tables(model)
    channels = model.config["hyper"]
    per_rate = [t for rate in order for t in per_rate[rate * channels : (rate + 1) * channels]]
    tensors["prior_counts"], tensors["prior_ends"] = joined(per_rate)
    tensors["gaussian_counts"], tensors["gaussian_ends"] = joined(gaussian_tables())
    config = dict(
        model.config,
        names=names,
        tuned_for=[targets[r][0] for r in order],
        distortion_weights=[targets[r][1] for r in order],
        step=step,
    )
    del config["targets"]
    write(args.out, tensors, config, packed=not args.f16)


if __name__ == "__main__":
    main()
