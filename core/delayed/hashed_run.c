/* SPDX-License-Identifier: MIT */
#include "core/delayed/hashed_impl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/plant.h"
#include "core/delayed/head.h"

/* Entries that are collected, or taken out, before others get the lock. */
#define HASHED_SLICE 1024U

/* Heads that are run before the numbers follow. */
#define HASHED_HEADS 256U

/* How many entries are fetched before their turn. */
#define HASHED_AHEAD 16U

static int hashed_due_reserve(struct store *store, size_t count)
{
	if (count <= store->due_capacity)
		return 0;
	alloc_free(store->due);
	alloc_free(store->scratch);
	/* Some more, so that runs that grow slowly do not each allocate. */
	store->due_capacity = count + count / 4;
	store->due = alloc_array(store->due_capacity, sizeof(*store->due));
	store->scratch = alloc_array(store->due_capacity, sizeof(*store->scratch));
	if (store->due && store->scratch)
		return 0;
	alloc_free(store->due);
	alloc_free(store->scratch);
	store->due = NULL;
	store->scratch = NULL;
	store->due_capacity = 0;
	return -ENOMEM;
}

/* Those up to the cut among the numbers from *number on, a slice of them; false at the end. */
static bool hashed_collect_slice(struct store *store, uint64_t cut, uint32_t *number, size_t *count)
{
	uint32_t slice;

	lock_acquire(&store->lock);
	for (slice = 0; slice < HASHED_SLICE && *number < store->used; slice++, ++*number) {
		struct rs_delta *delta = &hashed_at(store, *number)->delta;

		if (!delta->seq_type || rs_delta_seq(delta) > cut)
			continue;
		assert(*count < store->due_capacity);
		store->due[(*count)++] = (struct hashed_due){ delta->bytenr, delta };
	}
	lock_release(&store->lock);
	return slice == HASHED_SLICE;
}

/* None up to the cut comes or goes meanwhile, nor moves. */
static int hashed_collect(struct store *store, uint64_t cut, size_t *count)
{
	uint32_t number = 1;
	uint32_t live;
	int ret;

	lock_acquire(&store->lock);
	live = store->live;
	lock_release(&store->lock);
	*count = 0;
	ret = hashed_due_reserve(store, live);
	if (ret)
		return ret;
	while (hashed_collect_slice(store, cut, &number, count))
		;
	return 0;
}

/* What was run since the last time. */
struct hashed_account {
	uint64_t taken;
	uint64_t entries;
};

static void hashed_settle(struct store *store, struct hashed_account *account)
{
	lock_acquire(&store->lock);
	hashed_pending_set_locked(store, hashed_pending_locked(store) - account->taken);
	store->run += account->entries;
	store->merged += account->taken - account->entries;
	lock_release(&store->lock);
	*account = (struct hashed_account){ 0, 0 };
}

static int hashed_run_extent(struct head_stream *stream, const struct hashed_due *due, size_t count)
{
	size_t at;
	int ret;

	window_pass("hashed.head");
	for (at = 0; at < count; at++) {
		ret = head_stream_take(stream, due[at].delta);
		if (ret)
			return ret;
	}
	return head_stream_finish(stream);
}

/* Runs what is due, in order; *done gets how many deltas were. */
static int hashed_run_due(struct store *store, struct head_stream *stream, struct hashed_due *due,
			  size_t count, size_t *done)
{
	struct hashed_due *scratch = due == store->due ? store->scratch : store->due;
	struct hashed_account account = { 0, 0 };
	size_t fetched = 0;
	unsigned heads = 0;
	size_t end = 0;
	int ret = 0;

	for (*done = 0; *done < count; *done = end) {
		uint64_t bytenr = due[*done].bytenr;
		uint64_t entries = stream->result->entries;

		while (end < count && due[end].bytenr == bytenr)
			end++;
		for (; fetched < count && fetched < end + HASHED_AHEAD; fetched++)
			__builtin_prefetch(due[fetched].delta);
		if (end - *done > 1)
			hashed_sort_extent(due + *done, scratch, end - *done);
		order_store_relaxed(&store->run_at, bytenr);
		ret = hashed_run_extent(stream, due + *done, end - *done);
		if (ret)
			break;
		account.taken += end - *done;
		account.entries += stream->result->entries - entries;
		if (++heads % HASHED_HEADS == 0)
			hashed_settle(store, &account);
	}
	hashed_settle(store, &account);
	return ret;
}

