// SPDX-License-Identifier: MIT
#include "core/qgroup/live_sets.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/qgroup/live_sets_impl.h"

/* Puts a piece there, or finds that somebody else has. */
static int piece_make(struct live_sets *sets, uint32_t index)
{
	struct arena_piece *fresh = arena_piece_make(index > 0);
	void *expected = NULL;

	if (!fresh)
		return -ENOMEM;
	/* LIVE_SETS.piece: the head of the piece, before its address. */
	if (!order_cas_acq_rel(&sets->pieces[index], &expected, fresh))
		alloc_free(fresh);
	return 0;
}

static int id_fresh(struct live_sets *sets, uint32_t *id)
{
	/* Relaxed: an id is claimed by the exchange itself. */
	uint32_t mine = order_load_relaxed(&sets->next_id);

	do {
		uint32_t index = mine / LIVE_SETS_PIECE;

		if (mine >= LIVE_SET_MAX)
			return -E2BIG;
		/* LIVE_SETS.piece: whoever put the piece there had made it. */
		if (!order_load_acquire(&sets->pieces[index]) && piece_make(sets, index))
			return -ENOMEM;
		/* Ends: a failed exchange means that another thread has got an id. */
	} while (!order_cas_weak_relaxed(&sets->next_id, &mine, mine + 1));
	*id = mine;
	return 0;
}

static int id_take(struct live_sets *sets, uint32_t *id)
{
	/*
	 * Relaxed: the array was written before the phase, and in a phase the number only falls, so
	 * that the place below it is this thread's alone once the exchange has succeeded.
	 */
	uint32_t left = order_load_relaxed(&sets->free_left);

	/* Ends: a failed exchange means that another thread has got an id. */
	while (left) {
		if (order_cas_weak_relaxed(&sets->free_left, &left, left - 1)) {
			*id = sets->free_ids[left - 1];
			return 0;
		}
	}
	return id_fresh(sets, id);
}

void live_sets_strip(struct live_set *set)
{
	if (set->count > LIVE_SET_INSIDE)
		alloc_free(set->many);
	set->count = 0;
	set->few[0] = set->few[1] = 0;
}

/* A set that nobody knows yet. */
static int set_make(struct live_sets *sets, const struct live_sets_key *key, uint32_t *id)
{
	uint32_t *many = NULL;
	struct live_set *set;
	int ret;

	if (key->count > LIVE_SET_INSIDE) {
		many = alloc_array(key->count, sizeof(*many));
		if (!many)
			return -ENOMEM;
		memcpy(many, key->boundaries, key->count * sizeof(*many));
	}
	ret = id_take(sets, id);
	if (ret) {
		alloc_free(many);
		return ret;
	}
	set = live_sets_slot(sets, *id);
	*set = (struct live_set){ .hash = key->hash,
				  .count = key->count,
				  .forward = LIVE_SET_NONE };
	if (many)
		set->many = many;
	else
		memcpy(set->few, key->boundaries, key->count * sizeof(*set->few));
	return 0;
}

/* Looks for the tuple in a chain from one set up to before another. */
static inline uint32_t chain_find(const struct live_sets *sets, uint32_t from, uint32_t until,
				  const struct live_sets_key *key)
{
	uint32_t id = from;

	while (id != until) {
		struct live_set *set = live_sets_slot(sets, id);

		if (set->hash == key->hash && set->count == key->count &&
		    !memcmp(live_sets_tuple(set), key->boundaries,
			    key->count * sizeof(*key->boundaries)))
			return id;
		/* Relaxed: written before the set, or one pushed later, was published. */
		id = order_load_relaxed(&set->next);
	}
	return LIVE_SET_EMPTY;
}

/*
 * Not found behind `head`. The chain is only ever pushed to, so what comes between stands before
 * it.
 */
static __attribute__((noinline)) int intern_miss(struct live_sets *sets, order_u32 *bucket,
						 uint32_t head, const struct live_sets_key *key,
						 uint32_t *out)
{
	struct live_set *set;
	uint32_t seen;
	uint32_t id;
	int ret = set_make(sets, key, &id);

	if (ret)
		return ret;
	set = live_sets_slot(sets, id);
	/* Ends: a failed exchange means that another thread has made a set. */
	for (;;) {
		/* Relaxed: the exchange publishes it. */
		order_store_relaxed(&set->next, head);
		seen = head;
		/* LIVE_SETS.publish: the set, before its id; what others pushed is read next. */
		if (order_cas_weak_acq_rel(bucket, &head, id)) {
			*out = id;
			return 0;
		}
		*out = chain_find(sets, head, seen, key);
		if (*out) {
			live_sets_strip(set);
			return 0;
		}
	}
}

