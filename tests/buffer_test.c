/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/forest/buffer.h"
#include "tests/support/threads.h"

#define NODE_BYTES 4096U
#define ADDRESS_MAX (UINT64_C(1) << 52)
#define THREADS 8U
#define GENERATION 7U

static struct buffer_map map;

static void map_begin(void)
{
	rcu_thread_enroll();
	assert_int_equal(buffer_map_init(&map, NODE_BYTES), 0);
}

static void map_end(void)
{
	rcu_defer_barrier();
	buffer_map_destroy(&map);
	rcu_thread_leave();
}

static struct buffer *publish(uint64_t bytenr)
{
	struct buffer *buffer = buffer_create(&map, NULL, bytenr, GENERATION, 0);

	assert_non_null(buffer);
	assert_int_equal(buffer_publish(buffer), 0);
	return buffer;
}

static void what_is_published_is_found(void **state)
{
	/* Neighbours in a page, of two pages, of two middle pages, and both ends. */
	static const uint64_t at[] = {
		0,
		4096,
		(UINT64_C(1) << 26) - 4096,
		UINT64_C(1) << 26,
		(UINT64_C(1) << 39) - 4096,
		UINT64_C(1) << 39,
		ADDRESS_MAX - 4096,
	};
	struct buffer *buffers[sizeof(at) / sizeof(at[0])];
	size_t i;

	(void)state;
	map_begin();
	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		assert_null(buffer_find(&map, at[i]));
		buffers[i] = publish(at[i]);
	}
	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		assert_ptr_equal(buffer_find(&map, at[i]), buffers[i]);
		assert_int_equal(buffers[i]->bytenr, at[i]);
	}
	buffer_remove(buffers[0]);
	assert_null(buffer_find(&map, at[0]));
	buffer_free(buffers[2]);
	assert_null(buffer_find(&map, at[2]));
	assert_ptr_equal(buffer_find(&map, at[1]), buffers[1]);
	assert_ptr_equal(buffer_find(&map, at[3]), buffers[3]);
	/* The address can have another at once. */
	buffers[0] = publish(at[0]);
	assert_ptr_equal(buffer_find(&map, at[0]), buffers[0]);
	map_end();
}

/* Each bit of an address counts. */
static void addresses_do_not_share_a_place(void **state)
{
	unsigned bit;

	(void)state;
	map_begin();
	publish(0);
	for (bit = 12; bit < 52; bit++)
		publish(UINT64_C(1) << bit);
	for (bit = 12; bit < 52; bit++)
		assert_int_equal(buffer_find(&map, UINT64_C(1) << bit)->bytenr, UINT64_C(1) << bit);
	assert_int_equal(buffer_find(&map, 0)->bytenr, 0);
	map_end();
}

static void a_buffer_begins_with_one_reference(void **state)
{
	struct buffer *buffer;

	(void)state;
	map_begin();
	buffer = buffer_create(&map, NULL, 3 * NODE_BYTES, GENERATION, 2);
	assert_non_null(buffer);
	assert_int_equal(buffer->bytenr, 3 * NODE_BYTES);
	assert_int_equal(buffer->generation, GENERATION);
	assert_int_equal(buffer->level, 2);
	assert_int_equal(buffer_word_approx(buffer), 1);
	assert_int_equal((uintptr_t)buffer->data % 64, 0);
	memset(buffer->data, 0xff, NODE_BYTES);
	assert_null(buffer_find(&map, buffer->bytenr));
	buffer_discard(buffer);
	map_end();
}

static void an_address_has_one_buffer(void **state)
{
	struct buffer *first;
	struct buffer *second;

	(void)state;
	map_begin();
	first = publish(NODE_BYTES);
	second = buffer_create(&map, NULL, NODE_BYTES, GENERATION, 0);
	assert_non_null(second);
	assert_int_equal(buffer_publish(second), -EEXIST);
	assert_ptr_equal(buffer_find(&map, NODE_BYTES), first);
	buffer_discard(second);
	map_end();
}

