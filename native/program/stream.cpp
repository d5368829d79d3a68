#include "mquans/stream.h"

#include <emmintrin.h>

#include <cstring>

namespace mquans {
namespace {

constexpr int64_t slack = 128;  // elements that a vector load may read past the end

// Copies one row of a frame in and marks the pixels that differ. CHANNELS 0: any number.
template <int CHANNELS>
void feed_row(const Port& port, const float* row, const TensorView& t, int32_t r, uint64_t* moved) {
    const int32_t channels = CHANNELS ? CHANNELS : t.channels;
    const int64_t x_step = port.x_step, c_step = port.c_step;
    float* pixel = t.pixel(r, 0);
    for (int32_t first = 0; first < t.width; first += 64) {
        uint64_t bits = 0;
        const int32_t last = first + 64 < t.width ? first + 64 : t.width;
        for (int32_t x = first; x < last; ++x, pixel += t.stride) {
            const float* in = row + x * x_step;
            uint32_t differs = 0;
            for (int32_t c = 0; c < channels; ++c) {
                uint32_t was, is;
                std::memcpy(&was, pixel + c, 4);
                std::memcpy(&is, in + c * c_step, 4);
                differs |= was ^ is;
                std::memcpy(pixel + c, &is, 4);
            }
            bits |= uint64_t(differs != 0) << (x & 63);
        }
        moved[first >> 6] = bits;
    }
}

// The same for three planes, as most pictures come: four pixels at once.
void feed_planes(const Port& port, const float* row, const TensorView& t, int32_t r, uint64_t* moved) {
    const float* red = row;
    const float* green = row + port.c_step;
    const float* blue = row + 2 * port.c_step;
    float* pixel = t.pixel(r, 0);
    int32_t x = 0;
    for (; x + 4 <= t.width; x += 4, pixel += 12) {
        const __m128 a = _mm_loadu_ps(red + x), b = _mm_loadu_ps(green + x), c = _mm_loadu_ps(blue + x);
        // a0 b0 a1 b1, a2 b2 a3 b3 -> a0 b0 c0 a1, b1 c1 a2 b2, c2 a3 b3 c3
        const __m128 low = _mm_unpacklo_ps(a, b), high = _mm_unpackhi_ps(a, b);
        const __m128 c0a1 = _mm_shuffle_ps(c, low, _MM_SHUFFLE(2, 2, 0, 0));
        const __m128 b1c1 = _mm_shuffle_ps(low, c, _MM_SHUFFLE(1, 1, 3, 3));
        const __m128 c2a3 = _mm_shuffle_ps(c, high, _MM_SHUFFLE(2, 2, 2, 2));
        const __m128 b3c3 = _mm_shuffle_ps(high, c, _MM_SHUFFLE(3, 3, 3, 3));
        const __m128 values[3] = {_mm_shuffle_ps(low, c0a1, _MM_SHUFFLE(2, 0, 1, 0)),
                                  _mm_shuffle_ps(b1c1, high, _MM_SHUFFLE(1, 0, 2, 0)),
                                  _mm_shuffle_ps(c2a3, b3c3, _MM_SHUFFLE(2, 0, 2, 0))};
        uint32_t same = 0;
        for (int i = 0; i < 3; ++i) {
            const __m128i was = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel + 4 * i));
            const __m128i equal = _mm_cmpeq_epi32(was, _mm_castps_si128(values[i]));
            same |= uint32_t(_mm_movemask_ps(_mm_castsi128_ps(equal))) << 4 * i;
            _mm_storeu_ps(pixel + 4 * i, values[i]);
        }
        // Bits 0, 3, 6, 9 tell of the pixels; they are moved together.
        const uint32_t differs = ~same & 0xfff;
        const uint32_t any = (differs | differs >> 1 | differs >> 2) & 0x249;
        const uint64_t pixels = (any & 1) | (any >> 2 & 2) | (any >> 4 & 4) | (any >> 6 & 8);
        moved[x >> 6] |= pixels << (x & 63);
    }
    for (; x < t.width; ++x, pixel += 3) {
        const float values[3] = {red[x], green[x], blue[x]};
        moved[x >> 6] |= uint64_t(std::memcmp(pixel, values, sizeof(values)) != 0) << (x & 63);
        std::memcpy(pixel, values, sizeof(values));
    }
}

}  // namespace

