// A network compiled for the engine: tensors, and steps that update them with a new frame.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "mquans/codes.h"
#include "mquans/kernels.h"
#include "mquans/threads.h"

namespace mquans {

class Stream;
struct GateSpec;
struct QuantizedSpec;
struct SiteTarget;

// What lives only while a frame is computed; the program lends it.
struct FrameScratch {
    // Change lists.
    std::vector<uint16_t> channel;
    std::vector<int16_t> delta;
    std::vector<int32_t> sums;  // accumulators of several time steps
    struct Band {
        std::vector<int16_t> codes;  // of the sites at hand, before their gate
    };
    std::vector<Band> bands;  // one per worker
};

// What the frames of a program share while they are computed.
struct Workplace {
    explicit Workplace(int threads) : pool(threads) {}
    ThreadPool pool;
    std::mutex pool_mutex;
    std::mutex scratch_mutex;
    std::vector<std::unique_ptr<FrameScratch>> free_scratch;
    const int32_t made_after = forks();

    // The parent's, in a forked child, is left alone: its threads cannot be joined, its locks may be held.
    bool usable() const { return made_after == forks(); }
    struct Leave {
        void operator()(Workplace* place) const {
            if (place->usable()) delete place;
        }
    };
};

using TensorId = int32_t;
using QuantizedId = int32_t;

// Where a float tensor lives in a stream's memory.
struct TensorSpec {
    int32_t rows, width, channels, stride;
    int64_t offset;       // floats; -1: a graph input that is read where the caller has it
    int64_t mask_offset;  // 64-bit words
    bool constant = false;  // lies among the program's constants instead, and is only read
};

// Where a tensor of codes lives in a stream's memory.
struct CodesSpec {
    int32_t rows, width, channels, stride;
    int64_t offset;                // of the whole tensor, int16
    std::vector<int64_t> row_at;   // of site (row, 0), from there
    int64_t mask_offset;           // 64-bit words
};

// A step over listed sites, for reports.
struct SiteLayer {
    std::string name;
    CodesId x, y;
    int64_t macs;    // of one dense evaluation
    int64_t inputs;  // values
};

struct SiteReport {
    int64_t moved = 0;   // sites of the input that were replaced
    int64_t active = 0;  // sites computed
    int64_t taken = 0;   // of these
    int64_t macs = 0;
};

// What one step may use while it runs.
struct Context {
    Stream& stream;
    ThreadPool& pool;
    const KernelTable& kernels;
    const SiteKernels& sites;
    bool dense;      // compute everything, whatever the masks say
    bool keep_held;  // with dense: from the held values as they are (recompute)
    FrameScratch& scratch;

