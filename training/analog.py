#!/usr/bin/env python3
"""Trains the analog rival: latents sent as channel symbols, no bits (after Bourtsoulatze, Kurka and Gunduz, 2019).

    python analog.py --data DIR --init run.pt --out analog.pt --minutes 20     # resumes from analog.pt if it exists
    python analog.py --checkpoint analog.pt --export ../models/analog

The networks are those of the codec, trained end to end for MSE through Gaussian noise. A picture's first n latents per
16x16 block, scaled to unit mean power, are the real and imaginary parts of its symbols: n/2 channel uses per 768 source
samples. One set of tables per n and signal-to-noise ratio: power of each latent, and its weight at the receiver. The
receiver is told the picture's scale, and the ratio.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from data import Crops
from export import digest, gaussian_tables, joined, prior_tables
from model import Codec

LATENTS = (48, 96, 192)
RATIOS_DB = (0, 5, 10, 15, 20)
ROWS = [(n, ratio) for n in LATENTS for ratio in RATIOS_DB]


def new_model(init, crops, rng):
    """The codec's transforms, with power and receiver's weights that are best for independent Gaussian latents."""
    state = torch.load(init, map_location="cpu")
    config, state = state["config"], state["average"]
    model = Codec(**(config | dict(targets=[["analog", ratio] for _, ratio in ROWS], hyper=16, features=16)))
    own = model.state_dict()
    for name, value in state.items():
        if name.startswith(("fine_", "block_")) and name in own:
            own[name] = value if "log_shape" not in name else value[3:4].repeat(len(ROWS), 1)
    for name in ("log_synthesis_unit", "synthesis_bias"):
        own[name] = state[name][3:4].repeat(len(ROWS), 1)
    own["log_gain"] = torch.zeros_like(own["log_gain"])
    model.load_state_dict(own)
    with torch.no_grad():
        y = torch.cat([model.analyse(crops.batch(16, rng), torch.zeros(16, dtype=torch.long)) for _ in range(8)])
    spread = (y**2).mean((0, 2, 3)).sqrt().clamp_min(1e-4)
    for row, (n, ratio) in enumerate(ROWS):
        noise = 10 ** (-ratio / 10)
        power = torch.zeros_like(spread)
        low, high = 1e-6, 1e3
        for _ in range(60):  # power = max(0, spread * level - noise) with mean 1 over the n latents
            level = math.sqrt(low * high)
            power[:n] = (spread[:n] * level - noise).clamp_min(1e-3)
            low, high = (level, high) if power[:n].mean() < 1 else (low, level)
        model.log_gain.data[row, :n] = (power[:n].sqrt() / spread[:n]).log()
        model.mean_unit.data[row] = power / (power + noise)
    return model


def through_the_air(model, x, row, latents, noise_std):
    """The picture as received."""
    y = model.analyse(x, row)
    sent = (torch.arange(y.shape[1])[None] < latents[:, None]).float()[:, :, None, None]
    scale = ((y * sent) ** 2).sum((1, 2, 3), keepdim=True) / (sent.sum(1, keepdim=True) * y.shape[2] * y.shape[3])
    scale = scale.clamp_min(1e-12).sqrt()
    received = y + scale * noise_std[:, None, None, None] * torch.randn_like(y)
    return model.synthesise(received * sent * model.per_rate(model.mean_unit, row), torch.zeros_like(y), row)


def train(args):
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    crops = Crops(args.data, 160)
    state = torch.load(args.out, map_location="cpu") if Path(args.out).exists() else None
    if state:
        model = Codec(**state["config"])
        model.load_state_dict(state["average"])
    else:
        model = new_model(args.init, crops, rng)
    trained = ("fine_", "block_", "log_gain", "mean_unit", "log_synthesis_unit", "synthesis_bias")
    slow, fast = [], []
    for name, parameter in model.named_parameters():
        if name.startswith(trained):
            (fast if parameter.shape[0] == len(ROWS) else slow).append(parameter)
    optimiser = torch.optim.Adam([dict(params=slow, base=args.rate), dict(params=fast, base=5 * args.rate)])
    average = {k: v.clone() for k, v in model.state_dict().items()}
    latents, noise = torch.tensor([n for n, _ in ROWS]), torch.tensor([10 ** (-r / 20) for _, r in ROWS])
    began, step, total = time.time(), 0, 0.0
    while (done := (time.time() - began) / (60 * args.minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * done))
        x = crops.batch(args.batch, rng).to(memory_format=torch.channels_last)
        row = torch.from_numpy(rng.integers(len(ROWS), size=len(x)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = through_the_air(model, x, row, latents[row], noise[row]).float()
        # the logarithm lets each ratio count alike
        loss = ((out - x) ** 2).mean((1, 2, 3)).log().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(slow + fast, 2.0)
        optimiser.step()
        step += 1
        total += float(loss.detach())
        current = model.state_dict()
        torch._foreach_lerp_(list(average.values()), [current[k] for k in average], 1 - min(0.998, step / (step + 9)))
        if step % 100 == 0:
            print(f"step {step} min {(time.time() - began) / 60:.1f} psnr {-10 * total / 100 / math.log(10):.2f}", flush=True)
            total = 0.0
    torch.save(dict(config=model.config, average=average, step=step), args.out)
    print(f"done at step {step}", flush=True)


def export(args):
    state = torch.load(args.checkpoint, map_location="cpu")
    model = Codec(**state["config"])
    model.load_state_dict(state["average"])
    model = model.half().float().eval()
    tensors = {k: v.numpy().astype(np.float16) for k, v in model.state_dict().items() if not k.startswith("prior.")}
    for name in [n for n in tensors if "log_s" in n and n != "log_scale_bias"]:
        tensors[name.replace("log_", "")] = np.exp(tensors.pop(name).astype(np.float32)).astype(np.float16)
    tensors["prior_counts"], tensors["prior_ends"] = joined(prior_tables(model))
    tensors["gaussian_counts"], tensors["gaussian_ends"] = joined(gaussian_tables())
    config = dict(model.config, names=[f"{n} latents, {ratio} dB" for n, ratio in ROWS], tuned_for=["analog"] * len(ROWS))
    del config["targets"]
    body = save(tensors)
    begin = 8 + int.from_bytes(body[:8], "little")
    folder = Path(args.export)
    folder.mkdir(parents=True, exist_ok=True)
    blob = save(tensors, metadata=dict(config=json.dumps(config), digest=f"{digest(body[begin:]):016x}"))
    (folder / "weights.safetensors").write_bytes(blob)
    print(f"{folder / 'weights.safetensors'}: {len(blob)} bytes, step {state['step']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", nargs="+", help="folders of training pictures")
    add("--init", help="checkpoint of the codec to start from")
    add("--out", help="checkpoint to write")
    add("--minutes", type=float, default=20.0)
    add("--rate", type=float, default=1e-3, help="peak learning rate")
    add("--batch", type=int, default=4)
    add("--seed", type=int, default=1)
    add("--checkpoint", help="with --export: what to export")
    add("--export", metavar="FOLDER")
    args = parser.parse_args()
    (export if args.export else train)(args)


if __name__ == "__main__":
    main()
