/* SPDX-License-Identifier: MIT */
#include "core/delayed/hashed_impl.h"

#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/clock.h"
#include "core/delayed/head.h"

_Static_assert(sizeof(struct hashed_entry) == 64, "an entry is one line");

#define HASHED_BITS_FIRST 10U
#define HASHED_BITS_MAX 31U

static inline uint64_t hashed_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Of extent, type, key and number. The constants are digits of pi, odd ones. */
static inline uint32_t hashed_hash(const struct rs_delta *delta)
{
	uint64_t hash = hashed_mix(delta->bytenr ^ UINT64_C(0x243f6a8885a308d3),
				   delta->root ^ UINT64_C(0x082efa98ec4e6c89));

	if (!delta_is_root(delta))
		hash ^= hashed_mix(delta->owner ^ UINT64_C(0x452821e638d01377),
				   delta->offset ^ UINT64_C(0x9216d5d98979fb1b));
	return (uint32_t)(hashed_mix(hash ^ delta->seq_type, UINT64_C(0x2ffd72dbd01adfb7)) >> 32);
}

static inline bool hashed_same(const struct rs_delta *a, const struct rs_delta *b)
{
	if (a->bytenr != b->bytenr || a->seq_type != b->seq_type || a->root != b->root)
		return false;
	return delta_is_root(a) || (a->owner == b->owner && a->offset == b->offset);
}

static int hashed_table_init(struct hashed_table *table, unsigned bits)
{
	if (bits > HASHED_BITS_MAX)
		return -ENOMEM;
	table->bits = bits;
	table->slots = alloc_zeroed(UINT64_C(1) << bits, sizeof(*table->slots));
	table->chains = alloc_zeroed(UINT64_C(1) << (bits - 1), sizeof(*table->chains));
	if (table->slots && table->chains)
		return 0;
	alloc_free(table->slots);
	alloc_free(table->chains);
	return -ENOMEM;
}

static void hashed_guess_locked(struct store *store)
{
	order_store_relaxed(&store->guess_slots, store->table.slots);
	order_store_relaxed(&store->guess_chains, store->table.chains);
	order_store_relaxed(&store->guess_bits, store->table.bits);
}

/* The misses of an append are on their way before others wait for its lock. */
static inline void hashed_prefetch(const struct store *store, uint32_t hash, uint64_t bytenr)
{
	uintptr_t slots = (uintptr_t)order_load_relaxed(&store->guess_slots);
	uintptr_t chains = (uintptr_t)order_load_relaxed(&store->guess_chains);
	uint32_t bits = order_load_relaxed(&store->guess_bits);

	slots += (hash >> (32 - bits)) * sizeof(uint64_t);
	chains += hashed_chain_at(bytenr, bits) * sizeof(uint32_t);
	__builtin_prefetch((const void *)slots, 1);
	__builtin_prefetch((const void *)chains, 1);
}

/* Those behind it that may stand nearer to their home move up, so that no probe ends too early. */
static void hashed_slot_clear(struct hashed_table *table, uint32_t hole)
{
	uint32_t mask = hashed_mask(table);
	uint32_t at;

	for (at = (hole + 1) & mask; table->slots[at]; at = (at + 1) & mask) {
		uint32_t home = (uint32_t)(table->slots[at] >> 32) >> (32 - table->bits);

		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		table->slots[hole] = table->slots[at];
		hole = at;
	}
	table->slots[hole] = 0;
}

static inline void hashed_link(struct store *store, struct hashed_entry *entry, uint32_t number)
{
	uint32_t *chain = hashed_chain(&store->table, entry->delta.bytenr);

	entry->prev = 0;
	entry->next = *chain;
	if (*chain)
		hashed_at(store, *chain)->prev = number;
	*chain = number;
}

static inline void hashed_unlink(struct store *store, const struct hashed_entry *entry)
{
	if (entry->next)
		hashed_at(store, entry->next)->prev = entry->prev;
	if (entry->prev)
		hashed_at(store, entry->prev)->next = entry->next;
	else
		*hashed_chain(&store->table, entry->delta.bytenr) = entry->next;
}

