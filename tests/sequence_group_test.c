/* SPDX-License-Identifier: MIT */
/* No group of numbers ever lies across a view that is held or the end of a transaction. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/treemod/sequence.h"
#include "tests/support/threads.h"

#define OPERATORS 2
#define VIEWERS 5
#define GROUPERS 3
#define HELD 6

#ifdef __SANITIZE_THREAD__
#define TURNS 1000U
#else
#define TURNS 4000U
#endif
#define NUMBERS ((VIEWERS + 1 + GROUPERS) * TURNS + 2)

/* What a grouper saw. */
struct snapshot {
	uint64_t taken; /* the time behind it */
	unsigned count;
	uint64_t *last;
};

struct registry {
	struct sequence sequence;
	struct sequence_slot slots[OPERATORS];
	/* By number, plain: until when a view of it was held or its transaction was not run; 0: none. */
	uint64_t *until;
	struct snapshot (*snapshots)[TURNS];
	uint64_t seed;
	/* Relaxed, all of them. */
	order_u32 at_work; /* viewers and the committer */
	order_u64 looks;   /* of groupers */
	order_u64 turns;   /* of the others */
	order_u64 wrong;
};

/*
 * Both sides keep pace with each other, so that they go on side by side. Ends: not both are ahead,
 * and who is through is far enough ahead for the others to get through.
 */
static void registry_pace_turn(struct registry *registry)
{
	uint64_t turns = order_fetch_add_relaxed(&registry->turns, 1);

	while (turns > order_load_relaxed(&registry->looks) * 4 + 256)
		sched_yield();
}

static void registry_pace_look(struct registry *registry)
{
	uint64_t looks = order_fetch_add_relaxed(&registry->looks, 1);

	while (looks * 2 > order_load_relaxed(&registry->turns) + 64 &&
	       order_load_relaxed(&registry->at_work))
		sched_yield();
}

static void registry_view(struct registry *registry, struct random_state *random)
{
	struct view_slot *held[HELD] = { 0 };
	unsigned turns = 0;

	while (turns < TURNS) {
		unsigned at = (unsigned)random_state_below(random, HELD);

		if (held[at]) {
			registry->until[view_cut(held[at])] = clock_now_ns();
			if (!view_release(held[at]))
				order_fetch_add_relaxed(&registry->wrong, 1);
			held[at] = NULL;
			continue;
		}
		held[at] = sequence_view(&registry->sequence);
		if (!held[at])
			abort();
		registry->until[view_cut(held[at])] = UINT64_MAX;
		turns++;
		registry_pace_turn(registry);
	}
	order_fetch_sub_relaxed(&registry->at_work, 1);
}

/* Runs the oldest transaction, if it has ended and is closed. */
static void registry_run(struct registry *registry)
{
	uint64_t end;
	uint64_t oldest = sequence_oldest_end(&registry->sequence, &end);

	if (end == UINT64_MAX || !sequence_close(&registry->sequence, end, NULL))
		return;
	registry->until[end] = clock_now_ns();
	sequence_transaction_run(&registry->sequence, oldest);
}

static void registry_commit(struct registry *registry, struct random_state *random)
{
	unsigned turns = 0;

	while (turns < TURNS) {
		uint64_t cut;
		int result;

		if (random_state_chance(random, 1, 2)) {
			registry_run(registry);
			continue;
		}
		result = sequence_commit(&registry->sequence, &cut);
		if (result == -EAGAIN) {
			registry_run(registry);
			continue;
		}
		if (result)
			abort();
		registry->until[cut] = UINT64_MAX;
		turns++;
		registry_pace_turn(registry);
	}
	order_fetch_sub_relaxed(&registry->at_work, 1);
}

