// A SoapySDR device with no hardware behind it: what is written to the TX channels comes back on the RX channels
// through an "air" (air.hpp). It answers only when asked for by name: driver=virtual.
//
// Device arguments, all optional:
//   tx, rx      channels                                                              (4, 5)
//   rate        sample rate in Hz at the start                                        (1e6)
//   pace        lockstep: time is moved by the readers, nothing is late or lost; wall: the host's steady clock (lockstep)
//   mtu         samples per channel and call                                          (4096)
//   tx_fifo     samples taken ahead of the clock                                      (65536)
//   rx_fifo     samples that a reader may lag in wall pace                            (262144)
//   latency     samples between now and the start of a burst without a time           (256)
//   air         sum, id, file:PATH, or the name of an air of the program              (sum)
//   noise       deviation per complex RX sample, full scale = 1; linear airs only     (0)
//   seed        of noise and oscillator phases                                        (1)
//   full_scale  of CS16                                                               (32768)
//   retune      keep, or random: each tuning of a channel gives its oscillator a new phase    (keep)
//   tx_errors, rx_errors   GAIN_DB/PHASE_DEG/DELAY_SAMPLES+... per channel
//   quirks      '+'-separated: mimo_needs_time, no_tx_activate_time, no_rx_time, short_write, late_on_write, empty_end_times_out
//   inject      '+'-separated WHAT@TICK: late, underflow, overflow, gap, short, stall, unplug: each happens once
//   unplug_ms   how long an unplugged device is gone                                  (200)
//   journal     file to which opening and closing, bursts' ends, gains and random phases are appended
//
// Settings: inject = WHAT (at once), txN.phase_deg, rxN.phase_deg, txN.gain_db, rxN.gain_db.

#include "air.hpp"
#include "channel.hpp"

#include <SoapySDR/Device.hpp>
#include <SoapySDR/Formats.hpp>
#include <SoapySDR/Logger.hpp>
#include <SoapySDR/Registry.hpp>
#include <SoapySDR/Time.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <random>
#include <set>

namespace {

using Clock = std::chrono::steady_clock;

// Samples that the air works on at once in lockstep.
constexpr int64_t BLOCK = 1024;
constexpr double GAIN_MIN_DB = -90, GAIN_MAX_DB = 0;

double number(const SoapySDR::Kwargs &args, const char *key, double otherwise)
{
    const auto it = args.find(key);
    if (it == args.end()) return otherwise;
    size_t used = 0;
    double value = 0;
    try { value = std::stod(it->second, &used); } catch (const std::exception &) {}
    if (used == 0 || used != it->second.size()) throw std::runtime_error(std::string("virtual: ") + key + "=" + it->second + " is no number");
    return value;
}
std::string text(const SoapySDR::Kwargs &args, const char *key, const char *otherwise)
{
    const auto it = args.find(key);
    return it == args.end() ? otherwise : it->second;
}

struct Event
{
    int code, flags;
    int64_t tick;
    size_t mask;
};

struct VirtualStream
{
    int direction;
    bool floats;
    std::vector<size_t> channels;
    bool active = false;
    // RX: the next tick to deliver.
    int64_t cursor = 0;
    // TX.
    bool inBurst = false;
    float last = 0;
    std::deque<Event> events;

