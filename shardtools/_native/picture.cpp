#include "picture.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>

namespace shardtools {
namespace {

// Rows that are decoded before they are resized: enough to fill the registers, few enough for the first cache.
constexpr int kStripRows = 8;
constexpr size_t kPadding = 64;

using Clock = std::chrono::steady_clock;

class Stopwatch {
public:
    explicit Stopwatch(Times& times) : times_(times), last_(Clock::now()) {}
    // Books the time since the last call.
    void book(std::atomic<int64_t> Times::*stage) {
        const Clock::time_point now = Clock::now();
        (times_.*stage) += std::chrono::duration_cast<std::chrono::nanoseconds>(now - last_).count();
        last_ = now;
    }

private:
    Times& times_;
    Clock::time_point last_;
};

bool fits(const Rect& crop, int width, int height) {
    return crop.left >= 0 && crop.top >= 0 && crop.left < crop.right && crop.top < crop.bottom &&
           crop.right <= width && crop.bottom <= height;
}

// The largest of 8, 4, 2 at which no crop becomes smaller than what is made of it.
int denominator_for(const CropTask* tasks, int num_tasks) {
    int denominator = 8;
    for (int i = 0; i < num_tasks; i++) {
        const CropTask& task = tasks[i];
        while (denominator > 1 && (task.crop.right - task.crop.left < task.full_width * denominator ||
                                   task.crop.bottom - task.crop.top < task.full_height * denominator))
            denominator /= 2;
    }
    return denominator;
}

// Rows of pixels that are no image file: read where they lie, but for the last ones, behind which the resize might read
// what is not there.
class PixelRows {
public:
    PixelRows(const uint8_t* pixels, int width, int height) : pixels_(pixels), width_(width), height_(height) {}

    int width() const { return width_; }
    int height() const { return height_; }
    int first_column() const { return 0; }
    size_t row_bytes() const { return static_cast<size_t>(width_) * 3; }
    Status start(const Rect& needed, int) {
        next_ = needed.top;
        return kOk;
    }
    Status read_rows(uint8_t* const* room, const uint8_t** rows, int num_rows) {
        const size_t length = row_bytes() * static_cast<size_t>(height_);
        for (int i = 0; i < num_rows; i++) {
            const size_t offset = row_bytes() * static_cast<size_t>(next_++);
            rows[i] = pixels_ + offset;
            if (length - offset >= row_bytes() + kPadding) continue;
            std::memcpy(room[i], rows[i], row_bytes());
            rows[i] = room[i];
        }
        return kOk;
    }
    void close() {}

private:
    const uint8_t* pixels_;
    int width_, height_;
    int next_ = 0;
};

// The same for a JPEG, whose rows are decoded into the room.
class JpegRows {
public:
    explicit JpegRows(JpegReader& reader) : reader_(reader) {}

