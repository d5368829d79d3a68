// From accumulators to the reader's grid in one pass: what is between them stays in registers.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/rows.h"

namespace mquans::MQ_ISA {

void requantize(const RequantizeArgs& e, const QuantizeArgs& a) {
    const float *const scale = e.scale, *const bias = e.bias, *const high = e.high;
    const float low = e.low;
    const Accumulators acc = e.acc;
    compare_pixels(a, [=](int64_t p) {
        const int32_t* from = acc.data + p * acc.pixel_stride;
        return [=](int32_t c, int32_t) {
            return rounded(clamp(affine(from + c, scale + c, bias + c), low, high + c));
        };
    });
}

void codes(const CodesArgs& args) {
    const EpilogueArgs e = args.from;
    const Clamp limits(e);
    const float* const inverse_delta = args.inverse_delta;
    const float limit = args.limit;
    int16_t* const codes = args.codes;
    for (int32_t r = e.row_begin; r < e.row_end; ++r)
        for_each_run(e.touched.row(r), e.touched.width, [&](int32_t first, int32_t last) {
            const int64_t p = int64_t(r) * e.touched.width + first;
            for (int32_t c = 0; c < e.group_out; c += step) {
                const Values scale = load_values(e.scale + c, step), bias = load_values(e.bias + c, step);
                const int32_t* from = e.acc.data + p * e.acc.pixel_stride + c;
                int16_t* to = codes + p * e.group_out + c;
                for (int32_t x = first; x < last; ++x, from += e.acc.pixel_stride, to += e.group_out) {
                    const Values y = times(clamp(affine(from, scale, bias), limits.low, limits.high), inverse_delta + c);
                    store_grid(to, rounded(clamp(y, -limit, limit)), e.group_out - c);
                }
            }
        });
}

void largest(const LargestArgs& args, const QuantizeArgs& rows) {
    const LargestArgs l = args;
    const int64_t channels = rows.x.channels, line = l.width * channels;
    QuantizeArgs a = rows;
    for (int32_t r = rows.row_begin; r < rows.row_end; ++r) {
        a.row_begin = r;
        a.row_end = r + 1;
        const int64_t row_pixel = int64_t(r) * a.x.width;
        const int32_t *row = l.row_inputs + l.row_begin[r], *end = l.row_inputs + l.row_begin[r + 1];
        compare_pixels(a, [=](int64_t p) {
            const int32_t first = l.column_begin[p - row_pixel], last = l.column_begin[p - row_pixel + 1];
            return [=](int32_t c, int32_t) {
                Grid most = load_grid(l.codes + *row * line + l.column_inputs[first] * channels + c);
                for (const int32_t* i = row; i < end; ++i)
                    for (int32_t k = first; k < last; ++k)
                        most = larger(most, load_grid(l.codes + *i * line + l.column_inputs[k] * channels + c));
                return most;
            };
        });
    }
}

// One vector of channels after the other for a run of pixels: scale and bias stay in registers.
void clipped(const EpilogueArgs& args, float low, float high) {
    const EpilogueArgs a = args;
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_run(a.touched.row(r), a.touched.width, [&](int32_t first, int32_t last) {
            const int64_t p = int64_t(r) * a.y.width + first;
            for (int32_t g = 0; g < a.groups; ++g)
                for (int32_t o = 0; o < a.group_out; o += step) {
                    const int32_t at = g * a.acc.group_stride + o, n = a.group_out - o;
                    const Values scale = load_values(a.scale + at, step), bias = load_values(a.bias + at, step);
                    const int32_t* acc = a.acc.data + p * a.acc.pixel_stride + at;
                    float* y = a.y.pixel(p) + g * a.group_out + o;
                    for (int32_t x = first; x < last; ++x, acc += a.acc.pixel_stride, y += a.y.stride)
                        store_values(y, clamp(affine(acc, scale, bias), low, high), n);
                }
        });
}

void finish(const EpilogueArgs& e, const RequantizeArgs& to_grid, const QuantizeArgs& a) {
    const Clamp limits(e);
    const float least = limits.low, most = limits.high;
    const TensorView y = e.y;
    const float *const y_scale = e.scale, *const y_bias = e.bias;
    const float *const scale = to_grid.scale, *const bias = to_grid.bias, *const high = to_grid.high;
    const float low = to_grid.low;
    const Accumulators acc = e.acc;
    compare_pixels(a, [=](int64_t p) {
        const int32_t* from = acc.data + p * acc.pixel_stride;
        float* to = y.pixel(p);
        return [=](int32_t c, int32_t n) {
            store_values(to + c, clamp(affine(from + c, y_scale + c, y_bias + c), least, most), n);
            return rounded(clamp(affine(from + c, scale + c, bias + c), low, high + c));
        };
    });
}

}  // namespace mquans::MQ_ISA
