// From marks to lists of sites, and from freshly computed codes through the gate to the held ones.
#pragma once

#include <algorithm>

#include "mquans/sites.h"
#include "mquans/stream.h"
#include "ops/common.h"

namespace mquans {

constexpr int32_t listed_sites = 96;  // at once, at most; whole tiles of every kernel

// Computed codes stay in the first-level cache until they are gated. Weights beyond the second-level cache are read anew
// for every list, so that few sites are better computed all together.
inline int32_t listed_at_once(int32_t stride, int64_t weights = 0) {
    if (weights > 1 << 19) return listed_sites;
    constexpr int32_t codes = 10240, least = 24, tile = 12;
    return std::clamp(codes / stride / tile * tile, least, listed_sites);
}

// Sites that are computed together.
struct SiteList {
    int32_t count = 0;
    int32_t row[listed_sites], x[listed_sites];
    int64_t held_at[listed_sites];
    int16_t* codes = nullptr;  // where their held ones lie
    const int16_t *low = nullptr, *high = nullptr;  // see HeldSites
    bool capped = true;
    bool all = false;  // every site is listed: most follow each other

    HeldSites held() const { return {codes, held_at, low, high, capped}; }
};

// at[i] = row_at[row] + column_at[x] of listed sites, which are in the order of memory.
inline void windows_of(const SiteList& list, const int32_t* __restrict row_at, const int32_t* __restrict column_at,
                       int32_t* __restrict at) {
    constexpr int32_t block = 16;
    int32_t i = 0;
    for (; list.all && i + block <= list.count; i += block) {
        const int32_t row = list.row[i], x = list.x[i], last = i + block - 1;
        if (list.row[last] == row && list.x[last] == x + block - 1)
            for (int32_t k = 0; k < block; ++k) at[i + k] = row_at[row] + column_at[x + k];
        else
            for (int32_t k = i; k < i + block; ++k) at[k] = row_at[list.row[k]] + column_at[list.x[k]];
    }
    for (; i < list.count; ++i) at[i] = row_at[list.row[i]] + column_at[list.x[i]];
}

// Where computed sites go, and through what.
struct SiteTarget {
    CodesId y;
    int32_t fresh_stride;  // of codes before the gate
    int32_t at_once;       // sites that are computed together, at most
    GateSpec gate;
    ActivationSpec activation;
    int32_t layer;          // for reports; -1: none
    bool straight = false;  // the step can write where results are held, if they are but clamped
    bool capped = true;     // see HeldSites

    // reach: codes of a site that its step writes to, where they are more than its channels.
    SiteTarget(Program& program, CodesId y, GateSpec gate, ActivationSpec activation = {}, int32_t layer = -1,
               int32_t reach = 0);
    void set_gate(const Program& program, GateSpec spec);
    // Whether some of what is computed may be refused: else it can go where it is held.
    bool gated(const Context& context) const { return !gate.weight.empty() && !context.keyframe(); }
    // unit: of outputs that its kernel writes at once, of so many channels that follow each other.
    void allow_straight(int32_t channels, int32_t unit);
};

// Words of marks worth handing to another thread, by how many sites are marked; cost: of a site, some 0.3 ns.
inline int32_t grain_of(const Context& context, MaskView marks, int32_t tasks, int64_t cost) {
    if (context.pool.threads() == 1) return tasks;
    constexpr int64_t worth = 16384;
    return int32_t(1 + tasks * worth / (1 + marks.count() * cost));
}

// Sites that are listed, computed and gated together, and the marks that they come from.
class SiteBatch {
public:
    // fresh: room for the codes of a batch.
    SiteBatch(Context& context, const SiteTarget& target, int16_t* fresh)
        : context_(context), target_(target), y_(context.codes(target.y)), activation_(target.activation.args()),
          gated_(target.gated(context)), most_(target.at_once),
          fresh_(fresh) {
        list_.codes = y_.data;
        list_.all = context.keyframe();
        if (!target.straight || gated_) return;
        list_.low = activation_.low;
        list_.high = activation_.high;
        list_.capped = target.capped;
        most_ = listed_sites;
    }

    const SiteList& list() const { return list_; }
    int32_t room() const { return most_ - list_.count; }