    size_t mask() const
    {
        size_t mask = 0;
        for (size_t c : channels) mask |= size_t(1) << c;
        return mask;
    }
};

// Devices that were unplugged, by serial, and when they return.
std::mutex unpluggedMutex;
std::map<std::string, Clock::time_point> unplugged;

class VirtualRadio : public SoapySDR::Device
{
public:
    explicit VirtualRadio(const SoapySDR::Kwargs &args)
        : _args(args), _rate(number(args, "rate", 1e6)), _wall(text(args, "pace", "lockstep") == "wall"),
          _mtu(size_t(number(args, "mtu", 4096))), _txFifo(int64_t(number(args, "tx_fifo", 65536))),
          _rxFifo(int64_t(number(args, "rx_fifo", 262144))), _latency(int64_t(number(args, "latency", 256))),
          _fullScale(float(number(args, "full_scale", 32768))), _randomPhase(text(args, "retune", "keep") == "random"),
          _random(uint32_t(number(args, "seed", 1))), _epoch(Clock::now())
    {
        const double tx = number(args, "tx", 4), rx = number(args, "rx", 5);
        if (!(tx >= 1 && tx <= 64 && rx >= 1 && rx <= 64)) throw std::runtime_error("virtual: tx, rx; accepted: 1 to 64 channels");
        if (_mtu < 64 || _mtu > 65536) throw std::runtime_error("virtual: mtu; accepted: 64 to 65536");
        {
            std::lock_guard<std::mutex> lock(unpluggedMutex);
            const auto gone = unplugged.find(serial());
            if (gone != unplugged.end() && Clock::now() < gone->second) throw std::runtime_error("virtual: the device is unplugged");
        }
        _channels[SOAPY_SDR_TX].resize(size_t(tx));
        _channels[SOAPY_SDR_RX].resize(size_t(rx));
        for (auto &channel : _channels[SOAPY_SDR_TX]) channel.gainDb = GAIN_MIN_DB;
        Channel::readErrors(text(args, "tx_errors", ""), _channels[SOAPY_SDR_TX]);
        Channel::readErrors(text(args, "rx_errors", ""), _channels[SOAPY_SDR_RX]);
        for (int direction : {SOAPY_SDR_TX, SOAPY_SDR_RX}) _delays[direction].design(_channels[direction]);
        readWords(text(args, "quirks", ""), [&](const std::string &word) { _quirks.insert(word); });
        readWords(text(args, "inject", ""), [&](const std::string &word) {
            const size_t at = word.find('@');
            _injections.push_back({word.substr(0, at), at == std::string::npos ? 0 : int64_t(std::stod(word.substr(at + 1)))});
        });
        const std::string air = text(args, "air", "sum");
        {
            std::unique_lock<std::mutex> lock;
            const auto &named = namedAirs(lock);
            const auto found = named.find(air);
            if (found != named.end()) _air = std::make_unique<ForeignAir>(found->second, size_t(tx), size_t(rx));
        }
        if (!_air) _air = std::make_unique<LinearAir>(air, size_t(tx), size_t(rx), float(number(args, "noise", 0)), uint64_t(number(args, "seed", 1)));
        const size_t room = size_t(_txFifo + _rxFifo + _air->reach() + 4 * int64_t(_mtu) + 4 * BLOCK);
        _written.assign(size_t(tx), Ring(room));
        _sent = _written;
        _arrived.assign(size_t(rx), Ring(room));
        journal("open");
    }
    ~VirtualRadio() override { journal("close clipped " + std::to_string(_clipped.load())); }

    // ---- identity
    std::string getDriverKey() const override { return "virtual"; }
    std::string getHardwareKey() const override { return "virtual-radio"; }
    SoapySDR::Kwargs getHardwareInfo() const override { return {{"pace", _wall ? "wall" : "lockstep"}, {"serial", serial()}}; }
    size_t getNumChannels(const int direction) const override { return _channels[direction].size(); }
    bool getFullDuplex(const int, const size_t) const override { return true; }

    // ---- streams
    std::vector<std::string> getStreamFormats(const int, const size_t) const override { return {SOAPY_SDR_CF32, SOAPY_SDR_CS16}; }
    std::string getNativeStreamFormat(const int, const size_t, double &fullScale) const override
    {
        fullScale = _fullScale;
        return SOAPY_SDR_CS16;
    }
    size_t getStreamMTU(SoapySDR::Stream *) const override { return _mtu; }