void hashed_link_all(struct store *store)
{
	uint32_t number;

	for (number = 1; number < store->used; number++) {
		struct hashed_entry *entry = hashed_at(store, number);

		if (entry->delta.seq_type)
			hashed_link(store, entry, number);
	}
}

/* Slots go over in their order, which is that of their new homes. */
static int hashed_grow(struct store *store)
{
	struct hashed_table old = store->table;
	uint64_t at;
	int ret;

	ret = hashed_table_init(&store->table, old.bits + 1);
	if (ret) {
		store->table = old;
		return ret;
	}
	for (at = 0; at <= hashed_mask(&old); at++)
		if (old.slots[at])
			hashed_slot_put(&store->table, old.slots[at]);
	hashed_link_all(store);
	hashed_guess_locked(store);
	alloc_free(old.slots);
	alloc_free(old.chains);
	return 0;
}

/* At most 5 of 8 slots are full: a probe that finds nothing looks at 4 on average, in one or two lines. */
static inline bool hashed_is_full(const struct store *store)
{
	return store->live >= (hashed_mask(&store->table) / 8 + 1) * 5;
}

/* Room for the entry of number `used`. */
static int hashed_chunk_add(struct store *store)
{
	struct hashed_entry **chunks;
	struct hashed_entry *chunk;

	if (store->used == UINT32_MAX)
		return -ENOMEM;
	chunks = array_grow(store->chunks, store->chunk_count, 1, &store->chunk_capacity,
			    sizeof(struct hashed_entry *));
	if (!chunks)
		return -ENOMEM;
	store->chunks = chunks;
	chunk = alloc_undefined(ORDER_LINE, HASHED_CHUNK * sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	chunks[store->chunk_count++] = chunk;
	return 0;
}

/* 0 or -ENOMEM, and nothing is changed. */
static inline int hashed_number_take(struct store *store, uint32_t *number)
{
	*number = store->free;
	if (*number) {
		store->free = hashed_at(store, *number)->next;
		return 0;
	}
	if (store->used / HASHED_CHUNK >= store->chunk_count && hashed_chunk_add(store))
		return -ENOMEM;
	*number = store->used++;
	return 0;
}

/* When the last one goes, all numbers are new again, and what is collected is dense. */
static inline void hashed_number_give(struct store *store, uint32_t number)
{
	struct hashed_entry *entry = hashed_at(store, number);

	entry->delta.seq_type = 0;
	entry->next = store->free;
	store->free = number;
	if (--store->live)
		return;
	store->free = 0;
	store->used = 1;
}

void hashed_remove(struct store *store, uint32_t at)
{
	uint32_t number = (uint32_t)store->table.slots[at];

	hashed_slot_clear(&store->table, at);
	hashed_unlink(store, hashed_at(store, number));
	hashed_number_give(store, number);
}

/* Folds the delta into the entry of its key and number, in slot *at; false if there is none, or the sum does not fit. */
static inline bool hashed_fold(struct store *store, uint32_t hash, const struct rs_delta *delta,
			       uint32_t *at)
{
	const struct hashed_table *table = &store->table;
	uint32_t mask = hashed_mask(table);

	for (*at = hash >> (32 - table->bits); table->slots[*at]; *at = (*at + 1) & mask) {
		uint64_t slot = table->slots[*at];
		struct hashed_entry *entry;

		if (slot >> 32 != hash)
			continue;
		entry = hashed_at(store, (uint32_t)slot);
		if (hashed_same(&entry->delta, delta) && delta_fold(&entry->delta, delta))
			return true;
	}
	return false;
}

static int hashed_add(struct store *store, uint32_t hash, const struct rs_delta *delta)
{
	uint64_t pending = hashed_pending_locked(store);
	struct hashed_entry *entry;
	uint32_t number;

	if (hashed_is_full(store) && hashed_grow(store))
		return -ENOMEM;
	if (hashed_number_take(store, &number))
		return -ENOMEM;
	entry = hashed_at(store, number);
	entry->delta = *delta;
	entry->hash = hash;
	hashed_slot_put(&store->table, (uint64_t)hash << 32 | number);
	hashed_link(store, entry, number);
	store->live++;
	if (!pending)
		store->since = clock_now_ns();
	hashed_pending_set_locked(store, pending + 1);
	store->recorded++;
	return 0;
}

/* The delta went into the entry in slot `at`, which goes too if nothing is left. */
static void hashed_folded(struct store *store, uint32_t at)
{
	const struct hashed_entry *entry = hashed_at(store, (uint32_t)store->table.slots[at]);

	store->recorded++;
	store->merged++;
	if (!delta_is_empty(&entry->delta))
		return;
	hashed_remove(store, at);
	store->merged++;
	hashed_pending_set_locked(store, hashed_pending_locked(store) - 1);
}

static int hashed_append(struct store *store, const struct rs_delta *delta)
{
	uint32_t hash = hashed_hash(delta);
	uint32_t at;
	int ret = 0;

	hashed_prefetch(store, hash, delta->bytenr);
	lock_acquire(&store->lock);
	if (hashed_fold(store, hash, delta, &at)) {
		hashed_folded(store, at);
	} else if (delta_is_empty(delta)) {
		store->recorded++;
		store->merged++;
	} else {
		ret = hashed_add(store, hash, delta);
	}
	lock_release(&store->lock);
	return ret;
}

static int hashed_lookup(struct store *store, uint64_t bytenr, uint64_t seq_max,
			 struct rs_head_pending *pending, struct rs_delta *entries, size_t capacity)
{
	struct head_gather gather;
	uint64_t run_at;
	uint32_t number;

	head_gather_init(&gather, pending, entries, capacity);
	lock_acquire(&store->lock);
	run_at = order_load_relaxed(&store->run_at);
	pending->running = store->run_cut && bytenr == run_at;
	number = *hashed_chain(&store->table, bytenr);
	while (number) {
		const struct hashed_entry *entry = hashed_at(store, number);
		uint64_t seq = rs_delta_seq(&entry->delta);
		bool gone = seq <= store->run_cut && bytenr < run_at;

		if (entry->delta.bytenr == bytenr && seq <= seq_max && !gone)
			head_gather_take(&gather, &entry->delta);
		number = entry->next;
	}
	lock_release(&store->lock);
	return head_gather_finish(&gather);
}

static void hashed_statistics(struct store *store, struct store_statistics *statistics)
{
	uint64_t pending;

	lock_acquire(&store->lock);
	pending = hashed_pending_locked(store);
	*statistics = (struct store_statistics){
		.recorded = store->recorded,
		.merged = store->merged,
		.run = store->run,
		.pending_bytes = pending * sizeof(struct hashed_entry),
		.oldest_time = pending ? store->since : 0,
	};
	lock_release(&store->lock);
}

static uint64_t hashed_pending(const struct store *store)
{
	return order_load_relaxed(&store->pending);
}

int hashed_create(struct store **out)
{
	struct store *store = alloc_aligned(ORDER_LINE, 1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	if (hashed_table_init(&store->table, HASHED_BITS_FIRST)) {
		alloc_free(store);
		return -ENOMEM;
	}
	store->used = 1;
	hashed_guess_locked(store);
	lock_init(&store->lock, LOCK_RANK_STORE, "delayed.hashed");
	*out = store;
	return 0;
}

static void hashed_destroy(struct store *store)
{
	while (store->chunk_count)
		alloc_free(store->chunks[--store->chunk_count]);
	alloc_free(store->chunks);
	alloc_free(store->table.slots);
	alloc_free(store->table.chains);
	alloc_free(store->due);
	alloc_free(store->scratch);
	lock_destroy(&store->lock);
	alloc_free(store);
}

const struct store_functions hashed_functions = {
	.name = "hashed",
	.destroy = hashed_destroy,
	.append = hashed_append,
	.run = hashed_run,
	.lookup = hashed_lookup,
	.statistics = hashed_statistics,
	.pending = hashed_pending,
};
