#!/usr/bin/env python3
"""Draws a training's logs over its hours as an SVG: loss of the crops, and BD-rate against JPEG of the averaged weights.

    python log.py --log long.csv --check check.csv --out log.svg
"""

import argparse
import csv
import math
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, GAP = 640, 200, 70, 30, 60
COLOURS = ("#0072b2", "#d55e00")


def column(rows, name):
    return [(float(row["hours"]), float(row[name])) for row in rows]


def ticks(low, high, most=6):
    """Multiples of 1, 2 or 5 times a power of ten from low to high, as many as there is room for."""
    steps = (factor * 10.0**power for power in range(-6, 9) for factor in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step <= most)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def panel(title, curves, top):
    """One drawing: axes, named curves with a mark at each point."""
    points = [p for _, curve in curves for p in curve]
    x_max = max(x for x, _ in points) or 1.0
    low, high = min(y for _, y in points), max(y for _, y in points)
    margin = 0.08 * (high - low) or 0.5
    low, high = low - margin, high + margin
    x_at = lambda x: LEFT + x / x_max * WIDTH
    y_at = lambda y: top + (high - y) / (high - low) * HEIGHT
    parts = [f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="black"/>']
    parts += [f'<text x="{LEFT}" y="{top - 10}">{title}</text>']
    for y in ticks(low, high):
        parts += [f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y_at(y):.1f}" y2="{y_at(y):.1f}" stroke="#ddd"/>']
        parts += [f'<text x="{LEFT - 6}" y="{y_at(y) + 4:.1f}" text-anchor="end">{y:g}</text>']
    for x in ticks(0, x_max):
        parts += [f'<text x="{x_at(x):.1f}" y="{top + HEIGHT + 18}" text-anchor="middle">{x:g}</text>']
    for (name, curve), colour in zip(curves, COLOURS):
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in curve)
        parts += [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
        parts += [f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="2" fill="{colour}"/>' for x, y in curve]
        x, y = curve[-1]
        parts += [f'<text x="{LEFT + WIDTH - 6}" y="{y_at(y) - 8:.1f}" text-anchor="end" fill="{colour}">{name}</text>']
    return parts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", required=True, help="train.py's --log")
    parser.add_argument("--check", required=True, help="train.py's --check-log")
    parser.add_argument("--out", required=True, help="SVG to write")
    args = parser.parse_args()
    log, check = (list(csv.DictReader(Path(path).open())) for path in (args.log, args.check))
    second = TOP + HEIGHT + GAP
    parts = panel("loss of the training crops: λ · distortion + bits a pixel, all rates", [("loss", column(log, "loss"))], TOP)
    quality = [(name, column(check, key)) for name, key in (("at equal PSNR", "bd_psnr"), ("at equal MS-SSIM", "bd_ms_ssim"))]
    parts += panel("bits against JPEG, %: averaged weights, pictures that took no part", quality, second)
    size = (LEFT + WIDTH + 20, second + HEIGHT + GAP)
    parts += [f'<text x="{LEFT + WIDTH / 2}" y="{size[1] - 16}" text-anchor="middle">hours of training</text>']
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" font-family="sans-serif" font-size="13">'
    Path(args.out).write_text("\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
