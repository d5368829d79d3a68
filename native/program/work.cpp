#include "program/work.h"

namespace mquans {

std::vector<Work> work_by_row(const LayerSpec& layer, const ChangeList& changes) {
    const LayerShape& s = layer.shape;
    std::vector<Work> rows(s.in_rows);
    for (int32_t r = 0; r < s.in_rows; ++r) {
        Work& work = rows[r];
        for_each_pixel(changes.pixels.row(r), changes.pixels.words(), [&](int32_t x) {
            const uint16_t* count = changes.count + (int64_t(r) * s.in_width + x) * s.groups;
            const int64_t taps = s.cols.reach_begin[x + 1] - s.cols.reach_begin[x];
            for (int32_t g = 0; g < s.groups; ++g) {
                work.products += taps * count[g];
                work.lists += count[g] ? taps : 0;
            }
        });
    }
    return rows;
}

Work work_of(const LayerSpec& layer, MaskView touched, const std::vector<Work>& by_row, int32_t begin,
             int32_t end) {
    const LayerShape& s = layer.shape;
    Work total;
    for (int32_t r = begin; r < end; ++r) {
        int64_t pixels = 0;
        const uint64_t* row = touched.row(r);
        for (int32_t w = 0; w < touched.words(); ++w) pixels += __builtin_popcountll(row[w]);
        total.pixels += pixels;
        int64_t taps = pixels * s.col_taps;
        for (const auto& [x, missing] : layer.cols.partial)
            if (touched.get(r, x)) taps -= missing;
        total.taps += taps * (s.rows.begin[r + 1] - s.rows.begin[r]);
        if (by_row.empty()) continue;
        for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i) {
            const Work& input = by_row[s.rows.taps[i].input];
            total.products += input.products;
            total.lists += input.lists;
        }
    }
    return total;
}

}  // namespace mquans
