// Elementary functions out of additions and multiplications alone: the system's differ in the last bit from one
// processor to another, and with them pixels would. Accurate to about 1e-15; for kernels and tables, not for hot loops.
#pragma once

#include <cmath>

namespace shardtools {

constexpr double kPi = 3.14159265358979323846;

// e^x; 0 below -700.
inline double exponential(double x) {
    if (x < -700) return 0;
    constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
    const double power = std::nearbyint(x / (kLn2High + kLn2Low));
    const double r = (x - power * kLn2High) - power * kLn2Low;
    double sum = 1;
    for (int term = 15; term >= 1; term--) sum = 1 + sum * r / term;
    return std::ldexp(sum, static_cast<int>(power));
}

// Sine and cosine of an angle of at most some full turns.
struct Turn {
    double sine, cosine;
};

inline Turn turn_of(double radians) {
    // By halves: the series is taken of a sixteenth of the angle within a turn, then the angle doubled four times.
    const double r = std::remainder(radians, 2 * kPi) / 16;
    const double q = r * r;
    double sine = 1, versine = 1;
    for (int term = 17; term >= 3; term -= 2) sine = 1 - sine * q / (term * (term - 1));
    for (int term = 18; term >= 4; term -= 2) versine = 1 - versine * q / (term * (term - 1));
    Turn found{r * sine, 1 - versine * q / 2};
    for (int doubling = 0; doubling < 4; doubling++)
        found = {2 * found.sine * found.cosine, 1 - 2 * found.sine * found.sine};
    return found;
}

}  // namespace shardtools
