// One channel of a virtual radio: its tuning, its gain and what is wrong with it.
#pragma once

#include "air.hpp"

#include <cmath>
#include <string>
#include <vector>

// Samples by which a channel with a delay filter lags one without.
constexpr int64_t FILTER_LATENCY = 16;

struct Channel
{
    double gainDb = 0, frequencyHz = 2.4e9, bandwidthHz = 0;
    // The gain at which full scale stays full scale.
    double fullGainDb = 0;
    // Gain by itself, and a constant that the device takes away.
    bool automatic = false, removesDc = false;
    // Imperfections: relative to the ideal channel.
    double errorDb = 0, phaseDeg = 0, delaySamples = 0;
    std::string antenna = "TX/RX";

    cf32 rotation(double moreDeg = 0) const
    {
        const auto z = std::polar(std::pow(10.0, (gainDb - fullGainDb + errorDb) / 20), (phaseDeg + moreDeg) * M_PI / 180);
        return cf32(float(z.real()), float(z.imag()));
    }

    // A filter of 2 * FILTER_LATENCY taps, to be applied to the samples up to tick - whole: a windowed sinc.
    std::vector<float> delayFilter(int64_t &whole) const
    {
        whole = int64_t(std::floor(delaySamples));
        const double fraction = delaySamples - double(whole);
        std::vector<float> taps(2 * FILTER_LATENCY);
        double sum = 0;
        for (size_t k = 0; k < taps.size(); k++)
        {
            const double x = double(k) - double(FILTER_LATENCY) - fraction;
            const double sinc = std::abs(x) < 1e-12 ? 1.0 : std::sin(M_PI * x) / (M_PI * x);
            const double edge = x / double(FILTER_LATENCY + 1);
            const double window = std::abs(edge) < 1 ? 0.42 + 0.5 * std::cos(M_PI * edge) + 0.08 * std::cos(2 * M_PI * edge) : 0.0;
            taps[k] = float(sinc * window);
            sum += taps[k];
        }
        for (auto &tap : taps) tap = float(tap / sum);
        return taps;
    }

    // "GAIN_DB/PHASE_DEG/DELAY_SAMPLES+..." for channels 0, 1, ...
    static void readErrors(const std::string &text, std::vector<Channel> &channels)
    {
        std::istringstream list(text);
        size_t index = 0;
        for (std::string item; std::getline(list, item, '+'); index++)
        {
            double *const fields[] = {&channels.at(index).errorDb, &channels.at(index).phaseDeg, &channels.at(index).delaySamples};
            std::istringstream parts(item);
            size_t field = 0;
            for (std::string part; std::getline(parts, part, '/') && field < 3; field++) *fields[field] = std::stod(part);
            if (channels.at(index).delaySamples < 0 || channels.at(index).delaySamples > 1024)
                throw std::runtime_error("virtual: delay of channel " + std::to_string(index) + "; accepted: 0 to 1024 samples");
        }
    }
};

// Applies the channels' delays on the way from one set of rings to another; a plain copy where no channel has one.
class DelayBank
{
public:
    void design(const std::vector<Channel> &channels)
    {
        _filters.clear();
        bool any = false;
        for (const auto &channel : channels) any |= channel.delaySamples != 0;
        if (!any) return;
        for (const auto &channel : channels)
        {
            Filter filter;
            filter.taps = channel.delayFilter(filter.whole);
            _filters.push_back(filter);
        }
    }
    bool plain() const { return _filters.empty(); }
    cf32 at(const Ring &ring, size_t channel, int64_t tick) const
    {
        if (plain()) return ring[tick];
        const Filter &filter = _filters[channel];
        cf32 sum;
        for (size_t k = 0; k < filter.taps.size(); k++) sum += filter.taps[k] * ring[tick - filter.whole - int64_t(k)];
        return sum;
    }

private:
    struct Filter
    {
        int64_t whole;
        std::vector<float> taps;
    };
    std::vector<Filter> _filters;
};
