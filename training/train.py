#!/usr/bin/env python3
"""Trains the source model: one variable-rate codec, six rates tuned for MSE (and two for MS-SSIM, with --tune).

    python train.py --data DIR --out run.pt --minutes 90

Resumes from --out when that file exists. Runs on a CPU (one thread is fastest there) or with --device cuda.
"""

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from data import Crops
from model import Codec, ms_ssim

TARGETS = [("mse", v) for v in (0.0011, 0.0018, 0.0030, 0.0060, 0.0135, 0.0400)] + [("ms-ssim", v) for v in (6.0, 16.0)]
SETTLED = ("context", "log_scale_bias", "prior", "block_synthesis", "fine_synthesis", "log_synthesis_unit", "synthesis_bias")
FAST_TABLES = ("log_gain", "mean_unit", "log_scale_bias", "log_synthesis_unit", "synthesis_bias", "prior")


def importance(kind, weight):
    """Weight of a rate's loss: keeps the high rates, whose losses are large, from ruling the gradient."""
    return (0.013 / weight) ** 0.4 if kind == "mse" else 1.5


def parameter_groups(model, args):
    groups = dict(network=[], block=[], table=[])
    for name, parameter in model.named_parameters():
        shaping = "log_shape" in name  # trained with the network it splits the rates in two camps
        if args.settle:
            fixed = not name.startswith(SETTLED)
        else:
            fixed = shaping != args.tables_only and (shaping or not name.startswith(FAST_TABLES))
        if fixed:
            parameter.requires_grad_(False)
            continue
        head = name.split(".")[0]
        kind = "block" if head.startswith("block_") else "table" if head in FAST_TABLES else "network"
        groups[kind].append(parameter)
    rates = dict(network=args.rate, block=args.rate * 0.15, table=args.rate * 5)
    return [dict(params=p, base=rates[k]) for k, p in groups.items() if p]


def new_model(args, crops, rng):
    model = Codec(TARGETS)
    pictures = torch.cat([crops.batch(64, rng) for _ in range(12)]) - 0.5
    model.start_at_klt(F.unfold(pictures, 16, stride=16).transpose(1, 2).reshape(-1, 3, 16, 16))
    if args.init:
        state = torch.load(args.init, map_location="cpu")
        model.load_state_dict(state["average"] if "average" in state else state)
    with torch.no_grad():  # all tables are logarithms or shifts, so that rates can be extrapolated
        tables = [p for n, p in model.named_parameters() if n.startswith(FAST_TABLES) or "log_shape" in n]
        for table in tables:
            before = table.clone()
            for rate, share in enumerate(args.spread):
                table[rate] += share * (before[rate] - before[rate + 1])
    return model


def loss_of(run, x, rate, tables, amp):
    kinds, weights, scale = tables
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=amp):
        out, bits_y, bits_z = run(x, rate)
    out = out.float()
    mse = ((out - x) ** 2).mean((1, 2, 3))
    distortion = 65025 * mse
    structural = kinds[rate]
    if structural.any():
        index = structural.nonzero()[:, 0]
        distortion = distortion.index_put((index,), 1 - ms_ssim(x[index], out[index]))
    losses = weights[rate] * distortion + bits_y + bits_z
    return (scale[rate] * losses).mean(), (bits_y + bits_z).mean().detach(), mse.mean().detach()


def save(path, **state):
    torch.save(state, f"{path}.new")
    os.replace(f"{path}.new", path)


