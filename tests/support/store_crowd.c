/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/store_crowd.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/base/order.h"
#include "tests/support/delta_model.h"
#include "tests/support/threads.h"

#define WRITERS 8U
#define OPERATIONS 1500U
#define EXTENTS 64U
#define ROOTS 4U
#define KEYS (EXTENTS * ROOTS)

/* An extent above all others with a number above all cuts: each look-up must see it. */
#define STEADY_BYTENR (UINT64_C(1) << 40)
#define STEADY_SEQ (UINT64_C(1) << 50)

struct crowd {
	const struct store_variant *variant;
	struct store *store;
	uint64_t seed;
	unsigned error_one_in;
	struct random_state errors;
	pthread_rwlock_t operations; /* held for reading in an operation, for writing at a cut */
	uint64_t seq;                /* under it: of operations that begin */
	order_u32 writing;           /* relaxed, as are the next: when to stop, and sums */
	order_u64 broken;
	order_u64 looked;
	/* Sums by key; each row is one thread's, the last the runner's. */
	int64_t counts[WRITERS + 1][KEYS];
	uint64_t reserved[WRITERS + 1][KEYS];
	uint64_t cut;    /* of the run that goes on; the runner's */
	uint64_t bytenr; /* of its last head, plus 1 */
	uint64_t heads;
	uint64_t errors_made;
};

static void crowd_count(order_u64 *counter, bool condition)
{
	if (condition)
		order_fetch_add_relaxed(counter, 1);
}

static unsigned key_of(const struct rs_delta *delta)
{
	return (unsigned)(delta->bytenr / RS_DELTA_UNIT * ROOTS + delta->root);
}

/* A few keys of one type each, so that a key is its extent and root. */
static void crowd_append(struct crowd *crowd, struct random_state *random, unsigned thread,
			 uint64_t seq)
{
	uint64_t root = random_state_below(random, ROOTS);
	struct rs_delta delta = {
		.bytenr = random_state_below(random, EXTENTS) * RS_DELTA_UNIT,
		.root = root,
		.count = random_state_chance(random, 1, 2) ? 1 : -1,
		.length_4k = 1,
		.seq_type = seq << 8 | (root ? RS_DELTA_TREE_BLOCK_REF : RS_DELTA_ROOT),
	};

	if (!root && random_state_chance(random, 1, 8))
		delta.reserved = RS_DELTA_UNIT;
	if (crowd->variant->functions->append(crowd->store, &delta)) {
		crowd_count(&crowd->broken, true);
		return;
	}
	crowd->counts[thread][key_of(&delta)] += delta.count;
	crowd->reserved[thread][key_of(&delta)] += delta.reserved;
}

static void crowd_write(struct crowd *crowd, unsigned thread)
{
	struct random_state random;
	unsigned at;

	random_state_seed(&random, crowd->seed, thread);
	for (at = 0; at < OPERATIONS; at++) {
		unsigned left = 1 + (unsigned)random_state_below(&random, 12);

		pthread_rwlock_rdlock(&crowd->operations);
		while (left--)
			crowd_append(crowd, &random, thread, crowd->seq);
		pthread_rwlock_unlock(&crowd->operations);
	}
	order_fetch_sub_relaxed(&crowd->writing, 1);
}

static void crowd_add(struct crowd *crowd, const struct rs_delta *deltas, size_t count)
{
	size_t at;

	for (at = 0; at < count; at++) {
		crowd_count(&crowd->broken, rs_delta_seq(&deltas[at]) > crowd->cut);
		if (deltas[at].bytenr == STEADY_BYTENR)
			continue;
		crowd->counts[WRITERS][key_of(&deltas[at])] += deltas[at].count;
		if (rs_delta_type(&deltas[at]) == RS_DELTA_ROOT)
			crowd->reserved[WRITERS][key_of(&deltas[at])] += deltas[at].reserved;
	}
}

static int crowd_head(void *argument, const struct rs_head *head)
{
	struct crowd *crowd = argument;

	crowd_count(&crowd->broken, !delta_head_is_well_formed(head));
	crowd_count(&crowd->broken, head->bytenr < crowd->bytenr);
	crowd->bytenr = head->bytenr + 1;
	if (crowd->error_one_in &&
	    (!crowd->errors_made || random_state_chance(&crowd->errors, 1, crowd->error_one_in))) {
		crowd->errors_made++;
		return -EDOM;
	}
	crowd->heads++;
	crowd_add(crowd, head->refs, head->ref_count);
	crowd_add(crowd, head->roots, head->root_count);
	return 0;
}

static void crowd_run_to(struct crowd *crowd, uint64_t cut)
{
	struct rs_run_result result = { 0 };
	const struct store_run run = { cut, 1, crowd_head, crowd, &result, 0 };
	int ret;

	crowd->cut = cut;
	crowd->bytenr = 0;
	ret = crowd->variant->functions->run(crowd->store, &run);
	crowd_count(&crowd->broken, ret && ret != -EDOM);
}

