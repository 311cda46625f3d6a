#!/usr/bin/env python3
"""Makes a checkpoint to start from out of an exported weight file, whose network may be narrower and have other rates.

    python widen.py --weights ../models/hyperprior/weights.safetensors --data DIR --out start.pt

Units that the file holds are copied; new ones look at the old ones but are not heard yet, so that the pictures stay
what they were. New latents estimate what the pictures of the top rate lack. Tables of new rates are
interpolated over the logarithm of the weight of the distortion.
"""

import argparse
import json
import math

import numpy as np
import torch
from safetensors import safe_open
from torch.nn import functional as F

from data import Crops
from model import BLOCK, OVERLAP, STRIDE, Codec, Prior, gaussian_probability, signed_root
from packing import unpack
from train import TARGETS

GAIN_SLOPE, MEAN_SLOPE = 0.5, 0.27  # of log gain and log mean unit over the log of the weight, beyond the file's rates
TRANSPOSED = ("fine_synthesis.convs", "block_synthesis", "hyper_synthesis")
PER_RATE = ("log_gain", "mean_unit", "log_scale_bias", "log_synthesis_unit", "synthesis_bias", "conceal")


def read(path):
    """Configuration and tensors (f32; coding tables as they are) of a weight file."""
    with safe_open(path, "np") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {k: file.get_tensor(k) for k in file.keys()}
    tensors = unpack(tensors)
    for name in [n for n in tensors if "shape." in n or n == "synthesis_unit"]:
        tensors[name.replace("shape.", "log_shape.").replace("synthesis_unit", "log_synthesis_unit")] = np.log(tensors.pop(name))
    config.setdefault("groups", (8, 8, 16, 16, 16, 32, 32, 64))
    config.setdefault("hidden", 16)
    return config, tensors


def mixing(old, new):
    """Per new rate: weights of the old rates, and how far it lies beyond them in the log of the distortion's weight."""
    matrix, beyond = np.zeros((len(new), len(old))), np.zeros(len(new))
    for row, (kind, weight) in enumerate(new):
        known = sorted((math.log(w), i) for i, (k, w) in enumerate(old) if k == kind)
        at = math.log(weight)
        inside = min(max(at, known[0][0]), known[-1][0])
        beyond[row] = at - inside
        for (low, i), (high, j) in zip(known, known[1:]):
            if low <= inside <= high:
                matrix[row] = 0
                share = (inside - low) / (high - low)
                matrix[row, i], matrix[row, j] = 1 - share, share
    return torch.tensor(matrix, dtype=torch.float32), torch.tensor(beyond, dtype=torch.float32)


def places(config, grown):
    """For a dimension of a layer: where the old indices stand among the new ones."""
    features, latents, groups = config["features"], config["latents"], len(config["groups"])
    hidden = [g * grown["hidden"] + u for g in range(groups) for u in range(config["hidden"])]
    inputs = [*range(features), *(grown["features"] + i for i in range(latents))]
    return {features + latents: inputs, groups * config["hidden"]: hidden}


def copy_layers(model, config, tensors):
    """All layers, without the new latents' own weights."""
    state = model.state_dict()
    of_context = places(config, model.config)
    for name, old in tensors.items():
        if name not in state or name.startswith(PER_RATE) or "log_shape" in name:
            continue
        old, new = torch.from_numpy(old), state[name]
        where = [of_context.get(n, range(n)) if name.startswith("context.layers") else range(n) for n in old.shape[:2]]
        where = [torch.tensor(list(w)) for w in where]
        if old.ndim == 1:
            new[where[0]] = old
            continue
        if old.ndim == 4:  # what is new is not heard by what is old
            outputs, inputs = (1, 0) if name.startswith(TRANSPOSED) else (0, 1)
            fresh = torch.ones(new.shape[inputs], dtype=torch.bool)
            fresh[where[inputs]] = False
            silent = [slice(None)] * 4
            silent[outputs], silent[inputs] = where[outputs][:, None], fresh.nonzero()[:, 0][None]
            new[tuple(silent)] = 0
        new[where[0][:, None], where[1][None]] = old
    last = config["groups"][-1]
    latents, grown = config["latents"], model.config["latents"]
    if grown > latents:  # scales of new latents as those of the old last group, means and fine branch silent
        layer = state["context.layers.2.weight"], state["context.layers.2.bias"]
        for i in range(latents, grown):
            like = latents - last + (i - latents) % last
            for tensor in layer:
                tensor[i] = tensor[like]
        for name in ("fine_analysis.convs.2", "mean"):
            state[f"{name}.weight"][latents:] = 0
            state[f"{name}.bias"][latents:] = 0
    model.load_state_dict(state)


def copy_tables(model, config, tensors, matrix, beyond):
    latents = config["latents"]
    last = slice(latents - config["groups"][-1], latents)
    with torch.no_grad():
        for name, table in [*model.named_parameters(), *model.named_buffers()]:
            if not name.startswith(PER_RATE) and "log_shape" not in name:
                continue
            old = matrix @ torch.from_numpy(tensors[name])
            if name == "log_gain":
                old += GAIN_SLOPE * beyond[:, None]
                table[:] = old[:, last].mean(1, keepdim=True)
            elif name == "mean_unit":
                old *= torch.exp(MEAN_SLOPE * beyond)[:, None]
                table[:] = old[:, last].abs().mean(1, keepdim=True)
            else:
                table[:] = 0
            table[:, : old.shape[1]] = old


