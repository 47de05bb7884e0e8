// Exponential, sine and cosine of single numbers from additions and multiplications alone, to 1e-14: the system's own
// differ in the last bit from one library to another, and pixels are to depend on the seed alone (wide.h).
#pragma once

#include <cstdint>
#include <cstring>

namespace shardtools {

constexpr double kPi = 3.14159265358979323846;

// e^x for x of -700 to 700; below that 0.
inline double exponential(double x) {
    if (x < -700) return 0;
    const double whole = x * 1.4426950408889634;
    const int64_t exponent = static_cast<int64_t>(whole + (whole < 0 ? -0.5 : 0.5));
    const double rest = x - static_cast<double>(exponent) * 0.69314718055994531;
    double series = 1;
    for (int i = 14; i >= 1; i--) series = 1 + series * (rest * (1.0 / i));
    const uint64_t bits = static_cast<uint64_t>(exponent + 1023) << 52;
    double scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return series * scale;
}

// Radians, up to some thousand turns.
inline double sine(double x) {
    const double turns = x / kPi;
    const int64_t half_turns = static_cast<int64_t>(turns + (turns < 0 ? -0.5 : 0.5));
    const double rest = x - static_cast<double>(half_turns) * kPi;
    const double square = rest * rest;
    double series = 1;
    for (int i = 22; i >= 2; i -= 2) series = 1 - series * (square * (1.0 / (i * (i + 1))));
    return half_turns % 2 == 0 ? rest * series : -rest * series;
}

inline double cosine(double x) { return sine(x + kPi / 2); }

}  // namespace shardtools
