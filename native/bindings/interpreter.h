// Running without the interpreter's lock, and what outlives the interpreter.
#pragma once

#include <nanobind/nanobind.h>

// In place of nb::gil_scoped_release: a daemon thread that wants the lock back while the interpreter ends
// is ended by Python, which unwinds the stack and so ends the whole process. Such a thread sleeps instead.
class Unlocked {
public:
    Unlocked() : state_(PyEval_SaveThread()) {}
    ~Unlocked();
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

private:
    PyThreadState* state_;
};

void bind_interpreter(nanobind::module_& m);