    TensorView tensor(TensorId id) const;
    MaskView mask(TensorId id) const;
    CodesView codes(CodesId id) const;
    MaskView codes_mask(CodesId id) const;
    // Every gate takes what it sees.
    bool keyframe() const { return dense && !keep_held; }
    ChangeList changes(const QuantizedSpec& q) const;
};

// Updates its output tensors. On entry the masks of the inputs tell which of their pixels
// may differ from the last frame; on return the masks of the outputs do the same, and every output
// value equals what a full recomputation would give, bit for bit. Masks of outputs hold garbage on
// entry. Shapes are fixed at construction; run() allocates nothing large and is deterministic for
// any number of threads.
class Step {
public:
    virtual ~Step() = default;
    virtual void run(Context& context) const = 0;
    // Where a step over sites puts its results, and through which gate; null for others.
    virtual SiteTarget* target() { return nullptr; }
};

// A step that compares a graph input where the caller has it, before anything of the frame is taken.
class InputCompare {
public:
    virtual ~InputCompare() = default;
    // Marks what its gate would take and changes nothing else; false where the input is not finite.
    virtual bool compare(Context& context) const = 0;
    // The same of what a motion gate counts as moved.
    virtual bool compare_motion(Context& context) const = 0;
    virtual MaskView marks(Context& context) const = 0;
};

// What a row of a quantized tensor is compared with: itself in the last frame; or rows are time steps, and
// each is compared with the one before it, the first with the last of the frame before. Time may run
// from the last row to the first.
enum class Order : int32_t { frames, forward, backward };

// A float tensor brought onto the grid under the reuse rule, for one or more layers.
struct QuantizedSpec {
    TensorId x;
    int32_t rows, width, channels, groups;
    float limit;
    std::vector<float> inverse_delta;  // tables as QuantizeArgs has them
    std::vector<int16_t> offset, mask, threshold, zero_threshold;
    bool hold;
    Order order;
    int64_t row_capacity;  // list elements per row
    int64_t held_offset;   // int16, into the stream's held values
    int64_t segment_offset;
    int64_t pixel_mask_offset;
    int64_t row_offset;
    int64_t list_offset;
    int32_t step;          // that produces it
    int64_t held_size() const { return int64_t(rows) * width * channels; }
    // The row of the k-th time step.
    int32_t row_at(int32_t k) const { return order == Order::backward ? rows - 1 - k : k; }
};

// Owner of the tables behind a LayerShape.
struct Axis {
    std::vector<int32_t> begin, reach_begin, reach;
    std::vector<Tap> taps;
    // grid: [outputs][taps], input index or -1.
    Axis(const std::vector<int32_t>& grid, int32_t taps, int32_t inputs);
    Axis() = default;
    AxisTaps view() const;
};

// A reuse layer computed value by value: integer weights, and what follows the
// accumulators.
struct LayerSpec {
    std::string name;
    QuantizedId input;
    TensorId y;
    LayerShape shape;
    Axis rows, cols;
    int32_t time_steps;  // rows of a frame that follow each other in time; `shape` is that of one. 0: none
    int32_t weight_bits;
    std::vector<int8_t> weights8;    // packed
    std::vector<int16_t> weights16;  // packed
    int32_t row_stride;
    std::vector<float> scale, bias;  // [group][group_stride]
    bool activated;
    UnaryKind activation;
    float a, b;
    int64_t acc_offset;
    int32_t group_stride, pixel_stride;
    int64_t macs;  // of one dense evaluation, taps on padding not counted
    int32_t step;

    Weights weights() const {
        const void* data = weights16.empty() ? static_cast<const void*>(weights8.data())
                                             : static_cast<const void*>(weights16.data());
        return {data, weights16.empty() ? 8 : 16, row_stride};
    }
    int64_t acc_size() const { return int64_t(shape.out_rows) * shape.out_width * pixel_stride; }
    // The weights with the outputs in natural order.
    std::vector<int16_t> natural_weights(const KernelTable& kernels) const;
};

// What a layer did in the last frame.
struct LayerReport {
    int64_t changed = 0;     // inputs whose held value moved
    int64_t macs_done = 0;
};

// A graph input or output: element (r, x, c) of the tensor is value[row_offset[r] + x * x_step + c * c_step].
struct Port {
    TensorId tensor;
    std::vector<int64_t> row_offset;
    int64_t x_step, c_step;
    int64_t size;
    bool takes_pixels = false;  // of 8 bits as well
};

// What a frame brings to a graph input, one or the other: floats, or pixels of 8 bits.
struct FrameInput {
    const float* values = nullptr;
    const uint8_t* pixels = nullptr;
};

// The first accumulator that is not the product of weights and held values.
struct Violation {
    int32_t layer = -1;  // -1: none
    int64_t pixel = 0;
    int32_t output = 0;
    int32_t expected = 0, found = 0;
};

class Program {
public:
    Program(const KernelTable& kernels, const SiteKernels& sites, int threads);