    // Lists the first of these sites of a word of marks, as many as there is room for; the sites that are left.
    uint64_t add(uint64_t* marked, uint64_t sites, int32_t row, int32_t word) {
        const int64_t at = y_.row_at[row];
        uint64_t left = sites;
        // Where only some sites are active, whether they follow each other is foretold badly.
        if (list_.all && sites && !(sites & (sites + (sites & -sites)))) {
            const int32_t x = __builtin_ctzll(sites), many = __builtin_popcountll(sites), count = std::min(many, room());
            add_run(row, word * 64 + x, count, at);
            left = count < many ? sites & ~uint64_t(0) << (x + count) : 0;
        }
        for (; left && list_.count < most_; left &= left - 1, ++list_.count) {
            const int32_t x = word * 64 + __builtin_ctzll(left);
            list_.row[list_.count] = row;
            list_.x[list_.count] = x;
            list_.held_at[list_.count] = at + int64_t(x) * y_.stride;
        }
        part_[parts_++] = {marked, sites ^ left};
        return left;
    }

    // Computes what is listed by compute(list, fresh), and unmarks what the gate refuses.
    template <class Compute>
    void flush(Compute&& compute) {
        if (!list_.count) return;
        compute(list_, fresh_);
        active_ += list_.count;
        taken_ += list_.count;
        if (!list_.low) finish();
        list_.count = parts_ = 0;
    }

    void report() const {
        if (target_.layer < 0) return;
        SiteReport& report = context_.stream.site_reports[target_.layer];
        __atomic_fetch_add(&report.active, active_, __ATOMIC_RELAXED);
        __atomic_fetch_add(&report.taken, taken_, __ATOMIC_RELAXED);
    }

private:
    void add_run(int32_t row, int32_t x, int32_t count, int64_t at) {
        const int32_t first = list_.count;
        std::fill_n(list_.row + first, count, row);
        for (int32_t k = 0; k < count; ++k) list_.x[first + k] = x + k;
        for (int32_t k = 0; k < count; ++k) list_.held_at[first + k] = at + int64_t(x + k) * y_.stride;
        list_.count += count;
    }

    // From fresh codes to held ones.
    void finish() {
        uint8_t took[listed_sites];
        context_.sites.finish({fresh_, target_.fresh_stride, activation_, y_.data, list_.held_at, list_.count,
                               y_.channels, gated_ ? target_.gate.weight.data() : nullptr, target_.gate.largest,
                               target_.gate.limit, took});
        const uint8_t* next = took;
        for (int32_t k = 0; gated_ && k < parts_; ++k) {
            uint64_t refused = 0;
            // Without a branch: what the gate does is foretold badly.
            for (uint64_t bits = part_[k].bits; bits; bits &= bits - 1)
                refused |= bits & -bits & (uint64_t(*next++) - 1);
            *part_[k].word &= ~refused;
            taken_ -= __builtin_popcountll(refused);
        }
    }

    Context& context_;
    const SiteTarget& target_;
    const CodesView y_;
    const ActivationArgs activation_;
    const bool gated_;
    int32_t most_;
    int16_t* const fresh_;
    SiteList list_;
    int64_t active_ = 0, taken_ = 0;
    // The marks that the listed sites come from, word by word.
    struct Part {
        uint64_t *word, bits;
    } part_[listed_sites];
    int32_t parts_ = 0;
};

// Calls compute(list, fresh) for lists of the marked sites, in parallel; unmarks those that the gate refuses.
// columns: which of them belong to this pass, as the words of one row of marks; null for all.
// rows: of every row, whether it does (>= 0); null for all.
template <class Compute>
void compute_marked(Context& context, const SiteTarget& target, MaskView marks, const int32_t* rows,
                    const uint64_t* columns, int64_t cost, Compute&& compute) {
    const int32_t words = marks.words(), tasks = marks.rows * words;
    context.pool.for_rows(tasks, grain_of(context, marks, tasks, cost), [&](int32_t begin, int32_t end, int worker) {
        SiteBatch batch(context, target, context.scratch.bands[worker].codes.data());
        for (int32_t task = begin; task < end; ++task) {
            const int32_t row = task / words, word = task % words;
            if (rows && rows[row] < 0) continue;
            uint64_t* const marked = marks.row(row) + word;
            for (uint64_t left = columns ? *marked & columns[word] : *marked; left;) {
                left = batch.add(marked, left, row, word);
                if (!batch.room()) batch.flush(compute);
            }
        }
        batch.flush(compute);
        batch.report();
    });
}

}  // namespace mquans