static void counts_and_the_flag_are_one_word(void **state)
{
	struct buffer *buffer;

	(void)state;
	map_begin();
	buffer = publish(NODE_BYTES);
	assert_int_equal(buffer_lock(buffer), 1);
	assert_int_equal(buffer_word_approx(buffer), BUFFER_LOCK | 1);
	buffer_ref(buffer);
	assert_int_equal(buffer_word_approx(buffer), BUFFER_LOCK | 2);
	assert_int_equal(buffer_unlock(buffer, 0, false), 2);
	assert_int_equal(buffer_lock(buffer), 2);
	assert_int_equal(buffer_unlock(buffer, 3, true), BUFFER_FULL | 5);
	assert_int_equal(buffer_word_approx(buffer), BUFFER_FULL | 5);
	/* The flag stays, told again or not. */
	assert_int_equal(buffer_lock(buffer), BUFFER_FULL | 5);
	assert_int_equal(buffer_unlock(buffer, -4, true), BUFFER_FULL | 1);
	assert_int_equal(buffer_lock(buffer), BUFFER_FULL | 1);
	assert_int_equal(buffer_unlock(buffer, -1, false), BUFFER_FULL);
	assert_int_equal(buffer_refs(BUFFER_FULL | BUFFER_LOCK | 5), 5);
	map_end();
}

struct visit {
	uint64_t last;
	unsigned count;
	unsigned stop_at;
};

static int visit_one(void *argument, struct buffer *buffer)
{
	struct visit *visit = argument;

	assert_true(!visit->count || buffer->bytenr > visit->last);
	visit->last = buffer->bytenr;
	return ++visit->count == visit->stop_at ? -EINTR : 0;
}

static void each_goes_by_address(void **state)
{
	struct visit visit = { 0 };

	(void)state;
	map_begin();
	assert_int_equal(buffer_map_each(&map, visit_one, &visit), 0);
	assert_int_equal(visit.count, 0);
	publish(ADDRESS_MAX - 4096);
	publish(UINT64_C(1) << 40);
	publish(8192);
	publish(4096);
	buffer_free(publish(12288));
	assert_int_equal(buffer_map_each(&map, visit_one, &visit), 0);
	assert_int_equal(visit.count, 4);
	visit = (struct visit){ .stop_at = 3 };
	assert_int_equal(buffer_map_each(&map, visit_one, &visit), -EINTR);
	assert_int_equal(visit.count, 3);
	assert_int_equal(visit.last, UINT64_C(1) << 40);
	map_end();
}

/* The map, the buffer, and the two pages on the way to it: each is refused once. */
static void no_memory_changes_nothing(void **state)
{
	struct buffer *buffer;
	uint64_t nth;

	(void)state;
	rcu_thread_enroll();
	alloc_fail_arm(1, 0);
	assert_int_equal(buffer_map_init(&map, NODE_BYTES), -ENOMEM);
	assert_int_equal(buffer_map_init(&map, NODE_BYTES), 0);
	alloc_fail_arm(1, 0);
	assert_null(buffer_create(&map, NULL, NODE_BYTES, GENERATION, 0));
	buffer = buffer_create(&map, NULL, NODE_BYTES, GENERATION, 0);
	assert_non_null(buffer);
	for (nth = 2; nth; nth--) {
		alloc_fail_arm(nth, 0);
		assert_int_equal(buffer_publish(buffer), -ENOMEM);
		assert_int_equal(alloc_fail_count(), 1);
		assert_null(buffer_find(&map, NODE_BYTES));
	}
	alloc_fail_arm(0, 0);
	assert_int_equal(buffer_publish(buffer), 0);
	assert_ptr_equal(buffer_find(&map, NODE_BYTES), buffer);
	map_end();
}

#define RACE_ADDRESSES 48U

struct race {
	order_u32 published[RACE_ADDRESSES];
	order_u32 wrong;
};

/* Each in a page of its own, some in a middle page of their own; all threads are after the same. */
static uint64_t race_address(unsigned at)
{
	return ((uint64_t)(at % 3) << 39) + ((uint64_t)at << 26) + (uint64_t)at * 4096;
}