int live_sets_intern(struct live_sets *sets, const struct live_sets_key *key, uint32_t *out)
{
	order_u32 *bucket = &sets->buckets[key->hash & sets->mask];
	uint32_t head;

	*out = LIVE_SET_EMPTY;
	if (!key->count)
		return 0;
	/* LIVE_SETS.publish: the sets of the chain. */
	head = order_load_acquire(bucket);
	*out = chain_find(sets, head, LIVE_SET_EMPTY, key);
	if (__builtin_expect(*out != LIVE_SET_EMPTY, 1))
		return 0;
	return intern_miss(sets, bucket, head, key, out);
}

uint32_t live_sets_lookup(const struct live_sets *sets, const struct live_sets_key *key)
{
	/* LIVE_SETS.publish: the sets of the chain. */
	uint32_t head = order_load_acquire(&sets->buckets[key->hash & sets->mask]);

	return key->count ? chain_find(sets, head, LIVE_SET_EMPTY, key) : LIVE_SET_EMPTY;
}

int live_sets_create(const struct lineage *lineage, struct live_sets **out)
{
	struct live_sets *sets = alloc_aligned(ORDER_LINE, 1, sizeof(*sets));

	if (!sets)
		return -ENOMEM;
	sets->lineage = lineage;
	sets->buckets = alloc_zeroed(LIVE_SETS_FIRST_BUCKETS, sizeof(*sets->buckets));
	sets->mask = LIVE_SETS_FIRST_BUCKETS - 1;
	sets->pieces = alloc_zeroed(LIVE_SETS_PIECES, sizeof(*sets->pieces));
	if (!sets->buckets || !sets->pieces || piece_make(sets, 0)) {
		live_sets_destroy(sets);
		return -ENOMEM;
	}
	*live_sets_slot(sets, LIVE_SET_EMPTY) = (struct live_set){ .forward = LIVE_SET_NONE };
	/* Relaxed: nobody else knows it yet. */
	order_store_relaxed(&sets->next_id, 1);
	sets->settled = 1;
	*out = sets;
	return 0;
}

void live_sets_destroy(struct live_sets *sets)
{
	uint32_t at;

	if (!sets)
		return;
	for (at = 1; at < live_sets_limit(sets); at++)
		live_sets_strip(live_sets_slot(sets, at));
	for (at = 0; at < sets->list_count; at++)
		alloc_free(sets->lists[at].ids);
	/* Relaxed: nobody else uses it any more. */
	for (at = 0; sets->pieces && at < LIVE_SETS_PIECES; at++)
		alloc_free(order_load_relaxed(&sets->pieces[at]));
	alloc_free(sets->lists);
	alloc_free(sets->free_ids);
	alloc_free(sets->pieces);
	alloc_free(sets->buckets);
	alloc_free(sets);
}

struct live_set *live_set_at(const struct live_sets *sets, uint32_t id)
{
	return live_sets_slot(sets, id);
}

const uint32_t *live_set_boundaries(const struct live_set *set)
{
	return live_sets_tuple(set);
}

uint32_t live_sets_find(const struct live_sets *sets, uint32_t id)
{
	uint32_t next = live_sets_slot(sets, id)->forward;

	/* Ends: nothing forwards in a circle, since only what is in use is forwarded to. */
	while (next != LIVE_SET_NONE) {
		id = next;
		next = live_sets_slot(sets, id)->forward;
	}
	return id;
}

uint32_t live_sets_limit(const struct live_sets *sets)
{
	return order_load_relaxed(&sets->next_id); /* relaxed: a count, exact outside of phases */
}

const struct live_set *live_sets_in_use(const struct live_sets *sets, uint32_t id)
{
	const struct live_set *set = live_sets_slot(sets, id);

	return set->count ? set : NULL;
}

void live_sets_figures_read(const struct live_sets *sets, struct live_sets_figures *figures)
{
	uint32_t pieces = (live_sets_limit(sets) + LIVE_SETS_PIECE - 1) / LIVE_SETS_PIECE;

	*figures = sets->figures;
	figures->bytes += sizeof(*sets) + pieces * ARENA_PIECE_BYTES +
			  LIVE_SETS_PIECES * sizeof(*sets->pieces) +
			  ((size_t)sets->mask + 1) * sizeof(*sets->buckets) +
			  sets->free_capacity * sizeof(*sets->free_ids) +
			  sets->list_count * sizeof(*sets->lists);
}