    SoapySDR::Stream *setupStream(const int direction, const std::string &format, const std::vector<size_t> &channels, const SoapySDR::Kwargs &) override
    {
        if (format != SOAPY_SDR_CF32 && format != SOAPY_SDR_CS16) throw std::runtime_error("virtual: format " + format + "; accepted: CF32, CS16");
        std::lock_guard<std::mutex> lock(_mutex);
        auto stream = std::make_unique<VirtualStream>();
        stream->direction = direction;
        stream->floats = format == SOAPY_SDR_CF32;
        stream->channels = channels.empty() ? std::vector<size_t>{0} : channels;
        std::set<size_t> taken;
        for (const auto &other : _streams)
            if (other->direction == direction) taken.insert(other->channels.begin(), other->channels.end());
        if (direction == SOAPY_SDR_TX && !taken.empty()) throw std::runtime_error("virtual: one TX stream at a time");
        for (size_t c : stream->channels)
            if (c >= _channels[direction].size() || !taken.insert(c).second)
                throw std::runtime_error("virtual: channel " + std::to_string(c) + " is not there or in use");
        if (direction == SOAPY_SDR_TX)
        {
            _tx = stream.get();
            _txOpened++;
            journal("tx-stream");
        }
        _streams.push_back(std::move(stream));
        return reinterpret_cast<SoapySDR::Stream *>(_streams.back().get());
    }
    void closeStream(SoapySDR::Stream *handle) override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        auto *stream = of(handle);
        if (stream->inBurst) journal("tx-cut last " + std::to_string(stream->last));
        if (_tx == stream) _tx = nullptr;
        _streams.erase(std::find_if(_streams.begin(), _streams.end(), [&](const auto &s) { return s.get() == stream; }));
        _moved.notify_all();
    }

