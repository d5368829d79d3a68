// What bringing a reuse layer up to date costs on this machine, by change or afresh.
#pragma once

#include "mquans/kernels.h"

namespace mquans {

// Work of a layer, or of some rows of it.
struct Work {
    int64_t pixels = 0;    // touched outputs
    int64_t taps = 0;      // of these, on padding not counted
    int64_t products = 0;  // changes times taps: each meets all outputs of its group
    int64_t lists = 0;     // changed pixels (of one group) times taps
};

// Times in picoseconds, fitted to the kernels themselves. A unit is 16 outputs, a pair two inputs of an
// output, or two changes.
struct CostModel {
    // Afresh: per pixel and unit, per pair and unit. (To begin with those of a Zen 3 with AVX2.)
    int64_t tile = 3000, product = 600;
    // By change: per pixel and unit, per list, per pair, per pair and unit.
    int64_t update = 5000, list = 4000, pair = 1000, change = 800;

    int64_t afresh(const LayerShape& s, const Work& work) const {
        return units(s) * (work.pixels * s.groups * tile + work.taps * s.in_channels / 2 * product);
    }
    int64_t by_change(const LayerShape& s, const Work& work) const {
        return work.pixels * s.groups * units(s) * update + work.lists * list +
               (work.products + work.lists) / 2 * (pair + units(s) * change);
    }
    // Accumulators that are kept leave the cache where scratch ones would stay in it.
    int64_t keeping(const LayerShape& s, const Work& work) const {
        return work.pixels * s.groups * units(s) * update / 2;
    }

private:
    static int64_t units(const LayerShape& s) { return (s.group_out() + 15) / 16; }
};

// Runs the kernels on made-up layers for some forty milliseconds.
CostModel measure_costs(const KernelTable& kernels);

}  // namespace mquans