static void race_main(void *argument, unsigned thread)
{
	struct race *race = argument;
	unsigned at;

	(void)thread;
	for (at = 0; at < RACE_ADDRESSES; at++) {
		struct buffer *buffer = buffer_create(&map, NULL, race_address(at), GENERATION, 0);
		int result = buffer ? buffer_publish(buffer) : -ENOMEM;

		/* Relaxed: counts, read when the threads have been joined. */
		if (!result)
			order_fetch_add_relaxed(&race->published[at], 1);
		else if (result != -EEXIST || buffer_find(&map, race_address(at)) == buffer)
			order_fetch_add_relaxed(&race->wrong, 1);
		if (!buffer_find(&map, race_address(at)))
			order_fetch_add_relaxed(&race->wrong, 1);
		if (result && buffer)
			buffer_discard(buffer);
	}
}

static void threads_grow_one_map(void **state)
{
	struct race race;
	struct visit visit = { 0 };
	unsigned at;

	(void)state;
	memset(&race, 0, sizeof(race));
	map_begin();
	threads_stalls_begin("buffer.", threads_timing_seed("buffer_test"), 4, 100);
	threads_run(THREADS, race_main, &race);
	threads_stalls_end();
	threads_stalls_assert_passed("buffer.growing");
	assert_int_equal(order_load_relaxed(&race.wrong), 0);
	for (at = 0; at < RACE_ADDRESSES; at++) {
		assert_int_equal(order_load_relaxed(&race.published[at]), 1);
		assert_int_equal(buffer_find(&map, race_address(at))->bytenr, race_address(at));
	}
	assert_int_equal(buffer_map_each(&map, visit_one, &visit), 0);
	assert_int_equal(visit.count, RACE_ADDRESSES);
	map_end();
}

#define LOCK_TURNS 40000U
#define LOCKERS 4U
#define REF_YIELDS 65536U
#define HOLD_YIELDS 256U /* one hold in so many is given time to be disturbed in */

struct locking {
	struct buffer *buffer;
	uint64_t inside;    /* plain on purpose: only the lock orders it */
	order_u32 lockers;  /* that have not ended */
	order_u64 expected; /* references beyond the first */
	order_u32 wrong;
};

static void locking_hold(struct locking *locking, unsigned turn)
{
	/* From one up, so that the count never falls below what others may add to. */
	int count = turn % 2 ? -1 : 1;
	uint64_t word = buffer_lock(locking->buffer);
	uint64_t before = locking->inside;
	uint64_t after;

	if (word & BUFFER_LOCK)
		order_fetch_add_relaxed(&locking->wrong, 1);
	if (turn % HOLD_YIELDS == 0)
		sched_yield();
	locking->inside = before + 1;
	after = buffer_unlock(locking->buffer, count, turn == LOCK_TURNS / 2);
	if (after & BUFFER_LOCK || !buffer_refs(after))
		order_fetch_add_relaxed(&locking->wrong, 1);
	if (turn > LOCK_TURNS / 2 && !(after & BUFFER_FULL))
		order_fetch_add_relaxed(&locking->wrong, 1);
}

static void locking_main(void *argument, unsigned thread)
{
	struct locking *locking = argument;
	uint64_t refs = 0;
	unsigned turn;

	if (thread < LOCKERS) {
		for (turn = 0; turn < LOCK_TURNS; turn++)
			locking_hold(locking, turn);
		order_fetch_sub_relaxed(&locking->lockers, 1);
		return;
	}
	/* For as long as there are lockers, so that the two kinds meet. Relaxed: whether to go on. */
	for (; !refs || order_load_relaxed(&locking->lockers); refs++) {
		buffer_ref(locking->buffer);
		if (refs % REF_YIELDS == 0)
			sched_yield();
	}
	order_fetch_add_relaxed(&locking->expected, refs);
}

static void the_lock_excludes_and_loses_no_reference(void **state)
{
	struct locking locking;

	(void)state;
	memset(&locking, 0, sizeof(locking));
	order_store_relaxed(&locking.lockers, LOCKERS);
	map_begin();
	locking.buffer = publish(NODE_BYTES);
	threads_run(THREADS, locking_main, &locking);
	assert_int_equal(order_load_relaxed(&locking.wrong), 0);
	assert_int_equal(locking.inside, LOCKERS * LOCK_TURNS);
	assert_true(order_load_relaxed(&locking.expected) >= THREADS - LOCKERS);
	assert_int_equal(buffer_word_approx(locking.buffer),
			 BUFFER_FULL | (1 + order_load_relaxed(&locking.expected)));
	map_end();
}

