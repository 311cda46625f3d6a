// A SoapySDR device with no hardware behind it: what is written to the TX channels comes back on the RX channels
// through an "air" (air.hpp). It answers only when asked for by name: driver=virtual.
//
// Device arguments, all optional:
//   tx, rx      channels                                                              (4, 5)
//   rate        sample rate in Hz at the start                                        (1e6)
//   pace        lockstep: time is moved by the readers, nothing is late or lost; wall: the host's steady clock (lockstep)
//   mtu         samples per channel and call                                          (4096)
//   tx_fifo     samples taken ahead of the clock                                      (65536)
//   fifo_ms     the same in milliseconds at whatever rate; packets are then at most half of it       (tx_fifo)
//   rx_fifo     samples that a reader may lag in wall pace                            (262144)
//   latency     samples between now and the start of a burst without a time           (256)
//   air         sum, id, file:PATH, or the name of an air of the program              (sum)
//   noise       deviation per complex RX sample, full scale = 1; linear airs only     (0)
//   seed        of noise and oscillator phases                                        (1)
//   full_scale  of CS16                                                               (32768)
//   retune      keep, or random: each tuning of a channel gives its oscillator a new phase    (keep)
//   tx_errors, rx_errors   GAIN_DB/PHASE_DEG/DELAY_SAMPLES+... per channel
//   tx_gain, rx_gain       MIN/MAX of a channel's gain in dB; at MAX full scale stays full scale     (-90/0)
//   tx_antennas, rx_antennas   '+'-separated names of the ports                     (TX/RX, TX/RX+RX2)
//   max_rate_sum    most samples per second over all channels of a side               (none)
//   master_clock    clock in Hz that every rate must divide                           (none)
//   quirks      '+'-separated: mimo_needs_time, no_tx_activate_time, no_rx_time, short_write, late_on_write, empty_end_times_out,
//               end_lost (the device stays in the burst, though its end is told)
//   dialect     what a driver makes of trouble                                        (plain)
//     plain     one event for all channels; what follows an underflow is sent after `latency`
//     rfnoc     one event a channel, in any order; packets of an underrun burst go out at once, channels apart, unless they
//               carry a time; a late packet is dropped alone; several RX channels start again by themselves 50 ms after an
//               overflow, between two samples
//     b2xx      after a late packet or an underflow all is dropped to the end of the burst, which is not acknowledged; RX as rfnoc
//     bladerf   late packets are sent at once, nothing is reported or acknowledged, a time counts at the start of a burst
//               only; with two RX channels time creeps by a sample every 254
//   inject      '+'-separated WHAT@TICK, each of which happens once. To transmission: late, underflow, sequence (a packet is
//               lost), tx_error (STREAM_ERROR), slow (a write takes slow_ms), short, stall (nothing is taken any more), jump
//               (TX channel 1 turns by 90 degrees). To reception: overflow, gap (nobody says so), corruption, late_command
//               (STREAM_ERROR, then nothing), timeout (nothing any more), garbage (one time is), both until started again,
//               rx_jump (RX channel 2 turns by -90 degrees). To the device: unplug, kill (the program dies as by SIGKILL)
//   unplug_ms   how long an unplugged device is gone                                  (200)
//   slow_ms     length of a slow write                                                (20)
//   write_ms, call_ms, feedback_ms   what every write takes, every call about gain or time, and every event on its way  (0)
//   retune      see above; lo_group: channels that share an oscillator (1); phases=open: new phases at each opening too
//   drift_deg_min   degrees a minute by which TX channel c drifts, times c            (0)
//   adc_bits, adc_noise   the RX converter and its own noise, both after the gain     (ideal, 0)
//   dc_db, image_db, lo_leakage_db, tx_image_db   of the receiver and of the transmitter, to full scale      (none)
//   leakage_db  from all TX straight to each RX channel, beside the air               (none)
//   combiner    cable: a combiner of cable_db (-30) in the place of the air; @FILE: so until that file exists  (none)
//   counter_s   the device's time as it is opened                                     (0)
//   air_skips   1: what nobody can read any more after an overflow is not asked of the air              (0)
//   pps_ms      where in the host's second the pulse comes; none: it does not         (0)
//   wall_ppm    how fast the device's clock is in wall pace                           (0)
//   registers   file in which gains, burst, time and last sample stand: registers.hpp
//   journal     file to which opening and closing, bursts' ends, gains and random phases are appended, the stretches that were
//               sent without a gap (tx-air FROM TO), and how many samples of a burst went out at another time than the writer
//               must take them to (tx-displaced); how many were read between two samples of the grid (rx-off-grid); the mean
//               power of what was sent, summed over channels, in dB of full scale: at the converters and at the ports (tx-power)
//
// In wall pace the air's time is the host's UTC, in samples, whatever the device's counter says: devices of one machine hear
// the same air, and a counter that is set wrong is a wrong counter. A device's air_shift is what its counter lacks.
//
// Settings: air_shift (read only), inject = WHAT (at once), combiner = cable or air, txN.phase_deg, rxN.phase_deg, txN.gain_db, rxN.gain_db.

