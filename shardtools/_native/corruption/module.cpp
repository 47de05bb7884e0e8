// The Python module `shardtools._native.corrupt`: checks every argument, then works without the interpreter's lock.
//
// Written against the limited C API of Python 3.11, so that one build serves every later Python.
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "corruption.h"
#include "warp.h"
#include "wide.h"

namespace {

using namespace shardtools;

constexpr int kMaxThreads = 1024;
constexpr Py_ssize_t kMaxSide = 65535;
constexpr int kMaxParameters = 8;

// Scratch memory that no call uses at present. A place is taken and given back in one step, without a lock that a forked
// child could find held for ever.
std::atomic<Scratch*> idle_scratches[64];

// What one huge image needed is not kept.
constexpr size_t kMostKept = size_t{256} << 20;

struct GiveBack {
    void operator()(Scratch* scratch) const {
        if (scratch->num_bytes() <= kMostKept)
            for (std::atomic<Scratch*>& place : idle_scratches) {
                Scratch* expected = nullptr;
                if (place.compare_exchange_strong(expected, scratch)) return;
            }
        delete scratch;
    }
};

using Lent = std::unique_ptr<Scratch, GiveBack>;

Lent lend_scratch() {
    for (std::atomic<Scratch*>& place : idle_scratches)
        if (Scratch* found = place.exchange(nullptr)) return Lent(found);
    return Lent(new Scratch);
}

// A buffer that is given back when it goes out of scope.
class View {
public:
    View() = default;
    View(const View&) = delete;
    View& operator=(const View&) = delete;
    ~View() {
        if (is_held_) PyBuffer_Release(&view_);
    }
    bool take(PyObject* object, bool is_written) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (is_written ? PyBUF_WRITABLE : 0);
        is_held_ = PyObject_GetBuffer(object, &view_, flags) == 0;
        return is_held_;
    }
    bool has_type(const char* letters, Py_ssize_t item_size) const {
        const char* format = view_.format == nullptr ? "B" : view_.format;
        if (*format == '<' || *format == '=' || *format == '@') format++;
        return std::strlen(format) == 1 && std::strchr(letters, *format) != nullptr && view_.itemsize == item_size;
    }
    const Py_buffer* operator->() const { return &view_; }

private:
    Py_buffer view_{};
    bool is_held_ = false;
};

bool refuse(const char* name, const char* expected) {
    PyErr_Format(PyExc_ValueError, "%s: expected %s", name, expected);
    return false;
}

const Entry* find_entry(const char* name) {
    for (const Entry* table : {kCorruptions, kFrames})
        for (const Entry* entry = table; entry->name != nullptr; entry++)
            if (std::strcmp(entry->name, name) == 0) return entry;
    refuse("corruption", "a name of the tables");
    return nullptr;
}

bool take_images(View& view, PyObject* object, const char* name, bool is_written) {
    if (!view.take(object, is_written)) return false;
    const bool matches = view.has_type("B", 1) && view->ndim == 4 && view->shape[3] == 3 && view->shape[1] >= 1 &&
                         view->shape[2] >= 1 && view->shape[1] <= kMaxSide && view->shape[2] <= kMaxSide;
    return matches || refuse(name, "contiguous uint8 [N, H, W, 3]");
}

bool take_parameters(double* parameters, PyObject* object, const Entry& entry) {
    if (!PyTuple_Check(object) || PyTuple_Size(object) != entry.num_parameters)
        return refuse("parameters", "as many as the corruption has");
    for (int i = 0; i < entry.num_parameters; i++) {
        parameters[i] = PyFloat_AsDouble(PyTuple_GetItem(object, i));
        if (PyErr_Occurred() != nullptr) return false;
        if (!(std::fabs(parameters[i]) <= 1e6)) return refuse("parameters", "finite numbers up to 1e6");
    }
    return true;
}

struct Batch {
    const Entry* entry;
    const uint8_t* images;
    uint8_t* outputs;
    const uint64_t* seeds;
    size_t num_images;
    int height, width;
    double parameters[kMaxParameters];
    bool clean;
    std::atomic<size_t> next{0};
    std::atomic<bool> lacks_memory{false};

