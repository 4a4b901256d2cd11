/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/treemod/sequence.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/probe.h"
#include "core/base/tally.h"

/* How often, and for how long each time, a run waits for a view that is being acquired. */
#define SEQUENCE_NAPS 20U
#define SEQUENCE_NAP_NS 50000L

void sequence_init(struct sequence *sequence)
{
	barrier_start();
	memset(sequence, 0, sizeof(*sequence));
	/* Relaxed, all of them: before anybody uses it. */
	order_store_relaxed(&sequence->counter, 1);
	order_store_relaxed(&sequence->transaction, 1);
	order_store_relaxed(&sequence->oldest, 1);
	order_store_relaxed(&sequence->run_limit, UINT64_MAX);
	views_init(&sequence->views);
}

void sequence_destroy(struct sequence *sequence)
{
	views_destroy(&sequence->views);
}

void sequence_join(struct sequence *sequence, struct sequence_slot *slot)
{
	void *head;

	/* Relaxed, both: published with the slot. */
	order_own_store_relaxed(&slot->state, SEQUENCE_IDLE);
	order_own_store_relaxed(&slot->thread, (uint32_t)gettid());
	/* Relaxed: compared by the exchange. */
	head = order_load_relaxed(&sequence->slots);
	do
		slot->next = head;
	/* SEQUENCE.slot: the slot's members. */
	while (!order_cas_weak_acq_rel(&sequence->slots, &head, slot) &&
	       tally_retry(TALLY_SEQUENCE_JOIN));
}

uint64_t sequence_cut(struct sequence *sequence)
{
	/* SEQUENCE.cut: what was done before the cut; acquires the cuts before it. */
	uint64_t cut = order_fetch_add_acq_rel(&sequence->counter, 1);

	PROBE1(cut, cut);
	return cut;
}

struct view_slot *sequence_view(struct sequence *sequence)
{
	struct view_slot *slot = view_claim(&sequence->views, sequence_current(sequence));

	if (!slot)
		return NULL;
	window_pass("sequence.view-claimed");
	view_hold(slot, sequence_cut(sequence));
	return slot;
}

/*
 * A view holds the place while the cut is taken and published: whoever finds a later cut closed
 * finds either the view, and merges nothing across its floor, or the transaction's end.
 */
int sequence_commit(struct sequence *sequence, uint64_t *cut)
{
	/* Relaxed: written under the lock that the caller holds. */
	uint64_t running = order_load_relaxed(&sequence->transaction);
	struct view_slot *slot;

	/* SEQUENCE.run: its place in the ring is not looked at any more. */
	if (running - order_load_acquire(&sequence->oldest) >= SEQUENCE_COMMITS_MAX)
		return -EAGAIN;
	slot = view_claim(&sequence->views, sequence_current(sequence));
	if (!slot)
		return -ENOMEM;
	*cut = sequence_cut(sequence);
	window_pass("sequence.commit-cut");
	/* Relaxed: published by the transaction's number. */
	order_store_relaxed(&sequence->commits[running % SEQUENCE_COMMITS_MAX], *cut);
	/* SEQUENCE.transaction: the end of the old one. */
	order_store_release(&sequence->transaction, running + 1);
	view_release(slot);
	return 0;
}

/* Where to begin to look at the ring's ends. */
static uint64_t sequence_oldest(const struct sequence *sequence, uint64_t running)
{
	/* Relaxed: an older one lists transactions that are run already, as far as the ring has them. */
	uint64_t oldest = order_load_relaxed(&sequence->oldest);

	return running - oldest > SEQUENCE_COMMITS_MAX ? running - SEQUENCE_COMMITS_MAX : oldest;
}

uint64_t sequence_oldest_end(const struct sequence *sequence, uint64_t *end)
{
	/* SEQUENCE.transaction: the ends of all before it. */
	uint64_t running = order_load_acquire(&sequence->transaction);
	uint64_t oldest = sequence_oldest(sequence, running);

	*end = UINT64_MAX;
	if (oldest < running)
		/* Relaxed: came with the number. */
		*end = order_load_relaxed(&sequence->commits[oldest % SEQUENCE_COMMITS_MAX]);
	return oldest;
}

void sequence_transaction_run(struct sequence *sequence, uint64_t transaction)
{
	/* SEQUENCE.run: its place in the ring is free. */
	order_store_release(&sequence->oldest, transaction + 1);
}

/* The lowest number that a thread is in or could be about to be in; SEQUENCE_IDLE for none. */
static uint64_t sequence_lowest(const struct sequence *sequence, uint64_t cut,
				struct sequence_waiting *waiting)
{
	const struct sequence_slot *slot;
	uint64_t lowest = SEQUENCE_IDLE;

	waiting->operations = 0;
	for (slot = sequence_slots(sequence); slot; slot = slot->next) {
		/* SEQUENCE.ended: what the thread did in operations before this state. */
		uint64_t state = order_load_acquire(&slot->state);

		if (state < lowest)
			lowest = state;
		if (state > cut)
			continue;
		waiting->operations++;
		waiting->seq = state;
		/* Relaxed: for people. */
		waiting->thread = order_load_relaxed(&slot->thread);
	}
	return lowest;
}

