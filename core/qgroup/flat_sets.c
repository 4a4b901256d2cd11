// SPDX-License-Identifier: MIT
#include "core/qgroup/flat_sets.h"

#include <errno.h>

#include "core/base/alloc.h"

void flat_sets_free(struct flat_sets *flat)
{
	alloc_free(flat->bytes);
	alloc_free(flat->first);
	alloc_free(flat->boundaries);
	alloc_free(flat->roots);
}

static bool entry_is_zero(const struct ledger_entry *entry)
{
	return !entry->data && !entry->metadata;
}

static void count_roots(const struct subvol_list *subvols, uint32_t *roots)
{
	uint32_t at;

	roots[0] = 0;
	for (at = 0; at < subvols->positions; at++) {
		uint64_t id = lineage_root(&subvols->lineage, subvols->elements[at]);

		roots[at + 1] = roots[at] + (id != LINEAGE_END);
	}
}

static void flat_sets_fill(struct flat_sets *flat, const struct ledger_tally *ledger,
			   const struct rootset_table *sets, const uint32_t *position)
{
	uint32_t limit = rootset_limit(sets);
	uint32_t used = 0;
	uint32_t id;

	for (id = 1; id < limit; id++) {
		const struct rootset *set = rootset_at(sets, id);
		uint32_t at;

		if (entry_is_zero(&ledger->entries[id]))
			continue;
		flat->bytes[flat->count] = ledger->entries[id];
		flat->first[flat->count++] = used;
		for (at = 0; at < set->count; at++)
			flat->boundaries[used++] = position[set->boundaries[at]];
	}
	flat->first[flat->count] = used;
}

int flat_sets_build(struct flat_sets *flat, const struct ledger_tally *ledger,
		    const struct rootset_table *sets, const struct subvol_list *subvols)
{
	uint32_t *position = alloc_zeroed(subvols->lineage.used, sizeof(*position));
	uint32_t limit = rootset_limit(sets);
	uint64_t boundaries = 0;
	uint32_t at;

	for (at = 1; at < limit; at++)
		boundaries += rootset_at(sets, at)->count;
	flat->bytes = alloc_array(limit, sizeof(*flat->bytes));
	flat->first = alloc_array(limit + 1U, sizeof(*flat->first));
	flat->boundaries = alloc_array(boundaries + 1, sizeof(*flat->boundaries));
	flat->roots = alloc_array(subvols->positions + 1U, sizeof(*flat->roots));
	if (!position || boundaries > UINT32_MAX || !flat->bytes || !flat->first ||
	    !flat->boundaries || !flat->roots) {
		alloc_free(position);
		return -ENOMEM;
	}
	for (at = 0; at < subvols->positions; at++)
		position[subvols->elements[at]] = at;
	flat->positions = subvols->positions;
	count_roots(subvols, flat->roots);
	flat_sets_fill(flat, ledger, sets, position);
	alloc_free(position);
	return 0;
}

uint32_t flat_sets_count(const struct flat_sets *flat, uint32_t set, const uint32_t *before)
{
	uint32_t sum = 0;
	uint32_t at;

	for (at = flat->first[set]; at < flat->first[set + 1]; at += 2)
		sum += before[flat->boundaries[at + 1]] - before[flat->boundaries[at]];
	return sum;
}
