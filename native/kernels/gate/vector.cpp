// Squares of weighted changes, a register of channels at a time. Weights behind the last channel are zero,
// so what lies there does not count.
#include "kernels/simd/words.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

// Channels come in whole registers but for the last ones, which must not be written over.
MQ_FORCE void copy(const int16_t* from, int16_t* to, int32_t channels) {
#if defined(__AVX512F__)
    int32_t c = 0;
    for (; c + words <= channels; c += words) store16(to + c, load16(from + c));
    if (c < channels) {
        const __mmask32 mask = (uint32_t(1) << (channels - c)) - 1;
        _mm512_mask_storeu_epi16(to + c, mask, load16(from + c));
    }
#else
    int32_t c = 0;
    for (; c + words <= channels; c += words) store16(to + c, load16(from + c));
    if (channels & 8) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + c), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + c)));
        c += 8;
    }
    if (channels & 4) {
        std::memcpy(to + c, from + c, 8);
        c += 4;
    }
    for (; c < channels; ++c) to[c] = from[c];
#endif
}

}  // namespace

void gate(const GateArgs& args) {
    const int16_t* fresh = args.fresh;
    if (!args.weight) {
        for (int32_t i = 0; i < args.sites; ++i, fresh += args.fresh_stride) {
            copy(fresh, args.held + args.held_at[i], args.channels);
            args.taken[i] = 1;
        }
        return;
    }
    const I16 most = all16(args.largest), least = all16(int16_t(-args.largest));
    for (int32_t i = 0; i < args.sites; ++i, fresh += args.fresh_stride) {
        int16_t* held = args.held + args.held_at[i];
        I32 sum = zero32();
        for (int32_t c = 0; c < args.channels; c += words) {
            const I16 product = mulhrs16(subs16(load16(fresh + c), load16(held + c)), load16(args.weight + c));
            sum = add32(sum, squares(max16(min16(product, most), least)));
        }
        const bool taken = sum32(sum) > args.limit;
        args.taken[i] = taken;
        if (taken) copy(fresh, held, args.channels);
    }
}

}  // namespace mquans::MQ_ISA