    int activateStream(SoapySDR::Stream *handle, const int flags, const long long timeNs, const size_t count) override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        auto *stream = of(handle);
        if (_gone) return SOAPY_SDR_STREAM_ERROR;
        const bool timed = (flags & SOAPY_SDR_HAS_TIME) != 0;
        if (count != 0 || (flags & ~SOAPY_SDR_HAS_TIME) != 0) return SOAPY_SDR_NOT_SUPPORTED;
        if (stream->direction == SOAPY_SDR_TX)
        {
            if (timed && quirk("no_tx_activate_time")) return SOAPY_SDR_NOT_SUPPORTED;
            stream->inBurst = false;
        }
        else
        {
            if (!timed && stream->channels.size() > 1 && quirk("mimo_needs_time")) return SOAPY_SDR_STREAM_ERROR;
            const int64_t present = now(), start = timed ? ticks(timeNs) : present;
            if (start < present) return SOAPY_SDR_TIME_ERROR;
            // Nobody heard what was before: the air need not be worked out.
            if (!anyReader()) _aired = std::max(_aired, start);
            stream->cursor = start;
        }
        stream->active = true;
        _moved.notify_all();
        return 0;
    }
    int deactivateStream(SoapySDR::Stream *handle, const int, const long long) override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        auto *stream = of(handle);
        _held = now();
        if (stream->inBurst) journal("tx-cut last " + std::to_string(stream->last));
        stream->active = stream->inBurst = false;
        _moved.notify_all();
        return 0;
    }

    int writeStream(SoapySDR::Stream *handle, const void *const *buffers, const size_t asked, int &flags, const long long timeNs, const long timeoutUs) override
    {
        std::unique_lock<std::mutex> lock(_mutex);
        auto *stream = of(handle);
        const auto deadline = Clock::now() + std::chrono::microseconds(timeoutUs);
        const bool timed = (flags & SOAPY_SDR_HAS_TIME) != 0, ends = (flags & SOAPY_SDR_END_BURST) != 0;
        const int64_t start = timed ? ticks(timeNs) : stream->inBurst ? _horizon : std::max(_horizon, now() + (_wall ? _latency : 0));
        inject(start);
        if (_gone || !stream->active) return SOAPY_SDR_STREAM_ERROR;
        while (_stalled)
        {
            if (!wait(lock, deadline)) return SOAPY_SDR_TIMEOUT;
        }
        size_t count = std::min(asked, _mtu);
        if ((quirk("short_write") || take("short", start)) && count > 3) count = count / 2 + 1;
        const bool last = ends && count == asked;
        if (timed && (start < now() || start < _horizon || take("late", start))) return late(*stream, start, count, last);
        int64_t tick = start;
        if (stream->inBurst && !timed && ((_wall && now() > start) || take("underflow", start)))
        {
            _underflows++;
            report(*stream, {SOAPY_SDR_UNDERFLOW, SOAPY_SDR_HAS_TIME, start, stream->mask()});
            tick = std::max(start, now()) + _latency;
        }
        while (tick + int64_t(count) > now() + _txFifo && (_wall || anyReader()))
        {
            if (!wait(lock, deadline)) return SOAPY_SDR_TIMEOUT;
            if (!stream->active || _gone) return SOAPY_SDR_STREAM_ERROR;
        }
        if (count > 0) put(*stream, tick, buffers, count);
        stream->inBurst = !last;
        if (last)
        {
            report(*stream, {0, SOAPY_SDR_END_BURST | SOAPY_SDR_HAS_TIME, _horizon, stream->mask()});
            journal("tx-end last " + std::to_string(stream->last));
            if (count == 0 && quirk("empty_end_times_out")) return SOAPY_SDR_TIMEOUT;
        }
        _moved.notify_all();
        flags = 0;
        return int(count);
    }

    int readStreamStatus(SoapySDR::Stream *handle, size_t &mask, int &flags, long long &timeNs, const long timeoutUs) override
    {
        std::unique_lock<std::mutex> lock(_mutex);
        auto *stream = of(handle);
        if (stream->direction == SOAPY_SDR_RX) return SOAPY_SDR_NOT_SUPPORTED;
        const auto deadline = Clock::now() + std::chrono::microseconds(timeoutUs);
        for (;;)
        {
            if (_gone) return SOAPY_SDR_STREAM_ERROR;
            // An error is told at once, a burst's end when the clock gets there.
            const int64_t present = now();
            const auto due = std::find_if(stream->events.begin(), stream->events.end(), [&](const Event &e) { return e.code != 0 || e.tick <= present; });
            if (due != stream->events.end())
            {
                const Event event = *due;
                stream->events.erase(due);
                mask = event.mask;
                flags = event.flags;
                timeNs = ns(event.tick);
                if (event.code == 0) journal("tx-acknowledged");
                return event.code;
            }
            if (!wait(lock, deadline)) return SOAPY_SDR_TIMEOUT;
        }
    }

    int readStream(SoapySDR::Stream *handle, void *const *buffers, const size_t asked, int &flags, long long &timeNs, const long timeoutUs) override
    {
        std::unique_lock<std::mutex> lock(_mutex);
        auto *stream = of(handle);
        const auto deadline = Clock::now() + std::chrono::microseconds(timeoutUs);
        flags = 0;
        const int64_t wanted = int64_t(std::min(asked, _mtu));
        int64_t ready = 0;
        for (;;)
        {
            if (stream->active) inject(stream->cursor);
            if (_gone) return SOAPY_SDR_STREAM_ERROR;
            if (stream->active)
            {
                if (take("gap", stream->cursor)) stream->cursor += 1000;
                if ((_wall && now() - stream->cursor > _rxFifo) || take("overflow", stream->cursor))
                {
                    _overflows++;
                    flags = SOAPY_SDR_HAS_TIME;
                    timeNs = ns(stream->cursor);
                    stream->cursor = std::max(stream->cursor + int64_t(_mtu), _wall ? now() : 0);
                    return SOAPY_SDR_OVERFLOW;
                }
                while (_aired < stream->cursor + wanted && propagate(lock, stream->cursor + wanted)) {}
                ready = std::min(_aired - stream->cursor, wanted);
                // In lockstep the writer may wait for this reader: what is there must do.
                if (ready == wanted || (ready > 0 && !_wall)) break;
            }
            if (!wait(lock, deadline))
            {
                if (stream->active && ready > 0) break;
                return SOAPY_SDR_TIMEOUT;
            }
        }
        for (size_t i = 0; i < stream->channels.size(); i++) get(*stream, stream->channels[i], buffers[i], size_t(ready));
        timeNs = quirk("no_rx_time") ? 0 : ns(stream->cursor);
        flags |= quirk("no_rx_time") ? 0 : SOAPY_SDR_HAS_TIME;
        stream->cursor += ready;
        _moved.notify_all();
        return int(ready);
    }

    // ---- antennas, gain, frequency, rate
    std::vector<std::string> listAntennas(const int direction, const size_t) const override
    {
        return direction == SOAPY_SDR_TX ? std::vector<std::string>{"TX/RX"} : std::vector<std::string>{"TX/RX", "RX2"};
    }
    void setAntenna(const int direction, const size_t c, const std::string &name) override
    {
        const auto known = listAntennas(direction, c);
        if (std::find(known.begin(), known.end(), name) == known.end()) throw std::runtime_error("virtual: no antenna " + name);
        _channels[direction].at(c).antenna = name;
    }
    std::string getAntenna(const int direction, const size_t c) const override { return _channels[direction].at(c).antenna; }
    std::vector<std::string> listGains(const int direction, const size_t) const override { return {direction == SOAPY_SDR_TX ? "PA" : "LNA"}; }
    void setGain(const int direction, const size_t c, const double gainDb) override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        _channels[direction].at(c).gainDb = std::min(GAIN_MAX_DB, std::max(GAIN_MIN_DB, gainDb));
        if (direction == SOAPY_SDR_TX) journal("tx-gain " + std::to_string(c) + " " + std::to_string(_channels[direction][c].gainDb));
    }
    void setGain(const int direction, const size_t c, const std::string &, const double gainDb) override { setGain(direction, c, gainDb); }
    double getGain(const int direction, const size_t c) const override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        return _channels[direction].at(c).gainDb;
    }
    double getGain(const int direction, const size_t c, const std::string &) const override { return getGain(direction, c); }
    SoapySDR::Range getGainRange(const int, const size_t) const override { return {GAIN_MIN_DB, GAIN_MAX_DB}; }
    SoapySDR::Range getGainRange(const int, const size_t, const std::string &) const override { return {GAIN_MIN_DB, GAIN_MAX_DB}; }
    void setFrequency(const int direction, const size_t c, const double hz, const SoapySDR::Kwargs &) override { setFrequency(direction, c, "RF", hz, {}); }
    void setFrequency(const int direction, const size_t c, const std::string &, const double hz, const SoapySDR::Kwargs &) override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        auto &channel = _channels[direction].at(c);
        channel.frequencyHz = hz;
        if (!_randomPhase) return;
        channel.phaseDeg = std::uniform_real_distribution<double>(-180, 180)(_random);
        journal(std::string("phase ") + (direction == SOAPY_SDR_TX ? "tx " : "rx ") + std::to_string(c) + " " + std::to_string(channel.phaseDeg));
    }
    double getFrequency(const int direction, const size_t c) const override { return _channels[direction].at(c).frequencyHz; }
    double getFrequency(const int direction, const size_t c, const std::string &) const override { return getFrequency(direction, c); }
    std::vector<std::string> listFrequencies(const int, const size_t) const override { return {"RF"}; }
    SoapySDR::RangeList getFrequencyRange(const int, const size_t) const override { return {{1e6, 8e9}}; }
    SoapySDR::RangeList getFrequencyRange(const int, const size_t, const std::string &) const override { return {{1e6, 8e9}}; }
    void setSampleRate(const int, const size_t, const double rate) override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        if (!(rate >= 1e3 && rate <= 1e9)) throw std::runtime_error("virtual: sample rate; accepted: 1e3 to 1e9");
        if (rate == _rate) return;
        for (const auto &stream : _streams)
            if (stream->active) throw std::runtime_error("virtual: the rate cannot change while a stream is active");
        const long long time = ns(now());
        _rate = rate;
        rebase(ticks(time));
    }
    double getSampleRate(const int, const size_t) const override { return _rate; }
    std::vector<double> listSampleRates(const int, const size_t) const override { return {1e6, 2e6, 5e6, 10e6, 15.36e6, 30.72e6, 61.44e6, 122.88e6, 200e6}; }
    SoapySDR::RangeList getSampleRateRange(const int, const size_t) const override { return {{1e3, 1e9}}; }
    void setBandwidth(const int, const size_t, const double) override {}
    double getBandwidth(const int, const size_t) const override { return _rate; }
    SoapySDR::RangeList getBandwidthRange(const int, const size_t) const override { return {{1e3, 1e9}}; }

    // ---- clocks and time
    std::vector<std::string> listClockSources() const override { return {"internal", "external"}; }
    void setClockSource(const std::string &source) override { _clockSource = source; }
    std::string getClockSource() const override { return _clockSource; }
    std::vector<std::string> listTimeSources() const override { return {"internal", "external"}; }
    void setTimeSource(const std::string &source) override { _timeSource = source; }
    std::string getTimeSource() const override { return _timeSource; }
    bool hasHardwareTime(const std::string &what) const override { return what.empty() || what == "PPS"; }
    long long getHardwareTime(const std::string &what) const override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        const long long time = ns(now());
        return what == "PPS" ? time - time % 1000000000LL : time;
    }
    void setHardwareTime(const long long timeNs, const std::string &what) override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        if (what == "CMD") return;
        for (const auto &stream : _streams)
            if (stream->active) throw std::runtime_error("virtual: the time cannot change while a stream is active");
        rebase(ticks(timeNs));
    }

    // ---- sensors and settings
    std::vector<std::string> listSensors() const override { return {"ref_locked", "time_locked", "tx_streams", "tx_underflows", "tx_lates", "rx_overflows", "clipped"}; }
    SoapySDR::ArgInfo getSensorInfo(const std::string &key) const override
    {
        SoapySDR::ArgInfo info;
        info.key = info.name = key;
        return info;
    }
    std::string readSensor(const std::string &key) const override
    {
        if (key == "ref_locked" || key == "time_locked") return "true";
        if (key == "tx_streams") return std::to_string(_txOpened.load());
        if (key == "tx_underflows") return std::to_string(_underflows.load());
        if (key == "tx_lates") return std::to_string(_lates.load());
        if (key == "rx_overflows") return std::to_string(_overflows.load());
        if (key == "clipped") return std::to_string(_clipped.load());
        throw std::runtime_error("virtual: no sensor " + key);
    }
    std::vector<std::string> listSensors(const int, const size_t) const override { return {"lo_locked"}; }
    SoapySDR::ArgInfo getSensorInfo(const int, const size_t, const std::string &key) const override { return getSensorInfo(key); }
    std::string readSensor(const int, const size_t, const std::string &) const override { return "true"; }
    void writeSetting(const std::string &key, const std::string &value) override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        if (key == "inject")
        {
            _injections.push_back({value, INT64_MIN});
            _moved.notify_all();
            return;
        }
        double *const field = setting(key);
        *field = std::stod(value);
    }
    std::string readSetting(const std::string &key) const override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        return std::to_string(*const_cast<VirtualRadio *>(this)->setting(key));
    }

