// Random numbers that are a function of (seed, number of the call, position), whatever the processor: Philox4x32-10
// (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once

#include <cstddef>
#include <cstdint>

#include "scratch.h"

namespace shardtools {

class Random {
public:
    explicit Random(uint64_t seed) : seed_(seed) {}

    // Each call is a stream of its own. Arrays may be written up to the next multiple of kBlock, so their memory is
    // taken by rounded(count).
    void bits(uint32_t* values, size_t count);
    // In [0, 1), multiples of 2^-24.
    void uniforms(float* values, size_t count);
    // Mean 0, standard deviation 1 (Box and Muller, 1958); none beyond 5.9.
    void normals(float* values, size_t count);

    // One number: in [low, high).
    double uniform(double low, double high);
    // One whole number, 0 to limit - 1; limit at least 1.
    uint32_t below(uint32_t limit);

    static constexpr size_t kBlock = 64;
    static constexpr size_t rounded(size_t count) { return (count + kBlock - 1) / kBlock * kBlock; }

private:
    const uint64_t seed_;
    uint32_t stream_ = 0;
};

}  // namespace shardtools
