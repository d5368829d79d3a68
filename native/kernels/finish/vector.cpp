// Epilogue of a layer and compare of the next in one pass: what is between them stays in registers.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/compare.h"

namespace mquans::MQ_ISA {
namespace {

// Calls f(first channel, accumulators, pixel) for every vector of every touched pixel; it returns grid
// values, which are compared with what the reader holds. WHOLE: channels fill their vectors.
template <bool LIST, bool HOLD, bool WHOLE, class F>
MQ_FORCE void rows(const Accumulators& acc, const QuantizeArgs& a, F&& f) {
    const Rule rule(a);
    const ChangeList changes = a.changes;
    const MaskView touched = a.dirty;
    const int32_t channels = a.x.channels, acc_stride = acc.pixel_stride;
    const int64_t row_capacity = a.row_capacity;
    for (int32_t r = a.row_begin, end = a.row_end; r < end; ++r) {
        clear_row(changes, r, touched.width);
        uint32_t at = uint32_t(r * row_capacity);
        int64_t changed_in_row = 0;
        const int64_t row_pixel = int64_t(r) * touched.width;
        uint64_t* const pixels = changes.pixels.row(r);
        for_each_run(touched.row(r), touched.width, [&](int32_t first, int32_t last) {
            const int32_t* from = acc.data + (row_pixel + first) * acc_stride;
            int16_t* held = a.held + (row_pixel + first) * channels;
            for (int32_t x = first; x < last; ++x, from += acc_stride, held += channels) {
                ListWriter<LIST> list(changes, at);
                for (int32_t c = 0; c < channels; c += step) {
                    Delta delta;
                    const Grid q = f(c, from + c, row_pixel + x);
                    const int32_t n = WHOLE ? step : channels - c;
                    const Changed changed = compare<HOLD>(rule, q, held + c, c, n, delta);
                    list.add(changed, delta, c);
                }
                at = list.close(changes, row_pixel + x);
                pixels[x >> 6] |= uint64_t(list.count != 0) << (x & 63);
                changed_in_row += list.count;
            }
        });
        a.row_changed[r] = changed_in_row;
    }
}

template <bool LIST, bool HOLD, class F>
MQ_FORCE void by_width(const Accumulators& acc, const QuantizeArgs& a, F&& f) {
    a.x.channels % step == 0 ? rows<LIST, HOLD, true>(acc, a, f) : rows<LIST, HOLD, false>(acc, a, f);
}

template <class F>
MQ_FORCE void by_kind(const Accumulators& acc, const QuantizeArgs& a, F&& f) {
    if (a.hold)
        a.list ? by_width<true, true>(acc, a, f) : by_width<false, true>(acc, a, f);
    else
        a.list ? by_width<true, false>(acc, a, f) : by_width<false, false>(acc, a, f);
}

}  // namespace

void requantize(const RequantizeArgs& e, const QuantizeArgs& a) {
    const float *const scale = e.scale, *const bias = e.bias, *const high = e.high;
    const float low = e.low;
    by_kind(e.acc, a, [=](int32_t c, const int32_t* acc, int64_t) {
        return rounded(clamp(affine(acc, scale + c, bias + c), low, high + c));
    });
}

void finish(const EpilogueArgs& e, const RequantizeArgs& to_grid, const QuantizeArgs& a) {
    const float infinity = __builtin_inff();
    const bool clip = e.activated && e.activation == UnaryKind::clip;
    const float least = !e.activated ? -infinity : clip ? e.a : 0.0f;
    const float most = clip ? e.b : infinity;
    const TensorView y = e.y;
    const float *const y_scale = e.scale, *const y_bias = e.bias;
    const float *const scale = to_grid.scale, *const bias = to_grid.bias, *const high = to_grid.high;
    const float low = to_grid.low;
    by_kind(e.acc, a, [=](int32_t c, const int32_t* acc, int64_t p) {
        const Values v = clamp(affine(acc, y_scale + c, y_bias + c), least, most);
        store_values(y.pixel(p) + c, v, y.channels - c);
        return rounded(clamp(affine(acc, scale + c, bias + c), low, high + c));
    });
}

}  // namespace mquans::MQ_ISA
