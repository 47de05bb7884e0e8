// The Python module `shardtools._native.core`: checks every argument, then works without the interpreter's lock.
//
// Written against the limited C API of Python 3.11, so that one build serves every later Python.
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <unistd.h>

#include "picture.h"
#include "pool.h"

namespace {

using namespace shardtools;

constexpr char kPoolName[] = "shardtools._native.core.pool";
constexpr int kMaxThreads = 1024;
constexpr int kMaxSide = 65535;

struct Engine {
    explicit Engine(int num_threads) : workspaces(static_cast<size_t>(num_threads)), pool(num_threads) {}
    std::vector<Workspace> workspaces;
    Pool pool;
};

// Threads do not follow into a forked child, where an engine is begun anew; the old one's memory is left alone, since a
// thread may have been in the middle of it.
struct Holder {
    int num_threads;
    pid_t process = 0;
    std::unique_ptr<Engine> engine{};

    Engine& current() {
        if (engine != nullptr && process != getpid()) (void)engine.release();
        if (engine == nullptr) {
            engine = std::make_unique<Engine>(num_threads);
            process = getpid();
        }
        return *engine;
    }

    ~Holder() {
        if (engine != nullptr && process != getpid()) (void)engine.release();
    }
};

// A buffer that is given back when it goes out of scope.
class View {
public:
    View() = default;
    View(View&& other) noexcept : view_(other.view_), is_held_(other.is_held_) { other.is_held_ = false; }
    View(const View&) = delete;
    View& operator=(const View&) = delete;
    ~View() {
        if (is_held_) PyBuffer_Release(&view_);
    }
    bool take(PyObject* object, int flags) {
        is_held_ = PyObject_GetBuffer(object, &view_, flags) == 0;
        return is_held_;
    }
    const Py_buffer* operator->() const { return &view_; }
    bool is_held() const { return is_held_; }

private:
    Py_buffer view_{};
    bool is_held_ = false;
};

bool refuse(const char* name, const char* expected) {
    PyErr_Format(PyExc_ValueError, "%s: expected %s", name, expected);
    return false;
}

// NumPy writes int64 as "l" or "q"; an absent format means bytes.
bool has_format(const View& view, const char* letters) {
    const char* format = view->format == nullptr ? "B" : view->format;
    if (*format == '<' || *format == '=' || *format == '@') format++;
    return std::strlen(format) == 1 && std::strchr(letters, *format) != nullptr;
}

// A contiguous array with exactly these dimensions.
bool take_array(View& view, PyObject* object, const char* name, const char* letters, Py_ssize_t item_size,
                std::initializer_list<Py_ssize_t> shape, bool is_written) {
    if (!view.take(object, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (is_written ? PyBUF_WRITABLE : 0))) return false;
    bool matches = has_format(view, letters) && view->itemsize == item_size &&
                   view->ndim == static_cast<int>(shape.size());
    int axis = 0;
    for (const Py_ssize_t size : shape) {
        if (matches && size >= 0) matches = view->shape[axis] == size;
        axis++;
    }
    return matches || refuse(name, "a contiguous array of the documented type and shape");
}

// [N, K, H, W, 3] bytes: images may lie anywhere, each is contiguous.
bool take_target(View& view, PyObject* object, Py_ssize_t num_images) {
    if (!view.take(object, PyBUF_STRIDED | PyBUF_FORMAT | PyBUF_WRITABLE)) return false;
    constexpr char kExpected[] = "uint8 arrays [N, K, H, W, 3] whose images are contiguous and do not overlap";
    if (!has_format(view, "B") || view->itemsize != 1 || view->ndim != 5) return refuse("targets", kExpected);
    const Py_ssize_t* shape = view->shape;
    const Py_ssize_t* strides = view->strides;
    if (shape[0] != num_images || shape[4] != 3 || shape[2] < 1 || shape[3] < 1 || shape[2] > kMaxSide ||
        shape[3] > kMaxSide)
        return refuse("targets", kExpected);
    const Py_ssize_t image_bytes = shape[2] * shape[3] * 3;
    const bool is_contiguous = strides[4] == 1 && (strides[3] == 3 || shape[3] == 1) &&
                               (strides[2] == shape[3] * 3 || shape[2] == 1);
    const bool is_apart = (shape[0] < 2 || std::abs(strides[0]) >= image_bytes) &&
                          (shape[1] < 2 || std::abs(strides[1]) >= image_bytes);
    return (is_contiguous && is_apart) || refuse("targets", kExpected);
}

struct Inputs {
    std::vector<View> images, targets;
    View crops, windows, flips, operations, values, statuses, times, raw_sizes;
    Py_ssize_t num_images = 0, num_crops = 0, num_operations = 0;
};

bool take_images(Inputs& inputs, PyObject* images) {
    if (!PyList_Check(images)) return refuse("images", "a list of bytes-like objects");
    inputs.num_images = PyList_Size(images);
    inputs.images.resize(static_cast<size_t>(inputs.num_images));
    for (Py_ssize_t i = 0; i < inputs.num_images; i++)
        if (!inputs.images[static_cast<size_t>(i)].take(PyList_GetItem(images, i), PyBUF_SIMPLE)) return false;
    return true;
}

bool take_targets(Inputs& inputs, PyObject* targets) {
    if (!PyList_Check(targets)) return refuse("targets", "a list of arrays");
    inputs.targets.resize(static_cast<size_t>(PyList_Size(targets)));
    for (size_t i = 0; i < inputs.targets.size(); i++) {
        PyObject* target = PyList_GetItem(targets, static_cast<Py_ssize_t>(i));
        if (!take_target(inputs.targets[i], target, inputs.num_images)) return false;
        inputs.num_crops += inputs.targets[i]->shape[1];
    }
    return inputs.num_crops > 0 || inputs.num_images == 0 || refuse("targets", "at least one crop");
}

bool take_operations(Inputs& inputs, PyObject* operations, PyObject* values) {
    if (operations == Py_None) return true;
    if (!take_array(inputs.operations, operations, "operations", "B", 1, {inputs.num_images, inputs.num_crops, -1},
                    false))
        return false;
    inputs.num_operations = inputs.operations->shape[2];
    if (!take_array(inputs.values, values, "values", "d", 8,
                    {inputs.num_images, inputs.num_crops, inputs.num_operations}, false))
        return false;
    const Py_ssize_t count = inputs.num_images * inputs.num_crops * inputs.num_operations;
    const double* numbers = static_cast<const double*>(inputs.values->buf);
    for (Py_ssize_t i = 0; i < count; i++)
        if (!(std::fabs(numbers[i]) <= 1e6)) return refuse("values", "finite numbers up to 1e6");
    return true;
}

CropTask task_of(const Inputs& inputs, const View& target, Py_ssize_t image, Py_ssize_t crop, Py_ssize_t in_target) {
    const Py_ssize_t index = image * inputs.num_crops + crop;
    const int32_t* box = static_cast<const int32_t*>(inputs.crops->buf) + 4 * index;
    CropTask task;
    task.height = static_cast<int>(target->shape[2]);
    task.width = static_cast<int>(target->shape[3]);
    // A negative size would overflow here; the clamp turns it into a crop that fits no image.
    const auto end = [](int begin, int size) {
        return size < 1 || begin < 0 || begin > kMaxSide || size > kMaxSide ? -1 : begin + size;
    };
    task.crop = {box[0], box[1], end(box[0], box[2]), end(box[1], box[3])};
    task.full_width = task.width;
    task.full_height = task.height;
    task.left = task.top = 0;
    if (inputs.windows.is_held()) {
        const int32_t* window = static_cast<const int32_t*>(inputs.windows->buf) + 4 * index;
        task.full_width = window[0];
        task.full_height = window[1];
        task.left = window[2];
        task.top = window[3];
    }
    task.flip = static_cast<const uint8_t*>(inputs.flips->buf)[index] != 0;
    task.target = static_cast<uint8_t*>(target->buf) + image * target->strides[0] + in_target * target->strides[1];
    task.num_operations = static_cast<int>(inputs.num_operations);
    task.operations = nullptr;
    task.values = nullptr;
    if (task.num_operations > 0) {
        task.operations = static_cast<const uint8_t*>(inputs.operations->buf) + index * inputs.num_operations;
        task.values = static_cast<const double*>(inputs.values->buf) + index * inputs.num_operations;
    }
    return task;
}

// Every crop of every image, image by image; empty with an exception set if a window lies outside its picture.
bool list_tasks(const Inputs& inputs, std::vector<CropTask>& tasks) {
    tasks.reserve(static_cast<size_t>(inputs.num_images * inputs.num_crops));
    for (Py_ssize_t image = 0; image < inputs.num_images; image++) {
        Py_ssize_t crop = 0;
        for (const View& target : inputs.targets)
            for (Py_ssize_t i = 0; i < target->shape[1]; i++) tasks.push_back(task_of(inputs, target, image, crop++, i));
    }
    for (const CropTask& task : tasks)
        if (task.full_width < 1 || task.full_height < 1 || task.full_width > kMaxSide || task.full_height > kMaxSide ||
            task.left < 0 || task.top < 0 || task.left > task.full_width - task.width ||
            task.top > task.full_height - task.height)
            return refuse("windows", "(full width, full height, left, top) with the target's size inside");
    return true;
}

PyObject* to_python(const std::exception& error) {
    // As Python says it of its own threads.
    if (dynamic_cast<const std::system_error*>(&error) != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "can't start new thread");
        return nullptr;
    }
    PyErr_SetString(PyExc_MemoryError, error.what());
    return nullptr;
}

