// Reads one JPEG, or only the rows and columns of it that somebody needs, with libjpeg-turbo.
//
// Owns every call into libjpeg. libjpeg leaves its functions by longjmp, so each method sets its own jump and holds no
// object with a destructor while it is set; what a method returns is a Status, never an exception.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include <jpeglib.h>

namespace shardtools {

// The numbers are part of the Python interface (shardtools/decode/native.py).
enum Status : int32_t {
    kOk = 0,
    kNotJpeg = 1,
    kTruncated = 2,
    kCorrupt = 3,
    kBadSize = 4,
    kBadCrop = 5,
    kUnsupported = 6,
    kNoMemory = 7,
};

struct Rect {
    int left = 0, top = 0, right = 0, bottom = 0;  // right and bottom are exclusive
};

struct Limits {
    int64_t max_pixels;
    bool tolerate_damage;
};

class JpegReader {
public:
    JpegReader() = default;
    ~JpegReader() { close(); }
    JpegReader(const JpegReader&) = delete;
    JpegReader& operator=(const JpegReader&) = delete;

    // Reads the header. The bytes must stay where they are until close().
    Status open(const uint8_t* bytes, size_t length, const Limits& limits);
    // Begins to decode. `needed` is in pixels of the image at 1/denominator of its size; its rows follow one another
    // from read_rows, and the pixel that a row begins with is `first_column()`.
    Status start(const Rect& needed, int denominator);
    // The next rows of `needed`. Each row must have room for row_bytes().
    Status read_rows(uint8_t* const* rows, int num_rows);
    void close();

    int width() const { return static_cast<int>(codec_.image_width); }
    int height() const { return static_cast<int>(codec_.image_height); }
    int first_column() const { return first_column_; }
    size_t row_bytes() const { return static_cast<size_t>(codec_.output_width) * 4; }

    // For libjpeg's callbacks, which get it through client_data.
    struct Failure {
        jpeg_error_mgr manager;
        jmp_buf jump;
        Status status;
        bool tolerate_damage;
        bool out_of_bytes;
    };

private:
    Status choose_colors();
    void to_rgb(uint8_t* row) const;

    jpeg_decompress_struct codec_;
    jpeg_source_mgr source_;
    jpeg_progress_mgr progress_;
    Failure failure_;
    bool is_open_ = false;
    bool is_cmyk_ = false;
    int first_column_ = 0;
    int rows_to_drop_ = 0;
};

}  // namespace shardtools