/* Takes out one by one what was run. */
static void hashed_clear_each(struct store *store, const struct hashed_due *due, size_t count)
{
	struct hashed_table *table = &store->table;
	size_t at;

	lock_acquire(&store->lock);
	for (at = 0; at < count; at++) {
		const struct hashed_entry *entry = (const struct hashed_entry *)due[at].delta;
		uint32_t mask = hashed_mask(table);
		uint32_t slot = entry->hash >> (32 - table->bits);

		/* It is there, so that the loop ends. */
		while (table->slots[slot] >> 32 != entry->hash ||
		       hashed_at(store, (uint32_t)table->slots[slot]) != entry)
			slot = (slot + 1) & mask;
		hashed_remove(store, slot);
		if (at % HASHED_SLICE != HASHED_SLICE - 1)
			continue;
		lock_release(&store->lock);
		lock_acquire(&store->lock);
	}
	lock_release(&store->lock);
}

/* Keeps what is past the cut or above the last extent that was run, at the lowest numbers. */
static void hashed_compact(struct store *store, uint64_t cut, uint64_t bytenr_last)
{
	uint32_t number;
	uint32_t to = 1;

	for (number = 1; number < store->used; number++) {
		const struct hashed_entry *entry = hashed_at(store, number);

		if (!entry->delta.seq_type ||
		    (rs_delta_seq(&entry->delta) <= cut && entry->delta.bytenr <= bytenr_last))
			continue;
		*hashed_at(store, to) = *entry;
		hashed_slot_put(&store->table, (uint64_t)hashed_at(store, to)->hash << 32 | to);
		to++;
	}
	store->used = to;
	store->live = to - 1;
	store->free = 0;
	hashed_link_all(store);
}

static void hashed_clear_all_locked(struct store *store, uint64_t cut, uint64_t bytenr_last,
				    size_t count)
{
	uint64_t slots = (uint64_t)hashed_mask(&store->table) + 1;

	memset(store->table.slots, 0, slots * sizeof(*store->table.slots));
	memset(store->table.chains, 0, slots / 2 * sizeof(*store->table.chains));
	if (store->live == count)
		store->used = 1;
	hashed_compact(store, cut, bytenr_last);
}

/*
 * Making the whole table anew costs as much as it is large and holds after it: worth it when that
 * was run at least, or when so much was used once and is free that collecting looks at nothing else.
 */
static bool hashed_is_worth_it(const struct store *store, size_t count)
{
	uint64_t slots = (uint64_t)hashed_mask(&store->table) + 1;
	uint64_t left = store->live - count;

	if (count >= slots / 8 && count >= left)
		return true;
	return store->used >= slots / 8 && store->used / 8 > left;
}

/* Takes the first `count` out of the table: they were run. */
static void hashed_clear(struct store *store, uint64_t cut, const struct hashed_due *due,
			 size_t count)
{
	bool all;

	lock_acquire(&store->lock);
	all = count && hashed_is_worth_it(store, count);
	if (all)
		hashed_clear_all_locked(store, cut, due[count - 1].bytenr, count);
	lock_release(&store->lock);
	if (!all)
		hashed_clear_each(store, due, count);
}

/* From now on look-ups go by run_at. */
static void hashed_run_begin(struct store *store, uint64_t cut)
{
	lock_acquire(&store->lock);
	order_store_relaxed(&store->run_at, 0);
	store->run_cut = cut;
	lock_release(&store->lock);
}

int hashed_run(struct store *store, const struct store_run *run)
{
	uint64_t cut = run->cut;
	struct head_stream stream;
	struct hashed_due *due;
	size_t count;
	size_t done;
	int ret;

	ret = hashed_collect(store, cut, &count);
	if (ret || !count)
		return ret;
	due = hashed_sort(store->due, store->scratch, count);
	hashed_run_begin(store, cut);
	head_stream_init(&stream, run->run, run->argument, run->transaction, run->result);
	ret = hashed_run_due(store, &stream, due, count, &done);
	head_stream_destroy(&stream);
	if (done == count)
		order_store_relaxed(&store->run_at, UINT64_MAX);
	hashed_clear(store, cut, due, done);
	lock_acquire(&store->lock);
	/* Relaxed: under the lock, as its readers are. */
	order_store_relaxed(&store->run_at, 0);
	store->run_cut = 0;
	/* What is left was recorded later, if all was run. */
	if (!ret && run->since > store->since)
		store->since = run->since;
	lock_release(&store->lock);
	return ret;
}
