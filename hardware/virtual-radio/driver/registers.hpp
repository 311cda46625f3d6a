// What a device's registers hold, in a file that outlives the process: a transmitter whose program was killed goes on as
// the program left it until somebody opens the device again.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

// All little-endian on the machines that this runs on; tests read it by these offsets.
struct RegisterFile
{
    uint64_t opened;       // how often the device was opened
    uint64_t in_burst;     // 1 while a burst is open
    int64_t time_ns;       // device time of the first sample that was not written
    double last;           // largest magnitude of the last samples written
    uint64_t pulled;       // 1: the process was killed by its fault, not closed
    double gain_db[64];    // of the TX channels
};

class Registers
{
public:
    explicit Registers(const std::string &path)
    {
        if (path.empty()) return;
        const int file = ::open(path.c_str(), O_RDWR | O_CREAT, 0644);
        if (file < 0 || ::ftruncate(file, sizeof(RegisterFile)) != 0) throw std::runtime_error("virtual: cannot write " + path);
        void *map = ::mmap(nullptr, sizeof(RegisterFile), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        ::close(file);
        if (map == MAP_FAILED) throw std::runtime_error("virtual: cannot map " + path);
        _file = static_cast<RegisterFile *>(map);
    }
    ~Registers()
    {
        if (_file != &_none) ::munmap(_file, sizeof(RegisterFile));
    }
    Registers(const Registers &) = delete;
    Registers &operator=(const Registers &) = delete;
    RegisterFile *operator->() { return _file; }

private:
    RegisterFile _none = {};
    RegisterFile *_file = &_none;
};
