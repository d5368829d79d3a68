// Building a program from Python: tensors, quantized inputs, reuse layers, ports.
#include "mquans/program.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "bindings/arrays.h"
#include "bindings/bind.h"
#include "mquans/isa.h"
#include "program/recurrence.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace mquans;

namespace {

template <class T>
void expect(const Array<T>& array, int64_t size, const char* what) {
    if (int64_t(array.size()) != size) throw std::invalid_argument(std::string(what) + " has the wrong size");
}

QuantizedId add_quantized(Program& program, TensorId x, float limit, int32_t groups, Array<float> inverse_delta,
                          Array<int16_t> offset, Array<int16_t> mask, Array<int16_t> threshold, int32_t order,
                          bool externally_clocked) {
    const TensorSpec& t = program.tensors.at(x);
    expect(inverse_delta, t.channels, "the grid");
    for (const auto& rule : {offset, mask, threshold}) expect(rule, t.channels, "the rule");
    if (groups < 1 || t.channels % groups) throw std::invalid_argument("groups must divide channels");
    QuantizedSpec q{};
    q.x = x;
    q.rows = t.rows;
    q.width = t.width;
    q.channels = t.channels;
    q.groups = groups;
    q.inverse_delta = copy(inverse_delta);
    q.limit = limit;
    q.offset = copy(offset);
    q.mask = copy(mask);
    q.threshold = copy(threshold);
    q.order = Order(order);
    if (q.order != Order::frames && groups != 1) throw std::invalid_argument("time steps have no groups");
    return program.add_quantized(std::move(q), externally_clocked);
}

int32_t add_layer(Program& program, std::string name, QuantizedId input, TensorId y, int32_t groups,
                  Array<int32_t> row_grid, int32_t row_taps, Array<int32_t> col_grid,
                  int32_t col_taps, Array<int16_t> weights, int32_t weight_bits, Array<float> scale,
                  Array<float> bias, int32_t activation, float a, float b, bool externally_clocked) {
    const QuantizedSpec& q = program.quantized.at(input);
    const TensorSpec& t = program.tensors.at(y);
    LayerSpec layer{};
    layer.name = std::move(name);
    layer.input = input;
    layer.y = y;
    LayerShape& s = layer.shape;
    layer.time_steps = q.order == Order::frames ? 0 : q.rows;
    s.in_rows = layer.time_steps ? 1 : q.rows;
    s.in_width = q.width;
    s.in_channels = q.channels;
    s.out_rows = layer.time_steps ? 1 : t.rows;
    s.out_width = t.width;
    s.out_channels = t.channels;
    s.groups = groups;
    s.row_taps = row_taps;
    s.col_taps = col_taps;
    expect(row_grid, int64_t(s.out_rows) * row_taps, "row grid");
    expect(col_grid, int64_t(t.width) * col_taps, "column grid");
    if (groups < 1 || q.channels % groups || t.channels % groups)
        throw std::invalid_argument("groups must divide channels");
    expect(weights, int64_t(t.channels) * s.group_in() * row_taps * col_taps, "weights");
    expect(scale, t.channels, "scale");
    expect(bias, t.channels, "bias");
    if (weight_bits != 8 && weight_bits != 16) throw std::invalid_argument("weights have 8 or 16 bits");
    if (layer.time_steps && (t.rows != (externally_clocked ? 1 : q.rows) || row_taps * col_taps > 1 || groups > 1))
        throw std::invalid_argument("a layer over time steps has one tap");
    layer.rows = Axis(copy(row_grid), row_taps, s.in_rows);
    layer.cols = Axis(copy(col_grid), col_taps, q.width);
    layer.weight_bits = weight_bits;
    layer.scale = copy(scale);
    layer.bias = copy(bias);
    layer.activated = activation >= 0;
    layer.activation = UnaryKind(activation);
    layer.a = a;
    layer.b = b;
    return program.add_layer(std::move(layer), weights.data(), externally_clocked);
}

void add_recurrence(Program& program, const std::string& name, int32_t kind, bool reset_after, float clip,
                    const std::vector<std::tuple<int32_t, float, float>>& activations,
                    std::vector<float> peepholes, std::vector<int32_t> lengths, std::vector<int32_t> layers,
                    TensorId p, TensorId h, TensorId c, TensorId y, TensorId last_h, TensorId last_c) {
    RecurrenceSpec spec{};
    spec.kind = RecurrenceKind(kind);
    spec.reset_after = reset_after;
    spec.clip = clip;
    for (const auto& [f, a, b] : activations) spec.activations.push_back({UnaryKind(f), a, b});
    spec.peepholes = std::move(peepholes);
    spec.lengths = std::move(lengths);
    spec.layers = std::move(layers);
    spec.p = p;
    spec.h = h;
    spec.c = c;
    spec.y = y;
    spec.last_h = last_h;
    spec.last_c = last_c;
    program.add_step(name, std::make_unique<RecurrenceStep>(program, std::move(spec)));
}

Port make_port(const Program& program, TensorId tensor, Array<int64_t> row_offset, int64_t x_step,
               int64_t c_step) {
    const TensorSpec& t = program.tensors.at(tensor);
    expect(row_offset, t.rows, "row offsets");
    const int64_t size = int64_t(t.rows) * t.width * t.channels;
    for (int32_t r = 0; r < t.rows; ++r) {
        const int64_t last = row_offset.data()[r] + (t.width - 1) * x_step + (t.channels - 1) * c_step;
        if (row_offset.data()[r] < 0 || x_step < 0 || c_step < 0 || last >= size)
            throw std::invalid_argument("port reaches outside its array");
    }
    return {tensor, copy(row_offset), x_step, c_step, size};
}

}  // namespace