def train(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    device = torch.device(args.device)
    crops = Crops(args.data, args.crop[0])
    state = torch.load(args.out, map_location="cpu") if Path(args.out).exists() else None
    model = Codec(**state["config"]) if state else new_model(args, crops, rng)
    if state:
        model.load_state_dict(state["model"])
    model = model.to(device).to(memory_format=torch.channels_last)
    average = {k: v.clone() for k, v in (state["average"] if state else model.state_dict()).items()}
    optimiser = torch.optim.Adam(parameter_groups(model, args), lr=args.rate)
    step, spent = (state["step"], state["seconds"]) if state else (0, 0.0)
    if state:
        optimiser.load_state_dict(state["optimiser"])
        rng = np.random.default_rng(args.seed + step)
    targets = model.config["targets"]
    kinds = torch.tensor([k == "ms-ssim" for k, _ in targets], device=device)
    weights = torch.tensor([w for _, w in targets], device=device)
    scale = torch.tensor([importance(*t) for t in targets], device=device)
    drawn = [index for index, (kind, _) in enumerate(targets) if args.settle or kind == args.tune]
    print(f"{len(crops.pictures)} pictures, {sum(p.numel() for p in model.parameters())} parameters, step {step}", flush=True)

    began, saved, marked = time.time() - spent, time.time(), time.time()
    totals = np.zeros(3)
    while True:
        done = (time.time() - began) / (60 * args.minutes)
        if done >= 1:
            break
        late = done > args.switch
        crops.size = args.crop[late]
        cosine = 0.5 * (1 + math.cos(math.pi * max(0.0, (done - args.hold) / (1 - args.hold))))
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * min(1.0, (step + 1) / 200) * cosine
        x = crops.batch(args.batch[late], rng).to(device).to(memory_format=torch.channels_last)
        rate = torch.from_numpy(rng.choice(drawn, len(x))).to(device)
        loss, bits, mse = loss_of(model.settle if args.settle else model, x, rate, (kinds, weights, scale), not args.full_precision)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimiser.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], 2.0)
        optimiser.step()
        step += 1
        keep = min(args.average, step / (step + 9))
        current = model.state_dict()
        torch._foreach_lerp_(list(average.values()), [current[k] for k in average], 1 - keep)
        totals += [float(loss.detach()), float(bits), float(mse)]
        if step % 100 == 0:
            mean, now = totals / 100, time.time()
            psnr = -10 * math.log10(mean[2])
            print(f"step {step} min {(now - began) / 60:.1f} {100 / (now - marked):.2f}/s loss {mean[0]:.4f} bpp {mean[1]:.3f} psnr {psnr:.2f}", flush=True)
            totals[:], marked = 0, now
        if time.time() - saved > 60 * args.save:
            save(args.out, config=model.config, model=model.state_dict(), average=average, optimiser=optimiser.state_dict(), step=step, seconds=time.time() - began)
            saved = time.time()
    save(args.out, config=model.config, model=model.state_dict(), average=average, optimiser=optimiser.state_dict(), step=step, seconds=time.time() - began)
    print(f"done at step {step}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", nargs="+", required=True, help="folders of training pictures")
    add("--out", required=True, help="checkpoint; training resumes from it")
    add("--tune", choices=("mse", "ms-ssim"), default="mse", help="which rates to train")
    add("--tables-only", action="store_true", help="leave the shared network as it is")
    add("--settle", action="store_true", help="last: decoder and coding tables learn from the symbols that are really sent, for all rates")
    add("--init", help="weights to start from (a checkpoint)")
    add("--spread", type=float, nargs="*", default=(), help="per rate, how far to start it below --init's, in distances to the next")
    add("--minutes", type=float, default=90.0)
    add("--device", default="cpu")
    add("--threads", type=int, default=1)
    add("--seed", type=int, default=1)
    add("--rate", type=float, default=2e-3, help="peak learning rate of the networks")
    add("--hold", type=float, default=0.1, help="share of the run before the cosine decay")
    add("--crop", type=int, nargs=2, default=(192, 256), help="crop size before and after the switch")
    add("--batch", type=int, nargs=2, default=(4, 3))
    add("--switch", type=float, default=0.5)
    add("--average", type=float, default=0.999, help="decay of the weight average that is exported")
    add("--save", type=float, default=3.0, help="minutes between checkpoints")
    add("--full-precision", action="store_true", help="no bfloat16")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
