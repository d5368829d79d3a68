// The state of one stream, and one native call per frame.
#include "mquans/stream.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "bindings/bind.h"
#include "bindings/interpreter.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace mquans;

namespace {

using Values = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Input = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;  // float32, or pixels of 8 bits
using Writable = nb::ndarray<float, nb::c_contig, nb::device::cpu>;

void expect(int64_t found, int64_t size, const char* what) {
    if (found != size) throw std::invalid_argument(std::string(what) + " has the wrong size");
}

template <class T>
nb::ndarray<nb::numpy, T> to_numpy(const T* data, std::vector<size_t> shape) {
    size_t size = 1;
    for (size_t n : shape) size *= n;
    T* copy = new T[size];
    std::memcpy(copy, data, size * sizeof(T));
    nb::capsule owner(copy, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return {copy, shape.size(), shape.data(), owner};
}

// The program of a stream that is about to run; the interpreter's lock must be held.
Program& ready(Stream& stream) {
    stream.program().follow_fork();
    return stream.program();
}

std::vector<FrameInput> inputs_of(const Stream& stream, const std::vector<Input>& inputs) {
    const auto& ports = stream.program().inputs;
    expect(int64_t(inputs.size()), int64_t(ports.size()), "the list of inputs");
    std::vector<FrameInput> given(ports.size());
    for (size_t i = 0; i < ports.size(); ++i) {
        expect(int64_t(inputs[i].size()), ports[i].size, "an input");
        if (inputs[i].dtype() == nb::dtype<float>())
            given[i].values = static_cast<const float*>(inputs[i].data());
        else if (inputs[i].dtype() == nb::dtype<uint8_t>() && ports[i].takes_pixels)
            given[i].pixels = static_cast<const uint8_t*>(inputs[i].data());
        else
            throw std::invalid_argument("an input has the wrong type");
    }
    return given;
}

void fetch(const Stream& stream, const std::vector<Writable>& outputs) {
    const auto& ports = stream.program().outputs;
    expect(int64_t(outputs.size()), int64_t(ports.size()), "the list of outputs");
    for (size_t i = 0; i < ports.size(); ++i) {
        expect(int64_t(outputs[i].size()), ports[i].size, "an output");
        stream.fetch(ports[i], outputs[i].data());
    }
}

}  // namespace

void bind_stream(nb::module_& m) {
    nb::class_<Violation>(m, "Violation")
        .def_ro("layer", &Violation::layer)
        .def_ro("pixel", &Violation::pixel)
        .def_ro("output", &Violation::output)
        .def_ro("expected", &Violation::expected)
        .def_ro("found", &Violation::found);

    nb::class_<Stream>(m, "Stream", "Held values, accumulators and activations of one stream.")
        .def(nb::init<std::shared_ptr<Program>>(), "program"_a)
        .def("clone", [](const Stream& self) { return new Stream(self); })
        .def("reset", &Stream::reset)
        .def(
            "begin_frame",
            [](Stream& self, const std::vector<Input>& inputs, bool keyframe) {
                const std::vector<FrameInput> given = inputs_of(self, inputs);
                Program& program = ready(self);
                const Unlocked unlocked;
                return program.begin_frame(self, given, keyframe);
            },
            "inputs"_a, "keyframe"_a, nb::sig("def begin_frame(self, inputs: Sequence[NDArray[typing.Any]], keyframe: bool) -> bool"),
            "The inputs of the frame that is run next; the arrays must live until that is done. False, with nothing "
            "changed, when one is not finite.")
        .def(
            "step",
            [](Stream& self, const std::vector<Input>& inputs, const std::vector<Writable>& outputs,
               bool keyframe) {
                const std::vector<FrameInput> given = inputs_of(self, inputs);
                Program& program = ready(self);
                const Unlocked unlocked;
                if (!program.begin_frame(self, given, keyframe)) return false;
                program.run(self, 0, int32_t(program.step_names.size()), keyframe, false);
                fetch(self, outputs);
                return true;
            },
            "inputs"_a, "outputs"_a, "keyframe"_a,
            nb::sig("def step(self, inputs: Sequence[NDArray[typing.Any]], outputs: Sequence[NDArray[numpy.float32]], "
                    "keyframe: bool) -> bool"),
            "One frame in one call. False, with nothing changed, when an input is not finite.")
        .def(
            "run",
            [](Stream& self, int32_t first, int32_t last, bool dense, bool keep_held) {
                Program& program = ready(self);
                const Unlocked unlocked;
                program.run(self, first, last, dense, keep_held);
            },
            "first"_a, "last"_a, "dense"_a, "keep_held"_a,
            "Steps [first, last) only, for programs with fallback subgraphs and for recomputing.")
        .def("fetch", &fetch, "outputs"_a)
        .def(
            "read",
            [](const Stream& self, TensorId id) {
                const TensorView t = self.tensor(id);
                std::vector<float> values;
                values.reserve(t.pixels() * t.channels);
                for (int64_t p = 0; p < t.pixels(); ++p)
                    values.insert(values.end(), t.pixel(p), t.pixel(p) + t.channels);
                return to_numpy(values.data(), {size_t(t.rows), size_t(t.width), size_t(t.channels)});
            },
            "tensor"_a)
        .def(
            "mask_any", [](const Stream& self, TensorId id) { return self.mask(id).any(); }, "tensor"_a)
        .def(
            "clear_mask", [](Stream& self, TensorId id) { self.mask(id).clear(); }, "tensor"_a)
        .def(
            "write",
            [](Stream& self, TensorId id, Values values) {
                const TensorView t = self.tensor(id);
                expect(int64_t(values.size()), t.pixels() * t.channels, "a tensor");
                std::vector<int64_t> rows(t.rows);
                for (int32_t r = 0; r < t.rows; ++r) rows[r] = int64_t(r) * t.width * t.channels;
                self.feed({id, rows, t.channels, 1, int64_t(values.size())}, values.data());
            },
            "tensor"_a, "values"_a.noconvert(),
            "Takes the output of a fallback subgraph, [rows][width][channels]; pixels that differ are marked.")
        .def_prop_ro("bytes", &Stream::bytes)
        .def(
            "write_codes",
            [](Stream& self, CodesId id, nb::ndarray<const int16_t, nb::c_contig, nb::device::cpu> codes) {
                const CodesView t = self.code_tensor(id);
                expect(int64_t(codes.size()), int64_t(t.rows) * t.width * t.channels, "codes");
                const int16_t* from = codes.data();
                for (int32_t r = 0; r < t.rows; ++r)
                    for (int32_t x = 0; x < t.width; ++x, from += t.channels)
                        std::memcpy(t.site(r, x), from, sizeof(int16_t) * t.channels);
            },
            "id"_a, "codes"_a.noconvert(), "Held codes [rows][width][channels] of a restored stream.")
        .def(
            "read_codes",
            [](const Stream& self, CodesId id) {
                const CodesView t = self.code_tensor(id);
                std::vector<int16_t> values;
                values.reserve(int64_t(t.rows) * t.width * t.channels);
                for (int32_t r = 0; r < t.rows; ++r)
                    for (int32_t x = 0; x < t.width; ++x)
                        values.insert(values.end(), t.site(r, x), t.site(r, x) + t.channels);
                return to_numpy(values.data(), {size_t(t.rows), size_t(t.width), size_t(t.channels)});
            },
            "id"_a, "Held codes [rows][width][channels].")
        .def(
            "read_code_mask",
            [](const Stream& self, CodesId id) {
                const MaskView mask = self.code_mask(id);
                std::vector<uint8_t> marks;
                marks.reserve(int64_t(mask.rows) * mask.width);
                for (int32_t r = 0; r < mask.rows; ++r)
                    for (int32_t x = 0; x < mask.width; ++x) marks.push_back(mask.get(r, x));
                return to_numpy(marks.data(), {size_t(mask.rows), size_t(mask.width)});
            },
            "id"_a, "Sites that the last frame replaced, [rows][width] of 0 and 1.")
        .def(
            "flip_code_bit",
            [](Stream& self, CodesId id, int32_t row, int32_t x, int32_t channel, int32_t bit) {
                const CodesView t = self.code_tensor(id);
                if (row < 0 || row >= t.rows || x < 0 || x >= t.width || channel < 0 || channel >= t.channels ||
                    bit < 0 || bit > 15)
                    throw std::invalid_argument("no such bit");
                t.site(row, x)[channel] = int16_t(t.site(row, x)[channel] ^ int16_t(1 << bit));
            },
            "id"_a, "row"_a, "x"_a, "channel"_a, "bit"_a, "Plants a fault in a held code, to test `verify`.")
        .def_prop_ro("site_reports",
                     [](const Stream& self) {
                         std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>> rows;
                         for (const auto& r : self.site_reports)
                             rows.emplace_back(r.moved, r.active, r.taken, r.macs);
                         return rows;
                     },
                     "(input sites replaced, sites computed, sites taken, MACs) of each layer over sites.")
        .def_prop_ro(
            "held",
            [](const Stream& self) {
                return to_numpy(self.held_data(), {size_t(self.program().held_size)});
            },
            nb::rv_policy::move)
        .def("set_held",
             [](Stream& self, nb::ndarray<const int16_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> held) {
                 expect(int64_t(held.size()), self.program().held_size, "held values");
                 std::memcpy(self.held_data(), held.data(), self.held_bytes());
             },
             "held"_a.noconvert())
        .def(
            "layer_held",
            [](const Stream& self, int32_t layer) {
                const auto& q = self.program().quantized.at(self.program().layers.at(layer).input);
                return to_numpy(self.held(q), {size_t(q.rows), size_t(q.width), size_t(q.channels)});
            },
            "layer"_a)
        .def(
            "layer_accumulators",
            [](const Stream& self, int32_t index) {
                const LayerSpec& layer = self.program().layers.at(index);
                const LayerShape& s = layer.shape;
                const int32_t* from = self.accumulators(layer).data;
                const int64_t pixels = int64_t(s.out_rows) * s.out_width;
                std::vector<int32_t> values;
                values.reserve(pixels * s.out_channels);
                for (int64_t i = 0; i < pixels * s.groups; ++i, from += layer.group_stride)
                    values.insert(values.end(), from, from + s.group_out());
                return to_numpy(values.data(),
                                {size_t(s.out_rows), size_t(s.out_width), size_t(s.out_channels)});
            },
            "layer"_a)
        .def(
            "layer_changes",
            [](const Stream& self, int32_t layer) {
                const auto& q = self.program().quantized.at(self.program().layers.at(layer).input);
                return to_numpy<uint16_t>(self.changes(q).count, {size_t(q.rows), size_t(q.width), size_t(q.groups)});
            },
            "layer"_a, "Changed inputs of the last frame, [rows][width][groups].")
        .def(
            "flip_bit",
            [](Stream& self, int32_t layer, int64_t index, int32_t bit) {
                const LayerSpec& spec = self.program().layers.at(layer);
                if (index < 0 || index >= spec.acc_size() || bit < 0 || bit > 31)
                    throw std::invalid_argument("no such bit");
                self.accumulators(spec).data[index] ^= int32_t(uint32_t(1) << bit);
            },
            "layer"_a, "index"_a, "bit"_a, "Plants a fault in an accumulator, to test `verify`.")
        .def_rw("busy_from", &Stream::busy_from)
        .def_rw("profile", &Stream::profile)
        .def_prop_ro("step_ns", [](const Stream& self) { return self.step_ns; })
        .def_prop_ro("reports",
                     [](const Stream& self) {
                         std::vector<std::tuple<int64_t, int64_t>> rows;
                         for (const auto& r : self.reports) rows.emplace_back(r.changed, r.macs_done);
                         return rows;
                     },
                     "(changed inputs, MACs done) of each layer.")
        .def("check", [](const Stream& self) -> std::optional<Violation> {
            const Violation found = [&] {
                const Unlocked unlocked;
                return self.program().check(self);
            }();
            if (found.layer < 0) return std::nullopt;
            return found;
        });
}