    void work() noexcept {
        try {
            const Lent scratch = lend_scratch();
            const size_t size = static_cast<size_t>(height) * static_cast<size_t>(width) * 3;
            for (size_t i; (i = next.fetch_add(1)) < num_images;) {
                scratch->reset();
                Random random(seeds[i]);
                entry->corrupt({images + i * size, outputs + i * size, height, width, parameters, clean, random, *scratch});
            }
        } catch (const std::bad_alloc&) {
            lacks_memory = true;
        }
    }

    void run(int num_threads) {
        std::vector<std::thread> threads;
        threads.reserve(static_cast<size_t>(num_threads));
        // Where the system gives no more threads, those that there are do the work.
        try {
            for (int i = 1; i < num_threads; i++) threads.emplace_back([this] { work(); });
        } catch (const std::system_error&) {
        }
        work();
        for (std::thread& thread : threads) thread.join();
    }
};

bool take_batch(Batch& batch, View& images, View& outputs, View& seeds) {
    const Py_ssize_t num_images = images->shape[0];
    for (int axis = 0; axis < 3; axis++)
        if (outputs->shape[axis] != images->shape[axis]) return refuse("out", "the shape of images");
    const char* begin = static_cast<const char*>(images->buf);
    const char* written = static_cast<const char*>(outputs->buf);
    if (begin < written + outputs->len && written < begin + images->len)
        return refuse("out", "memory that does not overlap with images");
    if (!seeds.has_type("LQ", 8) || seeds->ndim != 1 || seeds->shape[0] != num_images)
        return refuse("seeds", "contiguous uint64 [N]");
    batch.images = static_cast<const uint8_t*>(images->buf);
    batch.outputs = static_cast<uint8_t*>(outputs->buf);
    batch.seeds = static_cast<const uint64_t*>(seeds->buf);
    batch.num_images = static_cast<size_t>(num_images);
    batch.height = static_cast<int>(images->shape[1]);
    batch.width = static_cast<int>(images->shape[2]);
    return true;
}

