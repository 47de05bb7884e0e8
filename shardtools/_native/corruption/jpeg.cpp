// Compression as JPEG, there and back in memory, by libjpeg with its own defaults (chroma at half the resolution).
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <new>

#include <jpeglib.h>

#include "corruption.h"

namespace shardtools {
namespace {

struct Failure {
    jpeg_error_mgr manager;
    jmp_buf jump;
};

// What libjpeg owns; kept apart from the frame that jumps, so that its values are there after the jump.
struct Codec {
    Failure failure;
    jpeg_compress_struct encoder;
    jpeg_decompress_struct decoder;
    unsigned char* file = nullptr;
    unsigned long length = 0;
};

void on_error(j_common_ptr codec) { longjmp(static_cast<Failure*>(codec->client_data)->jump, 1); }

void ignore_output(j_common_ptr) {}

void encode(Codec& codec, const Task& task, int quality) {
    jpeg_compress_struct& encoder = codec.encoder;
    jpeg_create_compress(&encoder);
    jpeg_mem_dest(&encoder, &codec.file, &codec.length);
    encoder.image_width = static_cast<JDIMENSION>(task.width);
    encoder.image_height = static_cast<JDIMENSION>(task.height);
    encoder.input_components = 3;
    encoder.in_color_space = JCS_RGB;
    jpeg_set_defaults(&encoder);
    jpeg_set_quality(&encoder, quality, TRUE);
    jpeg_start_compress(&encoder, TRUE);
    while (encoder.next_scanline < encoder.image_height) {
        JSAMPROW row = const_cast<JSAMPROW>(task.input) + encoder.next_scanline * task.row_values();
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    jpeg_finish_compress(&encoder);
}

void decode(Codec& codec, const Task& task) {
    jpeg_decompress_struct& decoder = codec.decoder;
    jpeg_create_decompress(&decoder);
    jpeg_mem_src(&decoder, codec.file, codec.length);
    jpeg_read_header(&decoder, TRUE);
    decoder.out_color_space = JCS_RGB;
    jpeg_start_decompress(&decoder);
    while (decoder.output_scanline < decoder.output_height) {
        JSAMPROW row = task.output + decoder.output_scanline * task.row_values();
        jpeg_read_scanlines(&decoder, &row, 1);
    }
    jpeg_finish_decompress(&decoder);
}

// False where libjpeg lacks memory; it has no other complaint about its own file.
bool pass_through(Codec& codec, const Task& task) {
    codec.encoder.err = codec.decoder.err = jpeg_std_error(&codec.failure.manager);
    codec.failure.manager.error_exit = on_error;
    codec.failure.manager.output_message = ignore_output;
    codec.encoder.client_data = codec.decoder.client_data = &codec.failure;
    codec.encoder.mem = nullptr;
    codec.decoder.mem = nullptr;
    const bool is_done = setjmp(codec.failure.jump) == 0;
    if (is_done) {
        encode(codec, task, static_cast<int>(task.parameters[0]));
        decode(codec, task);
    }
    if (codec.encoder.mem != nullptr) jpeg_destroy_compress(&codec.encoder);
    if (codec.decoder.mem != nullptr) jpeg_destroy_decompress(&codec.decoder);
    std::free(codec.file);
    return is_done;
}

}  // namespace

// Parameters: quality, 1 to 100.
void jpeg_compression(const Task& task) {
    Codec codec{};
    if (!pass_through(codec, task)) throw std::bad_alloc();
}

}  // namespace shardtools
