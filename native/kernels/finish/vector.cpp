// Epilogue of a layer and compare of the next in one pass: what is between them stays in registers.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/compare.h"

namespace mquans::MQ_ISA {
namespace {

template <bool LIST, bool HOLD>
void rows(const EpilogueArgs& e, const QuantizeArgs& a, float low, float high, bool store) {
    const Rule rule(a);
    const ChangeList changes = a.changes;
    const TensorView y = e.y;
    const int32_t channels = y.channels, acc_stride = e.acc.pixel_stride;
    const int32_t* const all_acc = e.acc.data;
    const float *const scale = e.scale, *const bias = e.bias;
    int16_t* const all_held = a.held;
    for (int32_t r = e.row_begin; r < e.row_end; ++r) {
        clear_row(changes, r, y.width);
        uint32_t at = uint32_t(r * a.row_capacity);
        int64_t changed_in_row = 0;
        const int64_t row_pixel = int64_t(r) * y.width;
        uint64_t* pixels = changes.pixels.row(r);
        for_each_pixel(e.touched.row(r), e.touched.words(), [&](int32_t x) {
            const int64_t p = row_pixel + x;
            const int32_t* acc = all_acc + p * acc_stride;
            int16_t* held = all_held + p * channels;
            ListWriter<LIST> list(changes, at);
            for (int32_t c = 0; c < channels; c += step) {
                const Values v = affine(acc + c, scale + c, bias + c, low, high);
                if (store) store_values(y.pixel(p) + c, v, channels - c);
                Delta delta;
                const Bits changed = compare<HOLD>(rule, v, held + c, c, channels - c, delta);
                list.add(changed, delta, c);
            }
            at = list.close(changes, p);
            pixels[x >> 6] |= uint64_t(list.count != 0) << (x & 63);
            changed_in_row += list.count;
        });
        a.row_changed[r] = changed_in_row;
    }
}

}  // namespace

void finish(const EpilogueArgs& e, const QuantizeArgs& a, bool store) {
    const float infinity = __builtin_inff();
    const bool clip = e.activated && e.activation == UnaryKind::clip;
    const float low = !e.activated ? -infinity : clip ? e.a : 0.0f;
    const float high = clip ? e.b : infinity;
    if (a.hold)
        a.list ? rows<true, true>(e, a, low, high, store) : rows<false, true>(e, a, low, high, store);
    else
        a.list ? rows<true, false>(e, a, low, high, store) : rows<false, false>(e, a, low, high, store);
}

}  // namespace mquans::MQ_ISA