PyObject* corrupt(PyObject*, PyObject* args) {
    PyObject *image_object, *output_object, *seed_object, *parameters;
    const char* name;
    int clean, num_threads;
    if (!PyArg_ParseTuple(args, "sOOOOpi", &name, &parameters, &image_object, &output_object, &seed_object, &clean,
                          &num_threads))
        return nullptr;
    if (num_threads < 1 || num_threads > kMaxThreads) {
        refuse("num_threads", "1 to 1024");
        return nullptr;
    }
    Batch batch;
    View images, outputs, seeds;
    batch.entry = find_entry(name);
    batch.clean = clean != 0;
    if (batch.entry == nullptr || !take_parameters(batch.parameters, parameters, *batch.entry) ||
        !take_images(images, image_object, "images", false) || !take_images(outputs, output_object, "out", true) ||
        !seeds.take(seed_object, false) || !take_batch(batch, images, outputs, seeds))
        return nullptr;
    bool lacks_memory = false;
    Py_BEGIN_ALLOW_THREADS;
    try {
        batch.run(static_cast<int>(std::min(static_cast<size_t>(num_threads), std::max(batch.num_images, size_t{1}))));
    } catch (const std::bad_alloc&) {
        lacks_memory = true;
    }
    Py_END_ALLOW_THREADS;
    if (lacks_memory || batch.lacks_memory) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyObject* warp(PyObject*, PyObject* args) {
    PyObject *image_object, *matrix_object, *output_object;
    const char* kind;
    int top, left, clean;
    if (!PyArg_ParseTuple(args, "sOOOiip", &kind, &image_object, &matrix_object, &output_object, &top, &left, &clean))
        return nullptr;
    View image, matrices, outputs;
    if (!take_images(image, image_object, "image", false) || !take_images(outputs, output_object, "out", true) ||
        !matrices.take(matrix_object, false))
        return nullptr;
    const bool is_affine = std::strcmp(kind, "affine") == 0;
    if (!is_affine && std::strcmp(kind, "perspective") != 0) {
        refuse("kind", "affine or perspective");
        return nullptr;
    }
    if (image->shape[0] != 1 || !matrices.has_type("d", 8) || matrices->ndim != 2 || matrices->shape[1] != 9 ||
        matrices->shape[0] != outputs->shape[0]) {
        refuse("image, matrices", "one image, and float64 [F, 9] for the F frames of out");
        return nullptr;
    }
    const Size size{static_cast<int>(image->shape[1]), static_cast<int>(image->shape[2])};
    if (top < 0 || left < 0 || top > kMaxSide || left > kMaxSide) {
        refuse("top, left", "0 to 65535");
        return nullptr;
    }
    const Window window{top, left, {static_cast<int>(outputs->shape[1]), static_cast<int>(outputs->shape[2])}};
    const size_t frame_bytes = static_cast<size_t>(outputs->shape[1] * outputs->shape[2] * 3);
    const uint8_t* input = static_cast<const uint8_t*>(image->buf);
    const double* matrix = static_cast<const double*>(matrices->buf);
    uint8_t* output = static_cast<uint8_t*>(outputs->buf);
    Py_BEGIN_ALLOW_THREADS;
    for (Py_ssize_t i = 0; i < outputs->shape[0]; i++, output += frame_bytes, matrix += 9) {
        if (is_affine)
            warp_affine(input, size, matrix, output, window, clean != 0);
        else
            warp_perspective(input, size, matrix, output, window, clean != 0);
    }
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

PyObject* names(PyObject*, PyObject*) {
    PyObject* found = PyList_New(0);
    if (found == nullptr) return nullptr;
    for (const Entry* entry = kCorruptions; entry->name != nullptr; entry++) {
        PyObject* name = PyUnicode_FromString(entry->name);
        const bool is_appended = name != nullptr && PyList_Append(found, name) == 0;
        Py_XDECREF(name);
        if (!is_appended) {
            Py_DECREF(found);
            return nullptr;
        }
    }
    return found;
}

// For tests of the generator itself.
PyObject* draw(PyObject*, PyObject* args) {
    const char* kind;
    unsigned long long seed;
    PyObject* object;
    if (!PyArg_ParseTuple(args, "sKO", &kind, &seed, &object)) return nullptr;
    View out;
    if (!out.take(object, true)) return nullptr;
    const bool is_bits = std::strcmp(kind, "bits") == 0, is_uniform = std::strcmp(kind, "uniforms") == 0;
    if (!is_bits && !is_uniform && std::strcmp(kind, "normals") != 0) {
        refuse("kind", "bits, uniforms or normals");
        return nullptr;
    }
    const size_t count = static_cast<size_t>(out->len) / 4;
    if (!out.has_type(is_bits ? "IL" : "f", 4) || count % Random::kBlock != 0) {
        refuse("out", "contiguous uint32 (bits) or float32, a multiple of 64 values");
        return nullptr;
    }
    Random random(seed);
    if (is_bits)
        random.bits(static_cast<uint32_t*>(out->buf), count);
    else if (is_uniform)
        random.uniforms(static_cast<float*>(out->buf), count);
    else
        random.normals(static_cast<float*>(out->buf), count);
    Py_RETURN_NONE;
}

PyObject* simd(PyObject*, PyObject* args) {
    const char* name = nullptr;
    if (!PyArg_ParseTuple(args, "|z", &name)) return nullptr;
    if (name != nullptr && !choose_simd(name)) {
        refuse("simd", "a level that this processor has");
        return nullptr;
    }
    return PyUnicode_FromString(simd_name());
}

PyMethodDef kMethods[] = {
    {"corrupt", corrupt, METH_VARARGS,
     "corrupt(name, parameters, images [N, H, W, 3], out [N, H, W, 3], seeds [N], clean, num_threads)."},
    {"warp", warp, METH_VARARGS, "warp(kind, image [1, H, W, 3], matrices [F, 9], out [F, h, w, 3], top, left, clean)."},
    {"names", names, METH_NOARGS, "names(): the corruptions that there are, in the table's order."},
    {"draw", draw, METH_VARARGS, "draw(kind, seed, out): random bits, uniforms or normals, for tests."},
    {"simd", simd, METH_VARARGS, "simd(name=None): the instructions in use; with a name, for tests, chooses them."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef kModule = {
    PyModuleDef_HEAD_INIT, "corrupt", "Corrupts batches of images.", -1, kMethods, nullptr, nullptr, nullptr, nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit_corrupt() { return PyModule_Create(&kModule); }