@torch.no_grad()
def new_components(model, known, crops):
    """Block transform of the latents from `known` on: the best linear estimate of what the pictures of the top rate lack."""
    inner = slice(OVERLAP, OVERLAP + STRIDE)
    fresh = model.config["latents"] - known
    top = max((w, i) for i, (kind, w) in enumerate(model.config["targets"]) if kind == "mse")[1]
    for layer in (model.block_analysis, model.block_synthesis):
        layer.weight[known:] = 0
    model.block_analysis.bias[known:] = 0
    blocks = lambda x: F.unfold(x, STRIDE, stride=STRIDE).transpose(1, 2).reshape(-1, 3 * STRIDE**2).double()
    power, cross = 0, 0  # of x and x, of lack and x
    for x in crops.split(8):
        lack = x - model(x, torch.full((len(x),), top))[0]
        seen = blocks(x - 0.5)
        power, cross = power + seen.T @ seen, cross + blocks(lack).T @ seen
    estimate = torch.linalg.solve(power + 1e-6 * power.trace() / len(power) * torch.eye(len(power)), cross.T).T
    vectors = torch.linalg.eigh(estimate @ cross.T)[1].flip(1)[:, :fresh]
    shape = (fresh, 3, STRIDE, STRIDE)
    model.block_analysis.weight[known:, :, inner, inner] = (vectors.T @ estimate).float().reshape(shape)
    model.block_synthesis.weight[known:, :, inner, inner] = vectors.T.float().reshape(shape)


def hyper_path(model, crops, rate):
    """Hyper-latents, features and residuals of crops at a rate."""
    index = torch.full((len(crops),), rate)
    yg = model.analyse(crops, index)
    z = torch.round(model.hyper_analysis(signed_root(yg)))
    features = model.hyper_synthesis(z)
    return z, features, yg - model.mean(features) * model.per_rate(model.mean_unit, index)


@torch.no_grad()
def fit_new_scales(model, known, crops):
    """Bias of the new latents' log scales: the one of least bits, per rate and latent."""
    for rate in range(len(model.config["targets"])):
        _, features, residual = hyper_path(model, crops, rate)
        raw = model.context(features, torch.round(residual))[:, known:]
        symbols, best = torch.round(residual[:, known:]), None
        for bias in torch.arange(-4.0, 3.0, 0.25):
            scale = torch.exp((raw + bias).clamp_min(math.log(0.11)))
            bits = -torch.log2(gaussian_probability(symbols, scale)).sum((0, 2, 3))
            if best is None:
                best, chosen = bits, torch.full_like(bits, float(bias))
            chosen, best = torch.where(bits < best, bias, chosen), torch.minimum(bits, best)
        model.log_scale_bias[rate, known:] = chosen


def fit_prior(model, tensors, old_rates, matrix, crops, steps=300):
    """The mixtures of logistics, from the file's tables for its own rates and also from crops for other ones."""
    channels, span = model.config["hyper"], 40
    ends = np.concatenate([[0], tensors["prior_ends"]]).astype(int)
    known = np.full((old_rates, channels, 2 * span + 1), 1e-7)
    for index, (begin, end) in enumerate(zip(ends, ends[1:])):
        counts = np.diff(np.append(tensors["prior_counts"][begin:end].astype(np.int64), 1 << 16))[:-1]
        for k, count in enumerate(counts):  # 0, 1, -1, 2, -2 ...
            value = (k + 1) // 2 * (1 if k % 2 else -1)
            if abs(value) <= span:
                known[index // channels, index % channels, value + span] += count / (1 << 16)
    wanted = torch.tensor(np.einsum("no,ocv->ncv", matrix.numpy(), known), dtype=torch.float32)
    for rate, row in enumerate(matrix):
        if row.max() < 1:
            with torch.no_grad():
                z = hyper_path(model, crops, rate)[0].clamp(-span, span).long() + span
            seen = F.one_hot(z, 2 * span + 1).float().mean((0, 2, 3))
            wanted[rate] = 0.3 * wanted[rate] + 0.7 * seen
    prior = Prior(len(matrix), channels)
    grid = torch.arange(-span, span + 1).float().view(1, 1, -1, 1).repeat(len(matrix), channels, 1, 1)
    spread = (wanted * grid[..., 0] ** 2).sum(-1, keepdim=True).sqrt().clamp_min(0.1)
    with torch.no_grad():
        prior.mean *= spread
        prior.sharpness.copy_(-(spread * 0.5).log().expand_as(prior.sharpness))
    optimiser = torch.optim.Adam(prior.parameters(), lr=0.03)
    for _ in range(steps):
        loss = -(wanted * torch.log2(prior.probability(grid, torch.arange(len(matrix)))[..., 0])).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.prior.load_state_dict(prior.state_dict())
    return float(loss.detach())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="a file of export.py")
    parser.add_argument("--data", nargs="+", required=True, help="folders of training pictures")
    parser.add_argument("--out", required=True, help="checkpoint to write, for train.py --init")
    parser.add_argument("--same-rates", action="store_true", help="keep the file's rates instead of train.py's")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    config, tensors = read(args.weights)
    old = list(zip(config["tuned_for"], config["distortion_weights"]))
    model = Codec(old if args.same_rates else TARGETS).eval()
    matrix, beyond = mixing(old, model.config["targets"])
    copy_layers(model, config, tensors)
    copy_tables(model, config, tensors, matrix, beyond)
    pictures = Crops(args.data, 256)
    crops = pictures.batch(24, rng)
    if model.config["latents"] > config["latents"]:
        new_components(model, config["latents"], pictures.batch(192, rng))
        fit_new_scales(model, config["latents"], crops)
    bits = fit_prior(model, tensors, len(old), matrix, crops)
    torch.save(dict(config=model.config, average=model.state_dict(), step=0), args.out)
    print(f"{args.out}: {sum(p.numel() for p in model.parameters())} parameters, {bits:.3f} bits a hyper-latent")


if __name__ == "__main__":
    main()