#include "air.hpp"
#include "channel.hpp"
#include "front_end.hpp"
#include "registers.hpp"

#include <SoapySDR/Device.hpp>
#include <SoapySDR/Formats.hpp>
#include <SoapySDR/Logger.hpp>
#include <SoapySDR/Registry.hpp>
#include <SoapySDR/Time.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <condition_variable>
#include <deque>
#include <random>
#include <set>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

// Samples that the air works on at once in lockstep.
constexpr int64_t BLOCK = 1024;
// Samples after the present at which a device sends what it is given without a time.
constexpr int64_t AT_ONCE = 64;
// Most samples by which channels part where a burst goes on without a time.
constexpr int64_t MAX_SKEW = 8;

const std::set<std::string> QUIRKS = {"mimo_needs_time",     "no_tx_activate_time", "no_rx_time", "short_write", "late_on_write",
                                      "empty_end_times_out", "end_lost"};
const std::set<std::string> INJECTIONS = {"late",     "underflow", "sequence",   "tx_error",     "slow",    "short",   "stall",  "jump", "rx_jump",
                                          "overflow", "gap",       "corruption", "late_command", "timeout", "garbage", "unplug", "kill"};

enum class Dialect { plain, rfnoc, b2xx, bladerf };

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

std::pair<double, double> range(const SoapySDR::Kwargs &args, const char *key, double low, double high)
{
    const auto it = args.find(key);
    if (it == args.end()) return {low, high};
    const size_t cut = it->second.find('/');
    if (cut == std::string::npos) throw std::runtime_error(std::string("virtual: ") + key + "; accepted: MIN/MAX");
    return {std::stod(it->second.substr(0, cut)), std::stod(it->second.substr(cut + 1))};
}
float level(const SoapySDR::Kwargs &args, const char *key)
{
    return args.count(key) ? FrontEnd::amplitude(number(args, key, 0)) : 0.f;
}
void sleepMs(double ms)
{
    if (ms > 0) std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(ms));
}

struct Event
{
    int code, flags;
    int64_t tick;
    size_t mask;
    Clock::time_point told;
};

