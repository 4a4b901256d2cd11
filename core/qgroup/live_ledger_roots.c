// SPDX-License-Identifier: MIT
/* From root ids to elements of the lineage, and the stamps that say what memos may be used for. */
#include <assert.h>
#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/idtable.h"
#include "core/qgroup/live_ledger_impl.h"

#define ROOTS_FIRST 64U

static uint32_t roots_home(const struct live_ledger *ledger, uint64_t root)
{
	return (uint32_t)idtable_hash_u64(root) & ledger->root_mask;
}

/*
 * Where the root stands, or the empty place where it would. Ends: at most half of the places are
 * in use.
 */
static uint32_t roots_place(const struct live_ledger *ledger, uint64_t root)
{
	uint32_t at = roots_home(ledger, root);

	while (ledger->roots[at] != LINEAGE_NONE &&
	       lineage_root(&ledger->lineage, ledger->roots[at]) != root)
		at = (at + 1) & ledger->root_mask;
	return at;
}

uint32_t live_roots_find(const struct live_ledger *ledger, uint64_t root)
{
	return ledger->roots ? ledger->roots[roots_place(ledger, root)] : LINEAGE_NONE;
}

int live_roots_reserve(struct live_ledger *ledger)
{
	uint32_t *old = ledger->roots;
	uint32_t size = old ? ledger->root_mask + 1 : 0;
	uint32_t larger = size ? size * 2 : ROOTS_FIRST;
	uint32_t at;

	if (ledger->root_count < size / 2)
		return 0;
	ledger->roots = alloc_zeroed(larger, sizeof(*old));
	if (!ledger->roots) {
		ledger->roots = old;
		return -ENOMEM;
	}
	ledger->root_mask = larger - 1;
	ledger->root_count = 0;
	for (at = 0; at < size; at++) {
		if (old[at] != LINEAGE_NONE)
			live_roots_insert(ledger, old[at]);
	}
	alloc_free(old);
	return 0;
}

/* What a worker knows of the last root that it looked for. */
static void roots_forget(struct live_ledger *ledger)
{
	uint32_t at;

	for (at = 0; at < ledger->worker_count; at++) {
		ledger->workers[at].root = LINEAGE_END;
		ledger->workers[at].element = LINEAGE_NONE;
	}
}

void live_roots_insert(struct live_ledger *ledger, uint32_t element)
{
	uint32_t at = roots_place(ledger, lineage_root(&ledger->lineage, element));

	assert(ledger->roots[at] == LINEAGE_NONE);
	ledger->roots[at] = element;
	ledger->root_count++;
	roots_forget(ledger);
}

void live_roots_remove(struct live_ledger *ledger, uint32_t element)
{
	uint32_t hole = roots_place(ledger, lineage_root(&ledger->lineage, element));
	uint32_t at = hole;

	assert(ledger->roots[hole] == element);
	/* What stands behind the hole, and would not be found across it, moves into it. */
	for (;;) {
		uint32_t home;

		at = (at + 1) & ledger->root_mask;
		if (ledger->roots[at] == LINEAGE_NONE)
			break;
		home = roots_home(ledger, lineage_root(&ledger->lineage, ledger->roots[at]));
		if (((at - home) & ledger->root_mask) < ((at - hole) & ledger->root_mask))
			continue;
		ledger->roots[hole] = ledger->roots[at];
		hole = at;
	}
	ledger->roots[hole] = LINEAGE_NONE;
	ledger->root_count--;
	roots_forget(ledger);
}

int live_stamps_reserve(struct live_ledger *ledger)
{
	/* A family has two. */
	uint32_t *larger = array_grow(ledger->stamps, ledger->lineage.used, 2,
				      &ledger->stamp_capacity, sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	ledger->stamps = larger;
	return 0;
}

void live_stamps_renew(struct live_ledger *ledger, uint32_t element)
{
	uint32_t at;

	if (ledger->stamp_last == UINT32_MAX) {
		/* All of them again, from the first on, which no memo may know then. */
		live_memos_clear(ledger);
		for (at = 0; at < ledger->lineage.used; at++)
			ledger->stamps[at] = at + 1;
		ledger->stamp_last = ledger->lineage.used;
	}
	ledger->stamps[element] = ++ledger->stamp_last;
}
