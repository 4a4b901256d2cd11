/* SPDX-License-Identifier: MIT */
/*
 * The record path with a hash table under one lock: a delta folds into the entry of its key and
 * number, or becomes one. What is run is collected and sorted first.
 *
 * Entries stand in chunks and have numbers. Slots hold a hash and a number, eight to a line, so
 * that a probe looks at an entry only when its hash is the same, and a larger table is filled
 * without looking at any. Entries of one extent, for look-ups, are in one chain of `chains`.
 *
 * Entries up to the cut stay in the table while they are run: none of them changes, since the cut
 * is closed, so that the runner reads them without the lock; look-ups leave out what was run.
 *
 * recorded = merged + run + pending always holds of the numbers that the lock protects: a delta
 * that folds counts as merged, one that nets an entry to nothing counts the entry too, and so do
 * entries of several numbers that become one when their head is run.
 *
 * Callers: core/delayed/hashed*.c.
 */
#ifndef REFSTORM_DELAYED_HASHED_IMPL_H
#define REFSTORM_DELAYED_HASHED_IMPL_H

#include "core/base/lock.h"
#include "core/delayed/hashed_sort.h"
#include "core/delayed/store.h"

struct hashed_entry {
	struct rs_delta delta; /* seq_type 0: a free one */
	uint32_t hash;
	uint32_t next; /* in its chain, or free; 0: none */
	uint32_t prev; /* in its chain; 0: it is the first */
} __attribute__((aligned(64)));

#define HASHED_CHUNK 4096U

/* Slots: the hash in the upper half, the entry's number in the lower; 0: empty. */
struct hashed_table {
	uint64_t *slots;
	uint32_t *chains; /* first numbers; half as many as slots */
	unsigned bits;
};

struct store {
	/*
	 * Where an append's slot and chain will be, for prefetches before the lock is taken.
	 * Relaxed: a wrong guess fetches lines for nothing.
	 */
	order_ptr guess_slots;
	order_ptr guess_chains;
	order_u32 guess_bits;

	struct lock lock __attribute__((aligned(ORDER_LINE))); /* protects all below */
	/* Relaxed, and written by the holder of the lock alone: a number for the bounds. */
	order_u64 pending __attribute__((aligned(ORDER_LINE))); /* entries that were not run */
	uint64_t recorded;
	uint64_t merged;
	uint64_t run;
	uint64_t since; /* when something was pending again; of no meaning with nothing pending */
	struct hashed_table table;
	struct hashed_entry **chunks;
	size_t chunk_count;
	size_t chunk_capacity;
	uint32_t live; /* entries in the table */
	uint32_t used; /* numbers up to here have been entries; 0 is never one */
	uint32_t free;

	uint64_t run_cut; /* of the run that goes on; 0 in between */

	/*
	 * The extent whose head is in the runner's hands: what is up to the cut and below it was
	 * run. Relaxed: written by the one that runs. A look-up that reads an old extent sees
	 * things as they were then; who knows of a run sees its extent or a later one.
	 */
	order_u64 run_at __attribute__((aligned(ORDER_LINE)));

	/* Of the one that runs, kept from one run to the next; not under the lock. */
	struct hashed_due *due;
	struct hashed_due *scratch;
	size_t due_capacity;
};

static inline struct hashed_entry *hashed_at(const struct store *store, uint32_t number)
{
	return &store->chunks[number / HASHED_CHUNK][number % HASHED_CHUNK];
}

static inline uint32_t hashed_mask(const struct hashed_table *table)
{
	return (UINT32_C(1) << table->bits) - 1;
}

/* Where an extent's chain stands in a table of so many bits. */
static inline uint64_t hashed_chain_at(uint64_t bytenr, unsigned bits)
{
	return bytenr * UINT64_C(0x9e3779b97f4a7c15) >> (65 - bits);
}

static inline uint32_t *hashed_chain(const struct hashed_table *table, uint64_t bytenr)
{
	return &table->chains[hashed_chain_at(bytenr, table->bits)];
}

static inline uint64_t hashed_pending_locked(const struct store *store)
{
	return order_load_relaxed(&store->pending);
}

static inline void hashed_pending_set_locked(struct store *store, uint64_t pending)
{
	order_store_relaxed(&store->pending, pending);
}

/* There is an empty slot, so that the loop ends. */
static inline void hashed_slot_put(struct hashed_table *table, uint64_t slot)
{
	uint32_t mask = hashed_mask(table);
	uint32_t at = (uint32_t)(slot >> 32) >> (32 - table->bits);

	while (table->slots[at])
		at = (at + 1) & mask;
	table->slots[at] = slot;
}

/* Links all entries into the chains, which are empty. */
void hashed_link_all(struct store *store);

/* Takes out the entry in slot `at`. */
void hashed_remove(struct store *store, uint32_t at);

int hashed_run(struct store *store, const struct store_run *run)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_DELAYED_HASHED_IMPL_H */
