/* SPDX-License-Identifier: MIT */
#include "core/treemod/view.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/plant.h"
#include "core/base/tally.h"

#define VIEW_FLAGS (VIEW_ENDED | VIEW_CLAIMING)

struct view_chunk {
	struct view_slot slots[VIEW_CHUNK];
	struct view_chunk *next; /* does not change once the chunk is pushed */
};

void views_init(struct views *views)
{
	/* Relaxed: before anybody uses it. */
	order_store_relaxed(&views->chunks, NULL);
}

static struct view_chunk *view_chunks(const struct views *views)
{
	/* VIEW.chunk: sees the chunk's slots, and its next. */
	return (struct view_chunk *)order_load_acquire(&views->chunks);
}

void views_destroy(struct views *views)
{
	struct view_chunk *chunk = view_chunks(views);

	while (chunk) {
		struct view_chunk *next = chunk->next;

		alloc_free(chunk);
		chunk = next;
	}
	views_init(views);
}

static bool view_slot_claim(struct view_slot *slot, uint64_t floor)
{
	uint64_t free = VIEW_NONE;

	/* Relaxed: a hint. */
	if (order_load_relaxed(&slot->cut) != VIEW_NONE)
		return false;
	/*
	 * Not released: whoever takes a cut after ours acquires our cut's own release, and so sees
	 * this store; before our cut nobody needs to.
	 *
	 * VIEW.cut: hands on what the last holder, perhaps a commit, published; view_hold's store
	 * ends what its release has begun.
	 */
	if (order_cas_acquire(&slot->cut, &free, floor | VIEW_CLAIMING))
		return true;
	tally_retry(TALLY_VIEW_CLAIM);
	return false;
}

static struct view_slot *view_chunk_add(struct views *views, uint64_t floor)
{
	struct view_chunk *chunk = alloc_aligned(ORDER_LINE, 1, sizeof(*chunk));
	void *head;
	unsigned at;

	if (!chunk)
		return NULL;
	for (at = 0; at < VIEW_CHUNK; at++)
		/* Relaxed: published with the chunk. */
		order_store_relaxed(&chunk->slots[at].cut, VIEW_NONE);
	order_store_relaxed(&chunk->slots[0].cut, floor | VIEW_CLAIMING);
	/* Relaxed: compared by the exchange. */
	head = order_load_relaxed(&views->chunks);
	do
		chunk->next = head;
	/* VIEW.chunk: the chunk's slots, and its next; what head points to was published by its pusher. */
	while (!order_cas_weak_acq_rel(&views->chunks, &head, chunk) &&
	       tally_retry(TALLY_VIEW_ADD));
	return &chunk->slots[0];
}

struct view_slot *view_claim(struct views *views, uint64_t floor)
{
	struct view_chunk *chunk;
	struct view_slot *slot = NULL;
	unsigned at;

	for (chunk = view_chunks(views); chunk && !slot; chunk = chunk->next)
		for (at = 0; at < VIEW_CHUNK && !slot; at++)
			if (view_slot_claim(&chunk->slots[at], floor))
				slot = &chunk->slots[at];
	if (!slot)
		slot = view_chunk_add(views, floor);
	if (slot)
		/* Relaxed: an older time would end the view early; VIEW.cut publishes this one. */
		order_store_relaxed(&slot->since, clock_now_ns());
	return slot;
}

void view_hold(struct view_slot *slot, uint64_t cut)
{
	/* VIEW.cut: the time it was acquired at, and, of a commit, the transaction's end. */
	order_store_release(&slot->cut, cut);
}

bool view_release(struct view_slot *slot)
{
	/* VIEW.cut: of a commit, the transaction's end; acquires what the one who ended it did. */
	return !(order_exchange_acq_rel(&slot->cut, VIEW_NONE) & VIEW_ENDED);
}

bool view_is_ended(const struct view_slot *slot)
{
	/* VIEW.ended: after the look-up whose result is in question. */
	return order_load_acquire(&slot->cut) & VIEW_ENDED;
}

static bool view_value_holds(uint64_t value)
{
	return value != VIEW_NONE && !(value & VIEW_ENDED);
}

uint64_t view_lowest(const struct views *views, uint64_t *claimed)
{
	const struct view_chunk *chunk;
	uint64_t lowest[2] = { VIEW_NONE, VIEW_NONE };
	unsigned at;

	for (chunk = view_chunks(views); chunk; chunk = chunk->next) {
		for (at = 0; at < VIEW_CHUNK; at++) {
			/* VIEW.cut: what the holder did before. */
			uint64_t value = order_load_acquire(&chunk->slots[at].cut);
			bool claiming = claimed && value & VIEW_CLAIMING;

			if (view_value_holds(value) && (value & ~VIEW_FLAGS) < lowest[claiming])
				lowest[claiming] = value & ~VIEW_FLAGS;
		}
	}
	if (claimed)
		*claimed = lowest[1];
	return plant_armed("view.ignored") ? VIEW_NONE : lowest[0];
}

unsigned view_list(const struct views *views, uint64_t *cuts, unsigned capacity, uint64_t *floor)
{
	const struct view_chunk *chunk;
	unsigned count = 0;
	unsigned at;

	*floor = VIEW_NONE;
	for (chunk = view_chunks(views); chunk; chunk = chunk->next) {
		for (at = 0; at < VIEW_CHUNK; at++) {
			/* VIEW.cut: where it is free again, what its holder published before. */
			uint64_t value = order_load_acquire(&chunk->slots[at].cut);

			if (!view_value_holds(value))
				continue;
			if (value & VIEW_CLAIMING) {
				value &= ~VIEW_FLAGS;
				*floor = value < *floor ? value : *floor;
			} else if (count++ < capacity) {
				cuts[count - 1] = value;
			}
		}
	}
	return count;
}

unsigned view_end_older(struct views *views, uint64_t before)
{
	struct view_chunk *chunk;
	unsigned ended = 0;
	unsigned at;

	for (chunk = view_chunks(views); chunk; chunk = chunk->next) {
		for (at = 0; at < VIEW_CHUNK; at++) {
			struct view_slot *slot = &chunk->slots[at];
			/* VIEW.cut: the time that belongs to it. */
			uint64_t value = order_load_acquire(&slot->cut);

			if (value == VIEW_NONE || value & VIEW_FLAGS)
				continue;
			/* Relaxed: came with the cut; if the slot has changed hands the exchange fails. */
			if (order_load_relaxed(&slot->since) >= before)
				continue;
			/* VIEW.ended: before anything past the view is run. */
			ended += order_cas_acq_rel(&slot->cut, &value, value | VIEW_ENDED);
		}
	}
	return ended;
}
