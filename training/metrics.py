"""PSNR by NumPy and MS-SSIM by pytorch-msssim of pairs of pictures, as JSON: what the program's own figures are held against.

metrics.py A.png B.png [A.png B.png ...]

pip install torch numpy pillow pytorch-msssim
"""

import json
import sys

import numpy as np
import torch
from PIL import Image
from pytorch_msssim import ms_ssim


def measure(first, second):
    a, b = (np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) for path in (first, second))
    mse = float(np.mean((a - b) ** 2))
    tensors = [torch.from_numpy(picture.transpose(2, 0, 1)[None]) for picture in (a, b)]
    return {"psnr_db": float(10 * np.log10(255**2 / mse)), "ms_ssim": float(ms_ssim(*tensors, data_range=255))}


if __name__ == "__main__":
    paths = sys.argv[1:]
    print(json.dumps([measure(*pair) for pair in zip(paths[::2], paths[1::2], strict=True)]))