template <class T>
T* Buffer<T>::allocate(int64_t size) {
    T* p = static_cast<T*>(::operator new[]((size + slack) * sizeof(T), std::align_val_t(64)));
    std::memset(p, 0, (size + slack) * sizeof(T));
    return p;
}

template <class T>
Buffer<T>::Buffer(int64_t size) : size_(size), data_(allocate(size)) {}

template <class T>
Buffer<T>::Buffer(const Buffer& other) : Buffer(other.size_) {
    std::memcpy(data(), other.data(), bytes());
}

template <class T>
Buffer<T>& Buffer<T>::operator=(const Buffer& other) {
    if (this != &other) {
        size_ = other.size_;
        data_.reset(allocate(size_));
        std::memcpy(data(), other.data(), bytes());
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

Stream::Stream(const Program& program)
    : reports(program.layers.size()),
      habits(program.layers.size()),
      step_ns(program.step_names.size()),
      program_(&program),
      floats_(program.floats_size),
      masks_(program.mask_words),
      held_(program.held_size),
      acc_(program.acc_size),
      begin_(program.segments),
      count_(program.segments),
      row_changed_(program.quantized_rows) {
    reset();
}

void Stream::reset() {
    std::memset(floats_.data(), 0, floats_.bytes());
    std::memset(masks_.data(), 0, masks_.bytes());
    std::memset(held_.data(), 0, held_.bytes());
    std::memset(acc_.data(), 0, acc_.bytes());
    std::memset(count_.data(), 0, count_.bytes());
    for (const auto& constant : program_->constants)
        std::memcpy(floats_.data() + constant.offset, constant.values.data(),
                    constant.values.size() * sizeof(float));
    reports.assign(program_->layers.size(), {});
    habits.assign(program_->layers.size(), {});
}

TensorView Stream::tensor(TensorId id) const {
    const TensorSpec& t = program_->tensors[id];
    return {floats_.data() + t.offset, t.rows, t.width, t.channels, t.stride};
}

MaskView Stream::mask(TensorId id) const {
    const TensorSpec& t = program_->tensors[id];
    return {masks_.data() + t.mask_offset, t.rows, t.width};
}

Accumulators Stream::accumulators(const LayerSpec& layer) const {
    if (layer.acc_offset < 0) return {nullptr, layer.pixel_stride, layer.group_stride};
    return {acc_.data() + layer.acc_offset, layer.pixel_stride, layer.group_stride};
}

ChangeList Stream::changes(const QuantizedSpec& q) const {
    return {begin_.data() + q.segment_offset, count_.data() + q.segment_offset, nullptr, nullptr,
            MaskView{masks_.data() + q.pixel_mask_offset, q.rows, q.width}};
}

bool Stream::lists(const QuantizedSpec& q) const {
    for (int32_t layer : q.listed_for)
        if (habits[layer].keeps) return true;
    return false;
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
    for (int32_t r = 0; r < t.rows; ++r) {
        moved.clear_row(r);
        const float* row = values + port.row_offset[r];
        if (t.channels == 3 && t.stride == 3 && port.x_step == 1) {
            feed_planes(port, row, t, r, moved.row(r));
            continue;
        }
        switch (t.channels) {
            case 1: feed_row<1>(port, row, t, r, moved.row(r)); break;
            case 3: feed_row<3>(port, row, t, r, moved.row(r)); break;
            default: feed_row<0>(port, row, t, r, moved.row(r));
        }
    }
}

void Stream::fetch(const Port& port, float* values) const {
    const TensorView t = tensor(port.tensor);
    for (int32_t r = 0; r < t.rows; ++r) {
        float* row = values + port.row_offset[r];
        for (int32_t x = 0; x < t.width; ++x) {
            const float* pixel = t.pixel(r, x);
            float* out = row + x * port.x_step;
            for (int32_t c = 0; c < t.channels; ++c) out[c * port.c_step] = pixel[c];
        }
    }
}

int64_t Stream::bytes() const {
    return floats_.bytes() + masks_.bytes() + held_.bytes() + acc_.bytes() + begin_.bytes() +
           count_.bytes() + row_changed_.bytes();
}

TensorView Context::tensor(TensorId id) const { return stream.tensor(id); }
MaskView Context::mask(TensorId id) const { return stream.mask(id); }

ChangeList Context::changes(const QuantizedSpec& q) const {
    ChangeList changes = stream.changes(q);
    changes.channel = room.channel.data() + q.list_offset;
    changes.delta = room.delta.data() + q.list_offset;
    return changes;
}

}  // namespace mquans