Holder* holder_of(PyObject* capsule) { return static_cast<Holder*>(PyCapsule_GetPointer(capsule, kPoolName)); }

PyObject* make_pool(PyObject*, PyObject* args) {
    int num_threads;
    if (!PyArg_ParseTuple(args, "i", &num_threads)) return nullptr;
    if (num_threads < 1 || num_threads > kMaxThreads) {
        refuse("num_threads", "1 to 1024");
        return nullptr;
    }
    Holder* holder = new (std::nothrow) Holder{num_threads};
    if (holder == nullptr) return PyErr_NoMemory();
    return PyCapsule_New(holder, kPoolName, [](PyObject* capsule) { delete holder_of(capsule); });
}

bool take_inputs(Inputs& inputs, PyObject* images, PyObject* crops, PyObject* windows, PyObject* flips,
                 PyObject* targets, PyObject* operations, PyObject* values, PyObject* statuses, PyObject* times) {
    if (!take_images(inputs, images) || !take_targets(inputs, targets)) return false;
    const Py_ssize_t n = inputs.num_images, k = inputs.num_crops;
    return take_array(inputs.crops, crops, "crops", "il", 4, {n, k, 4}, false) &&
           (windows == Py_None || take_array(inputs.windows, windows, "windows", "il", 4, {n, k, 4}, false)) &&
           take_array(inputs.flips, flips, "flips", "B?", 1, {n, k}, false) &&
           take_operations(inputs, operations, values) &&
           take_array(inputs.statuses, statuses, "statuses", "il", 4, {n}, true) &&
           take_array(inputs.times, times, "times", "ql", 8, {3}, true);
}

