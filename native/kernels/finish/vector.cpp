// Epilogue of a layer and compare of the next in one pass: what is between them stays in registers.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/compare.h"

namespace mquans::MQ_ISA {
namespace {

// Calls f(first channel, accumulators, pixel) for every vector of every touched pixel; it returns grid
// values, which are compared with what the reader holds.
template <bool LIST, bool HOLD, class F>
MQ_FORCE void rows(const Accumulators& acc, const QuantizeArgs& a, F&& f) {
    const Rule rule(a);
    const ChangeList changes = a.changes;
    const MaskView touched = a.dirty;
    const int32_t channels = a.x.channels, acc_stride = acc.pixel_stride;
    const int32_t* const all_acc = acc.data;
    int16_t* const all_held = a.held;
    const int64_t row_capacity = a.row_capacity;
    int64_t* const row_changed = a.row_changed;
    for (int32_t r = a.row_begin, end = a.row_end; r < end; ++r) {
        clear_row(changes, r, touched.width);
        uint32_t at = uint32_t(r * row_capacity);
        int64_t changed_in_row = 0;
        const int64_t row_pixel = int64_t(r) * touched.width;
        uint64_t* pixels = changes.pixels.row(r);
        for_each_pixel(touched.row(r), touched.words(), [&](int32_t x) {
            const int64_t p = row_pixel + x;
            const int32_t* from = all_acc + p * acc_stride;
            int16_t* held = all_held + p * channels;
            ListWriter<LIST> list(changes, at);
            for (int32_t c = 0; c < channels; c += step) {
                Delta delta;
                const Changed changed =
                    compare<HOLD>(rule, f(c, from + c, p), held + c, c, channels - c, delta);
                list.add(changed, delta, c);
            }
            at = list.close(changes, p);
            pixels[x >> 6] |= uint64_t(list.count != 0) << (x & 63);
            changed_in_row += list.count;
        });
        row_changed[r] = changed_in_row;
    }
}

template <class F>
MQ_FORCE void by_kind(const Accumulators& acc, const QuantizeArgs& a, F&& f) {
    if (a.hold)
        a.list ? rows<true, true>(acc, a, f) : rows<false, true>(acc, a, f);
    else
        a.list ? rows<true, false>(acc, a, f) : rows<false, false>(acc, a, f);
}

}  // namespace

void finish(const EpilogueArgs& e, const QuantizeArgs& a) {
    const float infinity = __builtin_inff();
    const bool clip = e.activated && e.activation == UnaryKind::clip;
    const float low = !e.activated ? -infinity : clip ? e.a : 0.0f;
    const float high = clip ? e.b : infinity;
    const TensorView y = e.y;
    const float *const scale = e.scale, *const bias = e.bias, *const inverse_delta = a.inverse_delta;
    const float limit = a.limit;
    by_kind(e.acc, a, [=](int32_t c, const int32_t* acc, int64_t p) {
        const Values v = clamp(affine(acc, scale + c, bias + c), low, high);
        store_values(y.pixel(p) + c, v, y.channels - c);
        return rounded(clamp(times(v, inverse_delta + c), -limit, limit));
    });
}

void requantize(const RequantizeArgs& e, const QuantizeArgs& a) {
    const float *const scale = e.scale, *const bias = e.bias, *const high = e.high;
    const float low = e.low;
    by_kind(e.acc, a, [=](int32_t c, const int32_t* acc, int64_t) {
        return rounded(clamp(affine(acc, scale + c, bias + c), low, high + c));
    });
}

}  // namespace mquans::MQ_ISA
