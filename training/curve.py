"""Rate over quality on pictures, and how far below JPEG's it lies (BD-rate)."""

import io

import numpy as np
import torch
from PIL import Image

from export import measure
from model import ms_ssim

JPEG_QUALITIES = (3, 5, 8, 12, 17, 24, 33, 43, 54, 65, 75, 83, 89, 93, 95)


def cropped(picture):
    """As export.measure crops."""
    return picture[: picture.shape[0] // 64 * 64, : picture.shape[1] // 64 * 64]


def jpeg_points(pictures):
    """Per quality: mean bits per pixel, PSNR and MS-SSIM of JPEG 4:2:0 with tables made for each picture."""
    points = []
    for quality in JPEG_QUALITIES:
        rows = []
        for picture in map(cropped, pictures):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG", quality=quality, optimize=True, subsampling=2)
            coded = np.asarray(Image.open(buffer).convert("RGB"))
            mse = np.mean((coded.astype(float) - picture) ** 2)
            a, b = (torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 255 for p in (picture, coded))
            bits = 8 * len(buffer.getvalue()) / (picture.shape[0] * picture.shape[1])
            rows.append((bits, 10 * np.log10(65025 / mse), float(ms_ssim(a, b))))
        points.append(np.mean(rows, 0))
    return np.array(points)


def model_points(model, files):
    """Per rate tuned for MSE: estimated bits per pixel, PSNR, MS-SSIM and mean square error (0..255)."""
    rates = [rate for rate, (kind, _) in enumerate(model.config["targets"]) if kind == "mse"]
    return np.array([measure(model, files, rate) for rate in rates])


def monotone(x, y, at):
    """Fritsch and Carlson's monotone cubic through (x, y), x rising."""
    step, slope = np.diff(x), np.diff(y) / np.diff(x)
    ends = np.zeros(len(x))
    ends[0], ends[-1] = slope[0], slope[-1]
    before, after = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    same = slope[:-1] * slope[1:] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ends[1:-1] = np.where(same, (before + after) / (before / slope[:-1] + after / slope[1:]), 0)
    i = np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2)
    t, h = (at - x[i]) / step[i], step[i]
    return y[i] * (1 + 2 * t) * (1 - t) ** 2 + y[i + 1] * t * t * (3 - 2 * t) + h * t * (1 - t) * (ends[i] * (1 - t) - ends[i + 1] * t)


def bd_rate(reference, points, column):
    """Mean difference of rate in percent over the common range of quality (column 1: PSNR, 2: MS-SSIM in dB)."""
    curves = []
    for rows in (reference, points):
        quality = rows[:, column] if column == 1 else -10 * np.log10(1 - rows[:, column])
        order = np.argsort(quality)
        curves.append((quality[order], np.log(rows[order, 0])))
    grid = np.linspace(max(c[0][0] for c in curves), min(c[0][-1] for c in curves), 400)
    low, high = (monotone(*curve, grid) for curve in curves)
    return 100 * float(np.expm1(np.mean(high - low)))
