// Tensors of codes of a program: where they lie, with a border of zeros around every axis but the first.
#include <stdexcept>

#include "mquans/padded.h"
#include "mquans/program.h"
#include "sites/active.h"

namespace mquans {
namespace {

// A site's channels begin where vectors of eight codes do; small ones where pairs of codes do.
int32_t site_stride(int32_t channels) {
    if (channels > 4) return (channels + 7) / 8 * 8;
    return channels > 2 ? 4 : 2;
}

}  // namespace

CodesId Program::add_code_tensor(const std::vector<int32_t>& dims, const std::vector<int32_t>& border,
                                 int32_t channels, bool packed) {
    if (dims.empty() || border.size() != dims.size() || channels < 1)
        throw std::invalid_argument("a tensor of codes needs a border for every axis");
    const int32_t width = dims.back(), stride = packed ? channels : site_stride(channels);
    // Neighbouring lines share the zeros between them.
    int64_t line = (int64_t(width) + border.back()) * stride;
    std::vector<int64_t> row_at{int64_t(border.back()) * stride};
    int64_t size = line, behind = int64_t(border.back()) * stride;
    for (size_t axis = dims.size() - 1; axis-- > 0;) {
        std::vector<int64_t> inner = std::move(row_at);
        row_at.clear();
        const int64_t step = size;
        for (int32_t i = 0; i < dims[axis]; ++i)
            for (int64_t at : inner) row_at.push_back((i + int64_t(border[axis])) * step + at);
        size = (int64_t(dims[axis]) + border[axis]) * step;
        behind += border[axis] * step;
    }
    size += behind + 2 * stride + 64;
    if (size > INT32_MAX) throw std::invalid_argument("tensor too large");
    CodesSpec t{int32_t(row_at.size()), width, channels, stride, codes_size, std::move(row_at), mask_words};
    codes_size += padded<int64_t>(size, 32);
    mask_words += int64_t(t.rows) * MaskView::words_for(width);
    code_tensors.push_back(std::move(t));
    return CodesId(code_tensors.size()) - 1;
}

CodesId Program::add_code_view(CodesId base, int32_t first_channel, int32_t channels) {
    CodesSpec view = code_tensors.at(base);
    if (first_channel < 0 || channels < 1 || first_channel + channels > view.channels)
        throw std::invalid_argument("a view reaches outside its tensor");
    view.offset += first_channel;
    view.channels = channels;
    view.mask_offset = mask_words;
    mask_words += int64_t(view.rows) * MaskView::words_for(view.width);
    code_tensors.push_back(std::move(view));
    return CodesId(code_tensors.size()) - 1;
}

int32_t Program::add_site_layer(SiteLayer layer) {
    site_macs += layer.macs;
    site_layers.push_back(std::move(layer));
    return int32_t(site_layers.size()) - 1;
}

bool Program::set_gate(CodesId y, GateSpec gate) {
    for (const std::unique_ptr<Step>& step : steps_) {
        SiteTarget* target = step->target();
        if (!target || target->y != y) continue;
        target->set_gate(*this, std::move(gate));
        return true;
    }
    return false;
}

}  // namespace mquans
