// From marks to tiles of two by two sites, where most of a tile is active, and single sites elsewhere.
#pragma once

#include "sites/active.h"

namespace mquans {

// Tiles whose active sites are listed; those that are not are written to a row of their own, behind the list.
struct TileList {
    static constexpr int32_t most = listed_sites / 3;
    int32_t count = 0;
    int32_t row[most], x[most];
    int32_t fresh[4 * most];  // [tiles][4] places in the list
};

constexpr uint64_t even_columns = 0x5555555555555555u;

// First columns of the tiles of two rows of marks of which three sites or four are active: a tile costs as much as two.
inline uint64_t full_tiles(uint64_t upper, uint64_t lower) {
    const uint64_t a = upper, b = upper >> 1, c = lower, d = lower >> 1;
    return ((a & b & (c | d)) | (c & d & (a | b))) & even_columns;
}

// Moves tiles from `tiles` to the list, as many as there is room for.
inline void add_tiles(SiteBatch& batch, TileList& list, uint64_t* upper, uint64_t* lower, int32_t row, int32_t word,
                      uint64_t& tiles) {
    uint64_t chosen = 0;
    for (int32_t room = batch.room() / 4; tiles && room; --room, tiles &= tiles - 1) chosen |= tiles & -tiles;
    const uint64_t sites = chosen | chosen << 1, above = *upper & sites, below = *lower & sites;
    int32_t next = batch.list().count, under = next + __builtin_popcountll(above);
    batch.add(upper, above, row, word);
    batch.add(lower, below, row + 1, word);
    for (; chosen; chosen &= chosen - 1, ++list.count) {
        const int32_t x = __builtin_ctzll(chosen);
        list.row[list.count] = row;
        list.x[list.count] = word * 64 + x;
        int32_t* fresh = list.fresh + 4 * list.count;
        for (int32_t k = 0; k < 2; ++k) {
            fresh[k] = above >> (x + k) & 1 ? next++ : listed_sites;
            fresh[2 + k] = below >> (x + k) & 1 ? under++ : listed_sites;
        }
    }
}

// Codes of scratch for two batches.
inline int64_t tiled_scratch(int32_t fresh_stride) { return (listed_sites + 1) * int64_t(fresh_stride) + 128; }

// As compute_marked; most active ones of two neighbouring rows by compute_tiles(tiles, their sites, fresh, scratch), the others by
// compute_sites(list, fresh).
// paired: of every second row, whether the next one lies one row of inputs below.
template <class ComputeTiles, class ComputeSites>
void compute_tiled(Context& context, const SiteTarget& target, MaskView marks, const std::vector<bool>& paired,
                   int64_t cost, ComputeTiles&& compute_tiles, ComputeSites&& compute_sites) {
    const int32_t words = marks.words(), tasks = (marks.rows + 1) / 2 * words;
    context.pool.for_rows(tasks, grain_of(context, marks, tasks, cost), [&](int32_t begin, int32_t end, int worker) {
        int16_t* const codes = context.scratch.bands[worker].codes.data();
        int16_t* const behind = codes + tiled_scratch(target.fresh_stride);
        SiteBatch tiled(context, target, codes), single(context, target, behind);
        TileList tiles;
        const auto flush_tiles = [&] {
            tiled.flush([&](const SiteList& sites, int16_t* fresh) {
                compute_tiles(tiles, sites, fresh, behind + tiled_scratch(target.fresh_stride));
            });
            tiles.count = 0;
        };
        const auto add_sites = [&](uint64_t* marked, uint64_t sites, int32_t row, int32_t word) {
            while (sites) {
                sites = single.add(marked, sites, row, word);
                if (!single.room()) single.flush(compute_sites);
            }
        };
        for (int32_t task = begin; task < end; ++task) {
            const int32_t row = task / words * 2, word = task % words;
            uint64_t* const upper = marks.row(row) + word;
            if (row + 1 == marks.rows) {
                add_sites(upper, *upper, row, word);
                continue;
            }
            uint64_t* const lower = marks.row(row + 1) + word;
            uint64_t full = paired[row / 2] ? full_tiles(*upper, *lower) : 0;
            // What is flushed may be unmarked.
            const uint64_t others = ~(full | full << 1), above = *upper & others, below = *lower & others;
            while (full) {
                add_tiles(tiled, tiles, upper, lower, row, word, full);
                if (tiled.room() < 4) flush_tiles();
            }
            add_sites(upper, above, row, word);
            add_sites(lower, below, row + 1, word);
        }
        flush_tiles();
        single.flush(compute_sites);
        tiled.report();
        single.report();
    });
}

}  // namespace mquans
