// What the analog side and the converters of a real device add to a channel's samples.
#pragma once

#include "air.hpp"

#include <cmath>

// Levels in full scale of the converter; 0 bits and levels of 0 are an ideal front end.
struct FrontEnd
{
    // Converter: bits, and the deviation of its own noise per complex sample, which no gain changes.
    int adcBits = 0;
    float adcNoise = 0;
    // Constant, and amplitude of the image, of the receiver; carrier that leaks and image of the transmitter.
    float dc = 0, rxImage = 0, loLeakage = 0, txImage = 0;

    static float amplitude(double db) { return float(std::pow(10.0, db / 20)); }

    cf32 sent(cf32 x) const { return txImage > 0 ? x + txImage * std::conj(x) : x; }

    // After the gain. Whether the converter clipped.
    bool received(cf32 &y, uint64_t seed, int64_t tick, size_t channel) const
    {
        if (rxImage > 0) y += rxImage * std::conj(y);
        y += dc;
        if (adcNoise > 0)
        {
            const uint64_t draw = scramble(seed + 0x5bd1e995u + uint64_t(tick) * 64 + channel);
            const float u = (float(draw >> 40) + 0.5f) * 5.9604645e-8f, v = float((draw >> 8) & 0xffffff) * 5.9604645e-8f;
            const float radius = adcNoise * float(M_SQRT1_2) * std::sqrt(-2.f * std::log(u)), angle = 6.2831853f * v;
            y += cf32(radius * std::cos(angle), radius * std::sin(angle));
        }
        if (adcBits == 0) return false;
        const float steps = float(1 << (adcBits - 1));
        const auto convert = [&](float value) { return std::min(steps - 1, std::max(-steps, std::round(value * steps))) / steps; };
        const bool clipped = std::abs(y.real()) > 1 || std::abs(y.imag()) > 1;
        y = cf32(convert(y.real()), convert(y.imag()));
        return clipped;
    }
    bool ideal() const { return adcBits == 0 && adcNoise == 0 && dc == 0 && rxImage == 0; }
};
