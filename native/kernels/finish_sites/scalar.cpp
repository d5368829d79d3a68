#include <algorithm>
#include <cstring>

#include "kernels/simd/activate_scalar.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {

void finish_sites(const FinishArgs& args) {
    for (int32_t i = 0; i < args.sites; ++i) {
        int16_t* fresh = args.fresh + int64_t(i) * args.stride;
        int16_t* held = args.held + args.held_at[i];
        int32_t sum = 0;
        for (int32_t c = 0; c < args.channels; ++c) {
            fresh[c] = activated(args.activation, fresh[c], c);
            if (!args.weight) continue;
            const int32_t change = std::clamp(fresh[c] - held[c], -32768, 32767);
            const int32_t product = (change * args.weight[c] + 0x4000) >> 15;
            const int32_t bounded = std::clamp<int32_t>(product, -args.largest, args.largest);
            sum += bounded * bounded;
        }
        args.taken[i] = !args.weight || sum > args.limit;
        if (args.taken[i]) std::memcpy(held, fresh, sizeof(int16_t) * args.channels);
    }
}

}  // namespace mquans::MQ_ISA
