// The state of one camera or microphone, and what its last frame cost.
#pragma once

#include <cstdint>
#include <new>
#include <memory>
#include <vector>

#include "mquans/program.h"

namespace mquans {

// Memory aligned to cache lines, with slack behind it so that vectors may be read past the end.
template <class T>
class Buffer {
public:
    explicit Buffer(int64_t size = 0);
    Buffer(const Buffer& other);
    Buffer(Buffer&& other) = default;
    Buffer& operator=(const Buffer& other);
    Buffer& operator=(Buffer&& other) = default;
    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    int64_t size() const { return size_; }
    int64_t bytes() const { return size_ * int64_t(sizeof(T)); }

private:
    struct Free {
        std::align_val_t align{64};
        void operator()(T* p) const;
    };
    static T* allocate(int64_t size);
    int64_t size_;
    std::unique_ptr<T[], Free> data_;
};

class Stream {
public:
    // Shares the program with all its other streams.
    explicit Stream(std::shared_ptr<Program> program);

    TensorView tensor(TensorId id) const;
    CodesView code_tensor(CodesId id) const;
    MaskView code_mask(CodesId id) const;
    int64_t codes_bytes() const { return codes_.bytes(); }
    int16_t* codes_data() { return codes_.data(); }
    const int16_t* codes_data() const { return codes_.data(); }
    MaskView mask(TensorId id) const;
    int16_t* held(const QuantizedSpec& q) { return held_.data() + q.held_offset; }
    const int16_t* held(const QuantizedSpec& q) const { return held_.data() + q.held_offset; }
    Accumulators accumulators(const LayerSpec& layer) const;
    // Without the lists themselves: they belong to the context and live while a frame runs.
    ChangeList changes(const QuantizedSpec& q) const;
    int64_t* row_changed(const QuantizedSpec& q) { return row_changed_.data() + q.row_offset; }

    static bool finite(const float* values, int64_t n);
    // Copies an array into a tensor and marks the pixels that differ from what was there.
    void feed(const Port& port, const float* values);
    // A graph input of the frame at hand. One that only steps over sites read is not copied: its values
    // must stay where they are until the frame is done.
    void set_input(int32_t input, const FrameInput& given);
    const FrameInput& frame_input(int32_t input) const { return frame_inputs_[input]; }
    void fetch(const Port& port, float* values) const;

    int64_t bytes() const;
    int64_t held_bytes() const { return held_.bytes(); }
    const int16_t* held_data() const { return held_.data(); }
    int16_t* held_data() { return held_.data(); }
    void reset();

    std::vector<LayerReport> reports;  // one per layer
    std::vector<SiteReport> site_reports;
    bool keyframe = false;             // the frame at hand
    int64_t taken = 0;                 // pixels of its pictures that their gates take
    int64_t busy_from = never;         // pixels taken from which on gates keep too little back: a keyframe
    static constexpr int64_t never = INT64_MAX / 2;
    std::vector<int64_t> step_ns;      // filled when `profile`
    bool profile = false;

    // Of the frame at hand; a copy of the stream starts without.
    struct Scratch {
        std::unique_ptr<FrameScratch> held;
        Scratch() = default;
        Scratch(const Scratch&) {}
    };
    Scratch scratch;

    Program& program() const { return *program_; }

private:
    std::shared_ptr<Program> program_;
    std::vector<FrameInput> frame_inputs_;
    mutable Buffer<float> floats_;
    mutable Buffer<uint64_t> masks_;
    Buffer<int16_t> held_;
    mutable Buffer<int32_t> acc_;
    mutable Buffer<int16_t> codes_;
    mutable Buffer<uint32_t> begin_;
    mutable Buffer<uint16_t> count_;
    Buffer<int64_t> row_changed_;
};

}  // namespace mquans
