#!/usr/bin/env python3
"""GNU Radio on the virtual radio: its soapy sink sends a tone, its soapy source hears it, and this says where and how strong.

    cargo build --release -p virtual-radio
    SOAPY_SDR_PLUGIN_PATH=target/release python3 hardware/virtual-radio/examples/gnuradio_tone.py

Needs GNU Radio 3.10 (Debian: gnuradio).
"""

import cmath
import math
import sys
import time

from gnuradio import analog, blocks, gr, soapy

DEVICE = "driver=virtual,tx=1,rx=1,air=id,noise=0.01"
RATE_HZ, CARRIER_HZ, TONE_HZ, AMPLITUDE = 1e6, 3.5e9, 125e3, 0.25
SAMPLES = 200_000


class Tone(gr.top_block):
    """A tone out, samples in."""

    def __init__(self):
        super().__init__("tone on the virtual radio")
        sink = soapy.sink(DEVICE, "fc32", 1, "", "", [""], [""])
        source = soapy.source(DEVICE, "fc32", 1, "", "", [""], [""])
        for end in (sink, source):
            end.set_sample_rate(0, RATE_HZ)
            end.set_frequency(0, CARRIER_HZ)
            end.set_gain(0, 0.0)
        self.received = blocks.vector_sink_c()
        self.connect(analog.sig_source_c(RATE_HZ, analog.GR_COS_WAVE, TONE_HZ, AMPLITUDE), sink)
        self.connect(source, blocks.head(gr.sizeof_gr_complex, SAMPLES), self.received)


def main():
    """Runs it and judges the second half of what was heard, when the tone is there for sure."""
    tone = Tone()
    tone.start()
    until = time.monotonic() + 30.0
    while len(tone.received.data()) < SAMPLES and time.monotonic() < until:
        time.sleep(0.05)
    tone.stop()
    samples = tone.received.data()[SAMPLES // 2 : SAMPLES]
    turn = cmath.exp(-2j * math.pi * TONE_HZ / RATE_HZ)
    level = abs(sum(sample * turn**n for n, sample in enumerate(samples))) / len(samples)
    power = sum(abs(sample) ** 2 for sample in samples) / len(samples)
    noise = math.sqrt(max(power - level**2, 0.0))
    print(f"{len(samples)} samples: tone at {TONE_HZ:.0f} Hz {level:.4f} (sent {AMPLITUDE}), the rest {noise:.4f} (noise 0.01)")
    return 0 if abs(level - AMPLITUDE) < 0.005 and noise < 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