    // Building, in the order of the data. Tensors named by steps must exist.
    // `stored` false: a graph input that only steps over sites read.
    TensorId add_tensor(int32_t rows, int32_t width, int32_t channels, bool stored = true);
    TensorId add_view(TensorId base, int32_t first_channel, int32_t channels);
    // Pixels of another tensor that follow each other, from `first` on.
    TensorId add_part(TensorId base, int64_t first, int32_t rows, int32_t width);
    TensorId add_reshaped(TensorId base, int32_t rows, int32_t width, int32_t channels);
    // Windows of a compact tensor of one row, `step` pixels apart, as pixels that may overlap: to be read only.
    TensorId add_windows(TensorId base, int32_t count, int32_t taps, int32_t step);
    TensorId add_constant(int32_t rows, int32_t width, int32_t channels, const float* values);
    // `externally_clocked`: a recurrence runs it; else a step of its own does.
    QuantizedId add_quantized(QuantizedSpec spec, bool externally_clocked);
    int32_t add_layer(LayerSpec spec, const int16_t* weights, bool externally_clocked);
    void add_step(std::string name, std::unique_ptr<Step> step);
    // Sizes of the axes before the channels, outermost first; `border` sites of zeros around every axis but
    // the first.
    // packed: sites follow each other without a gap, so that windows of few channels are read as lines.
    CodesId add_code_tensor(const std::vector<int32_t>& dims, const std::vector<int32_t>& border, int32_t channels,
                            bool packed);
    // Channels of another tensor: a part of a concatenation, or a slice.
    CodesId add_code_view(CodesId base, int32_t first_channel, int32_t channels);
    int32_t add_site_layer(SiteLayer layer);
    // Another gate in front of a tensor of codes, for calibration; no frame may be under way. False where
    // no step has one there.
    bool set_gate(CodesId y, GateSpec gate);
    void need_codes_scratch(int64_t size) { codes_scratch_ = std::max(codes_scratch_, size); }
    int32_t add_input(Port port);
    int32_t add_output(Port port);
    // Lays the change lists out so that those alive at the same time do not overlap.
    void finish();

    // To be called before frames are run, by one thread at a time: a forked child gets threads of its own.
    void follow_fork();
    // Takes the inputs of a frame; false, with nothing changed, where one is not finite. A frame that takes most
    // of its pictures anew is a keyframe: with everything active, gates cost time and keep nothing back. One
    // whose pictures are still takes nothing of them.
    bool begin_frame(Stream& stream, const std::vector<FrameInput>& inputs, bool keyframe);
    // Runs steps [first, last) of one frame; a frame with fallback subgraphs is run in several parts, in order.
    // The caller has set the masks of the inputs.
    void run(Stream& stream, int32_t first, int32_t last, bool dense, bool keep_held);
    // Every layer's accumulators against the scalar product; the first difference.
    Violation check(const Stream& stream) const;

    const KernelTable& kernels() const { return kernels_; }
    ThreadPool& pool() { return workplace_->pool; }
    int64_t weights_bytes() const;

    const SiteKernels& site_kernels() const { return sites_; }

    std::vector<TensorSpec> tensors;
    std::vector<CodesSpec> code_tensors;
    std::vector<SiteLayer> site_layers;
    double motion_gate = 0;  // pictures are still where no block has this share of its pixels taken
    int64_t site_macs = 0;  // of one dense evaluation of all of them
    int64_t codes_size = 0;
    int64_t site_weights = 0;  // int16
    std::vector<QuantizedSpec> quantized;
    std::vector<LayerSpec> layers;
    std::vector<std::string> step_names;
    std::vector<Port> inputs, outputs;
    std::vector<const InputCompare*> compares;  // of inputs that are compared in place
    std::vector<float> constants;  // of tensors that all streams share

    int64_t floats_size = 0, mask_words = 0, held_size = 0, acc_size = 0;
    int64_t segments = 0, quantized_rows = 0;

private:
    TensorId list(TensorSpec spec);  // with a mask of its own
    std::unique_ptr<FrameScratch> take_scratch();
    void give_back(std::unique_ptr<FrameScratch> scratch);

    const KernelTable& kernels_;
    const SiteKernels& sites_;
    std::unique_ptr<Workplace, Workplace::Leave> workplace_;
    std::vector<std::unique_ptr<Step>> steps_;
    int64_t lists_size_ = 0, codes_scratch_ = 0;
};

}  // namespace mquans