    int width() const { return reader_.width(); }
    int height() const { return reader_.height(); }
    int first_column() const { return reader_.first_column(); }
    size_t row_bytes() const { return reader_.row_bytes(); }
    Status start(const Rect& needed, int denominator) { return reader_.start(needed, denominator); }
    Status read_rows(uint8_t* const* room, const uint8_t** rows, int num_rows) {
        std::copy(room, room + num_rows, rows);
        return reader_.read_rows(room, num_rows);
    }
    void close() { reader_.close(); }

private:
    JpegReader& reader_;
};

// One side of a crop, in pixels of the image at 1/denominator.
AxisPlan plan_side(int begin, int end, int denominator, int full, int offset, int size, bool reversed) {
    AxisPlan plan;
    plan.origin = begin / denominator;
    plan.begin = static_cast<double>(begin) / denominator - plan.origin;
    plan.end = static_cast<double>(end) / denominator - plan.origin;
    plan.num_pixels = (end + denominator - 1) / denominator - plan.origin;
    plan.full = full;
    plan.offset = offset;
    plan.size = size;
    plan.reversed = reversed;
    return plan;
}

Rect plan_crops(const CropTask* tasks, int num_tasks, int denominator, Filter filter, Workspace& workspace) {
    if (workspace.crops.size() < static_cast<size_t>(num_tasks)) workspace.crops.resize(static_cast<size_t>(num_tasks));
    Rect needed{1 << 30, 1 << 30, 0, 0};
    for (int i = 0; i < num_tasks; i++) {
        const CropTask& task = tasks[i];
        Workspace::Crop& crop = workspace.crops[static_cast<size_t>(i)];
        make_axis(crop.columns, filter,
                  plan_side(task.crop.left, task.crop.right, denominator, task.full_width, task.left, task.width,
                            task.flip));
        make_axis(crop.rows, filter,
                  plan_side(task.crop.top, task.crop.bottom, denominator, task.full_height, task.top, task.height,
                            false));
        needed.left = std::min(needed.left, crop.columns.begin);
        needed.right = std::max(needed.right, crop.columns.end);
        needed.top = std::min(needed.top, crop.rows.begin);
        needed.bottom = std::max(needed.bottom, crop.rows.end);
        crop.stride = (static_cast<size_t>(task.width) * 3 + kPadding) / kPadding * kPadding;
        // One more row, because the last pixel of a row writes a byte behind itself.
        crop.narrow.resize(crop.stride * static_cast<size_t>(crop.rows.end - crop.rows.begin + 1));
    }
    return needed;
}

void resize_strip(Workspace::Crop& crop, const uint8_t* const* rows, int column, int top, int num_rows) {
    const int begin = std::max(top, crop.rows.begin), end = std::min(top + num_rows, crop.rows.end);
    if (begin >= end) return;
    uint8_t* target[kStripRows];
    for (int row = begin; row < end; row++)
        target[row - begin] = crop.narrow.data() + crop.stride * static_cast<size_t>(row - crop.rows.begin);
    resize_columns(crop.columns, rows + (begin - top), column, target, end - begin);
}

template <class Rows>
Status decode_and_resize(Rows reader, bool allow_scaled, const CropTask* tasks, int num_tasks, Filter filter,
                         Workspace& workspace, Times& times) {
    Stopwatch watch(times);
    for (int i = 0; i < num_tasks; i++)
        if (!fits(tasks[i].crop, reader.width(), reader.height())) return kBadCrop;
    const int denominator = allow_scaled ? denominator_for(tasks, num_tasks) : 1;
    const Rect needed = plan_crops(tasks, num_tasks, denominator, filter, workspace);
    watch.book(&Times::resize);
    Status status = reader.start(needed, denominator);
    if (status != kOk) return status;
    const size_t strip_bytes = (reader.row_bytes() + 2 * kPadding) / kPadding * kPadding;
    workspace.strip.resize(strip_bytes * kStripRows);
    uint8_t* room[kStripRows];
    const uint8_t* rows[kStripRows];
    for (int i = 0; i < kStripRows; i++) room[i] = workspace.strip.data() + strip_bytes * static_cast<size_t>(i);

    for (int top = needed.top; top < needed.bottom; top += kStripRows) {
        const int num_rows = std::min(kStripRows, needed.bottom - top);
        status = reader.read_rows(room, rows, num_rows);
        watch.book(&Times::decode);
        if (status != kOk) return status;
        for (int i = 0; i < num_tasks; i++)
            resize_strip(workspace.crops[static_cast<size_t>(i)], rows, reader.first_column(), top, num_rows);
        watch.book(&Times::resize);
    }
    reader.close();
    watch.book(&Times::decode);
    for (int i = 0; i < num_tasks; i++) {
        const CropTask& task = tasks[i];
        const Workspace::Crop& crop = workspace.crops[static_cast<size_t>(i)];
        resize_rows(crop.rows, crop.narrow.data(), crop.stride, crop.rows.begin, crop.rows.end - crop.rows.begin,
                    task.target, static_cast<size_t>(task.width) * 3);
    }
    watch.book(&Times::resize);
    for (int i = 0; i < num_tasks; i++) {
        const CropTask& task = tasks[i];
        apply_colors(task.target, task.width, task.height, task.operations, task.values, task.num_operations,
                      workspace.colors);
    }
    watch.book(&Times::color);
    return kOk;
}

void clear(const CropTask* tasks, int num_tasks) {
    for (int i = 0; i < num_tasks; i++)
        std::memset(tasks[i].target, 0, static_cast<size_t>(tasks[i].width) * tasks[i].height * 3);
}

}  // namespace

Status make_crops(const uint8_t* bytes, size_t length, const CropTask* tasks, int num_tasks,
                  const PictureOptions& options, Workspace& workspace, Times& times) {
    JpegReader reader;
    Status status;
    try {
        Stopwatch watch(times);
        status = reader.open(bytes, length, options.limits);
        watch.book(&Times::decode);
        if (status == kOk)
            status = decode_and_resize(JpegRows(reader), options.allow_scaled, tasks, num_tasks, options.filter,
                                       workspace, times);
    } catch (const std::bad_alloc&) {
        status = kNoMemory;
    }
    if (status != kOk) clear(tasks, num_tasks);
    return status;
}

Status make_crops_of_pixels(const uint8_t* pixels, size_t length, int width, int height, const CropTask* tasks,
                            int num_tasks, const PictureOptions& options, Workspace& workspace, Times& times) {
    const int64_t num_pixels = static_cast<int64_t>(width) * height;
    const uint64_t expected = static_cast<uint64_t>(num_pixels) * 3;
    Status status = kOk;
    if (width < 1 || height < 1 || num_pixels > options.limits.max_pixels) status = kBadSize;
    else if (length != expected) status = length < expected ? kTruncated : kCorrupt;
    try {
        if (status == kOk)
            status = decode_and_resize(PixelRows(pixels, width, height), false, tasks, num_tasks, options.filter,
                                       workspace, times);
    } catch (const std::bad_alloc&) {
        status = kNoMemory;
    }
    if (status != kOk) clear(tasks, num_tasks);
    return status;
}

Status read_size(const uint8_t* bytes, size_t length, const Limits& limits, int* width, int* height) {
    JpegReader reader;
    const Status status = reader.open(bytes, length, limits);
    *width = status == kOk ? reader.width() : 0;
    *height = status == kOk ? reader.height() : 0;
    return status;
}

}  // namespace shardtools
