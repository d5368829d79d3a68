#include "mquans/isa.h"

#include <stdexcept>

namespace mquans {

std::vector<std::string> available_isas() {
    std::vector<std::string> names{"scalar"};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) {
        names.push_back("avx2");
        if (__builtin_cpu_supports("avxvnni")) names.push_back("avx2_vnni");
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni"))
            names.push_back("avx512");
    }
    return names;
}

namespace {

struct Tables {
    const char* isa;
    const KernelTable& (*kernels)();
    const SiteKernels& (*site_kernels)();
};

const Tables all_tables[] = {
    {"scalar", kernels_scalar, site_kernels_scalar},
    {"avx2", kernels_avx2, site_kernels_avx2},
    {"avx2_vnni", kernels_avx2_vnni, site_kernels_avx2_vnni},
    {"avx512", kernels_avx512, site_kernels_avx512},
};

const Tables& tables_for(const std::string& isa) {
    for (const std::string& name : available_isas())
        for (const Tables& tables : all_tables)
            if (name == isa && isa == tables.isa) return tables;
    throw std::invalid_argument("this CPU cannot run the instruction set '" + isa + "'");
}

}  // namespace

const KernelTable& kernels_for(const std::string& isa) { return tables_for(isa).kernels(); }

const SiteKernels& site_kernels_for(const std::string& isa) { return tables_for(isa).site_kernels(); }

}  // namespace mquans