private:
    static VirtualStream *of(SoapySDR::Stream *handle) { return reinterpret_cast<VirtualStream *>(handle); }
    std::string serial() const { return text(_args, "serial", "0"); }

    // txN.phase_deg and the like.
    double *setting(const std::string &key)
    {
        const size_t dot = key.find('.');
        const bool known = dot > 2 && dot != std::string::npos && (key.compare(0, 2, "tx") == 0 || key.compare(0, 2, "rx") == 0);
        if (known)
        {
            auto &channel = _channels[key[0] == 't' ? SOAPY_SDR_TX : SOAPY_SDR_RX].at(size_t(std::stoi(key.substr(2, dot - 2))));
            if (key.substr(dot) == ".phase_deg") return &channel.phaseDeg;
            if (key.substr(dot) == ".gain_db") return &channel.errorDb;
        }
        throw std::runtime_error("virtual: no setting " + key + "; accepted: inject, txN.phase_deg, txN.gain_db, rxN.phase_deg, rxN.gain_db");
    }

    template <class F> static void readWords(const std::string &list, F each)
    {
        std::istringstream words(list);
        for (std::string word; std::getline(words, word, '+');) each(word);
    }
    void journal(const std::string &line) const
    {
        const auto path = _args.find("journal");
        if (path != _args.end()) std::ofstream(path->second, std::ios::app) << line << std::endl;
    }

    // ---- time: a tick is one sample; from here on everything runs under the mutex
    int64_t ticks(long long timeNs) const { return SoapySDR::timeNsToTicks(timeNs, _rate); }
    long long ns(int64_t tick) const { return SoapySDR::ticksToTimeNs(tick, _rate); }
    bool anyReader() const
    {
        return std::any_of(_streams.begin(), _streams.end(), [](const auto &s) { return s->active && s->direction == SOAPY_SDR_RX; });
    }
    int64_t now() const
    {
        if (_wall) return _base + int64_t(std::chrono::duration<double>(Clock::now() - _epoch).count() * _rate);
        int64_t slowest = INT64_MAX;
        for (const auto &stream : _streams)
            if (stream->active && stream->direction == SOAPY_SDR_RX) slowest = std::min(slowest, stream->cursor);
        return slowest == INT64_MAX ? std::max(_held, _horizon) : slowest;
    }
    void rebase(int64_t tick)
    {
        _base = _held = _horizon = _aired = tick;
        _epoch = Clock::now();
        for (auto *rings : {&_written, &_sent, &_arrived})
            for (auto &ring : *rings) ring.clear(INT64_MIN / 2, tick);
    }
    bool wait(std::unique_lock<std::mutex> &lock, Clock::time_point deadline)
    {
        const auto present = Clock::now();
        if (present >= deadline) return false;
        _moved.wait_until(lock, _wall ? std::min(deadline, present + std::chrono::microseconds(200)) : deadline);
        return true;
    }
    bool quirk(const char *name) const { return _quirks.count(name) != 0; }
    bool take(const char *what, int64_t tick)
    {
        const auto due = std::find_if(_injections.begin(), _injections.end(), [&](const auto &i) { return i.first == what && i.second <= tick; });
        if (due == _injections.end()) return false;
        _injections.erase(due);
        return true;
    }
    // What befalls the whole device.
    void inject(int64_t tick)
    {
        if (take("stall", tick)) _stalled = true;
        if (!take("unplug", tick)) return;
        _gone = true;
        journal("unplugged");
        _moved.notify_all();
        std::lock_guard<std::mutex> lock(unpluggedMutex);
        unplugged[serial()] = Clock::now() + std::chrono::milliseconds(int64_t(number(_args, "unplug_ms", 200)));
    }
    void report(VirtualStream &stream, const Event &event)
    {
        if (stream.events.size() >= 4096) stream.events.pop_front();
        stream.events.push_back(event);
        _moved.notify_all();
    }
    // A packet that came too late is dropped; most drivers still call it written.
    int late(VirtualStream &stream, int64_t tick, size_t count, bool last)
    {
        _lates++;
        if (quirk("late_on_write")) return SOAPY_SDR_TIME_ERROR;
        stream.inBurst = !last;
        report(stream, {SOAPY_SDR_TIME_ERROR, SOAPY_SDR_HAS_TIME, tick, stream.mask()});
        return int(count);
    }

    // ---- samples
    void put(VirtualStream &stream, int64_t tick, const void *const *buffers, size_t count)
    {
        for (auto &ring : _written) ring.clear(_horizon, tick + int64_t(count));
        stream.last = 0;
        size_t clipped = 0;
        for (size_t i = 0; i < stream.channels.size(); i++)
        {
            Ring &ring = _written[stream.channels[i]];
            const cf32 turn = _channels[SOAPY_SDR_TX][stream.channels[i]].rotation();
            const auto *floats = static_cast<const float *>(buffers[i]);
            const auto *shorts = static_cast<const int16_t *>(buffers[i]);
            const float unit = 1.f / _fullScale;
            float re = 0, im = 0;
            for (size_t n = 0; n < count; n++)
            {
                re = stream.floats ? floats[2 * n] : float(shorts[2 * n]) * unit;
                im = stream.floats ? floats[2 * n + 1] : float(shorts[2 * n + 1]) * unit;
                const float a = std::min(1.f, std::max(-1.f, re)), b = std::min(1.f, std::max(-1.f, im));
                clipped += (a != re) | (b != im);
                ring[tick + int64_t(n)] = cf32(a * turn.real() - b * turn.imag(), a * turn.imag() + b * turn.real());
            }
            stream.last = std::max(stream.last, std::max(std::abs(re), std::abs(im)));
        }
        _clipped += clipped;
        _horizon = tick + int64_t(count);
    }

    // Works out the air of one more stretch, if time has got there and the air knows. One thread at a time, without the lock.
    bool propagate(std::unique_lock<std::mutex> &lock, int64_t wanted)
    {
        if (_propagating)
        {
            _moved.wait(lock);
            return true;
        }
        // In lockstep an open transmitter holds the time: the next sample may be its.
        const bool held = !_wall && _tx != nullptr && _tx->active;
        const int64_t limit = _wall ? now() : held ? _horizon : INT64_MAX;
        const int64_t block = std::min(BLOCK, _wall ? std::min(limit, wanted) - _aired : limit - _aired);
        if (block <= 0 || (block < BLOCK && held && _tx->inBurst)) return false;
        const int64_t from = _aired, to = from + block;
        for (auto &ring : _written) ring.clear(std::max(from, _horizon), to);
        if (!_wall) _horizon = std::max(_horizon, to);
        for (size_t c = 0; c < _sent.size(); c++)
            for (int64_t tick = from; tick < to; tick++) _sent[c][tick] = _delays[SOAPY_SDR_TX].at(_written[c], c, tick);
        _propagating = true;
        lock.unlock();
        const bool known = _air->propagate(from, size_t(block), _sent, _arrived);
        lock.lock();
        _propagating = false;
        if (known) _aired = to;
        _moved.notify_all();
        return known;
    }

    void get(const VirtualStream &stream, size_t c, void *buffer, size_t count) const
    {
        const cf32 turn = _channels[SOAPY_SDR_RX][c].rotation();
        auto *floats = static_cast<float *>(buffer);
        auto *shorts = static_cast<int16_t *>(buffer);
        const float high = _fullScale - 1, low = -_fullScale;
        const auto narrow = [&](float value) {
            const float scaled = std::min(high, std::max(low, value * _fullScale));
            return int16_t(scaled + std::copysign(0.5f, scaled));
        };
        for (size_t n = 0; n < count; n++)
        {
            const cf32 y = _delays[SOAPY_SDR_RX].at(_arrived[c], c, stream.cursor + int64_t(n));
            const float re = y.real() * turn.real() - y.imag() * turn.imag(), im = y.real() * turn.imag() + y.imag() * turn.real();
            if (stream.floats) { floats[2 * n] = re; floats[2 * n + 1] = im; }
            else { shorts[2 * n] = narrow(re); shorts[2 * n + 1] = narrow(im); }
        }
    }

    const SoapySDR::Kwargs _args;
    double _rate;
    const bool _wall;
    const size_t _mtu;
    const int64_t _txFifo, _rxFifo, _latency;
    const float _fullScale;
    const bool _randomPhase;
    std::mt19937 _random;
    std::vector<Channel> _channels[2];
    DelayBank _delays[2];
    std::set<std::string> _quirks;
    std::vector<std::pair<std::string, int64_t>> _injections;
    std::unique_ptr<Air> _air;
    std::string _clockSource = "internal", _timeSource = "internal";

    mutable std::mutex _mutex;
    std::condition_variable _moved;
    Clock::time_point _epoch;
    // Time at _epoch; time while nobody moves it; first tick for which nothing was written; first that the air has not seen.
    int64_t _base = 0, _held = 0, _horizon = 0, _aired = 0;
    std::vector<Ring> _written, _sent, _arrived;
    bool _propagating = false, _stalled = false, _gone = false;
    std::vector<std::unique_ptr<VirtualStream>> _streams;
    VirtualStream *_tx = nullptr;
    std::atomic<uint64_t> _txOpened{0}, _underflows{0}, _lates{0}, _overflows{0}, _clipped{0};
};

