#include "mquans/stream.h"

#include <sys/mman.h>

#include <cstring>
#include <utility>

#include "program/port.h"

namespace mquans {
namespace {

constexpr int64_t slack = 128;  // elements that a vector load may read past the end
constexpr size_t huge_page = size_t(1) << 21;

std::align_val_t alignment(size_t bytes) { return std::align_val_t(bytes >= huge_page ? huge_page : 64); }

// Copies pixels into a row of a tensor and marks those that differ. CHANNELS 0: any number.
template <int CHANNELS>
void take_row(const float* in, const TensorView& t, int32_t r, uint64_t* moved) {
    const int32_t channels = CHANNELS ? CHANNELS : t.channels;
    float* pixel = t.pixel(r, 0);
    for (int32_t first = 0; first < t.width; first += 64) {
        uint64_t bits = 0;
        const int32_t last = first + 64 < t.width ? first + 64 : t.width;
        for (int32_t x = first; x < last; ++x, pixel += t.stride, in += channels) {
            uint32_t differs = 0;
            for (int32_t c = 0; c < channels; ++c) {
                uint32_t was, is;
                std::memcpy(&was, pixel + c, 4);
                std::memcpy(&is, in + c, 4);
                differs |= was ^ is;
                std::memcpy(pixel + c, &is, 4);
            }
            bits |= uint64_t(differs != 0) << (x & 63);
        }
        moved[first >> 6] = bits;
    }
}

}  // namespace

template <class T>
T* Buffer<T>::allocate(int64_t size) {
    const size_t bytes = (size + slack) * sizeof(T);
    // Sites are read all over a tensor: few large pages cost fewer look-ups than many small ones.
    const bool large = bytes >= huge_page;
    void* p = ::operator new[](large ? (bytes + huge_page - 1) / huge_page * huge_page : bytes, alignment(bytes));
    if (large) madvise(p, bytes, MADV_HUGEPAGE);
    std::memset(p, 0, bytes);
    return static_cast<T*>(p);
}

template <class T>
void Buffer<T>::Free::operator()(T* p) const {
    ::operator delete[](p, align);
}

template <class T>
Buffer<T>::Buffer(int64_t size)
    : size_(size), data_(allocate(size), Free{alignment((size + slack) * sizeof(T))}) {}

template <class T>
Buffer<T>::Buffer(const Buffer& other) : Buffer(other.size_) {
    std::memcpy(data(), other.data(), bytes());
}

template <class T>
Buffer<T>& Buffer<T>::operator=(const Buffer& other) {
    if (this != &other) {
        *this = Buffer(other);
    }
    return *this;
}

template class Buffer<float>;
template class Buffer<uint64_t>;
template class Buffer<int16_t>;
template class Buffer<int32_t>;
template class Buffer<uint32_t>;
template class Buffer<uint16_t>;
template class Buffer<int64_t>;

Stream::Stream(std::shared_ptr<Program> program)
    : reports(program->layers.size()),
      site_reports(program->site_layers.size()),
      step_ns(program->step_names.size()),
      program_(std::move(program)),
      frame_inputs_(program_->inputs.size()),
      floats_(program_->floats_size),
      masks_(program_->mask_words),
      held_(program_->held_size),
      acc_(program_->acc_size),
      codes_(program_->codes_size),
      begin_(program_->segments),
      count_(program_->segments),
      row_changed_(program_->quantized_rows) {
    reset();
}

void Stream::reset() {
    std::memset(floats_.data(), 0, floats_.bytes());
    std::memset(masks_.data(), 0, masks_.bytes());
    std::memset(held_.data(), 0, held_.bytes());
    std::memset(acc_.data(), 0, acc_.bytes());
    std::memset(codes_.data(), 0, codes_.bytes());
    std::memset(count_.data(), 0, count_.bytes());
    reports.assign(program_->layers.size(), {});
    site_reports.assign(program_->site_layers.size(), {});
    busy_from = never;
}

TensorView Stream::tensor(TensorId id) const {
    const TensorSpec& t = program_->tensors[id];
    float* const values = t.constant ? program_->constants.data() : floats_.data();
    return {values + t.offset, t.rows, t.width, t.channels, t.stride};
}

CodesView Stream::code_tensor(CodesId id) const {
    const CodesSpec& t = program_->code_tensors[id];
    return {codes_.data() + t.offset, t.row_at.data(), t.rows, t.width, t.channels, t.stride};
}

MaskView Stream::code_mask(CodesId id) const {
    const CodesSpec& t = program_->code_tensors[id];
    return {masks_.data() + t.mask_offset, t.rows, t.width};
}

MaskView Stream::mask(TensorId id) const {
    const TensorSpec& t = program_->tensors[id];
    return {masks_.data() + t.mask_offset, t.rows, t.width};
}

Accumulators Stream::accumulators(const LayerSpec& layer) const {
    return {acc_.data() + layer.acc_offset, layer.pixel_stride, layer.group_stride};
}

ChangeList Stream::changes(const QuantizedSpec& q) const {
    return {begin_.data() + q.segment_offset, count_.data() + q.segment_offset, nullptr, nullptr,
            MaskView{masks_.data() + q.pixel_mask_offset, q.rows, q.width}};
}

bool Stream::finite(const float* values, int64_t n) {
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; ++i) {
        uint32_t bits;
        std::memcpy(&bits, values + i, 4);
        bad |= uint32_t((bits & 0x7f800000u) == 0x7f800000u);
    }
    return !bad;
}

void Stream::feed(const Port& port, const float* values) {
    const TensorView t = tensor(port.tensor);
    const MaskView moved = mask(port.tensor);
    std::vector<float> row(int64_t(t.width) * t.channels);
    for (int32_t r = 0; r < t.rows; ++r) {
        lay_out(port, values, r, t.width, t.channels, row.data());
        switch (t.channels) {
            case 1: take_row<1>(row.data(), t, r, moved.row(r)); break;
            case 3: take_row<3>(row.data(), t, r, moved.row(r)); break;
            default: take_row<0>(row.data(), t, r, moved.row(r));
        }
    }
}

void Stream::set_input(int32_t input, const FrameInput& given) {
    const Port& port = program_->inputs[input];
    if (program_->tensors[port.tensor].offset >= 0) return feed(port, given.values);
    frame_inputs_[input] = given;
}

void Stream::fetch(const Port& port, float* values) const {
    const TensorView t = tensor(port.tensor);
    for (int32_t r = 0; r < t.rows; ++r) lay_back(port, t.pixel(r, 0), t.stride, r, t.width, t.channels, values);
}

int64_t Stream::bytes() const {
    return codes_.bytes() + floats_.bytes() + masks_.bytes() + held_.bytes() + acc_.bytes() + begin_.bytes() +
           count_.bytes() + row_changed_.bytes();
}

TensorView Context::tensor(TensorId id) const { return stream.tensor(id); }
MaskView Context::mask(TensorId id) const { return stream.mask(id); }
CodesView Context::codes(CodesId id) const { return stream.code_tensor(id); }
MaskView Context::codes_mask(CodesId id) const { return stream.code_mask(id); }

ChangeList Context::changes(const QuantizedSpec& q) const {
    ChangeList changes = stream.changes(q);
    changes.channel = scratch.channel.data() + q.list_offset;
    changes.delta = scratch.delta.data() + q.list_offset;
    return changes;
}

}  // namespace mquans
