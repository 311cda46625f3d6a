// What happens between the antennas of a virtual radio: taps from every TX to every RX channel, or a function of the
// program that the driver is linked into.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using cf32 = std::complex<float>;

// Called once per stretch of time, in order: `count` samples of each TX channel in, of each RX channel out. 0: what is
// received then is not known yet, ask again.
using AirFunction = int (*)(void *context, int64_t tick, size_t count, const cf32 *const *sent, size_t transmitters,
                             cf32 *const *received, size_t receivers);

// The last samples of one channel, by tick.
class Ring
{
public:
    explicit Ring(size_t least)
    {
        size_t size = 1;
        while (size < least) size <<= 1;
        _samples.resize(size);
    }
    cf32 &operator[](int64_t tick) { return _samples[size_t(tick) & (_samples.size() - 1)]; }
    const cf32 &operator[](int64_t tick) const { return _samples[size_t(tick) & (_samples.size() - 1)]; }
    // The samples from `tick` on that lie in one piece, at most `count`.
    const cf32 *piece(int64_t tick, size_t count, size_t &length) const
    {
        const size_t at = size_t(tick) & (_samples.size() - 1);
        length = std::min(count, _samples.size() - at);
        return _samples.data() + at;
    }
    void clear(int64_t from, int64_t to)
    {
        from = std::max(from, to - int64_t(_samples.size()));
        for (int64_t tick = from; tick < to; tick++) (*this)[tick] = 0;
    }

private:
    std::vector<cf32> _samples;
};

class Air
{
public:
    virtual ~Air() = default;
    // The newest sample of `sent[c]` is that of tick + count - 1; later ones are not there yet. The air's own time is that much
    // ahead of the ticks. False: ask again.
    virtual bool propagate(int64_t tick, int64_t ahead, size_t count, const std::vector<Ring> &sent, std::vector<Ring> &received) = 0;
    virtual int64_t reach() const { return 0; }
};

