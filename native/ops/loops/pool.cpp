#include <cstring>

#include "ops/loops/loops.h"

namespace mquans::MQ_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int32_t lanes = 16;
#elif defined(__AVX__)
constexpr int32_t lanes = 8;
#else
constexpr int32_t lanes = 4;
#endif
typedef float Lanes __attribute__((vector_size(4 * lanes)));

// One output: SIZE vectors of channels from channel c on. Every channel sees its pixels line by line.
template <class V, int SIZE, class Fold, class Finish>
inline void window(const PoolArgs& a, int32_t x, int32_t c, Fold fold, Finish finish) {
    constexpr int32_t width = sizeof(V) / sizeof(float);
    const int32_t begin = a.begin[x], end = a.begin[x + 1];
    const auto load = [](const float* from) {
        V value;
        std::memcpy(&value, from, sizeof(V));
        return value;
    };
    V sum[SIZE];
    const float* first = a.lines[0] + a.columns[begin] * a.step + c;
    for (int i = 0; i < SIZE; ++i) sum[i] = load(first + i * width);
    for (int32_t r = 0, k = begin + 1; r < a.line_count; ++r, k = begin)
        for (const float* line = a.lines[r] + c; k < end; ++k) {
            const float* from = line + a.columns[k] * a.step;
            for (int i = 0; i < SIZE; ++i) fold(sum[i], load(from + i * width));
        }
    float* y = a.y + x * a.y_step + c;
    for (int i = 0; i < SIZE; ++i) {
        finish(sum[i]);
        std::memcpy(y + i * width, &sum[i], sizeof(V));
    }
}

template <class Fold, class Finish>
inline void pool(const PoolArgs& args, Fold fold, Finish finish) {
    const PoolArgs a = args;
    for (int32_t x = a.first; x < a.last; ++x) {
        const auto last = [&](auto& sum) { finish(sum, a.places * a.column_places[x]); };
        int32_t c = 0;
        for (; c + 4 * lanes <= a.channels; c += 4 * lanes) window<Lanes, 4>(a, x, c, fold, last);
        switch ((a.channels - c) / lanes) {
            case 3: window<Lanes, 3>(a, x, c, fold, last); break;
            case 2: window<Lanes, 2>(a, x, c, fold, last); break;
            case 1: window<Lanes, 1>(a, x, c, fold, last); break;
        }
        for (c = a.channels / lanes * lanes; c < a.channels; ++c) window<float, 1>(a, x, c, fold, last);
    }
}

}  // namespace

void pool_max(const PoolArgs& args) {
    pool(args, [](auto& sum, const auto& x) { sum = sum > x ? sum : x; }, [](auto&, float) {});
}

void pool_average(const PoolArgs& args) {
    pool(args, [](auto& sum, const auto& x) { sum += x; }, [](auto& sum, float places) { sum /= places; });
}

}  // namespace mquans::MQ_ISA
