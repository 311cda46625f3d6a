"""Pictures in memory, and random square crops of them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg"}


def picture_files(folders):
    """All pictures below the given folders (or the files themselves), in a fixed order."""
    found = set()
    for folder in map(Path, folders):
        members = [folder] if folder.is_file() else folder.rglob("*")
        found.update(p for p in members if p.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"no picture ({', '.join(sorted(SUFFIXES))}) below {', '.join(map(str, folders))}")
    return sorted(found)


def read_picture(path):
    """Height x width x 3 bytes."""
    return np.asarray(Image.open(path).convert("RGB"))


def to_tensor(picture):
    """1 x 3 x height x width in 0..1."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


class Crops:
    """Random crops. Half of them are shrunk from up to 1.8 times the size, which hides the JPEG blocks of the source."""

    def __init__(self, folders, size, shrunk=0.5):
        self.pictures = [p for p in map(read_picture, picture_files(folders)) if min(p.shape[:2]) >= size]
        self.size, self.shrunk = size, shrunk

    def one(self, rng):
        picture = self.pictures[rng.integers(len(self.pictures))]
        height, width = picture.shape[:2]
        side = self.size
        if rng.random() < self.shrunk:
            side = int(min(height, width, self.size * rng.uniform(1.0, 1.8)))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        crop = picture[top : top + side, left : left + side]
        if side != self.size:
            crop = np.asarray(Image.fromarray(crop).resize((self.size, self.size), Image.BICUBIC))
        return crop[:, ::-1] if rng.random() < 0.5 else crop

    def batch(self, count, rng):
        crops = np.stack([self.one(rng) for _ in range(count)])
        return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