PyObject* decode(PyObject*, PyObject* args) {
    PyObject *pool, *images, *crops, *windows, *flips, *targets, *operations, *values, *statuses, *times;
    PyObject* raw_sizes = Py_None;
    int filter, allow_scaled, tolerate_damage;
    long long max_pixels;
    if (!PyArg_ParseTuple(args, "OOOOOOOOOOippL|O", &pool, &images, &crops, &windows, &flips, &targets, &operations,
                          &values, &statuses, &times, &filter, &allow_scaled, &tolerate_damage, &max_pixels,
                          &raw_sizes))
        return nullptr;
    Holder* holder = holder_of(pool);
    if (holder == nullptr) return nullptr;
    if (filter < kArea || filter > kBicubic || max_pixels < 1 || max_pixels > int64_t{kMaxSide} * kMaxSide) {
        refuse("filter, max_pixels", "a known filter and a positive number of pixels");
        return nullptr;
    }
    try {
        Inputs inputs;
        if (!take_inputs(inputs, images, crops, windows, flips, targets, operations, values, statuses, times))
            return nullptr;
        if (raw_sizes != Py_None &&
            !take_array(inputs.raw_sizes, raw_sizes, "raw_sizes", "il", 4, {inputs.num_images, 2}, false))
            return nullptr;
        std::vector<CropTask> tasks;
        if (!list_tasks(inputs, tasks)) return nullptr;
        const PictureOptions options{static_cast<Filter>(filter),
                                     {static_cast<int64_t>(max_pixels), tolerate_damage != 0},
                                     allow_scaled != 0};
        Engine& engine = holder->current();
        Times spent;
        int32_t* status = static_cast<int32_t*>(inputs.statuses->buf);
        const size_t num_crops = static_cast<size_t>(inputs.num_crops);
        const int32_t* raw_size =
            inputs.raw_sizes.is_held() ? static_cast<const int32_t*>(inputs.raw_sizes->buf) : nullptr;
        const std::function<void(size_t, int)> work = [&](size_t i, int thread) {
            const View& image = inputs.images[i];
            const uint8_t* bytes = static_cast<const uint8_t*>(image->buf);
            const size_t length = static_cast<size_t>(image->len);
            const CropTask* crops_of_image = tasks.data() + i * num_crops;
            Workspace& workspace = engine.workspaces[static_cast<size_t>(thread)];
            if (raw_size != nullptr && raw_size[2 * i] != 0)
                status[i] = make_crops_of_pixels(bytes, length, raw_size[2 * i], raw_size[2 * i + 1], crops_of_image,
                                                 static_cast<int>(num_crops), options, workspace, spent);
            else
                status[i] = make_crops(bytes, length, crops_of_image, static_cast<int>(num_crops), options, workspace,
                                       spent);
        };
        Py_BEGIN_ALLOW_THREADS;
        engine.pool.run(static_cast<size_t>(inputs.num_images), work);
        Py_END_ALLOW_THREADS;
        int64_t* nanoseconds = static_cast<int64_t*>(inputs.times->buf);
        nanoseconds[0] += spent.decode;
        nanoseconds[1] += spent.resize;
        nanoseconds[2] += spent.color;
    } catch (const std::exception& error) {
        return to_python(error);
    }
    Py_RETURN_NONE;
}

