// The kernels over listed sites of one instruction set.
#include "kernels/sites_isa.h"

#define MQ_JOIN_(a, b) a##b
#define MQ_JOIN(a, b) MQ_JOIN_(a, b)

namespace mquans {

const SiteKernels& MQ_JOIN(site_kernels_, MQ_ISA)() {
#if defined(__AVX512F__)
    constexpr int32_t outputs = 32, half = 16;
#elif defined(__AVX2__)
    constexpr int32_t outputs = 16, half = 8;
#else
    constexpr int32_t outputs = 16, half = 16;
#endif
#if defined(__AVX2__)
    constexpr auto winograd = MQ_ISA::winograd;
#else
    constexpr void (*winograd)(const WinogradArgs&) = nullptr;
#endif
#if defined(MQ_BYTES)
    constexpr auto take_bytes = MQ_ISA::take_bytes;
    constexpr auto conv_bytes = MQ_ISA::conv_bytes;
#else
    constexpr void (*take_bytes)(const ByteArgs&) = nullptr;
    constexpr void (*conv_bytes)(const ConvArgs&) = nullptr;
#endif
    static const SiteKernels table = {
        outputs, half, MQ_ISA::order, MQ_ISA::conv_sites, winograd, take_bytes, conv_bytes, MQ_ISA::depthwise_sites,
        MQ_ISA::finish_sites, MQ_ISA::split_floats, MQ_ISA::split_bytes, MQ_ISA::input_compare, MQ_ISA::input_take,
        MQ_ISA::encode, MQ_ISA::decode, MQ_ISA::combine, MQ_ISA::window_largest, MQ_ISA::window_sum,
        MQ_ISA::take_strided};
    return table;
}

}  // namespace mquans
