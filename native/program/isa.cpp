#include "mquans/isa.h"

#include <stdexcept>

namespace mquans {

std::vector<std::string> available_isas() {
    std::vector<std::string> names{"scalar"};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2")) {
        names.push_back("avx2");
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni"))
            names.push_back("avx512");
    }
    return names;
}

namespace {

template <class Table>
const Table& pick(const std::string& isa, const Table& (*scalar)(), const Table& (*avx2)(), const Table& (*avx512)()) {
    for (const std::string& name : available_isas())
        if (name == isa) return isa == "avx512" ? avx512() : isa == "avx2" ? avx2() : scalar();
    throw std::invalid_argument("this CPU cannot run the instruction set '" + isa + "'");
}

}  // namespace

const KernelTable& kernels_for(const std::string& isa) {
    return pick(isa, kernels_scalar, kernels_avx2, kernels_avx512);
}

const SiteKernels& site_kernels_for(const std::string& isa) {
    return pick(isa, site_kernels_scalar, site_kernels_avx2, site_kernels_avx512);
}

}  // namespace mquans
