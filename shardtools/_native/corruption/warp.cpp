#include "warp.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace shardtools {
namespace {

const uint8_t* pixel_at(const uint8_t* image, Size size, int y, int x) {
    return image + 3 * (static_cast<size_t>(y) * static_cast<size_t>(size.width) + static_cast<size_t>(x));
}

double between(double left, double right, double part) { return left + (right - left) * part; }

// Four neighbors, and how far from the first.
struct Neighbors {
    const uint8_t* pixels[4];  // upper left, upper right, lower left, lower right
    double right, down;
};

void mix(const Neighbors& at, double rounding, uint8_t* out) {
    for (int channel = 0; channel < 3; channel++) {
        const double upper = between(at.pixels[0][channel], at.pixels[1][channel], at.right);
        const double lower = between(at.pixels[2][channel], at.pixels[3][channel], at.right);
        out[channel] = static_cast<uint8_t>(between(upper, lower, at.down) + rounding);
    }
}

void blacken(uint8_t* pixel) { pixel[0] = pixel[1] = pixel[2] = 0; }

}  // namespace

void warp_affine(const uint8_t* image, Size size, const double* matrix, uint8_t* frame, Window window, bool clean) {
    const double rounding = clean ? 0.5 : 0.0;
    for (int y = window.top; y < window.top + window.size.height; y++)
        for (int x = window.left; x < window.left + window.size.width; x++, frame += 3) {
            const double across = matrix[0] * (x + 0.5) + matrix[1] * (y + 0.5) + matrix[2];
            const double down = matrix[3] * (x + 0.5) + matrix[4] * (y + 0.5) + matrix[5];
            if (!(across >= 0 && across < size.width && down >= 0 && down < size.height)) {
                blacken(frame);
                continue;
            }
            const double left = std::floor(across - 0.5), top = std::floor(down - 0.5);
            const int columns[2] = {std::max(static_cast<int>(left), 0),
                                    std::min(static_cast<int>(left) + 1, size.width - 1)};
            const int rows[2] = {std::max(static_cast<int>(top), 0), std::min(static_cast<int>(top) + 1, size.height - 1)};
            Neighbors at{{}, across - 0.5 - left, down - 0.5 - top};
            for (int i = 0; i < 4; i++) at.pixels[i] = pixel_at(image, size, rows[i / 2], columns[i % 2]);
            mix(at, rounding, frame);
        }
}

void warp_perspective(const uint8_t* image, Size size, const double* matrix, uint8_t* frame, Window window, bool clean) {
    static constexpr uint8_t kBlack[3] = {0, 0, 0};
    constexpr double kSteps = 32;
    for (int y = window.top; y < window.top + window.size.height; y++)
        for (int x = window.left; x < window.left + window.size.width; x++, frame += 3) {
            const double scale = matrix[6] * x + matrix[7] * y + matrix[8];
            double across = (matrix[0] * x + matrix[1] * y + matrix[2]) / scale;
            double down = (matrix[3] * x + matrix[4] * y + matrix[5]) / scale;
            // Also what is no number, where the scale is 0.
            if (!(across > -1 && across < size.width && down > -1 && down < size.height)) {
                blacken(frame);
                continue;
            }
            if (!clean) {
                across = std::nearbyint(across * kSteps) / kSteps;
                down = std::nearbyint(down * kSteps) / kSteps;
            }
            const double left = std::floor(across), top = std::floor(down);
            Neighbors at{{}, across - left, down - top};
            for (int i = 0; i < 4; i++) {
                const int column = static_cast<int>(left) + i % 2, row = static_cast<int>(top) + i / 2;
                const bool is_inside = column >= 0 && column < size.width && row >= 0 && row < size.height;
                at.pixels[i] = is_inside ? pixel_at(image, size, row, column) : kBlack;
            }
            mix(at, 0.5, frame);
        }
}

}  // namespace shardtools