static void registry_group(struct registry *registry, struct snapshot *snapshots)
{
	unsigned at;

	for (at = 0; at < TURNS && order_load_relaxed(&registry->at_work); at++) {
		struct snapshot *snapshot = &snapshots[at];
		struct sequence_groups groups;

		/* Some close what there is; others find what is closed. */
		if (at % 2)
			sequence_close(&registry->sequence, sequence_cut(&registry->sequence),
				       NULL);
		sequence_groups(&registry->sequence, &groups);
		snapshot->taken = clock_now_ns();
		snapshot->count = groups.count;
		snapshot->last = alloc_array(groups.count + 1, sizeof(groups.last[0]));
		if (!snapshot->last)
			abort();
		registry_pace_look(registry);
		memcpy(snapshot->last, groups.last, groups.count * sizeof(groups.last[0]));
	}
}

static void registry_operate(struct registry *registry, struct sequence_slot *slot)
{
	while (order_load_relaxed(&registry->at_work)) {
		sequence_begin(&registry->sequence, slot);
		sched_yield();
		sequence_end(slot);
	}
}

static void registry_thread(void *argument, unsigned thread)
{
	struct registry *registry = argument;
	struct random_state random;

	random_state_seed(&random, registry->seed, thread);
	if (thread < OPERATORS)
		registry_operate(registry, &registry->slots[thread]);
	else if (thread < OPERATORS + VIEWERS)
		registry_view(registry, &random);
	else if (thread == OPERATORS + VIEWERS)
		registry_commit(registry, &random);
	else
		registry_group(registry, registry->snapshots[thread - OPERATORS - VIEWERS - 1]);
}

/* Adds to `ends` how many groups ended at what is in the registry. */
static void snapshot_check(const struct registry *registry, const struct snapshot *snapshot,
			   uint64_t *ends)
{
	unsigned group = 0;
	uint64_t number;

	for (number = 1; group < snapshot->count; number++) {
		if (number == snapshot->last[group]) {
			group++;
			/* The last may end at what is closed; all others for a reason. */
			assert_true(group == snapshot->count || registry->until[number]);
			*ends += registry->until[number] > snapshot->taken;
		} else if (registry->until[number] > snapshot->taken) {
			fail_msg("a group up to %llu lies across %llu",
				 (unsigned long long)snapshot->last[group],
				 (unsigned long long)number);
		}
	}
}

static void registry_round(uint64_t seed)
{
	struct registry registry = { .seed = seed };
	uint64_t ends = 0;
	unsigned grouper;
	unsigned at;

	sequence_init(&registry.sequence);
	registry.until = alloc_zeroed(NUMBERS, sizeof(registry.until[0]));
	registry.snapshots = alloc_zeroed(GROUPERS, sizeof(registry.snapshots[0]));
	assert_non_null(registry.until);
	assert_non_null(registry.snapshots);
	for (at = 0; at < OPERATORS; at++)
		sequence_join(&registry.sequence, &registry.slots[at]);
	order_store_relaxed(&registry.at_work, VIEWERS + 1);
	threads_run(OPERATORS + VIEWERS + 1 + GROUPERS, registry_thread, &registry);
	assert_int_equal(order_load_relaxed(&registry.wrong), 0);
	for (grouper = 0; grouper < GROUPERS; grouper++) {
		for (at = 0; at < TURNS && registry.snapshots[grouper][at].last; at++) {
			snapshot_check(&registry, &registry.snapshots[grouper][at], &ends);
			alloc_free(registry.snapshots[grouper][at].last);
		}
		assert_true(at > 0);
	}
	print_message("sequence_group: %llu ends of groups looked at\n", (unsigned long long)ends);
	assert_true(ends > 0);
	alloc_free(registry.snapshots);
	alloc_free(registry.until);
	sequence_destroy(&registry.sequence);
}

static void groups_threads(void **state)
{
	uint64_t seed = threads_timing_seed("groups_threads");

	(void)state;
	registry_round(seed);
	threads_stalls_begin("sequence.", seed, 50, 100);
	registry_round(seed);
	threads_stalls_end();
	threads_stalls_assert_passed("sequence.view-claimed");
	threads_stalls_assert_passed("sequence.commit-cut");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