PyObject* read_sizes(PyObject*, PyObject* args) {
    PyObject *images, *sizes, *statuses;
    long long max_pixels;
    if (!PyArg_ParseTuple(args, "OOOL", &images, &sizes, &statuses, &max_pixels)) return nullptr;
    try {
        Inputs inputs;
        View size_view;
        if (!take_images(inputs, images) ||
            !take_array(size_view, sizes, "sizes", "il", 4, {inputs.num_images, 2}, true) ||
            !take_array(inputs.statuses, statuses, "statuses", "il", 4, {inputs.num_images}, true))
            return nullptr;
        const Limits limits{static_cast<int64_t>(max_pixels), false};
        int32_t* size = static_cast<int32_t*>(size_view->buf);
        int32_t* status = static_cast<int32_t*>(inputs.statuses->buf);
        for (size_t i = 0; i < inputs.images.size(); i++) {
            const View& image = inputs.images[i];
            status[i] = read_size(static_cast<const uint8_t*>(image->buf), static_cast<size_t>(image->len), limits,
                                  &size[2 * i], &size[2 * i + 1]);
        }
    } catch (const std::exception& error) {
        return to_python(error);
    }
    Py_RETURN_NONE;
}

PyObject* recolor(PyObject*, PyObject* args) {
    PyObject *target, *operations, *values;
    if (!PyArg_ParseTuple(args, "OOO", &target, &operations, &values)) return nullptr;
    try {
        Inputs inputs;
        inputs.num_images = inputs.num_crops = 1;
        View image;
        if (!take_target(image, target, 1) || !take_operations(inputs, operations, values)) return nullptr;
        if (image->shape[1] != 1 || !inputs.operations.is_held()) {
            refuse("targets, operations", "one image and its operations");
            return nullptr;
        }
        ColorScratch scratch;
        apply_colors(static_cast<uint8_t*>(image->buf), static_cast<int>(image->shape[3]),
                      static_cast<int>(image->shape[2]), static_cast<const uint8_t*>(inputs.operations->buf),
                      static_cast<const double*>(inputs.values->buf), static_cast<int>(inputs.num_operations), scratch);
    } catch (const std::exception& error) {
        return to_python(error);
    }
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

#define SHARDTOOLS_TEXT_OF(x) #x
#define SHARDTOOLS_TEXT(x) SHARDTOOLS_TEXT_OF(x)

PyObject* library(PyObject*, PyObject*) {
#ifdef LIBJPEG_TURBO_VERSION
    return PyUnicode_FromString("libjpeg-turbo " SHARDTOOLS_TEXT(LIBJPEG_TURBO_VERSION));
#else
    return PyUnicode_FromString("libjpeg " SHARDTOOLS_TEXT(JPEG_LIB_VERSION));
#endif
}

PyMethodDef kMethods[] = {
    {"make_pool", make_pool, METH_VARARGS, "make_pool(num_threads): threads for decode(), started when first needed."},
    {"decode", decode, METH_VARARGS,
     "decode(pool, images, crops, windows, flips, targets, operations, values, statuses, times, filter, allow_scaled, "
     "tolerate_damage, max_pixels, raw_sizes=None): decodes a batch; see shardtools/decode/native.py."},
    {"read_sizes", read_sizes, METH_VARARGS, "read_sizes(images, sizes, statuses, max_pixels): header only."},
    {"recolor", recolor, METH_VARARGS,
     "recolor(target [1, 1, H, W, 3], operations [1, 1, P], values [1, 1, P]): colour operations in place."},
    {"simd", simd, METH_VARARGS, "simd(name=None): the instructions in use; with a name, for tests, chooses them."},
    {"library", library, METH_NOARGS, "library(): name and version of the JPEG library."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef kModule = {
    PyModuleDef_HEAD_INIT, "core", "Decodes, crops, resizes and recolours batches of JPEGs.", -1, kMethods,
    nullptr,               nullptr, nullptr,                                                  nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit_core() { return PyModule_Create(&kModule); }
