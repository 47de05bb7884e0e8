// Poisson draws for the 256 values that a byte has, out of one random word each: the alias method (A. J. Walker, "An
// efficient method for generating discrete random variables with general distributions", 1977).
//
// An entry is a slot of a row: the result, the other result, and how much of the slot belongs to the first.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scratch.h"

namespace shardtools {

struct ShotTable {
    const uint32_t* entries;  // [256, 2^bits]: share of 65,536 in the upper half, then the result, then the other one
    int bits;

    uint8_t draw(uint8_t value, uint32_t word) const {
        const uint32_t entry = entries[(static_cast<size_t>(value) << bits) + (word >> (32 - bits))];
        // No branch: nobody could predict it.
        const uint32_t is_first = (word & 0xFFFFu) < entry >> 16;
        return static_cast<uint8_t>(entry >> (8 * is_first));
    }
};

// Of Poisson(value / 255 * photons) / photons, as a byte. Made once and kept, or, where sixteen others are kept, made in
// `scratch`. Photons: 1 to 8,000.
ShotTable find_shot_table(double photons, bool clean, Scratch& scratch);

}  // namespace shardtools