// splitmix64's finaliser.
inline uint64_t scramble(uint64_t z)
{
    z += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// y_k[n] = sum of gain * x_j[n - delay] over the taps (k, j), and noise of one counter-based draw per tick and channel:
// the same however the reads are cut.
class LinearAir : public Air
{
public:
    LinearAir(const std::string &what, size_t tx, size_t rx, float noise, uint64_t seed) : _noise(noise), _seed(scramble(seed))
    {
        if (what == "sum")
            for (size_t k = 0; k < rx; k++)
                for (size_t j = 0; j < tx; j++) _taps.push_back({k, j, 0, 1.f / float(tx)});
        else if (what == "id")
            for (size_t k = 0; k < rx; k++) _taps.push_back({k, k % tx, 0, 1.f});
        else if (what.compare(0, 5, "file:") == 0)
            read(what.substr(5), tx, rx);
        else
            throw std::runtime_error("virtual: air=" + what + "; accepted: sum, id, file:PATH or the name of an air that was put there");
        for (const auto &tap : _taps) _reach = std::max(_reach, tap.delay);
    }
    int64_t reach() const override { return _reach; }
    bool propagate(int64_t tick, int64_t, size_t count, const std::vector<Ring> &sent, std::vector<Ring> &received) override
    {
        _sum.resize(count);
        for (size_t k = 0; k < received.size(); k++)
        {
            std::fill(_sum.begin(), _sum.end(), cf32());
            for (const auto &tap : _taps)
                if (tap.rx == k)
                    for (size_t from = 0, length; from < count; from += length)
                    {
                        const cf32 *x = sent[tap.tx].piece(tick + int64_t(from) - tap.delay, count - from, length);
                        const float re = tap.gain.real(), im = tap.gain.imag();
                        cf32 *sum = _sum.data() + from;
                        // Written out: the operator of std::complex looks for infinities.
                        for (size_t n = 0; n < length; n++)
                            sum[n] += cf32(re * x[n].real() - im * x[n].imag(), re * x[n].imag() + im * x[n].real());
                    }
            if (_noise > 0) addNoise(tick, k);
            for (size_t n = 0; n < count; n++) received[k][tick + int64_t(n)] = _sum[n];
        }
        return true;
    }

private:
    struct Tap
    {
        size_t rx, tx;
        int64_t delay;
        cf32 gain;
    };
    // One tap a line: "rx tx delay_samples re im"; # begins a comment.
    void read(const std::string &path, size_t tx, size_t rx)
    {
        std::ifstream file(path);
        if (!file) throw std::runtime_error("virtual: cannot read " + path);
        for (std::string line; std::getline(file, line);)
        {
            std::istringstream words(line.substr(0, line.find('#')));
            Tap tap;
            float re, im;
            if (!(words >> tap.rx)) continue;
            if (!(words >> tap.tx >> tap.delay >> re >> im) || tap.rx >= rx || tap.tx >= tx || tap.delay < 0 || tap.delay > 65536)
                throw std::runtime_error("virtual: " + path + ": accepted: rx tx delay_samples re im, found: " + line);
            tap.gain = cf32(re, im);
            _taps.push_back(tap);
        }
    }
    void addNoise(int64_t tick, size_t channel)
    {
        const float deviation = _noise * float(M_SQRT1_2);
        for (size_t n = 0; n < _sum.size(); n++)
        {
            const uint64_t draw = scramble(_seed + uint64_t(tick + int64_t(n)) * 64 + channel);
            const float u = (float(draw >> 40) + 0.5f) * 5.9604645e-8f, v = float((draw >> 8) & 0xffffff) * 5.9604645e-8f;
            const float radius = deviation * std::sqrt(-2.f * std::log(u)), angle = 6.2831853f * v;
            _sum[n] += cf32(radius * std::cos(angle), radius * std::sin(angle));
        }
    }

    const float _noise;
    const uint64_t _seed;
    std::vector<Tap> _taps;
    int64_t _reach = 0;
    std::vector<cf32> _sum;
};

// An air that the program around the driver put there under a name. Taking it away waits for a call under way.
struct NamedAir
{
    std::mutex mutex;
    AirFunction function;
    void *context;
};

inline std::map<std::string, std::shared_ptr<NamedAir>> &namedAirs(std::unique_lock<std::mutex> &lock)
{
    static std::mutex mutex;
    static std::map<std::string, std::shared_ptr<NamedAir>> airs;
    lock = std::unique_lock<std::mutex>(mutex);
    return airs;
}

class ForeignAir : public Air
{
public:
    ForeignAir(std::shared_ptr<NamedAir> air, size_t tx, size_t rx) : _air(std::move(air)), _sent(tx), _received(rx) {}
    bool propagate(int64_t tick, int64_t ahead, size_t count, const std::vector<Ring> &sent, std::vector<Ring> &received) override
    {
        std::vector<const cf32 *> in;
        std::vector<cf32 *> out;
        for (size_t c = 0; c < _sent.size(); c++)
        {
            _sent[c].resize(count);
            for (size_t n = 0; n < count; n++) _sent[c][n] = sent[c][tick + int64_t(n)];
            in.push_back(_sent[c].data());
        }
        for (auto &row : _received)
        {
            row.assign(count, cf32());
            out.push_back(row.data());
        }
        {
            std::lock_guard<std::mutex> lock(_air->mutex);
            if (_air->function && !_air->function(_air->context, tick + ahead, count, in.data(), in.size(), out.data(), out.size())) return false;
        }
        for (size_t c = 0; c < _received.size(); c++)
            for (size_t n = 0; n < count; n++) received[c][tick + int64_t(n)] = _received[c][n];
        return true;
    }

private:
    std::shared_ptr<NamedAir> _air;
    std::vector<std::vector<cf32>> _sent, _received;
};
