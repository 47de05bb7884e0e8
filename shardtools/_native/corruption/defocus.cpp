// Defocus: the mean over a disk with soft edges.
#include <cmath>
#include <cstdlib>
#include <vector>

#include "bytes.h"
#include "corruption.h"
#include "filters.h"
#include "curves.h"
#include "wide.h"

namespace shardtools {
namespace {

// The kernel of the published code, [2 reach + 1, 2 reach + 1]: a disk, smoothed within its own square.
struct DiskKernel {
    int reach;
    std::vector<double> weights;

    double& at(int y, int x) { return weights[static_cast<size_t>((y + reach) * (2 * reach + 1) + x + reach)]; }
};

DiskKernel smoothed(DiskKernel kernel, double sigma, int half, bool is_vertical) {
    const int size = 2 * kernel.reach + 1;
    double total = 0;
    for (int i = -half; i <= half; i++) total += exponential(-0.5 * (i / sigma) * (i / sigma));
    DiskKernel out{kernel.reach, std::vector<double>(kernel.weights.size())};
    for (int y = -kernel.reach; y <= kernel.reach; y++)
        for (int x = -kernel.reach; x <= kernel.reach; x++)
            for (int i = -half; i <= half; i++) {
                const int from = inside((is_vertical ? y : x) + i + kernel.reach, size, Border::kMirroredOnce) - kernel.reach;
                const double weight = exponential(-0.5 * (i / sigma) * (i / sigma)) / total;
                out.at(y, x) += weight * (is_vertical ? kernel.at(from, x) : kernel.at(y, from));
            }
    return out;
}

// The square cuts the smoothing of the largest disks off, so that their weights add up to 1.01, and the
// published images are that much brighter; not where `sums_to_one`.
DiskKernel make_kernel(int radius, double sigma, bool sums_to_one) {
    const int reach = radius <= 8 ? 8 : radius, half = radius <= 8 ? 1 : 2;
    DiskKernel kernel{reach, std::vector<double>(static_cast<size_t>((2 * reach + 1) * (2 * reach + 1)))};
    int inside = 0;
    const auto is_inside = [=](int y, int x) { return x * x + y * y <= radius * radius; };
    for (int y = -reach; y <= reach; y++)
        for (int x = -reach; x <= reach; x++) inside += is_inside(y, x);
    for (int y = -reach; y <= reach; y++)
        for (int x = -reach; x <= reach; x++) kernel.at(y, x) = is_inside(y, x) ? 1.0 / inside : 0.0;
    kernel = smoothed(smoothed(kernel, sigma, half, false), sigma, half, true);
    double total = 0;
    for (const double weight : kernel.weights) total += weight;
    if (sums_to_one)
        for (double& weight : kernel.weights) weight /= total;
    return kernel;
}

// A row of the kernel as boxes upon each other, each a difference of two running sums: the middle of a disk is one box.
struct Box {
    int half;  // as far to both sides
    float height;
};

void list_boxes(std::vector<Box>& boxes, DiskKernel& kernel, int y) {
    constexpr double kNothing = 1e-9;
    boxes.clear();
    double beyond = 0;
    for (int x = kernel.reach; x >= 0; x--) {
        const double step = kernel.at(y, x) - beyond;
        if (std::abs(step) < kNothing) continue;
        boxes.push_back({x, static_cast<float>(step)});
        beyond = kernel.at(y, x);
    }
}

// Sums of each row from its left end on: [height, (width + 2 reach + 1) * 3].
void fill_sums(int32_t* sums, const Task& task, int reach) {
    int32_t* sum = sums;
    for (int y = 0; y < task.height; y++) {
        const uint8_t* row = task.input + static_cast<size_t>(y) * task.row_values();
        int32_t total[3] = {0, 0, 0};
        for (int x = -reach; x <= task.width + reach; x++) {
            const uint8_t* pixel = row + 3 * static_cast<size_t>(inside(x, task.width, Border::kMirroredOnce));
            for (int channel = 0; channel < 3; channel++) {
                *sum++ = total[channel];
                total[channel] += pixel[channel];
            }
        }
    }
}

template <int N>
SHARDTOOLS_INLINE inline void add_boxes(float* out, const int32_t* sums, const Box* boxes, int reach, size_t count) {
    const int32_t* left[N];
    const int32_t* right[N];
    float heights[N];
    for (int k = 0; k < N; k++) {
        left[k] = sums + 3 * (reach - boxes[k].half);
        right[k] = sums + 3 * (reach + boxes[k].half + 1);
        heights[k] = boxes[k].height;
    }
#pragma GCC ivdep
    for (size_t i = 0; i < count; i++) {
        float sum = out[i];
        for (int k = 0; k < N; k++) sum += heights[k] * static_cast<float>(right[k][i] - left[k][i]);
        out[i] = sum;
    }
}

// Two rows as far above as below have the same weights: both at once.
void add_row_pair(float* out, int32_t* both, const int32_t* above, const int32_t* below, bool is_pair,
                  const std::vector<Box>& boxes, int reach, size_t count) {
    const size_t num_sums = count + 3 * (2 * static_cast<size_t>(reach) + 1);
    const Box* box = boxes.data();
    const size_t num_boxes = boxes.size();
    wide([=]() SHARDTOOLS_INLINE {
        if (is_pair)
#pragma GCC ivdep
            for (size_t i = 0; i < num_sums; i++) both[i] = above[i] + below[i];
        const int32_t* sums = is_pair ? both : above;
        size_t done = 0;
        for (; num_boxes - done >= 4; done += 4) add_boxes<4>(out, sums, box + done, reach, count);
        if (num_boxes - done == 3) add_boxes<3>(out, sums, box + done, reach, count);
        if (num_boxes - done == 2) add_boxes<2>(out, sums, box + done, reach, count);
        if (num_boxes - done == 1) add_boxes<1>(out, sums, box + done, reach, count);
    });
}

}  // namespace

// Parameters: radius of the disk, sigma of its soft edge.
void defocus_blur(const Task& task) {
    DiskKernel kernel = make_kernel(static_cast<int>(task.parameters[0]), task.parameters[1], task.clean);
    const int reach = kernel.reach;
    const size_t count = task.row_values();
    const size_t stride = count + 3 * (2 * static_cast<size_t>(reach) + 1);
    int32_t* sums = task.scratch.take<int32_t>(stride * static_cast<size_t>(task.height));
    int32_t* both = task.scratch.take<int32_t>(stride);
    float* out = task.scratch.take<float>(count);
    fill_sums(sums, task, reach);
    std::vector<std::vector<Box>> boxes(static_cast<size_t>(reach) + 1);
    for (int down = 0; down <= reach; down++) list_boxes(boxes[static_cast<size_t>(down)], kernel, down);
    const float rounding = rounding_of(task.clean);
    for (int y = 0; y < task.height; y++) {
        const auto row_at = [=](int position) {
            return sums + static_cast<size_t>(inside(position, task.height, Border::kMirroredOnce)) * stride;
        };
        std::fill(out, out + count, 0.0f);
        for (int down = 0; down <= reach; down++)
            if (!boxes[static_cast<size_t>(down)].empty())
                add_row_pair(out, both, row_at(y - down), row_at(y + down), down > 0, boxes[static_cast<size_t>(down)],
                             reach, count);
        to_bytes(task.output + static_cast<size_t>(y) * count, out, count, rounding);
    }
}

}  // namespace shardtools