struct VirtualStream
{
    int direction;
    bool floats;
    std::vector<size_t> channels;
    bool active = false;
    // RX: the next tick to deliver, by which part of a sample it is late, and how many were delivered.
    int64_t cursor = 0;
    double fraction = 0;
    int64_t delivered = 0, offGrid = 0;
    // RX: nothing comes until it is started again, and whether that has to be told yet.
    bool dead = false, lateCommand = false;
    // TX. Starved: the device ran dry in this burst. Dropping: the rest of the burst goes nowhere.
    bool inBurst = false, starved = false, dropping = false, errored = false;
    std::vector<int64_t> skew;
    float last = 0;
    // TX: the tick that the writer takes its next sample to have, and samples of this burst that were sent at others.
    int64_t believed = 0, displaced = 0;
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
          _random(uint32_t(number(args, "seed", 1))), _registers(text(args, "registers", "")), _epoch(Clock::now())
    {
        const std::map<std::string, Dialect> dialects = {{"plain", Dialect::plain}, {"rfnoc", Dialect::rfnoc}, {"b2xx", Dialect::b2xx}, {"bladerf", Dialect::bladerf}};
        const auto dialect = dialects.find(text(args, "dialect", "plain"));
        if (dialect == dialects.end()) throw std::runtime_error("virtual: dialect; accepted: plain, rfnoc, b2xx, bladerf");
        _dialect = dialect->second;
        _gains[SOAPY_SDR_TX] = range(args, "tx_gain", -90, 0);
        _gains[SOAPY_SDR_RX] = range(args, "rx_gain", -90, 0);
        _frontEnd.adcBits = int(number(args, "adc_bits", 0));
        if (_frontEnd.adcBits < 0 || _frontEnd.adcBits > 24) throw std::runtime_error("virtual: adc_bits; accepted: 0 to 24");
        _frontEnd.adcNoise = float(number(args, "adc_noise", 0));
        _frontEnd.dc = level(args, "dc_db");
        _frontEnd.rxImage = level(args, "image_db");
        _frontEnd.loLeakage = level(args, "lo_leakage_db");
        _frontEnd.txImage = level(args, "tx_image_db");
        _leakage = level(args, "leakage_db");
        _combiner = text(args, "combiner", "");
        _cable = float(FrontEnd::amplitude(number(args, "cable_db", -30)));

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
        for (auto &channel : _channels[SOAPY_SDR_TX]) channel.gainDb = _gains[SOAPY_SDR_TX].first;
        for (int direction : {SOAPY_SDR_TX, SOAPY_SDR_RX})
            for (auto &channel : _channels[direction]) channel.fullGainDb = _gains[direction].second;
        for (auto &channel : _channels[SOAPY_SDR_RX]) channel.gainDb = _gains[SOAPY_SDR_RX].second;
        Channel::readErrors(text(args, "tx_errors", ""), _channels[SOAPY_SDR_TX]);
        Channel::readErrors(text(args, "rx_errors", ""), _channels[SOAPY_SDR_RX]);
        for (int direction : {SOAPY_SDR_TX, SOAPY_SDR_RX}) _delays[direction].design(_channels[direction]);
        readWords(text(args, "quirks", ""), [&](const std::string &word) {
            mustBeOneOf("quirks", word, QUIRKS);
            _quirks.insert(word);
        });
        readWords(text(args, "inject", ""), [&](const std::string &word) {
            const size_t at = word.find('@');
            mustBeOneOf("inject", word.substr(0, at), INJECTIONS);
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
        if (text(args, "phases", "") == "open")
        {
            _random.seed(std::random_device{}());
            for (int direction : {SOAPY_SDR_TX, SOAPY_SDR_RX})
                for (size_t c = 0; c < _channels[direction].size(); c++) turn(direction, c);
        }
        rebase(ticks((long long)(number(args, "counter_s", 0) * 1e9)), _epoch);
        // Whatever the last program left: the device is silent from here on.
        _registers->opened++;
        _registers->in_burst = _registers->pulled = 0;
        _registers->last = 0;
        for (size_t c = 0; c < _channels[SOAPY_SDR_TX].size(); c++) _registers->gain_db[c] = _channels[SOAPY_SDR_TX][c].gainDb;
        journal("open");
    }
    ~VirtualRadio() override
    {
        _registers->in_burst = 0;
        endSegment(0);
        const auto level = [&](double energy) { return std::to_string(10 * std::log10(energy / double(_sentSamples))); };
        if (_sentSamples > 0) journal("tx-power " + level(_converted) + " " + level(_ported));
        journal("close clipped " + std::to_string(_clipped.load()));
    }

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
            stream->inBurst = stream->starved = stream->dropping = stream->errored = false;
        }
        else
        {
            if (!timed && stream->channels.size() > 1 && quirk("mimo_needs_time")) return SOAPY_SDR_STREAM_ERROR;
            const int64_t present = now(), start = timed ? ticks(timeNs) : present;
            stream->dead = stream->lateCommand = false;
            stream->fraction = 0;
            stream->delivered = 0;
            if (start < present && !isUhd()) return SOAPY_SDR_TIME_ERROR;
            // UHD takes the command, and tells while reading that it came too late.
            if (start < present) stream->dead = stream->lateCommand = true;
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
        if (stream->offGrid > 0) journal("rx-off-grid " + std::to_string(stream->offGrid));
        stream->offGrid = 0;
        if (stream->inBurst) journal("tx-cut last " + std::to_string(stream->last));
        stream->active = stream->inBurst = stream->starved = stream->dropping = stream->errored = false;
        if (stream->direction == SOAPY_SDR_TX) _registers->in_burst = 0;
        _moved.notify_all();
        return 0;
    }

    int writeStream(SoapySDR::Stream *handle, const void *const *buffers, const size_t asked, int &flags, const long long timeNs, const long timeoutUs) override
    {
        sleepMs(_writeMs);
        std::unique_lock<std::mutex> lock(_mutex);
        auto *stream = of(handle);
        const auto deadline = Clock::now() + std::chrono::microseconds(timeoutUs);
        const bool timed = (flags & SOAPY_SDR_HAS_TIME) != 0 && !(_dialect == Dialect::bladerf && stream->inBurst);
        const bool ends = (flags & SOAPY_SDR_END_BURST) != 0;
        int64_t start = timed ? ticks(timeNs) : stream->inBurst ? _horizon : std::max(_horizon, now() + (_wall ? _latency : 0));
        inject(start);
        if (_gone || !stream->active) return SOAPY_SDR_STREAM_ERROR;
        if (take("tx_error", start)) return SOAPY_SDR_STREAM_ERROR;
        while (_stalled)
        {
            if (!wait(lock, deadline)) return SOAPY_SDR_TIMEOUT;
        }
        const int64_t fifo = txFifo();
        size_t count = std::min(asked, _fifoMs > 0 ? std::min(_mtu, size_t(std::max<int64_t>(64, fifo / 2))) : _mtu);
        if ((quirk("short_write") || take("short", start)) && count > 3) count = count / 2 + 1;
        const bool last = ends && count == asked;
        flags = 0;
        if (timed || !stream->inBurst) stream->believed = start;
        if (take("slow", start)) pause(lock, _slowMs);
        if (_dialect == Dialect::bladerf)
        {
            // What befalls it there is that a write is held up; nobody says so, and the samples are sent all the same.
            if (timed && take("late", start)) pauseUntil(lock, start);
            if (stream->inBurst && take("underflow", start)) pauseUntil(lock, _horizon);
        }
        notice(*stream);
        if (stream->inBurst && !stream->dropping && take("underflow", start)) starve(*stream, start);
        if (stream->dropping) return drop(*stream, count, last);
        if (take("sequence", start))
        {
            report(*stream, SOAPY_SDR_CORRUPTION, 0, start);
            _horizon = std::max(_horizon, start + int64_t(count));
            stream->errored = true;
            return drop(*stream, count, last);
        }
        if (timed && (start < now() || start < _horizon || take("late", start)))
        {
            if (_dialect != Dialect::bladerf) return late(*stream, start, count, last);
            start = std::max(start, now() + AT_ONCE);
        }
        int64_t tick = start;
        if (stream->starved && !timed) tick = std::max(start, now() + (_dialect == Dialect::plain ? _latency : AT_ONCE));
        stream->starved = false;
        while (tick + int64_t(count) > now() + fifo && (_wall || anyReader()))
        {
            if (!wait(lock, deadline)) return SOAPY_SDR_TIMEOUT;
            if (!stream->active || _gone) return SOAPY_SDR_STREAM_ERROR;
        }
        if (count > 0) put(*stream, tick, buffers, count);
        stream->inBurst = !last || quirk("end_lost");
        _registers->in_burst = stream->inBurst;
        if (last)
        {
            acknowledge(*stream);
            journal("tx-end last " + std::to_string(stream->last));
            if (count == 0 && quirk("empty_end_times_out")) return SOAPY_SDR_TIMEOUT;
        }
        _moved.notify_all();
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
            notice(*stream);
            // An error is told at once, a burst's end when the clock gets there; both may be long on their way.
            const int64_t present = now();
            const auto host = Clock::now();
            const auto due = std::find_if(stream->events.begin(), stream->events.end(), [&](const Event &e) {
                return e.told <= host && (e.code != 0 || e.tick <= present);
            });
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
            if (stream->active && take("rx_jump", stream->cursor) && _channels[SOAPY_SDR_RX].size() > 2)
                _channels[SOAPY_SDR_RX][2].phaseDeg -= 90;
            if (stream->active && (take("timeout", stream->cursor))) stream->dead = true;
            if (stream->active && take("late_command", stream->cursor)) stream->dead = stream->lateCommand = true;
            if (stream->lateCommand)
            {
                stream->lateCommand = false;
                return SOAPY_SDR_STREAM_ERROR;
            }
            if (stream->active && !stream->dead)
            {
                if (take("gap", stream->cursor)) stream->cursor += 1000;
                if (take("corruption", stream->cursor))
                {
                    stream->cursor += int64_t(_mtu);
                    return SOAPY_SDR_CORRUPTION;
                }
                if ((_wall && now() - stream->cursor > _rxFifo) || take("overflow", stream->cursor))
                {
                    _overflows++;
                    flags = SOAPY_SDR_HAS_TIME;
                    timeNs = ns(stream->cursor);
                    stream->cursor = std::max(stream->cursor + int64_t(_mtu), _wall ? now() : 0);
                    if (_airSkips && !_propagating) _aired = std::max(_aired, now() - 4 * BLOCK);
                    if (isUhd() && stream->channels.size() > 1)
                    {
                        stream->cursor += int64_t(0.05 * _rate);
                        stream->fraction = std::uniform_real_distribution<double>(-0.5, 0.5)(_random);
                    }
                    return SOAPY_SDR_OVERFLOW;
                }
                // Between two samples it takes some on either side.
                const int64_t around = stream->fraction != 0 ? FILTER_LATENCY + 2 : 0;
                while (_aired < stream->cursor + wanted + around && propagate(lock, stream->cursor + wanted + around)) {}
                ready = std::min(_aired - stream->cursor - around, wanted);
                // In lockstep the writer may wait for this reader: what is there must do.
                if (ready == wanted || (ready > 0 && !_wall)) break;
            }
            if (!wait(lock, deadline))
            {
                if (stream->active && !stream->dead && ready > 0) break;
                return SOAPY_SDR_TIMEOUT;
            }
        }
        for (size_t i = 0; i < stream->channels.size(); i++) get(*stream, stream->channels[i], buffers[i], size_t(ready));
        const bool creeps = _dialect == Dialect::bladerf && stream->channels.size() > 1;
        timeNs = ns(stream->cursor + (creeps ? stream->delivered / 254 : 0)) + (long long)(stream->fraction * 1e9 / _rate);
        if (take("garbage", stream->cursor)) timeNs = 0x4AFD000000000000LL;
        if (quirk("no_rx_time")) timeNs = 0;
        stream->delivered += ready;
        if (stream->fraction != 0) stream->offGrid += ready;
        flags |= quirk("no_rx_time") ? 0 : SOAPY_SDR_HAS_TIME;
        stream->cursor += ready;
        _moved.notify_all();
        return int(ready);
    }

