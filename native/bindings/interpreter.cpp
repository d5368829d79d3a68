#include "bindings/interpreter.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

std::atomic<bool> ending{false};
std::atomic<int> returning{0};  // threads that are about to take the lock back, or wait for it
std::thread::id ending_thread;  // written before `ending`

// From here on no thread but this one takes the lock back; those that already wait for it get it now.
void end() {
    ending_thread = std::this_thread::get_id();
    ending = true;
    nb::set_leak_warnings(false);  // threads that go on hold streams
    nb::gil_scoped_release release;
    while (returning > 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
}

}  // namespace

Unlocked::~Unlocked() {
    ++returning;
    if (ending && std::this_thread::get_id() != ending_thread) {
        --returning;
        for (;;) pause();
    }
    PyEval_RestoreThread(state_);
    --returning;
}

void bind_interpreter(nb::module_& m) {
    m.def(
        "keep_forever", [](nb::object object) { object.release(); }, "object"_a,
        "Never frees an object that must not be ended in this process.");
    // Threads that were returning do not exist in a forked child.
    pthread_atfork(nullptr, nullptr, [] { returning = 0; });
    nb::module_::import_("atexit").attr("register")(nb::cpp_function(&end));
}