void bind_program(nb::module_& m) {
    nb::class_<Program>(m, "Program", "A network compiled for the engine; weights packed once.")
        .def(
            "__init__",
            [](Program* self, const std::string& isa, int threads) {
                if (threads < 1) throw std::invalid_argument("at least one thread is needed");
                new (self) Program(kernels_for(isa), site_kernels_for(isa), threads);
            },
            "isa"_a, "threads"_a)
        .def("add_tensor", &Program::add_tensor, "rows"_a, "width"_a, "channels"_a, "stored"_a = true)
        .def("add_view", &Program::add_view, "base"_a, "first_channel"_a, "channels"_a)
        .def("add_part", &Program::add_part, "base"_a, "first"_a, "rows"_a, "width"_a)
        .def("add_reshaped", &Program::add_reshaped, "base"_a, "rows"_a, "width"_a, "channels"_a)
        .def("add_windows", &Program::add_windows, "base"_a, "count"_a, "taps"_a, "step"_a)
        .def(
            "add_constant",
            [](Program& self, int32_t rows, int32_t width, int32_t channels, Array<float> values) {
                expect(values, int64_t(rows) * width * channels, "constant");
                return self.add_constant(rows, width, channels, values.data());
            },
            "rows"_a, "width"_a, "channels"_a, "values"_a.noconvert())
        .def("add_quantized", &add_quantized, "x"_a, "limit"_a, "groups"_a,
             "inverse_delta"_a.noconvert(), "offset"_a.noconvert(), "mask"_a.noconvert(), "threshold"_a.noconvert(),
             "order"_a = 0, "externally_clocked"_a = false)
        .def("add_layer", &add_layer, "name"_a, "input"_a, "y"_a, "groups"_a,
             "row_grid"_a.noconvert(), "row_taps"_a, "col_grid"_a.noconvert(), "col_taps"_a,
             "weights"_a.noconvert(), "weight_bits"_a, "scale"_a.noconvert(), "bias"_a.noconvert(),
             "activation"_a, "a"_a, "b"_a, "externally_clocked"_a = false)
        .def("add_recurrence", &add_recurrence, "name"_a, "kind"_a, "reset_after"_a, "clip"_a, "activations"_a,
             "peepholes"_a, "lengths"_a, "layers"_a, "p"_a, "h"_a, "c"_a, "y"_a, "last_h"_a, "last_c"_a)
        .def(
            "add_input",
            [](Program& self, TensorId tensor, Array<int64_t> row_offset, int64_t x_step, int64_t c_step) {
                return self.add_input(make_port(self, tensor, row_offset, x_step, c_step));
            },
            "tensor"_a, "row_offset"_a.noconvert(), "x_step"_a, "c_step"_a)
        .def(
            "add_output",
            [](Program& self, TensorId tensor, Array<int64_t> row_offset, int64_t x_step, int64_t c_step) {
                return self.add_output(make_port(self, tensor, row_offset, x_step, c_step));
            },
            "tensor"_a, "row_offset"_a.noconvert(), "x_step"_a, "c_step"_a)
        .def_rw("motion_gate", &Program::motion_gate)
        .def("finish", &Program::finish)
        .def_prop_ro("pixel_inputs",
                     [](const Program& self) {
                         std::vector<bool> taken;
                         for (const Port& port : self.inputs) taken.push_back(port.takes_pixels);
                         return taken;
                     },
                     "Of each input, whether it takes pixels of 8 bits as well.")
        .def_prop_ro("steps", [](const Program& self) { return self.step_names; })
        .def_prop_ro("weights_bytes", &Program::weights_bytes)
        .def_prop_ro("layer_macs",
                     [](const Program& self) {
                         std::vector<int64_t> macs;
                         for (const auto& layer : self.layers) macs.push_back(layer.macs);
                         return macs;
                     },
                     "MACs of one dense evaluation of each layer, taps on padding not counted.")
        .def_prop_ro("layer_inputs", [](const Program& self) {
            std::vector<int64_t> inputs;
            for (const auto& layer : self.layers) inputs.push_back(self.quantized[layer.input].held_size());
            return inputs;
        });
}
