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

const KernelTable& kernels_for(const std::string& isa) {
    for (const std::string& name : available_isas())
        if (name == isa) {
            if (isa == "avx512") return kernels_avx512();
            if (isa == "avx2") return kernels_avx2();
            return kernels_scalar();
        }
    throw std::invalid_argument("this CPU cannot run the instruction set '" + isa + "'");
}

}  // namespace mquans
