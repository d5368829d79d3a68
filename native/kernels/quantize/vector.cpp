// Quantize and compare a float tensor.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/compare.h"

namespace mquans::MQ_ISA {
namespace {

template <bool LIST, bool HOLD>
void wide(const QuantizeArgs& a, int32_t r) {
    const Rule rule(a);
    const ChangeList changes = a.changes;
    const TensorView view = a.x;
    const int32_t channels = view.channels, groups = a.groups, group = channels / groups;
    int16_t* const all_held = a.held;
    uint32_t at = uint32_t(r * a.row_capacity);
    int64_t changed_in_row = 0;
    const int64_t row_pixel = int64_t(r) * view.width;
    uint64_t* pixels = changes.pixels.row(r);
    for_each_pixel(a.dirty.row(r), a.dirty.words(), [&](int32_t x) {
        const float* values = view.pixel(row_pixel + x);
        int16_t* held = all_held + (row_pixel + x) * channels;
        int32_t total = 0;
        for (int32_t g = 0; g < groups; ++g) {
            ListWriter<LIST> list(changes, at);
            for (int32_t i = 0; i < group; i += step) {
                const int32_t c = g * group + i;
                Delta delta;
                const Values v = load_values(values + c, group - i);
                const Bits changed = compare<HOLD>(rule, v, held + c, c, group - i, delta);
                list.add(changed, delta, i);
            }
            at = list.close(changes, (row_pixel + x) * groups + g);
            total += list.count;
        }
        pixels[x >> 6] |= uint64_t(total != 0) << (x & 63);
        changed_in_row += total;
    });
    a.row_changed[r] = changed_in_row;
}

// A camera image has 1 or 3 channels: a vector then spans several pixels. Runs of dirty pixels are
// compared as one array; the few changes are listed one by one. The tables repeat every `channels`.
template <bool LIST, bool HOLD>
void narrow(const QuantizeArgs& a, int32_t r) {
    const Rule rule(a);
    const int32_t channels = a.x.channels;
    uint32_t at = uint32_t(r * a.row_capacity);
    int64_t changed_in_row = 0;
    const int64_t row_pixel = int64_t(r) * a.x.width;
    uint64_t* pixels = a.changes.pixels.row(r);
    for_each_run(a.dirty.row(r), a.x.width, [&](int32_t first, int32_t last) {
        const float* values = a.x.pixel(row_pixel + first);
        int16_t* held = a.held + (row_pixel + first) * channels;
        const int32_t n = (last - first) * channels;
        int32_t open = -1;  // pixel whose list is being written
        uint32_t begin = at;
        auto close = [&] {
            if (open < 0) return;
            a.changes.count[row_pixel + open] = uint16_t(at - begin);
            a.changes.begin[row_pixel + open] = begin;
            pixels[open >> 6] |= uint64_t(1) << (open & 63);
            changed_in_row += at - begin;
            if (!LIST) {
                at = begin;
            } else if ((at - begin) & 1) {
                a.changes.channel[at] = 0;
                a.changes.delta[at++] = 0;
            }
        };
        for (int32_t i = 0; i < n; i += step) {
            Delta delta;
            const Bits changed = 
                compare<HOLD>(rule, load_values(values + i, n - i), held + i, i % channels, n - i, delta);
            if (!changed) continue;
            alignas(64) int16_t deltas[step];
            std::memcpy(deltas, &delta, sizeof(deltas));
            for (Bits b = changed; b; b &= b - 1) {
                const int32_t lane = __builtin_ctz(b);
                const int32_t x = first + (i + lane) / channels;
                if (x != open) {
                    close();
                    open = x;
                    begin = at;
                }
                if (LIST) {
                    a.changes.channel[at] = uint16_t((i + lane) % channels);
                    a.changes.delta[at] = deltas[lane];
                }
                ++at;
            }
        }
        close();
    });
    a.row_changed[r] = changed_in_row;
}

template <bool LIST, bool HOLD>
void rows(const QuantizeArgs& a) {
    const bool flat = a.groups == 1 && a.x.channels <= 8 && a.x.stride == a.x.channels;
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        clear_row(a.changes, r, a.x.width * a.groups);
        flat ? narrow<LIST, HOLD>(a, r) : wide<LIST, HOLD>(a, r);
    }
}

}  // namespace

void quantize(const QuantizeArgs& a) {
    if (a.hold)
        a.list ? rows<true, true>(a) : rows<false, true>(a);
    else
        a.list ? rows<true, false>(a) : rows<false, false>(a);
}

}  // namespace mquans::MQ_ISA
