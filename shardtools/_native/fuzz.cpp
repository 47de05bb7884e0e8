// Fuzzer of the decoder, of JPEGs and of rows of pixels; not part of the module: scripts/fuzz_decode builds and runs it.
//
// With clang's libFuzzer (-DSHARDTOOLS_LIBFUZZER) only LLVMFuzzerTestOneInput is used. Without, main() mutates the files
// of a folder for some seconds: flipped, written, removed, doubled and spliced bytes, which the sanitizers then judge.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "picture.h"

namespace {

using namespace shardtools;
using Bytes = std::vector<uint8_t>;

constexpr int64_t kMaxPixels = 1 << 21;

// Parameters follow from the bytes, so that a file alone brings a finding back.
uint64_t hash_of(const uint8_t* bytes, size_t length) {
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < length; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

CropTask random_task(std::mt19937_64& random, int width, int height, std::unique_ptr<uint8_t[]>& memory,
                     const uint8_t* operations, const double* values, int num_operations) {
    const auto below = [&random](int limit) { return static_cast<int>(random() % static_cast<uint64_t>(limit)); };
    CropTask task;
    const int crop_width = 1 + below(width), crop_height = 1 + below(height);
    const int left = below(width - crop_width + 1), top = below(height - crop_height + 1);
    // One crop in eight reaches out of the image and has to be refused.
    const int beyond = below(8) == 0 ? 1 + below(9) : 0;
    task.crop = {left, top, left + crop_width + (beyond != 0 ? width : 0), top + crop_height + beyond};
    if (beyond == 0) task.crop.bottom = top + crop_height;
    task.width = 1 + below(70);
    task.height = 1 + below(70);
    task.left = below(4) == 0 ? below(40) : 0;
    task.top = below(4) == 0 ? below(40) : 0;
    task.full_width = task.width + task.left + below(9);
    task.full_height = task.height + task.top + below(9);
    task.flip = below(2) != 0;
    memory.reset(new uint8_t[static_cast<size_t>(task.width) * task.height * 3]);
    task.target = memory.get();
    task.operations = operations;
    task.values = values;
    task.num_operations = num_operations;
    return task;
}

// What a decoder is asked for: options and up to three crops of an image of about this size.
struct Request {
    PictureOptions options;
    uint8_t operations[3];
    double values[3];
    std::unique_ptr<uint8_t[]> memory[3];
    std::vector<CropTask> tasks;

    explicit Request(std::mt19937_64& random) {
        options.filter = static_cast<Filter>(random() % 3);
        options.limits = {kMaxPixels, random() % 2 == 0};
        options.allow_scaled = random() % 4 == 0;
    }

    void add_crops(std::mt19937_64& random, int width, int height) {
        for (int i = 0; i < 2; i++) operations[i] = static_cast<uint8_t>(random() % 8);
        operations[2] = kBlur;
        for (int i = 0; i < 2; i++) values[i] = static_cast<double>(random() % 100) / 200;
        values[2] = static_cast<double>(random() % 300) / 4;
        const int num_tasks = 1 + static_cast<int>(random() % 3);
        for (int i = 0; i < num_tasks; i++)
            tasks.push_back(random_task(random, width, height, memory[i], operations, values, 3));
    }
};

// The sanitizer sees a read behind the end only where the end is the end of an allocation.
std::unique_ptr<uint8_t[]> copy_of(const uint8_t* bytes, size_t length) {
    std::unique_ptr<uint8_t[]> copy(new uint8_t[length]);
    if (length > 0) std::memcpy(copy.get(), bytes, length);
    return copy;
}

Status decode_jpeg(const uint8_t* bytes, size_t length, std::mt19937_64& random, Workspace& workspace) {
    const auto copy = copy_of(bytes, length);
    Request request(random);
    int width = 0, height = 0;
    if (read_size(copy.get(), length, request.options.limits, &width, &height) != kOk) width = height = 64;
    request.add_crops(random, width, height);
    Times times;
    return make_crops(copy.get(), length, request.tasks.data(), static_cast<int>(request.tasks.size()), request.options,
                      workspace, times);
}

// The same bytes as rows of pixels, whose size a manifest claims: mostly the true one, else one that lies.
Status crop_pixels(const uint8_t* bytes, size_t length, std::mt19937_64& random, Workspace& workspace) {
    constexpr int kLies[] = {0, 1, -1, 65535, 65536, 1 << 20, INT32_MAX, INT32_MIN};
    constexpr size_t kNumLies = sizeof(kLies) / sizeof(kLies[0]);
    const size_t num_pixels = std::max<size_t>(length / 3, 1);
    const int width = 1 + static_cast<int>(random() % std::min<size_t>(num_pixels, 700));
    const int height = static_cast<int>(num_pixels / static_cast<size_t>(width));
    length = std::min(length, static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
    int claimed_width = width, claimed_height = height;
    switch (random() % 12) {
        case 0: claimed_width = kLies[random() % kNumLies]; break;
        case 1: claimed_height = kLies[random() % kNumLies]; break;
        case 2: claimed_width = claimed_height = kLies[random() % kNumLies]; break;
        case 3: length -= std::min<size_t>(length, 1 + random() % 3); break;
        default: break;
    }
    const auto copy = copy_of(bytes, length);
    Request request(random);
    // Where the size is a lie, crops fit the pixels that are there, and those must not be looked for.
    request.add_crops(random, width, height);
    Times times;
    return make_crops_of_pixels(copy.get(), length, claimed_width, claimed_height, request.tasks.data(),
                                static_cast<int>(request.tasks.size()), request.options, workspace, times);
}

struct Outcome {
    bool is_raw;
    Status status;
};

Outcome decode_once(const uint8_t* bytes, size_t length) {
    static Workspace workspace;
    std::mt19937_64 random(hash_of(bytes, length));
    const bool is_raw = random() % 4 == 0;
    return {is_raw, (is_raw ? crop_pixels : decode_jpeg)(bytes, length, random, workspace)};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t length) {
    decode_once(bytes, length);
    return 0;
}

#ifndef SHARDTOOLS_LIBFUZZER
namespace {

void mutate(Bytes& bytes, const std::vector<Bytes>& corpus, std::mt19937_64& random) {
    const auto below = [&random](size_t limit) { return static_cast<size_t>(random() % std::max<size_t>(limit, 1)); };
    constexpr uint8_t kTelling[] = {0x00, 0x01, 0x7F, 0x80, 0xFF, 0xD9, 0xDA, 0xC0, 0xC2, 0xC4, 0xDB, 0xDD, 0xD0, 0x11, 0x22};
    for (size_t round = 1 + below(6); round > 0 && !bytes.empty(); round--) {
        // Half of the changes hit the headers, which are a small part of the bytes.
        const size_t at = below(2) == 0 ? below(std::min<size_t>(bytes.size(), 700)) : below(bytes.size());
        switch (below(7)) {
            case 0: bytes[at] ^= static_cast<uint8_t>(1u << below(8)); break;
            case 1: bytes[at] = static_cast<uint8_t>(random()); break;
            case 2: bytes[at] = kTelling[below(sizeof(kTelling))]; break;
            case 3: if (below(4) == 0) bytes.resize(at); break;
            case 4: bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(at),
                                bytes.begin() + static_cast<ptrdiff_t>(std::min(bytes.size(), at + 1 + below(40)))); break;
            case 5: {
                const Bytes part(bytes.begin() + static_cast<ptrdiff_t>(at),
                                 bytes.begin() + static_cast<ptrdiff_t>(std::min(bytes.size(), at + 1 + below(200))));
                bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(below(bytes.size())), part.begin(), part.end());
                break;
            }
            default: {
                const Bytes& other = corpus[below(corpus.size())];
                bytes.resize(at);
                bytes.insert(bytes.end(), other.begin() + static_cast<ptrdiff_t>(std::min(at, other.size())), other.end());
                break;
            }
        }
    }
}

void keep(const Bytes& bytes, const char* path) {
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()),
                                                static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s CORPUS SECONDS LAST_INPUT [SEED]\n", argv[0]);
        return 2;
    }
    std::vector<Bytes> corpus;
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(argv[1])) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    for (const auto& path : paths) {
        std::ifstream stream(path, std::ios::binary);
        corpus.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    }
    if (corpus.empty()) {
        std::fprintf(stderr, "expected files in %s, found none\n", argv[1]);
        return 2;
    }
    std::mt19937_64 random(argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 1);
    const auto begin = std::chrono::steady_clock::now();
    const auto seconds = std::chrono::duration<double>(std::atof(argv[2]));
    const char* levels[] = {"portable", "avx2", "avx512vnni"};
    size_t counts[2][8] = {};
    double slowest = 0;
    const auto run = [&counts](const Bytes& bytes) {
        const Outcome outcome = decode_once(bytes.data(), bytes.size());
        counts[outcome.is_raw][outcome.status]++;
    };
    for (const Bytes& bytes : corpus) run(bytes);
    while (std::chrono::steady_clock::now() - begin < seconds) {
        Bytes bytes = corpus[random() % corpus.size()];
        mutate(bytes, corpus, random);
        keep(bytes, argv[3]);
        choose_simd(levels[random() % 3]);
        const auto start = std::chrono::steady_clock::now();
        run(bytes);
        slowest = std::max(slowest, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    const char* kinds[] = {"JPEG", "pixels"};
    for (int kind = 0; kind < 2; kind++) {
        const size_t* found = counts[kind];
        std::printf("%zu inputs as %s: ok %zu, not JPEG %zu, truncated %zu, corrupt %zu, bad size %zu, bad crop %zu, "
                    "unsupported %zu, no memory %zu\n",
                    std::accumulate(found, found + 8, size_t{0}), kinds[kind], found[0], found[1], found[2], found[3],
                    found[4], found[5], found[6], found[7]);
    }
    std::printf("slowest %.3f s\n", slowest);
    return 0;
}
#endif  // SHARDTOOLS_LIBFUZZER
