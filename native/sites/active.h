// From marks to lists of sites, and from freshly computed codes through the gate to the held ones.
#pragma once

#include <algorithm>

#include "mquans/sites.h"
#include "mquans/stream.h"
#include "ops/common.h"

namespace mquans {

constexpr int32_t listed_sites = 96;  // at once, at most; whole tiles of every kernel

// Computed codes stay in the first-level cache until they are gated.
inline int32_t listed_at_once(int32_t stride) {
    constexpr int32_t codes = 10240, least = 24, tile = 12;
    return std::clamp(codes / stride / tile * tile, least, listed_sites);
}

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

// Words of marks worth handing to another thread, by how many sites are marked; cost: of a site, some 0.3 ns.
inline int32_t grain_of(const Context& context, MaskView marks, int32_t tasks, int64_t cost) {
    if (context.pool.threads() == 1) return tasks;
    constexpr int64_t worth = 16384;
    return int32_t(1 + tasks * worth / (1 + marks.count() * cost));
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
    const int32_t most = listed_at_once(target.fresh_stride);
    SiteReport* report = target.layer < 0 ? nullptr : &context.stream.site_reports[target.layer];
    const int32_t tasks = marks.rows * words;
    context.pool.for_rows(tasks, grain_of(context, marks, tasks, cost), [&](int32_t begin, int32_t end, int worker) {
        int16_t* fresh = context.scratch.bands[worker].codes.data();
        SiteList list;
        int64_t held_at[listed_sites], active = 0, taken = 0;
        uint8_t took[listed_sites];
        // The marks that the listed sites come from, word by word.
        struct Part {
            uint64_t *word, bits;
        } part[listed_sites];
        int32_t parts = 0;
        auto flush = [&] {
            if (!list.count) return;
            for (int32_t i = 0; i < list.count; ++i) prefetch(y.data + held_at[i], y.channels);
            compute(list, fresh);
            context.sites.finish({fresh, target.fresh_stride, activation, y.data, held_at, list.count, y.channels,
                                  gated ? target.gate.weight.data() : nullptr, target.gate.largest,
                                  target.gate.limit, took});
            active += list.count;
            const uint8_t* next = took;
            for (int32_t k = 0; gated && k < parts; ++k) {
                uint64_t refused = 0;
                // Without a branch: what the gate does is foretold badly.
                for (uint64_t bits = part[k].bits; bits; bits &= bits - 1)
                    refused |= bits & -bits & (uint64_t(*next++) - 1);
                *part[k].word &= ~refused;
                taken -= __builtin_popcountll(refused);
            }
            taken += list.count;
            list.count = parts = 0;
        };
        for (int32_t task = begin; task < end; ++task) {
            const int32_t row = task / words, word = task % words;
            if (rows && rows[row] < 0) continue;
            uint64_t* const marked = marks.row(row) + word;
            uint64_t bits = *marked;
            if (columns) bits &= columns[word];
            while (bits) {
                // As many as fit into the list.
                const uint64_t from = bits;
                const int64_t site = y.row_at[row];
                for (; bits && list.count < most; bits &= bits - 1, ++list.count) {
                    const int32_t x = word * 64 + __builtin_ctzll(bits);
                    list.row[list.count] = row;
                    list.x[list.count] = x;
                    held_at[list.count] = site + int64_t(x) * y.stride;
                }
                part[parts++] = {marked, from ^ bits};
                if (list.count == most) flush();
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