/* All operations up to the cut have ended when the lock is had for writing. */
static void crowd_run(struct crowd *crowd)
{
	do {
		uint64_t cut;

		pthread_rwlock_wrlock(&crowd->operations);
		cut = crowd->seq++;
		pthread_rwlock_unlock(&crowd->operations);
		crowd_run_to(crowd, cut);
		/* Relaxed: see the struct. */
	} while (order_load_relaxed(&crowd->writing));
}

static void crowd_look(struct crowd *crowd)
{
	const struct store_functions *functions = crowd->variant->functions;
	struct random_state random;

	random_state_seed(&random, crowd->seed, WRITERS + 1);
	do {
		uint64_t bytenr = random_state_below(&random, EXTENTS) * RS_DELTA_UNIT;
		struct rs_head_pending pending;
		struct store_statistics statistics;
		struct rs_delta entries[ROOTS];
		int64_t sum = 0;
		size_t at;
		int ret;

		ret = functions->lookup(crowd->store, bytenr, UINT64_MAX, &pending, entries, ROOTS);
		/* There are no more keys than fit. */
		crowd_count(&crowd->broken, ret != 0);
		for (at = 0; !ret && at < pending.entries; at++)
			sum += entries[at].count;
		crowd_count(&crowd->broken, !ret && sum != pending.refs + pending.items);
		ret = functions->lookup(crowd->store, STEADY_BYTENR, UINT64_MAX, &pending, entries,
					ROOTS);
		crowd_count(&crowd->broken, ret || pending.refs != 7 || pending.running);
		functions->statistics(crowd->store, &statistics);
		crowd_count(&crowd->broken, !statistics.oldest_time || !statistics.pending_bytes);
		crowd_count(&crowd->broken, !functions->pending(crowd->store));
		crowd_count(&crowd->looked, true);
		/* Relaxed: see the struct. */
	} while (order_load_relaxed(&crowd->writing));
}

static void crowd_thread(void *argument, unsigned thread)
{
	struct crowd *crowd = argument;

	if (thread < WRITERS)
		crowd_write(crowd, thread);
	else if (thread == WRITERS)
		crowd_run(crowd);
	else
		crowd_look(crowd);
}

static void crowd_append_steady(struct crowd *crowd)
{
	const struct rs_delta steady = {
		.bytenr = STEADY_BYTENR,
		.root = 5,
		.count = 7,
		.length_4k = 1,
		.seq_type = STEADY_SEQ << 8 | RS_DELTA_TREE_BLOCK_REF,
	};

	assert_int_equal(crowd->variant->functions->append(crowd->store, &steady), 0);
	if (crowd->variant->merge)
		crowd->variant->merge(crowd->store);
}

/* What was appended is what was run. */
static void crowd_check(struct crowd *crowd)
{
	struct store_statistics statistics;
	unsigned writer;
	unsigned key;

	for (key = 0; key < KEYS; key++) {
		int64_t count = 0;
		uint64_t reserved = 0;

		for (writer = 0; writer < WRITERS; writer++) {
			count += crowd->counts[writer][key];
			reserved += crowd->reserved[writer][key];
		}
		assert_int_equal(crowd->counts[WRITERS][key], count);
		assert_int_equal(crowd->reserved[WRITERS][key], reserved);
	}
	crowd->variant->functions->statistics(crowd->store, &statistics);
	assert_int_equal(crowd->variant->functions->pending(crowd->store), 0);
	assert_int_equal(statistics.recorded, statistics.merged + statistics.run);
	assert_int_equal(order_load_relaxed(&crowd->broken), 0);
	assert_true(order_load_relaxed(&crowd->looked) > 0);
	assert_true(crowd->heads > EXTENTS / 2);
	assert_int_equal(crowd->errors_made != 0, crowd->error_one_in != 0);
}

void store_crowd_run(const struct store_variant *variant, uint64_t seed, unsigned error_one_in)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));
	pthread_rwlockattr_t attributes;

	assert_non_null(crowd);
	crowd->variant = variant;
	crowd->seed = seed;
	crowd->error_one_in = error_one_in;
	crowd->seq = 1;
	random_state_seed(&crowd->errors, seed, WRITERS);
	/* So that operations do not keep cuts away. */
	assert_int_equal(pthread_rwlockattr_init(&attributes), 0);
	assert_int_equal(pthread_rwlockattr_setkind_np(&attributes,
						       PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP),
			 0);
	assert_int_equal(pthread_rwlock_init(&crowd->operations, &attributes), 0);
	assert_int_equal(pthread_rwlockattr_destroy(&attributes), 0);
	assert_int_equal(variant->create(&crowd->store), 0);
	crowd_append_steady(crowd);
	order_store_relaxed(&crowd->writing, WRITERS);
	threads_run(WRITERS + 2, crowd_thread, crowd);
	/* Up to the last number, and then what stands above all. */
	while (variant->functions->pending(crowd->store))
		crowd_run_to(crowd, STEADY_SEQ);
	crowd_check(crowd);
	variant->functions->destroy(crowd->store);
	pthread_rwlock_destroy(&crowd->operations);
	free(crowd);
}