SoapySDR::KwargsList find(const SoapySDR::Kwargs &args)
{
    if (text(args, "driver", "") != "virtual") return {};
    SoapySDR::Kwargs found(args);
    found.emplace("label", "virtual radio");
    return {found};
}
// SoapySDR also asks when no driver is named.
SoapySDR::Device *make(const SoapySDR::Kwargs &args)
{
    if (text(args, "driver", "") != "virtual") throw std::runtime_error("virtual: opens only as driver=virtual");
    return new VirtualRadio(args);
}
SoapySDR::Registry registration("virtual", &find, &make, SOAPY_SDR_ABI_VERSION);

} // namespace

// Called from Rust: the call alone keeps the linker from dropping this object, and with it the registration.
extern "C" void virtual_radio_link() {}

// Puts an air there under a name, or takes it away (no function).
extern "C" void virtual_radio_air(const char *name, AirFunction function, void *context)
{
    std::unique_lock<std::mutex> lock;
    auto &airs = namedAirs(lock);
    if (function)
    {
        auto air = std::make_shared<NamedAir>();
        air->function = function;
        air->context = context;
        airs[name] = air;
        return;
    }
    const auto found = airs.find(name);
    if (found == airs.end()) return;
    const auto air = found->second;
    airs.erase(found);
    lock.unlock();
    std::lock_guard<std::mutex> call(air->mutex);
    air->function = nullptr;
}
