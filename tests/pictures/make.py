#!/usr/bin/env python3
"""Makes the small pictures in this folder with Pillow (13.0 made the committed ones).

`python3 make.py` writes them beside itself. All show one scene: a red, a green, a blue and a yellow quarter with a soft
ramp, 48x32, so that a picture that lies on its side, is mirrored or has its colours exchanged is told apart.
"""

import io
import struct
from pathlib import Path

from PIL import Image, ImageChops

HERE = Path(__file__).parent
SIZE = (48, 32)


def scene(size=SIZE):
    picture = Image.new("RGB", size)
    width, height = size
    for y in range(height):
        for x in range(width):
            ramp = 40 * x // width + 20 * y // height
            left, top = x < width // 2, y < height // 2
            base = {(1, 1): (190, 20, 20), (0, 1): (20, 170, 30), (1, 0): (20, 30, 180), (0, 0): (190, 180, 20)}
            picture.putpixel((x, y), tuple(min(255, c + ramp) for c in base[(int(left), int(top))]))
    return picture


def segments(data):
    """The segments of a JPEG before its first scan, and that scan with all after it."""
    at, parts = 2, []
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        parts.append(data[at : at + 2 + length])
        at += 2 + length
    return parts, data[at:]


def main():
    picture = scene()
    picture.save(HERE / "baseline.jpg", quality=92, subsampling=2)
    picture.save(HERE / "progressive.jpg", quality=92, progressive=True)
    picture.save(HERE / "restarts.jpg", quality=92, subsampling=0, restart_marker_blocks=4)
    picture.convert("L").save(HERE / "grey.jpg", quality=92)
    picture.save(HERE / "rgb.jpg", quality=92, keep_rgb=True)
    picture.convert("CMYK").save(HERE / "cmyk.jpg", quality=92)
    ycck(picture)
    three_scans()
    exif = Image.Exif()
    for orientation, turn in [(3, Image.Transpose.ROTATE_180), (5, Image.Transpose.TRANSPOSE), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)]:
        exif[0x0112] = orientation
        picture.transpose(turn).save(HERE / f"exif{orientation}.jpg", quality=92, exif=exif)
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(HERE / "exif6.png", exif=exif)
    picture.transpose(Image.Transpose.ROTATE_90).save(HERE / "exif6.webp", lossless=True, exif=exif)
    picture.save(HERE / "rgb.png")
    picture.convert("L").save(HERE / "grey.png")
    picture.quantize(16).save(HERE / "palette.png")
    picture.convert("1").save(HERE / "one-bit.png")
    deep = Image.new("I;16", SIZE)
    for y in range(SIZE[1]):
        for x in range(SIZE[0]):
            deep.putpixel((x, y), 257 * (4 * x + y) + 100)
    deep.save(HERE / "grey16.png")
    deep.save(HERE / "grey16.tif")
    clear = picture.copy()
    alpha = Image.new("L", SIZE)
    for y in range(SIZE[1]):
        for x in range(SIZE[0]):
            alpha.putpixel((x, y), min(255, 6 * x))
    clear.putalpha(alpha)
    clear.save(HERE / "alpha.png")
    clear.save(HERE / "alpha.webp", lossless=True)
    clear.save(HERE / "alpha.tif", compression="tiff_lzw")
    seen = picture.quantize(16)
    # The colour of the upper left corner is made clear.
    index = seen.getpixel((0, 0))
    seen.save(HERE / "palette-clear.png", transparency=index)
    seen.save(HERE / "clear.gif", transparency=index)
    picture.quantize(32).save(
        HERE / "moving.gif", save_all=True, append_images=[Image.new("P", SIZE, 1)], duration=100, loop=0
    )
    picture.save(HERE / "lossy.webp", quality=90)
    picture.save(HERE / "rgb.bmp")
    picture.quantize(16).save(HERE / "palette.bmp")
    picture.save(HERE / "rgb.tif")
    picture.save(HERE / "deflate.tif", compression="tiff_adobe_deflate")
    picture.convert("CMYK").save(HERE / "cmyk.tif")
    # Much too large: 400 megapixels of one grey in few bytes, made chunk by chunk.
    import zlib

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    squeeze, rows = zlib.compressobj(9), b""
    row = b"\0" + bytes(2500)
    for _ in range(20000):
        rows += squeeze.compress(row)
    rows += squeeze.flush()
    header = struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0)
    (HERE / "huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def ycck(picture):
    """CMYK kept as luminance and colour differences plus ink: three planes of a YCbCr JPEG and a grey one, in four scans.

    Pillow writes CMYK without that transform, so the file is put together from two that it writes, with an Adobe marker.
    As Adobe does it: the first three are the inks that take the picture's light, black is stored inverted.
    """
    colour, black = io.BytesIO(), io.BytesIO()
    ImageChops.invert(picture).save(colour, "JPEG", quality=92, subsampling=0)
    Image.new("L", SIZE, 255 - 40).save(black, "JPEG", quality=92)
    (HERE / "ycck.jpg").write_bytes(join_planes(split_planes(colour.getvalue()) + split_planes(black.getvalue()), adobe=2))


def three_scans():
    """One scan per component, chroma at half resolution: three grey JPEGs of planes put together."""
    width, height = 64, 48
    planes = []
    for size, value in [((width, height), 60), ((width // 2, height // 2), 90), ((width // 2, height // 2), 200)]:
        plane = io.BytesIO()
        Image.new("L", size, value).save(plane, "JPEG", quality=95)
        planes.append(plane.getvalue())
    (HERE / "three-scans.jpg").write_bytes(join_planes(planes, size=(width, height), sampling=[0x22, 0x11, 0x11]))


def split_planes(data):
    """A 4:4:4 or grey JPEG as grey JPEGs of its planes, coded anew."""
    image = Image.open(io.BytesIO(data))
    bands = image.convert("YCbCr").split() if image.mode == "RGB" else [image]
    planes = []
    for band in bands:
        plane = io.BytesIO()
        band.save(plane, "JPEG", quality=95)
        planes.append(plane.getvalue())
    return planes


def join_planes(planes, size=SIZE, sampling=None, adobe=None):
    """One JPEG with one scan per component, out of grey ones with equal tables."""
    sampling = sampling or [0x11] * len(planes)
    out = b"\xff\xd8"
    if adobe is not None:
        out += b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([adobe])
    parts, _ = segments(planes[0])
    out += b"".join(part for part in parts if part[1] in (0xDB, 0xC4))
    width, height = size
    frame = struct.pack(">BHHB", 8, height, width, len(planes))
    frame += b"".join(bytes([number + 1, sampling[number], 0]) for number in range(len(planes)))
    out += b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame
    for number, plane in enumerate(planes):
        _, scan = segments(plane)
        length = int.from_bytes(scan[2:4], "big")
        data = scan[2 + length : -2]
        out += b"\xff\xda\x00\x08\x01" + bytes([number + 1, 0, 0, 63, 0]) + data
    return out + b"\xff\xd9"


main()
