#include "pool.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace shardtools {
namespace {

struct Batch {
    const std::function<void(size_t, int)>* work;
    size_t count;
    size_t next = 0;
    size_t finished = 0;
    std::condition_variable done{};
};

}  // namespace

struct Pool::State {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<Batch*> batches;
    std::vector<std::thread> threads;
    bool stopping = false;

    void serve(int thread) {
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            wake.wait(lock, [this] { return stopping || !batches.empty(); });
            if (stopping) return;
            Batch* batch = batches.front();
            const size_t index = batch->next++;
            if (batch->next == batch->count) batches.pop_front();
            lock.unlock();
            (*batch->work)(index, thread);
            lock.lock();
            if (++batch->finished == batch->count) batch->done.notify_all();
        }
    }

    void stop() {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            stopping = true;
        }
        wake.notify_all();
        for (std::thread& thread : threads) thread.join();
    }
};

Pool::Pool(int num_threads) : num_threads_(num_threads), state_(std::make_unique<State>()) {
    try {
        for (int i = 0; i < num_threads; i++) state_->threads.emplace_back([state = state_.get(), i] { state->serve(i); });
    } catch (...) {
        state_->stop();
        throw;
    }
}

Pool::~Pool() { state_->stop(); }

void Pool::run(size_t count, const std::function<void(size_t, int)>& work) {
    if (count == 0) return;
    std::unique_lock<std::mutex> lock(state_->mutex);
    Batch batch{&work, count};
    state_->batches.push_back(&batch);
    state_->wake.notify_all();
    batch.done.wait(lock, [&batch] { return batch.finished == batch.count; });
}

}  // namespace shardtools
