// The Python module: a table of contents.
#include "bindings/bind.h"
#include "bindings/interpreter.h"
#include "mquans/isa.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

NB_MODULE(_native, m) {
    m.def("available_isas", &mquans::available_isas,
          "Instruction sets that this CPU has, slowest first.");
    bind_program(m);
    bind_operators(m);
    bind_sites(m);
    bind_stream(m);
    bind_interpreter(m);
}