#define FIND_ADDRESSES 16U
#define REMOVERS 2U
#define FIND_TURNS 2000U
#define FILL 0x5a

struct finding {
	order_u32 removers; /* that have not ended */
	order_u64 found;
	order_u64 missed;
	order_u32 wrong;
};

static uint64_t find_address(unsigned at)
{
	return (uint64_t)(at + 1) << 20;
}

/* Each remover has addresses of its own, so that its buffers are taken out once. */
static void finding_replace(struct finding *finding, unsigned thread)
{
	unsigned turn;

	for (turn = 0; turn < FIND_TURNS; turn++) {
		uint64_t bytenr =
			find_address(turn % (FIND_ADDRESSES / REMOVERS) * REMOVERS + thread);
		struct buffer *buffer = buffer_find(&map, bytenr);

		if (buffer)
			buffer_remove(buffer);
		buffer = buffer_create(&map, NULL, bytenr, bytenr + 1, 0);
		if (!buffer) {
			order_fetch_add_relaxed(&finding->wrong, 1);
			break;
		}
		memset(buffer->data, FILL, NODE_BYTES);
		if (buffer_publish(buffer)) {
			order_fetch_add_relaxed(&finding->wrong, 1);
			buffer_discard(buffer);
		}
	}
	order_fetch_sub_relaxed(&finding->removers, 1);
}

static bool finding_is_whole(const struct buffer *buffer, uint64_t bytenr)
{
	const volatile uint8_t *data = buffer->data;
	uint32_t at;

	for (at = 0; at < NODE_BYTES; at += 64) {
		if (data[at] != FILL)
			return false;
	}
	return buffer->bytenr == bytenr && buffer->generation == bytenr + 1;
}

static void finding_look(struct finding *finding, unsigned thread)
{
	struct random_state random;

	random_state_seed(&random, 1, thread);
	/* Relaxed: whether to go on. */
	while (order_load_relaxed(&finding->removers)) {
		uint64_t bytenr =
			find_address((unsigned)random_state_below(&random, FIND_ADDRESSES));
		struct buffer *buffer;

		rcu_section_enter();
		buffer = buffer_find(&map, bytenr);
		if (buffer && !finding_is_whole(buffer, bytenr))
			order_fetch_add_relaxed(&finding->wrong, 1);
		rcu_section_exit();
		order_fetch_add_relaxed(buffer ? &finding->found : &finding->missed, 1);
	}
}

static void finding_main(void *argument, unsigned thread)
{
	if (thread < REMOVERS)
		finding_replace(argument, thread);
	else
		finding_look(argument, thread);
}

static void what_is_found_stays_to_the_end_of_the_section(void **state)
{
	struct finding finding;

	(void)state;
	memset(&finding, 0, sizeof(finding));
	order_store_relaxed(&finding.removers, REMOVERS);
	/* What is freed is filled with another byte than FILL; under a sanitizer it needs no help. */
	mallopt(M_PERTURB, 0x77);
	map_begin();
	threads_run(THREADS, finding_main, &finding);
	mallopt(M_PERTURB, 0);
	assert_int_equal(order_load_relaxed(&finding.wrong), 0);
	assert_true(order_load_relaxed(&finding.found) > 0);
	map_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_published_is_found),
		cmocka_unit_test(addresses_do_not_share_a_place),
		cmocka_unit_test(a_buffer_begins_with_one_reference),
		cmocka_unit_test(an_address_has_one_buffer),
		cmocka_unit_test(counts_and_the_flag_are_one_word),
		cmocka_unit_test(each_goes_by_address),
		cmocka_unit_test(no_memory_changes_nothing),
		cmocka_unit_test(threads_grow_one_map),
		cmocka_unit_test(the_lock_excludes_and_loses_no_reference),
		cmocka_unit_test(what_is_found_stays_to_the_end_of_the_section),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