bool sequence_close(struct sequence *sequence, uint64_t cut, struct sequence_waiting *waiting)
{
	struct sequence_waiting ignored;
	uint64_t known = sequence_closed(sequence);
	uint64_t top;
	uint64_t lowest;

	if (known >= cut)
		return true;
	/* SEQUENCE.cut: what came before the highest cut that was taken by now. */
	top = order_load_acquire(&sequence->counter) - 1;
	assert(cut <= top);
	/*
	 * After this a slot that is seen idle belongs to a thread whose next operation reads a
	 * counter past `top` (barrier_light in sequence_begin).
	 */
	barrier_heavy();
	window_pass("sequence.closing");
	lowest = sequence_lowest(sequence, cut, waiting ? waiting : &ignored);
	if (lowest <= top)
		top = lowest ? lowest - 1 : 0;
	/* SEQUENCE.closed: what ended operations wrote; acquired, to hand on what others saw. */
	while (known < top && !order_cas_weak_acq_rel(&sequence->closed, &known, top))
		tally_retry(TALLY_SEQUENCE_CLOSE);
	return top >= cut || known >= cut;
}

static int sequence_number_order(const void *a, const void *b)
{
	const uint64_t *left = a;
	const uint64_t *right = b;

	return (*left > *right) - (*left < *right);
}

/* What is closed is looked at first, then views, then commits, then the run: see there. */
void sequence_groups(struct sequence *sequence, struct sequence_groups *groups)
{
	uint64_t limit = sequence_closed(sequence);
	uint64_t floor;
	uint64_t running;
	uint64_t at;
	unsigned views;
	unsigned count = 0;
	unsigned from;

	views = view_list(&sequence->views, groups->last, SEQUENCE_GROUPS_MAX, &floor);
	if (floor < limit)
		limit = floor;
	groups->count = 0;
	if (views > SEQUENCE_GROUPS_MAX - SEQUENCE_COMMITS_MAX - 1)
		return;
	/* SEQUENCE.transaction: the ends of all before it. */
	running = order_load_acquire(&sequence->transaction);
	for (at = sequence_oldest(sequence, running); at < running; at++)
		/* Relaxed: came with the number. */
		groups->last[views++] =
			order_load_relaxed(&sequence->commits[at % SEQUENCE_COMMITS_MAX]);
	/* Pairs with barrier_heavy in sequence_run_begin: all loads before come before it or see it. */
	barrier_light();
	/* Relaxed: ordered by the barrier. */
	at = order_load_relaxed(&sequence->run_limit);
	if (at < limit)
		limit = at;
	qsort(groups->last, views, sizeof(groups->last[0]), sequence_number_order);
	for (from = 0; from < views && groups->last[from] < limit; from++)
		if (!count || groups->last[count - 1] != groups->last[from])
			groups->last[count++] = groups->last[from];
	if (limit)
		groups->last[count++] = limit;
	groups->count = count;
}

/* The limit, or SEQUENCE_IDLE while a view is being acquired whose cut may be below it. */
static uint64_t sequence_run_limit(const struct sequence *sequence)
{
	uint64_t limit = sequence_closed(sequence);
	uint64_t claimed;
	uint64_t lowest;

	if (plant_armed("sequence.unclosed"))
		limit = sequence_current(sequence) - 1;
	lowest = view_lowest(&sequence->views, &claimed);
	if (lowest < limit)
		limit = lowest;
	return claimed < limit ? SEQUENCE_IDLE : limit;
}

/*
 * A merge reads what is closed, the views and the commits, and then run_limit (sequence_groups). One
 * that misses the 0 has read all the others before the barrier: it knows of nothing closed that is
 * not read here, and of all views that are. One that sees the 0 makes no groups, and later ones
 * none that span the limit.
 *
 * What a view being acquired holds is no number that groups respect, since it may have been read long
 * ago. Its cut is there in a moment, unless its thread was stopped: then nothing is run.
 */
uint64_t sequence_run_begin(struct sequence *sequence)
{
	const struct timespec nap = { .tv_nsec = SEQUENCE_NAP_NS };
	uint64_t limit;
	unsigned turn;

	/* Relaxed: ordered by the barrier. */
	order_store_relaxed(&sequence->run_limit, 0);
	barrier_heavy();
	window_pass("sequence.run-claimed");
	limit = sequence_run_limit(sequence);
	for (turn = 0; turn < SEQUENCE_NAPS && limit == SEQUENCE_IDLE; turn++) {
		nanosleep(&nap, NULL);
		limit = sequence_run_limit(sequence);
	}
	if (limit == SEQUENCE_IDLE)
		limit = 0;
	/* Relaxed: seen late it makes fewer groups. */
	order_store_relaxed(&sequence->run_limit, limit);
	return limit;
}

void sequence_run_end(struct sequence *sequence)
{
	/* Relaxed: as above. */
	order_store_relaxed(&sequence->run_limit, UINT64_MAX);
}