    // ---- antennas, gain, frequency, rate
    std::vector<std::string> listAntennas(const int direction, const size_t) const override
    {
        std::vector<std::string> names;
        const bool tx = direction == SOAPY_SDR_TX;
        readWords(tx ? text(_args, "tx_antennas", "TX/RX") : text(_args, "rx_antennas", "TX/RX+RX2"), [&](const std::string &name) { names.push_back(name); });
        return names;
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
        sleepMs(_callMs);
        std::lock_guard<std::mutex> lock(_mutex);
        _channels[direction].at(c).gainDb = std::min(_gains[direction].second, std::max(_gains[direction].first, gainDb));
        if (direction == SOAPY_SDR_TX) _registers->gain_db[c] = _channels[direction][c].gainDb;
        if (direction == SOAPY_SDR_TX) journal("tx-gain " + std::to_string(c) + " " + std::to_string(_channels[direction][c].gainDb));
    }
    void setGain(const int direction, const size_t c, const std::string &, const double gainDb) override { setGain(direction, c, gainDb); }
    double getGain(const int direction, const size_t c) const override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        return _channels[direction].at(c).gainDb;
    }
    double getGain(const int direction, const size_t c, const std::string &) const override { return getGain(direction, c); }
    SoapySDR::Range getGainRange(const int direction, const size_t) const override { return {_gains[direction].first, _gains[direction].second}; }
    SoapySDR::Range getGainRange(const int direction, const size_t c, const std::string &) const override { return getGainRange(direction, c); }
    bool hasGainMode(const int direction, const size_t) const override { return direction == SOAPY_SDR_RX; }
    void setGainMode(const int direction, const size_t c, const bool automatic) override
    {
        _channels[direction].at(c).automatic = automatic;
        journal("rx-gain-mode " + std::to_string(c) + (automatic ? " automatic" : " manual"));
    }
    bool getGainMode(const int direction, const size_t c) const override { return _channels[direction].at(c).automatic; }
    bool hasDCOffsetMode(const int direction, const size_t) const override { return direction == SOAPY_SDR_RX; }
    void setDCOffsetMode(const int direction, const size_t c, const bool automatic) override { _channels[direction].at(c).removesDc = automatic; }
    bool getDCOffsetMode(const int direction, const size_t c) const override { return _channels[direction].at(c).removesDc; }
    void setFrequency(const int direction, const size_t c, const double hz, const SoapySDR::Kwargs &) override { setFrequency(direction, c, "RF", hz, {}); }
    void setFrequency(const int direction, const size_t c, const std::string &, const double hz, const SoapySDR::Kwargs &) override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        auto &channel = _channels[direction].at(c);
        channel.frequencyHz = hz;
        if (_randomPhase) turn(direction, c);
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
        const double most = number(_args, "max_rate_sum", 0), clock = number(_args, "master_clock", 0);
        const double channels = double(std::max(_channels[SOAPY_SDR_TX].size(), _channels[SOAPY_SDR_RX].size()));
        if (most > 0 && rate * channels > most) throw std::runtime_error("virtual: sample rate; accepted: up to " + std::to_string(most) + " over all channels");
        if (clock > 0 && std::abs(std::round(clock / rate) * rate / clock - 1) > 1e-9) throw std::runtime_error("virtual: sample rate; accepted: the master clock over an integer");
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
    void setBandwidth(const int direction, const size_t c, const double hz) override { _channels[direction].at(c).bandwidthHz = hz; }
    double getBandwidth(const int direction, const size_t c) const override
    {
        const double hz = _channels[direction].at(c).bandwidthHz;
        return hz > 0 ? hz : _rate;
    }
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
        sleepMs(_callMs);
        std::lock_guard<std::mutex> lock(_mutex);
        if (what != "PPS") return ns(now());
        if (!_wall) return ns(now()) - ns(now()) % 1000000000LL;
        return _pps ? ns(tickAt(lastEdge())) : 0;
    }
    // "PPS" takes the time at the next edge; "UNKNOWN_PPS" waits for one first, and until it has been taken.
    void setHardwareTime(const long long timeNs, const std::string &what) override
    {
        sleepMs(_callMs);
        std::unique_lock<std::mutex> lock(_mutex);
        if (what == "CMD") return;
        for (const auto &stream : _streams)
            if (stream->active) throw std::runtime_error("virtual: the time cannot change while a stream is active");
        if (!_wall || what.find("PPS") == std::string::npos) return rebase(ticks(timeNs), Clock::now());
        if (!_pps)
        {
            if (what == "UNKNOWN_PPS") throw std::runtime_error("virtual: no PPS edge was seen");
            return;
        }
        auto edge = lastEdge() + std::chrono::seconds(1);
        if (what == "UNKNOWN_PPS") edge += std::chrono::seconds(1);
        lock.unlock();
        std::this_thread::sleep_until(edge);
        lock.lock();
        rebase(ticks(timeNs), edge);
    }

    // ---- sensors and settings
    std::vector<std::string> listSensors() const override { return {"ref_locked", "time_locked", "tx_streams", "tx_underflows", "tx_lates", "rx_overflows", "clipped", "rx_clipped"}; }
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
        if (key == "rx_clipped") return std::to_string(_rxClipped.load());
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
            mustBeOneOf("inject", value, INJECTIONS);
            _injections.push_back({value, INT64_MIN});
            _moved.notify_all();
            return;
        }
        if (key == "combiner")
        {
            _combiner = value == "cable" ? "cable" : "";
            return;
        }
        double *const field = setting(key);
        *field = std::stod(value);
    }
    std::string readSetting(const std::string &key) const override
    {
        std::lock_guard<std::mutex> lock(_mutex);
        if (key == "air_shift") return std::to_string(_airShift);
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

    // A misspelt word would be a radio without a fault.
    static void mustBeOneOf(const char *argument, const std::string &word, const std::set<std::string> &known)
    {
        if (known.count(word)) return;
        std::string accepted;
        for (const auto &name : known) accepted += (accepted.empty() ? "" : ", ") + name;
        throw std::runtime_error(std::string("virtual: ") + argument + "=" + word + "; accepted: " + accepted);
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

    // A new phase for a channel, and for those that share its oscillator.
    void turn(int direction, size_t c)
    {
        const double deg = std::uniform_real_distribution<double>(-180, 180)(_random);
        const size_t group = size_t(number(_args, "lo_group", 1)), first = c / group * group;
        auto &channels = _channels[direction];
        for (size_t other = first; other < std::min(first + group, channels.size()); other++)
        {
            channels[other].phaseDeg = deg;
            journal(std::string("phase ") + (direction == SOAPY_SDR_TX ? "tx " : "rx ") + std::to_string(other) + " " + std::to_string(deg));
        }
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
        if (_wall) return tickAt(Clock::now());
        int64_t slowest = INT64_MAX;
        for (const auto &stream : _streams)
            if (stream->active && stream->direction == SOAPY_SDR_RX) slowest = std::min(slowest, stream->cursor);
        return slowest == INT64_MAX ? std::max(_held, _horizon) : slowest;
    }
    int64_t tickAt(Clock::time_point time) const
    {
        return _base + int64_t(std::floor(std::chrono::duration<double>(time - _epoch).count() * _rate * (1 + 1e-6 * _wallPpm)));
    }
    // The seconds' pulse is the host's, so that every device of a machine has the same.
    Clock::time_point lastEdge() const
    {
        const auto host = Clock::now();
        const auto second = utc(host) - std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double, std::milli>(_ppsMs));
        return host - std::chrono::duration_cast<Clock::duration>(second % std::chrono::seconds(1));
    }
    // The time since 1970 at a moment of the steady clock. Between two readings others may run: the shortest of some counts.
    static std::chrono::nanoseconds utc(Clock::time_point host)
    {
        static const std::chrono::nanoseconds ahead = [] {
            std::chrono::nanoseconds best{0}, shortest = std::chrono::hours(1);
            for (int n = 0; n < 20; n++)
            {
                const auto before = Clock::now();
                const auto then = std::chrono::system_clock::now().time_since_epoch();
                const auto after = Clock::now();
                if (after - before >= shortest) continue;
                shortest = after - before;
                best = std::chrono::duration_cast<std::chrono::nanoseconds>(then - (before + (after - before) / 2).time_since_epoch());
            }
            return best;
        }();
        return std::chrono::duration_cast<std::chrono::nanoseconds>(host.time_since_epoch()) + ahead;
    }
    int64_t txFifo() const { return _fifoMs > 0 ? int64_t(1e-3 * _fifoMs * _rate) : _txFifo; }
    bool isUhd() const { return _dialect == Dialect::rfnoc || _dialect == Dialect::b2xx; }
    void rebase(int64_t tick) { rebase(tick, Clock::now()); }
    void rebase(int64_t tick, Clock::time_point epoch)
    {
        _base = _held = _horizon = _aired = tick;
        _epoch = epoch;
        _airShift = _wall ? ticks(utc(epoch).count()) - tick : 0;
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
        if (take("jump", tick) && _channels[SOAPY_SDR_TX].size() > 1) _channels[SOAPY_SDR_TX][1].phaseDeg += 90;
        if (take("kill", tick))
        {
            _registers->pulled = 1;
            std::raise(SIGKILL);
        }
        if (!take("unplug", tick)) return;
        _gone = true;
        journal("unplugged");
        _moved.notify_all();
        std::lock_guard<std::mutex> lock(unpluggedMutex);
        unplugged[serial()] = Clock::now() + std::chrono::milliseconds(int64_t(number(_args, "unplug_ms", 200)));
    }
    // Tells of something on all channels of a stream: at once or one by one, as the dialect has it.
    void report(VirtualStream &stream, int code, int flags, int64_t tick)
    {
        if (_dialect == Dialect::bladerf) return;
        const auto told = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(_feedbackMs));
        std::vector<size_t> masks;
        if (_dialect == Dialect::rfnoc)
            for (size_t c : stream.channels) masks.push_back(size_t(1) << c);
        else
            masks.push_back(stream.mask());
        std::shuffle(masks.begin(), masks.end(), _random);
        for (size_t mask : masks)
        {
            if (stream.events.size() >= 4096) stream.events.pop_front();
            stream.events.push_back({code, flags | SOAPY_SDR_HAS_TIME, tick, mask, told});
        }
        _moved.notify_all();
    }
    void acknowledge(VirtualStream &stream)
    {
        if (stream.displaced > 0) journal("tx-displaced " + std::to_string(stream.displaced));
        stream.displaced = 0;
        const bool quiet = _dialect == Dialect::b2xx && stream.errored;
        stream.errored = stream.dropping = stream.starved = false;
        stream.skew.clear();
        if (!quiet) report(stream, 0, SOAPY_SDR_END_BURST, _horizon);
    }
    // A packet that came too late is dropped; most drivers still call it written.
    int late(VirtualStream &stream, int64_t tick, size_t count, bool last)
    {
        _lates++;
        if (quirk("late_on_write")) return SOAPY_SDR_TIME_ERROR;
        report(stream, SOAPY_SDR_TIME_ERROR, 0, tick);
        stream.errored = true;
        stream.dropping = _dialect == Dialect::b2xx && !last;
        return drop(stream, count, last);
    }
    // Takes samples that are not sent.
    int drop(VirtualStream &stream, size_t count, bool last)
    {
        stream.believed += int64_t(count);
        const bool begun = stream.inBurst;
        stream.inBurst = !last;
        _registers->in_burst = stream.inBurst;
        if (last && (begun || _dialect != Dialect::plain)) acknowledge(stream);
        if (last) journal("tx-end last 0.000000");
        return int(count);
    }
    // A stretch of samples without a gap is over, another begins.
    void endSegment(int64_t next)
    {
        if (_segment.second > _segment.first) journal("tx-air " + std::to_string(_segment.first) + " " + std::to_string(_segment.second));
        _segment = {next, next};
    }
    // The device ran dry inside a burst.
    void notice(VirtualStream &stream)
    {
        if (_wall && stream.inBurst && !stream.starved && !stream.dropping && now() > _horizon) starve(stream, _horizon);
    }
    void starve(VirtualStream &stream, int64_t tick)
    {
        _underflows++;
        stream.starved = true;
        if (_dialect == Dialect::bladerf) return;
        stream.errored = true;
        stream.dropping = _dialect == Dialect::b2xx;
        if (_dialect == Dialect::rfnoc)
            for (size_t c = 0; c < stream.channels.size(); c++) stream.skew.push_back(std::uniform_int_distribution<int64_t>(0, MAX_SKEW)(_random));
        report(stream, SOAPY_SDR_UNDERFLOW, 0, tick);
    }
    void pause(std::unique_lock<std::mutex> &lock, double ms)
    {
        lock.unlock();
        sleepMs(ms);
        lock.lock();
    }
    // Until a tick of wall pace has passed.
    void pauseUntil(std::unique_lock<std::mutex> &lock, int64_t tick)
    {
        while (_wall && now() <= tick + int64_t(1e-3 * _rate)) pause(lock, 0.2);
    }

    // ---- samples
    void put(VirtualStream &stream, int64_t tick, const void *const *buffers, size_t count)
    {
        for (auto &ring : _written) ring.clear(_horizon, tick + int64_t(count));
        if (tick != _segment.second) endSegment(tick);
        _segment.second = tick + int64_t(count);
        stream.last = 0;
        size_t clipped = 0;
        for (size_t i = 0; i < stream.channels.size(); i++)
        {
            Ring &ring = _written[stream.channels[i]];
            const size_t channel = stream.channels[i];
            const double drift = _driftDegMin / 60 * double(tick) / _rate * double(channel);
            const cf32 turn = _channels[SOAPY_SDR_TX][channel].rotation(drift);
            const int64_t at = tick + (stream.skew.empty() ? 0 : stream.skew[i]);
            const bool plain = _frontEnd.txImage == 0 && _frontEnd.loLeakage == 0;
            const auto *floats = static_cast<const float *>(buffers[i]);
            const auto *shorts = static_cast<const int16_t *>(buffers[i]);
            const float unit = 1.f / _fullScale;
            float re = 0, im = 0;
            double energy = 0;
            for (size_t n = 0; n < count; n++)
            {
                re = stream.floats ? floats[2 * n] : float(shorts[2 * n]) * unit;
                im = stream.floats ? floats[2 * n + 1] : float(shorts[2 * n + 1]) * unit;
                const float a = std::min(1.f, std::max(-1.f, re)), b = std::min(1.f, std::max(-1.f, im));
                clipped += (a != re) | (b != im);
                energy += double(a) * a + double(b) * b;
                const cf32 x = plain ? cf32(a, b) : _frontEnd.sent(cf32(a, b)) + _frontEnd.loLeakage;
                ring[at + int64_t(n)] = cf32(x.real() * turn.real() - x.imag() * turn.imag(), x.real() * turn.imag() + x.imag() * turn.real());
            }
            stream.last = std::max(stream.last, std::max(std::abs(re), std::abs(im)));
            _converted += energy;
            _ported += energy * std::norm(turn);
        }
        _sentSamples += count;
        if (stream.last > 0 && (tick != stream.believed || !stream.skew.empty())) stream.displaced += int64_t(count);
        stream.believed += int64_t(count);
        _clipped += clipped;
        _horizon = tick + int64_t(count);
        _registers->time_ns = ns(_horizon);
        _registers->last = stream.last;
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
        const std::string combiner = _combiner;
        lock.unlock();
        const bool known = _air->propagate(from, _airShift, size_t(block), _sent, _arrived);
        const bool cabled = combiner == "cable" || (combiner[0] == '@' && !std::ifstream(combiner.substr(1)));
        if (known && (cabled || _leakage > 0))
            for (int64_t tick = from; tick < to; tick++)
            {
                cf32 sum;
                for (const auto &ring : _sent) sum += ring[tick];
                for (auto &ring : _arrived) ring[tick] = cabled ? sum * _cable : ring[tick] + sum * _leakage;
            }
        lock.lock();
        _propagating = false;
        if (known) _aired = to;
        _moved.notify_all();
        return known;
    }

    void get(const VirtualStream &stream, size_t c, void *buffer, size_t count)
    {
        FrontEnd frontEnd = _frontEnd;
        if (_channels[SOAPY_SDR_RX][c].removesDc) frontEnd.dc = 0;
        const bool ideal = frontEnd.ideal();
        std::vector<float> between;
        int64_t whole = 0;
        if (stream.fraction != 0)
        {
            Channel shift;
            shift.delaySamples = double(FILTER_LATENCY) - stream.fraction;
            between = shift.delayFilter(whole);
        }
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
            const int64_t tick = stream.cursor + int64_t(n);
            cf32 y = _delays[SOAPY_SDR_RX].at(_arrived[c], c, tick);
            if (!between.empty())
            {
                // The filter's own middle is FILTER_LATENCY back, and so much it is asked for early.
                y = 0;
                for (size_t k = 0; k < between.size(); k++) y += between[k] * _arrived[c][tick + 2 * FILTER_LATENCY - whole - int64_t(k)];
            }
            if (!ideal)
            {
                y = cf32(y.real() * turn.real() - y.imag() * turn.imag(), y.real() * turn.imag() + y.imag() * turn.real());
                _rxClipped += frontEnd.received(y, uint64_t(_base) + 77, tick, c);
            }
            const float re = !ideal ? y.real() : y.real() * turn.real() - y.imag() * turn.imag(), im = !ideal ? y.imag() : y.real() * turn.imag() + y.imag() * turn.real();
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
    Registers _registers;
    const double _fifoMs = number(_args, "fifo_ms", 0), _slowMs = number(_args, "slow_ms", 20), _writeMs = number(_args, "write_ms", 0);
    const double _callMs = number(_args, "call_ms", 0), _feedbackMs = number(_args, "feedback_ms", 0), _driftDegMin = number(_args, "drift_deg_min", 0);
    const double _wallPpm = number(_args, "wall_ppm", 0);
    const bool _pps = text(_args, "pps_ms", "0") != "none";
    const double _ppsMs = _pps ? number(_args, "pps_ms", 0) : 0;
    Dialect _dialect = Dialect::plain;
    std::pair<double, double> _gains[2];
    FrontEnd _frontEnd;
    std::string _combiner;
    float _leakage = 0, _cable = 0;
    std::vector<Channel> _channels[2];
    DelayBank _delays[2];
    std::set<std::string> _quirks;
    std::vector<std::pair<std::string, int64_t>> _injections;
    std::unique_ptr<Air> _air;
    std::string _clockSource = text(_args, "clock_source", "internal"), _timeSource = text(_args, "time_source", "internal");

    mutable std::mutex _mutex;
    std::condition_variable _moved;
    Clock::time_point _epoch;
    // The stretch of samples under way. Time at _epoch; time while nobody moves it; first tick for which nothing was written; first that the air has not seen.
    std::pair<int64_t, int64_t> _segment;
    int64_t _base = 0, _held = 0, _horizon = 0, _aired = 0, _airShift = 0;
    const bool _airSkips = number(_args, "air_skips", 0) != 0;
    // What was sent: samples per channel, their energy at the converters and at the ports.
    uint64_t _sentSamples = 0;
    double _converted = 0, _ported = 0;
    std::vector<Ring> _written, _sent, _arrived;
    bool _propagating = false, _stalled = false, _gone = false;
    std::vector<std::unique_ptr<VirtualStream>> _streams;
    VirtualStream *_tx = nullptr;
    std::atomic<uint64_t> _txOpened{0}, _underflows{0}, _lates{0}, _overflows{0}, _clipped{0}, _rxClipped{0};
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
