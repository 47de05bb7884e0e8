// Coarse pixels: the mean of each box, to the bit as Pillow's Image.resize(box) computes it.
#include <algorithm>
#include <cmath>

#include "corruption.h"

namespace shardtools {
namespace {

constexpr int kPrecision = 22;

// Which inputs an output is the weighted sum of.
struct Window {
    int first, count;
    int32_t* weights;
};

// Windows of a box as wide as the inputs that an output stands for; weights are rounded to 2^-22.
Window* windows_of(int size, int target, Scratch& scratch) {
    const double scale = static_cast<double>(size) / target;
    const double support = std::max(scale, 1.0) / 2;
    const int most = static_cast<int>(std::ceil(support)) * 2 + 1;
    Window* windows = scratch.take<Window>(static_cast<size_t>(target));
    double* shares = scratch.take<double>(static_cast<size_t>(most));
    for (int i = 0; i < target; i++) {
        const double center = (i + 0.5) * scale;
        const int first = std::max(static_cast<int>(center - support + 0.5), 0);
        const int end = std::min(static_cast<int>(center + support + 0.5), size);
        double sum = 0;
        for (int j = 0; j < end - first; j++) {
            const double distance = (j + first - center + 0.5) / (support * 2);
            shares[j] = distance > -0.5 && distance <= 0.5 ? 1.0 : 0.0;
            sum += shares[j];
        }
        int32_t* weights = scratch.take<int32_t>(static_cast<size_t>(end - first));
        for (int j = 0; j < end - first; j++)
            weights[j] = static_cast<int32_t>(0.5 + (sum != 0 ? shares[j] / sum : shares[j]) * (1 << kPrecision));
        windows[i] = {first, end - first, weights};
    }
    return windows;
}

uint8_t byte_of(int64_t sum) { return static_cast<uint8_t>(std::min<int64_t>(sum >> kPrecision, 255)); }

}  // namespace

// Resized to c times the size and back; parameters: c. Sides that would vanish stay one pixel.
void pixelate(const Task& task) {
    const int height = std::max(static_cast<int>(task.height * task.parameters[0]), 1);
    const int width = std::max(static_cast<int>(task.width * task.parameters[0]), 1);
    const Window* columns = windows_of(task.width, width, task.scratch);
    const Window* rows = windows_of(task.height, height, task.scratch);
    const size_t row_values = static_cast<size_t>(width) * 3;
    uint8_t* narrow = task.scratch.take<uint8_t>(static_cast<size_t>(task.height) * row_values);
    for (size_t y = 0; y < static_cast<size_t>(task.height); y++) {
        for (int x = 0; x < width; x++) {
            const uint8_t* pixel = task.input + y * task.row_values() + static_cast<size_t>(columns[x].first) * 3;
            int64_t sums[3];
            std::fill(sums, sums + 3, int64_t{1} << (kPrecision - 1));
            for (int j = 0; j < columns[x].count; j++, pixel += 3)
                for (int channel = 0; channel < 3; channel++)
                    sums[channel] += int64_t{columns[x].weights[j]} * pixel[channel];
            for (size_t channel = 0; channel < 3; channel++)
                narrow[y * row_values + static_cast<size_t>(x) * 3 + channel] = byte_of(sums[channel]);
        }
    }
    uint8_t* small = task.scratch.take<uint8_t>(static_cast<size_t>(height) * row_values);
    for (size_t y = 0; y < static_cast<size_t>(height); y++) {
        for (size_t i = 0; i < row_values; i++) {
            int64_t sum = int64_t{1} << (kPrecision - 1);
            for (int j = 0; j < rows[y].count; j++)
                sum += int64_t{rows[y].weights[j]} * narrow[static_cast<size_t>(rows[y].first + j) * row_values + i];
            small[y * row_values + i] = byte_of(sum);
        }
    }
    // A box enlarged is the pixel in which the middle lies.
    for (int y = 0; y < task.height; y++) {
        const double row = (y + 0.5) * (static_cast<double>(height) / task.height);
        const uint8_t* source = small + static_cast<size_t>(row) * row_values;
        uint8_t* target = task.output + static_cast<size_t>(y) * task.row_values();
        for (int x = 0; x < task.width; x++) {
            const double column = (x + 0.5) * (static_cast<double>(width) / task.width);
            std::copy_n(source + static_cast<size_t>(column) * 3, 3, target + x * 3);
        }
    }
}

}  // namespace shardtools
