#!/usr/bin/env python3
"""Trains the source model: one variable-rate codec, eight rates tuned for MSE (and four for MS-SSIM, with --tune).

    python train.py --data DIR --out run.pt --minutes 90
    python train.py --data DIR --out long.pt --init start.pt --steady       # until it is stopped

Resumes from --out when that file exists. Runs on a CPU (one thread is fastest there) or with --device cuda.
"""

import argparse
import csv
import fcntl
import math
import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from curve import bd_rate, jpeg_points, model_points
from data import Crops, picture_files, read_picture
from model import Codec, ms_ssim

MSE = (0.0002, 0.00031, 0.00049, 0.00076, 0.0012, 0.0019, 0.003, 0.0053, 0.01, 0.021, 0.052, 0.16)
MS_SSIM = (1.5, 4.5, 13.0, 40.0)
TARGETS = [("mse", v) for v in MSE] + [("ms-ssim", v) for v in MS_SSIM]
SETTLED = ("context", "log_scale_bias", "prior", "block_synthesis", "fine_synthesis", "log_synthesis_unit", "synthesis_bias")
FAST_TABLES = ("log_gain", "mean_unit", "log_scale_bias", "log_synthesis_unit", "synthesis_bias", "prior")


def importance(kind, weight):
    """Weight of a rate's loss: keeps the high rates, whose losses are large, from ruling the gradient."""
    return (0.013 / weight) ** 0.45 if kind == "mse" else 1.5


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
    if args.init:
        state = torch.load(args.init, map_location="cpu")
        model = Codec(**state["config"])
        model.load_state_dict(state["average"])
    else:
        model = Codec(TARGETS)
        pictures = torch.cat([crops.batch(64, rng) for _ in range(12)]) - 0.5
        model.start_at_klt(F.unfold(pictures, 16, stride=16).transpose(1, 2).reshape(-1, 3, 16, 16))
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


def computes_in_bfloat16(device):
    """Whether bfloat16 is faster than float32 there: without its own instructions a CPU takes four times as long."""
    if device.type != "cpu":
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def save(path, **state):
    """Replaces a checkpoint as a whole: whenever the process or the machine stops, an old or a new one is there."""
    with open(f"{path}.new", "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def append(path, row):
    """A line of a CSV file, with a heading where the file is new."""
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


def lock(path):
    """Keeps a second process from training into the same checkpoint."""
    file = open(f"{path}.lock", "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit(f"{path}: another process trains it")
    return file


class Check:
    """Measures the averaged weights on pictures that take no part in training."""

    def __init__(self, folders, limit, path):
        files = picture_files(folders)
        self.files, self.path = files[:: max(1, len(files) // limit)][:limit], path
        self.jpeg = jpeg_points([read_picture(file) for file in self.files])

    def __call__(self, config, average, hours, step):
        model = Codec(**config).eval()
        model.load_state_dict(average)
        points = model_points(model, self.files)
        row = dict(hours=f"{hours:.3f}", step=step)
        row |= {f"bd_{name}": f"{bd_rate(self.jpeg, points, i):.2f}" for i, name in ((1, "psnr"), (2, "ms_ssim"))}
        for (bits, psnr, structural, mse), (_, weight) in zip(points, config["targets"]):
            row |= {f"loss_{weight}": f"{weight * mse + bits:.4f}", f"bpp_{weight}": f"{bits:.4f}"}
            row |= {f"psnr_{weight}": f"{psnr:.2f}", f"ms_ssim_{weight}": f"{structural:.4f}"}
        append(self.path, row)
        print(f"check: {row}", flush=True)


class Stop:
    """Set by SIGTERM and SIGINT: the loop then saves and ends."""

    def __init__(self):
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask)

    def ask(self, *_):
        self.asked = True


def learning_rate(args, step, hours):
    """Factor of the rates. Steady: falls slowly for ever; otherwise a cosine to zero at the end of the run."""
    warm = min(1.0, (step + 1) / 200)
    if args.steady:
        return warm * (1 + hours / args.slowing) ** -0.5
    done = 60 * hours / args.minutes
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, (done - args.hold) / (1 - args.hold)))))


def step_back(nice):
    """Lowers the priority of this process, and of its session: Linux shares the processor among sessions first, and a session
    of its own would take half of it whatever its processes' priorities."""
    os.nice(nice)
    group = Path("/proc/self/autogroup")
    if nice and group.exists():
        try:
            group.write_text(str(nice))
        except OSError as error:
            print(f"the session keeps its priority: {error}", flush=True)


