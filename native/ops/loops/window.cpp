#include "ops/loops/loops.h"
#include "ops/loops/math.h"

namespace mquans::MQ_ISA {

// Four pixels at a time, so that y is read and written seldom. Each channel sees its pixels in order.
void window_weighted(const WindowArgs& args) {
    const int32_t n = args.channels;
    const float* __restrict w = args.weight;
    float* __restrict y = args.y;
    const int32_t head = args.count % 4 == 0 ? 4 : args.count % 4;
    const float* const* p = args.x;
    if (head == 1) {
        const float* a = p[0];
        for (int32_t c = 0; c < n; ++c) y[c] = w[0] * a[c];
    } else if (head == 2) {
        const float *a = p[0], *b = p[1];
        for (int32_t c = 0; c < n; ++c) y[c] = fma(w[1], b[c], w[0] * a[c]);
    } else if (head == 3) {
        const float *a = p[0], *b = p[1], *d = p[2];
        for (int32_t c = 0; c < n; ++c) y[c] = fma(w[2], d[c], fma(w[1], b[c], w[0] * a[c]));
    } else {
        const float *a = p[0], *b = p[1], *d = p[2], *e = p[3];
        for (int32_t c = 0; c < n; ++c)
            y[c] = fma(w[3], e[c], fma(w[2], d[c], fma(w[1], b[c], w[0] * a[c])));
    }
    for (int32_t i = head; i < args.count; i += 4) {
        const float *a = p[i], *b = p[i + 1], *d = p[i + 2], *e = p[i + 3];
        const float *v = w + i;
        for (int32_t c = 0; c < n; ++c)
            y[c] = fma(v[3], e[c], fma(v[2], d[c], fma(v[1], b[c], fma(v[0], a[c], y[c]))));
    }
}

}  // namespace mquans::MQ_ISA
