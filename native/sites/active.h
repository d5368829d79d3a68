// From marks to lists of sites, and from freshly computed codes through the gate to the held ones.
#pragma once

#include <algorithm>

#include "mquans/sites.h"
#include "mquans/stream.h"
#include "ops/common.h"

namespace mquans {

constexpr int32_t listed_sites = 96;  // at once; whole tiles of every kernel

// Sites that are computed together.
struct SiteList {
    int32_t count = 0;
    int32_t row[listed_sites], x[listed_sites];
};

// Where computed sites go, and through what.
struct SiteTarget {
    CodesId y;
    int32_t fresh_stride;  // of codes before the gate
    GateSpec gate;
    ActivationSpec activation;
    int32_t layer;  // for reports; -1: none

    // reach: codes of a site that its step writes to, where they are more than its channels.
    SiteTarget(Program& program, CodesId y, GateSpec gate, ActivationSpec activation = {}, int32_t layer = -1,
               int32_t reach = 0);
    void set_gate(const Program& program, GateSpec spec);
};

// Codes that are soon read: single sites lie where no stream of addresses leads.
MQ_INLINE void prefetch(const int16_t* codes, int32_t count) {
    for (int32_t c = 0; c < count; c += 32) __builtin_prefetch(codes + c);
}

// Calls compute(list, fresh) for lists of the marked sites, in parallel; unmarks those that the gate refuses.
// columns: which of them belong to this pass, as the words of one row of marks; null for all.
// rows: of every row, whether it does (>= 0); null for all.
template <class Compute>
void compute_marked(Context& context, const SiteTarget& target, MaskView marks, const int32_t* rows,
                    const uint64_t* columns, int64_t cost, Compute&& compute) {
    const CodesView y = context.codes(target.y);
    const int32_t words = marks.words();
    const ActivationArgs activation = target.activation.args();
    const bool gated = !target.gate.weight.empty() && !context.keyframe();
    SiteReport* report = target.layer < 0 ? nullptr : &context.stream.site_reports[target.layer];
    const int32_t grain = int32_t(std::max<int64_t>(1, 32768 / std::max<int64_t>(1, cost * 8)));
    context.pool.for_rows(marks.rows * words, grain, [&](int32_t begin, int32_t end, int worker) {
        int16_t* fresh = context.room.bands[worker].codes.data();
        SiteList list;
        int64_t active = 0, taken = 0;
        auto flush = [&] {
            if (!list.count) return;
            int64_t held_at[listed_sites];
            uint8_t took[listed_sites];
            for (int32_t i = 0; i < list.count; ++i) {
                held_at[i] = y.row_at[list.row[i]] + int64_t(list.x[i]) * y.stride;
                if (gated) prefetch(y.data + held_at[i], y.channels);
            }
            compute(list, fresh);
            context.sites.finish({fresh, target.fresh_stride, activation, y.data, held_at, list.count, y.channels,
                                  gated ? target.gate.weight.data() : nullptr, target.gate.largest,
                                  target.gate.limit, took});
            for (int32_t i = 0; i < list.count; ++i) {
                taken += took[i];
                if (!took[i]) marks.row(list.row[i])[list.x[i] >> 6] &= ~(uint64_t(1) << (list.x[i] & 63));
            }
            active += list.count;
            list.count = 0;
        };
        for (int32_t task = begin; task < end; ++task) {
            const int32_t row = task / words, word = task % words;
            if (rows && rows[row] < 0) continue;
            uint64_t bits = marks.row(row)[word];
            if (columns) bits &= columns[word];
            for (; bits; bits &= bits - 1) {
                list.row[list.count] = row;
                list.x[list.count] = word * 64 + __builtin_ctzll(bits);
                if (++list.count == listed_sites) flush();
            }
        }
        flush();
        if (report) {
            __atomic_fetch_add(&report->active, active, __ATOMIC_RELAXED);
            __atomic_fetch_add(&report->taken, taken, __ATOMIC_RELAXED);
        }
    });
}

}  // namespace mquans