def train(args):
    step_back(args.nice)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    device = torch.device(args.device)
    amp = not args.full_precision and computes_in_bfloat16(device)
    held, stop = lock(args.out), Stop()
    crops = Crops(args.data, args.crop[0])
    state = torch.load(args.out, map_location="cpu") if Path(args.out).exists() else None
    if not state and args.anneal:
        state = torch.load(args.anneal, map_location="cpu") | dict(step=0, seconds=0.0, cpu_seconds=0.0)
    model = Codec(**state["config"]) if state else new_model(args, crops, rng)
    if state:
        model.load_state_dict(state["model"])
    model = model.to(device).to(memory_format=torch.channels_last)
    average = {k: v.clone() for k, v in (state["average"] if state else model.state_dict()).items()}
    optimiser = torch.optim.Adam(parameter_groups(model, args), lr=args.rate)
    if state:
        optimiser.load_state_dict(state["optimiser"])
        for group, fresh in zip(optimiser.param_groups, parameter_groups(model, args)):
            group["base"] = fresh["base"]
    state = state or dict(step=0, seconds=0.0, cpu_seconds=0.0)
    step, seconds, cpu_before = state["step"], state["seconds"], state["cpu_seconds"] - time.process_time()
    rng = np.random.default_rng(args.seed + step)
    torch.manual_seed(args.seed + step)
    targets = model.config["targets"]
    kinds = torch.tensor([k == "ms-ssim" for k, _ in targets], device=device)
    weights = torch.tensor([w for _, w in targets], device=device)
    scale = torch.tensor([importance(*t) for t in targets], device=device)
    drawn = [index for index, (kind, _) in enumerate(targets) if args.settle or kind == args.tune]
    print(f"{len(crops.pictures)} pictures, {sum(p.numel() for p in model.parameters())} parameters, step {step}", flush=True)
    check = Check(args.check, args.check_limit, args.check_log or f"{args.out}.check.csv") if args.check else None
    if check and step == 0:
        check(model.config, average, 0.0, 0)

    totals, counted, last, since_save, skipped = np.zeros(3), 0, time.time(), 0.0, 0
    next_check = seconds + 60 * args.check_minutes

    def keep_state():
        nonlocal totals, counted, since_save
        saved = dict(config=model.config, model=model.state_dict(), average=average, optimiser=optimiser.state_dict())
        save(args.out, **saved, step=step, seconds=seconds, cpu_seconds=cpu_before + time.process_time())
        if counted:
            mean = totals / counted
            row = dict(utc=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), hours=f"{seconds / 3600:.4f}")
            row |= dict(cpu_hours=f"{(cpu_before + time.process_time()) / 3600:.4f}", step=step)
            row |= dict(steps_per_second=f"{counted / max(since_save, 1e-3):.3f}", rate=f"{optimiser.param_groups[0]['lr']:.3e}")
            row |= dict(loss=f"{mean[0]:.5f}", bpp=f"{mean[1]:.4f}", psnr=f"{-10 * math.log10(mean[2]):.3f}", skipped=skipped)
            append(args.log or f"{args.out}.csv", row)
            print(" ".join(f"{k} {v}" for k, v in row.items()), flush=True)
        totals, counted, since_save = np.zeros(3), 0, 0.0

    while not stop.asked and (args.steady or seconds < 60 * args.minutes):
        if args.pause_file and Path(args.pause_file).exists():
            keep_state()
            print("paused", flush=True)
            while Path(args.pause_file).exists() and not stop.asked:
                time.sleep(2)
            last = time.time()
            continue
        late = step % 2 if args.steady else int(seconds / (60 * args.minutes) > args.switch)
        crops.size = args.crop[late]
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * learning_rate(args, step, seconds / 3600)
        x = crops.batch(args.batch[late], rng).to(device).to(memory_format=torch.channels_last)
        rate = torch.from_numpy(rng.choice(drawn, len(x))).to(device)
        loss, bits, mse = loss_of(model.settle if args.settle else model, x, rate, (kinds, weights, scale), amp)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norms = [torch.nn.utils.clip_grad_norm_(group["params"], 2.0) for group in optimiser.param_groups]
        step += 1
        if not math.isfinite(float(loss.detach() + sum(norms))):  # nothing is learnt from it, nor spoilt by it
            skipped += 1
            continue
        optimiser.step()
        keep = min(args.average, step / (step + 9))
        current = model.state_dict()
        torch._foreach_lerp_(list(average.values()), [current[k] for k in average], 1 - keep)
        totals, counted = totals + [float(loss.detach()), float(bits), float(mse)], counted + 1
        now = time.time()
        spent, last = min(now - last, 60.0), now  # a machine that slept has not trained
        seconds, since_save = seconds + spent, since_save + spent
        if since_save > 60 * args.save:
            keep_state()
        if check and seconds > next_check:
            keep_state()
            check(model.config, average, seconds / 3600, step)
            next_check, last = seconds + 60 * args.check_minutes, time.time()
    keep_state()
    held.close()
    print(f"{'stopped' if stop.asked else 'done'} at step {step}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", nargs="+", required=True, help="folders of training pictures")
    add("--out", required=True, help="checkpoint; training resumes from it")
    add("--tune", choices=("mse", "ms-ssim"), default="mse", help="which rates to train")
    add("--tables-only", action="store_true", help="leave the shared network as it is")
    add("--settle", action="store_true", help="last: decoder and coding tables learn from the symbols that are really sent, for all rates")
    add("--init", help="weights to start from (a checkpoint)")
    add("--anneal", help="checkpoint to go on from, optimiser included, on this run's own schedule")
    add("--steady", action="store_true", help="train until stopped, on a schedule without an end")
    add("--slowing", type=float, default=24.0, help="--steady: rates fall by 1 / sqrt(1 + hours / this)")
    add("--log", help="CSV file of loss, bits and PSNR over the hours (default: --out plus .csv)")
    add("--check", nargs="+", help="pictures (no part of the training) to measure the averaged weights on")
    add("--check-limit", type=int, default=8, help="how many of them")
    add("--check-minutes", type=float, default=60.0)
    add("--check-log", help="CSV file of what was measured (default: --out plus .check.csv)")
    add("--pause-file", help="training waits while this file exists")
    add("--nice", type=int, default=0, help="how far to lower the priority")
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
    add("--save", type=float, default=2.5, help="minutes between checkpoints and lines of the log")
    add("--full-precision", action="store_true", help="no bfloat16, also where the processor has instructions for it")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
