#include "decode.h"

#include <algorithm>

#include <jerror.h>

namespace shardtools {
namespace {

// A file of a few kilobytes can ask for thousands of passes over the whole image. The same limits hold where Pillow
// decodes (shardtools/decode/jpeg.py).
constexpr int kMaxScans = 256;
constexpr int kMaxScansOfAnySize = 24;
constexpr int64_t kMaxScanPixels = int64_t{1} << 30;

JpegReader::Failure* failure_of(j_common_ptr codec) { return static_cast<JpegReader::Failure*>(codec->client_data); }

Status status_of(int code) {
    switch (code) {
        case JERR_OUT_OF_MEMORY:
        case JERR_NO_BACKING_STORE:
        case JERR_WIDTH_OVERFLOW:
            return kNoMemory;
        case JERR_IMAGE_TOO_BIG:
        case JERR_EMPTY_IMAGE:
            return kBadSize;
        case JERR_BAD_PRECISION:
        case JERR_SOF_UNSUPPORTED:
        case JERR_ARITH_NOTIMPL:
        case JERR_CONVERSION_NOTIMPL:
        case JERR_FRACT_SAMPLE_NOTIMPL:
        case JERR_CCIR601_NOTIMPL:
        case JERR_BAD_J_COLORSPACE:
            return kUnsupported;
        default:
            return kCorrupt;
    }
}

[[noreturn]] void fail(j_common_ptr codec, Status status) {
    JpegReader::Failure* failure = failure_of(codec);
    failure->status = status;
    longjmp(failure->jump, 1);
}

void on_error(j_common_ptr codec) {
    fail(codec, failure_of(codec)->out_of_bytes ? kTruncated : status_of(codec->err->msg_code));
}

void on_message(j_common_ptr codec, int level) {
    if (level >= 0) return;
    codec->err->num_warnings++;
    JpegReader::Failure* failure = failure_of(codec);
    // Markers that are odd, not pixels that are wrong.
    const int code = codec->err->msg_code;
    if (code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR || failure->tolerate_damage) return;
    fail(codec, failure->out_of_bytes ? kTruncated : kCorrupt);
}

void ignore_output(j_common_ptr) {}

void on_progress(j_common_ptr codec) {
    const j_decompress_ptr decoder = reinterpret_cast<j_decompress_ptr>(codec);
    const int64_t scans = decoder->input_scan_number;
    const int64_t pixels = static_cast<int64_t>(decoder->image_width) * decoder->image_height;
    if (scans > kMaxScans || (scans > kMaxScansOfAnySize && scans * pixels > kMaxScanPixels)) fail(codec, kCorrupt);
}

void ignore_source(j_decompress_ptr) {}

// The file ends before the image does: libjpeg gets an end-of-image marker, once it is known that this is tolerated.
boolean fill_input(j_decompress_ptr codec) {
    static const JOCTET kEndOfImage[2] = {0xFF, JPEG_EOI};
    failure_of(reinterpret_cast<j_common_ptr>(codec))->out_of_bytes = true;
    WARNMS(codec, JWRN_JPEG_EOF);
    codec->src->next_input_byte = kEndOfImage;
    codec->src->bytes_in_buffer = sizeof(kEndOfImage);
    return TRUE;
}

void skip_input(j_decompress_ptr codec, long num_bytes) {
    if (num_bytes <= 0) return;
    jpeg_source_mgr* source = codec->src;
    if (static_cast<size_t>(num_bytes) > source->bytes_in_buffer) {
        fill_input(codec);
        return;
    }
    source->next_input_byte += num_bytes;
    source->bytes_in_buffer -= static_cast<size_t>(num_bytes);
}

// round(a * b / 255) the way Pillow does it.
inline int multiply_255(int a, int b) {
    const int product = a * b + 128;
    return ((product >> 8) + product) >> 8;
}

}  // namespace

Status JpegReader::open(const uint8_t* bytes, size_t length, const Limits& limits) {
    close();
    if (length < 3 || bytes[0] != 0xFF || bytes[1] != 0xD8 || bytes[2] != 0xFF) return kNotJpeg;
    failure_.status = kOk;
    failure_.tolerate_damage = limits.tolerate_damage;
    failure_.out_of_bytes = false;
    codec_.err = jpeg_std_error(&failure_.manager);
    failure_.manager.error_exit = on_error;
    failure_.manager.emit_message = on_message;
    failure_.manager.output_message = ignore_output;
    // jpeg_create_decompress keeps err and client_data and clears the rest.
    codec_.client_data = &failure_;
    codec_.mem = nullptr;
    if (setjmp(failure_.jump) != 0) {
        // Without a memory manager there is nothing to give back.
        if (codec_.mem == nullptr) return kNoMemory;
        jpeg_destroy_decompress(&codec_);
        is_open_ = false;
        return failure_.status;
    }
    jpeg_create_decompress(&codec_);
    is_open_ = true;
    progress_.progress_monitor = on_progress;
    codec_.progress = &progress_;
    source_.next_input_byte = bytes;
    source_.bytes_in_buffer = length;
    source_.init_source = ignore_source;
    source_.fill_input_buffer = fill_input;
    source_.skip_input_data = skip_input;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = ignore_source;
    codec_.src = &source_;
    // A progressive image keeps all of its coefficients: two bytes for each sample of each component.
    codec_.mem->max_memory_to_use = static_cast<long>(limits.max_pixels * 8 + (int64_t{64} << 20));
    jpeg_read_header(&codec_, TRUE);
    if (static_cast<int64_t>(codec_.image_width) * codec_.image_height > limits.max_pixels) return kBadSize;
    return choose_colors();
}

Status JpegReader::choose_colors() {
    is_cmyk_ = codec_.jpeg_color_space == JCS_CMYK || codec_.jpeg_color_space == JCS_YCCK;
    if (codec_.jpeg_color_space == JCS_UNKNOWN) return kUnsupported;
    codec_.out_color_space = is_cmyk_ ? JCS_CMYK : JCS_RGB;
    codec_.dct_method = JDCT_ISLOW;
    codec_.do_fancy_upsampling = TRUE;
    // It invents coefficients that an unfinished progressive file lacks; whole files do not change by it.
    codec_.do_block_smoothing = FALSE;
    return kOk;
}

Status JpegReader::start(const Rect& needed, int denominator) {
    if (setjmp(failure_.jump) != 0) {
        const Status status = failure_.status;
        close();
        return status;
    }
    codec_.scale_num = 1;
    codec_.scale_denom = static_cast<unsigned>(denominator);
    jpeg_start_decompress(&codec_);
    if (needed.left < 0 || needed.top < 0 || needed.left >= needed.right || needed.top >= needed.bottom ||
        needed.right > static_cast<int>(codec_.output_width) || needed.bottom > static_cast<int>(codec_.output_height))
        return kBadCrop;

    const int block = DCTSIZE / denominator;
    // Smooth upsampling of a chroma sample looks at its neighbours, one sample to each side.
    const int margin = codec_.max_h_samp_factor > 1 ? 2 * codec_.max_h_samp_factor : 0;
    JDIMENSION left = static_cast<JDIMENSION>(std::max(0, needed.left - margin));
    JDIMENSION width = std::min(codec_.output_width, static_cast<JDIMENSION>(needed.right + margin)) - left;
    if (width < codec_.output_width) jpeg_crop_scanline(&codec_, &left, &width);
    first_column_ = static_cast<int>(left);

    // jpeg_skip_scanlines to a row inside a row of blocks returned stale rows in libjpeg-turbo 1.5 to 3.2: skip whole
    // rows of blocks, then read and drop the rest. Its arithmetic decoder is kept out of it, being rare.
    const int rows_of_blocks = block * codec_.max_v_samp_factor;
    int skip = needed.top - needed.top % rows_of_blocks;
    if (skip > 0 && codec_.arith_code) skip = 0;
    if (skip > 0) jpeg_skip_scanlines(&codec_, static_cast<JDIMENSION>(skip));
    rows_to_drop_ = needed.top - static_cast<int>(codec_.output_scanline);
    return rows_to_drop_ >= 0 ? kOk : kCorrupt;
}

Status JpegReader::read_rows(uint8_t* const* rows, int num_rows) {
    if (setjmp(failure_.jump) != 0) {
        const Status status = failure_.status;
        close();
        return status;
    }
    while (rows_to_drop_ > 0) {
        JSAMPROW scratch = rows[0];
        if (jpeg_read_scanlines(&codec_, &scratch, 1) == 0) return kTruncated;
        rows_to_drop_--;
    }
    for (int done = 0; done < num_rows;) {
        const JDIMENSION left = static_cast<JDIMENSION>(num_rows - done);
        const int got = static_cast<int>(jpeg_read_scanlines(&codec_, const_cast<JSAMPARRAY>(rows) + done, left));
        if (got <= 0) return kTruncated;
        done += got;
    }
    if (is_cmyk_)
        for (int row = 0; row < num_rows; row++) to_rgb(rows[row]);
    return kOk;
}

// Adobe's inverted CMYK, as Pillow reads it: each of C, M, Y, K is stored as 255 minus itself.
void JpegReader::to_rgb(uint8_t* row) const {
    uint8_t* rgb = row;
    for (JDIMENSION x = 0; x < codec_.output_width; x++, row += 4, rgb += 3) {
        const int paper = row[3];
        for (int channel = 0; channel < 3; channel++) {
            const int value = paper - multiply_255(255 - row[channel], paper);
            rgb[channel] = static_cast<uint8_t>(std::clamp(value, 0, 255));
        }
    }
}

void JpegReader::close() {
    if (!is_open_) return;
    is_open_ = false;
    jpeg_destroy_decompress(&codec_);
}

}  // namespace shardtools
