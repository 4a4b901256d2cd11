/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/plant.h"
#include "core/delayed/thread_queue.h"
#include "tests/support/queue_crowd.h"
#include "tests/support/threads.h"

#define QUEUES_MAX 16

/* The queues of several threads over one pool. */
struct fixture {
	struct segment_pool pool;
	struct thread_queue queues[QUEUES_MAX];
	unsigned count;
};

static void fixture_init(struct fixture *fixture, unsigned queues)
{
	memset(fixture, 0, sizeof(*fixture));
	assert_int_equal(segment_pool_init(&fixture->pool, 2), 0);
	fixture->count = queues;
	while (queues--)
		thread_queue_init(&fixture->queues[queues]);
}

/* All that was appended has been taken: of each queue the segment being filled is left. */
static void fixture_destroy(struct fixture *fixture)
{
	unsigned used = 0;
	unsigned at;

	for (at = 0; at < fixture->count; at++)
		used += fixture->queues[at].current != NULL;
	assert_int_equal(segment_used(&fixture->pool), used);
	segment_pool_destroy(&fixture->pool);
}

static int fixture_append(void *argument, unsigned producer, const struct rs_delta *delta,
			  uint64_t seq)
{
	struct fixture *fixture = argument;

	return thread_queue_append(&fixture->queues[producer], &fixture->pool, delta, seq);
}

static int fixture_take(void *argument, struct taken *taken)
{
	struct fixture *fixture = argument;
	unsigned at;
	int result = 0;

	for (at = 0; at < fixture->count && !result; at++)
		result = thread_queue_take(&fixture->queues[at], &fixture->pool, taken);
	return result;
}

static uint64_t fixture_pending(void *argument, uint64_t *since)
{
	struct fixture *fixture = argument;
	uint64_t pending = 0;
	unsigned at;

	*since = UINT64_MAX;
	for (at = 0; at < fixture->count; at++) {
		uint64_t oldest;

		pending += thread_queue_pending(&fixture->queues[at], &fixture->pool, &oldest);
		*since = oldest < *since ? oldest : *since;
	}
	return pending;
}

static const struct queue_crowd_calls fixture_calls = {
	.append = fixture_append,
	.take = fixture_take,
	.pending = fixture_pending,
};

static void append_some(struct fixture *fixture, struct queue_book *book, unsigned queue,
			uint64_t deltas)
{
	while (deltas--) {
		uint64_t seq;
		struct rs_delta delta = queue_book_delta(book, queue, &seq);

		assert_int_equal(fixture_append(fixture, queue, &delta, seq), 0);
	}
}

static uint64_t take_some(struct fixture *fixture, struct queue_book *book)
{
	struct taken taken;
	uint64_t deltas;

	taken_init(&taken);
	assert_int_equal(fixture_take(fixture, &taken), 0);
	assert_null(taken.whole);
	deltas = taken.deltas;
	queue_book_take(book, &taken);
	assert_int_equal(taken.deltas, 0);
	assert_int_equal(taken.since, UINT64_MAX);
	taken_destroy(&taken);
	return deltas;
}

static uint64_t pending_in(struct fixture *fixture)
{
	uint64_t since;
	uint64_t pending;

	rcu_section_enter();
	pending = fixture_pending(fixture, &since);
	rcu_section_exit();
	assert_int_equal(since == UINT64_MAX, pending == 0);
	return pending;
}

/* So many deltas are appended, then taken, and so on. `segments` are in the queue before each take. */
struct step {
	uint64_t deltas;
	uint64_t segments;
};

#define FULL ((uint64_t)SEGMENT_DELTAS)

static const struct step steps[] = {
	{ 0, 0 },
	/* One segment: its first, some, to its end. */
	{ 1, 1 },
	{ 1, 1 },
	{ FULL - 3, 1 },
	{ 1, 1 },
	{ 0, 1 },
	/* Behind a full one that has been taken to its end; exactly full; full and one more. */
	{ FULL, 2 },
	{ FULL + 1, 3 },
	{ FULL - 1, 1 },
	{ 2 * FULL, 3 },
	{ 5 * FULL + 7, 7 },
	{ FULL - 8, 1 },
	{ 1, 1 },
	{ 1, 2 },
};

static void queue_truth_table(void **state)
{
	struct fixture fixture;
	struct queue_book *book = queue_book_open(1, 20 * FULL);
	size_t at;

	(void)state;
	fixture_init(&fixture, 1);
	assert_true(thread_queue_is_full(&fixture.queues[0]));
	for (at = 0; at < sizeof(steps) / sizeof(steps[0]); at++) {
		append_some(&fixture, book, 0, steps[at].deltas);
		assert_int_equal(pending_in(&fixture), steps[at].deltas);
		assert_int_equal(segment_used(&fixture.pool), steps[at].segments);
		assert_int_equal(take_some(&fixture, book), steps[at].deltas);
		assert_int_equal(pending_in(&fixture), 0);
		assert_int_equal(take_some(&fixture, book), 0);
	}
	queue_book_assert(book, true);
	queue_book_close(book);
	fixture_destroy(&fixture);
}

/* A queue runs through the same few segments for ever. */
static void queue_uses_segments_again(void **state)
{
	struct fixture fixture;
	struct queue_book *book = queue_book_open(1, 40 * FULL);
	unsigned round;

	(void)state;
	fixture_init(&fixture, 1);
	for (round = 0; round < 40; round++) {
		append_some(&fixture, book, 0, FULL);
		assert_int_equal(take_some(&fixture, book), FULL);
		rcu_defer_barrier();
	}
	assert_int_equal(order_load_relaxed(&fixture.pool.chunk_count), 1);
	queue_book_assert(book, true);
	queue_book_close(book);
	fixture_destroy(&fixture);
}

/* The age of what is pending, and of what was taken, is that of the oldest or a little more. */
static void queue_knows_its_age(void **state)
{
	struct fixture fixture;
	struct queue_book *book = queue_book_open(1, 100);
	uint64_t begin = clock_now_ns();
	struct taken taken;
	uint64_t middle;
	uint64_t since;

	(void)state;
	fixture_init(&fixture, 1);
	append_some(&fixture, book, 0, 3);
	assert_in_range(thread_queue_pending(&fixture.queues[0], &fixture.pool, &since), 3, 3);
	assert_in_range(since, begin, clock_now_ns());
	taken_init(&taken);
	middle = clock_now_ns();
	assert_int_equal(fixture_take(&fixture, &taken), 0);
	assert_in_range(taken.since, begin, middle);
	queue_book_take(book, &taken);
	append_some(&fixture, book, 0, 3);
	thread_queue_pending(&fixture.queues[0], &fixture.pool, &since);
	assert_in_range(since, middle, clock_now_ns());
	assert_int_equal(fixture_take(&fixture, &taken), 0);
	assert_in_range(taken.since, middle, clock_now_ns());
	queue_book_take(book, &taken);
	taken_destroy(&taken);
	queue_book_close(book);
	fixture_destroy(&fixture);
}

static void queue_without_memory(void **state)
{
	struct fixture fixture;
	struct queue_book *book = queue_book_open(1, 3 * FULL);
	uint64_t seq;
	struct rs_delta delta = queue_book_delta(book, 0, &seq);
	struct taken taken;

	(void)state;
	fixture_init(&fixture, 1);
	alloc_fail_arm(1, 1);
	assert_int_equal(fixture_append(&fixture, 0, &delta, seq), -ENOMEM);
	alloc_fail_arm(0, 0);
	assert_int_equal(pending_in(&fixture), 0);
	assert_int_equal(fixture_append(&fixture, 0, &delta, seq), 0);
	append_some(&fixture, book, 0, 2 * FULL);
	/* A take without room for what it takes leaves all where it is. */
	taken_init(&taken);
	alloc_fail_arm(1, 1);
	assert_int_equal(fixture_take(&fixture, &taken), -ENOMEM);
	alloc_fail_arm(0, 0);
	assert_int_equal(taken.deltas, 0);
	taken_destroy(&taken);
	assert_int_equal(pending_in(&fixture), 2 * FULL + 1);
	assert_int_equal(take_some(&fixture, book), 2 * FULL + 1);
	queue_book_assert(book, true);
	queue_book_close(book);
	fixture_destroy(&fixture);
}

#ifdef RS_WINDOWS
/* What happens, once, at the first pass of a window: what other threads could have done there. */
struct meanwhile {
	const char *window;
	void (*happen)(struct meanwhile *meanwhile);
	struct fixture *fixture;
	struct queue_book *book;
	uint64_t taken;
};

static void meanwhile_hook(const char *name, void *argument)
{
	struct meanwhile *meanwhile = argument;

	if (!meanwhile->window || strcmp(name, meanwhile->window) != 0)
		return;
	meanwhile->window = NULL;
	meanwhile->happen(meanwhile);
}

/* Another consumer takes all, and the segment comes back in the other queue, with new deltas. */
static void meanwhile_reused(struct meanwhile *meanwhile)
{
	meanwhile->taken = take_some(meanwhile->fixture, meanwhile->book);
	rcu_defer_barrier();
	append_some(meanwhile->fixture, meanwhile->book, 1, 5);
}

/* The same, and it comes back in the same queue. */
static void meanwhile_returned(struct meanwhile *meanwhile)
{
	meanwhile->taken = take_some(meanwhile->fixture, meanwhile->book);
	rcu_defer_barrier();
	append_some(meanwhile->fixture, meanwhile->book, 0, 3 * FULL);
}

/* Another consumer takes all and holds it. */
static void meanwhile_taken(struct meanwhile *meanwhile)
{
	meanwhile->taken = take_some(meanwhile->fixture, meanwhile->book);
}

/* Another takes all, its segments are free, and nobody has opened them. */
static void meanwhile_freed(struct meanwhile *meanwhile)
{
	meanwhile->taken = take_some(meanwhile->fixture, meanwhile->book);
	rcu_defer_barrier();
}

/* More is appended. */
static void meanwhile_appended(struct meanwhile *meanwhile)
{
	append_some(meanwhile->fixture, meanwhile->book, 0, FULL + 3);
}

static void interleave(const char *window, void (*happen)(struct meanwhile *), uint64_t before)
{
	struct fixture fixture;
	struct meanwhile meanwhile = { window, happen, &fixture, queue_book_open(2, 10 * FULL), 0 };
	unsigned takes;

	fixture_init(&fixture, 2);
	append_some(&fixture, meanwhile.book, 0, before);
	window_hook_set(meanwhile_hook, &meanwhile);
	take_some(&fixture, meanwhile.book);
	/* What the take found gone, it may leave to the next. */
	for (takes = 0; takes < 2; takes++)
		take_some(&fixture, meanwhile.book);
	window_hook_set(NULL, NULL);
	assert_null(meanwhile.window);
	queue_book_assert(meanwhile.book, true);
	assert_int_equal(pending_in(&fixture), 0);
	queue_book_close(meanwhile.book);
	fixture_destroy(&fixture);
}

/* One consumer is held in a window while others do all that they could. */
static void queue_consumer_is_late(void **state)
{
	static const char *const windows[] = { "queue.claiming", "queue.passing" };
	static void (*const happens[])(struct meanwhile *) = {
		meanwhile_reused, meanwhile_returned, meanwhile_taken,
		meanwhile_freed,  meanwhile_appended,
	};
	static const uint64_t befores[] = { FULL + 1, 2 * FULL, 3 * FULL + 5 };
	size_t window;
	size_t happen;
	size_t before;

	(void)state;
	for (window = 0; window < 2; window++)
		for (happen = 0; happen < sizeof(happens) / sizeof(happens[0]); happen++)
			for (before = 0; before < 3; before++)
				interleave(windows[window], happens[happen], befores[before]);
}
#endif

struct case_of_crowd {
	unsigned producers;
	unsigned consumers;
	unsigned readers;
	bool wandering;
	bool mortal;
	bool stopped;
	const char *stalls; /* prefix of windows; NULL: none */
};

static void crowd_case(const struct case_of_crowd *one, uint64_t each, uint64_t seed)
{
	struct fixture fixture;
	struct queue_crowd_shape shape = {
		.producers = one->producers,
		.consumers = one->consumers,
		.readers = one->readers,
		.each = each,
		.wandering = one->wandering,
		.mortal = one->mortal,
		.seed = seed,
	};
	uint64_t stops = 0;

	fixture_init(&fixture, one->producers);
	if (one->stopped)
		shape.stopper = stopper_begin(seed, 200);
	if (one->stalls)
		threads_stalls_begin(one->stalls, seed, 400, 200);
	queue_crowd_run(&fixture_calls, &fixture, &shape);
	if (one->stalls)
		threads_stalls_end();
	if (shape.stopper)
		stops = stopper_end(shape.stopper, NULL, NULL);
	if (one->stopped)
		print_message("thread_queue: threads were stopped %llu times\n",
			      (unsigned long long)stops);
	assert_true(!shape.stopper || stops > 0);
	fixture_destroy(&fixture);
}

#ifdef __SANITIZE_THREAD__
#define EACH 20000
#else
#define EACH 60000
#endif

static void queue_crowds(void **state)
{
	static const struct case_of_crowd cases[] = {
		{ .producers = 1, .consumers = 1, .readers = 1 },
		{ .producers = 1, .consumers = 4, .readers = 2 },
		{ .producers = 8, .consumers = 4, .readers = 2, .wandering = true },
		{ .producers = 4, .consumers = 2, .readers = 1, .mortal = true },
	};
	uint64_t seed = threads_timing_seed("queue_crowds");
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(cases) / sizeof(cases[0]); at++)
		crowd_case(&cases[at], EACH, seed);
}

static void queue_crowds_stalled(void **state)
{
	static const struct case_of_crowd cases[] = {
		{ .producers = 4, .consumers = 4, .readers = 2, .stalls = "queue." },
		{ .producers = 2, .consumers = 4, .readers = 1, .mortal = true, .stalls = "queue." },
		{ .producers = 8, .consumers = 4, .readers = 2, .stalls = "segment." },
	};
	uint64_t seed = threads_timing_seed("queue_crowds_stalled");

	(void)state;
	crowd_case(&cases[0], EACH / 4, seed);
	threads_stalls_assert_passed("queue.claiming");
	threads_stalls_assert_passed("queue.looking");
	threads_stalls_assert_passed("queue.passing");
	threads_stalls_assert_passed("queue.switching");
	threads_stalls_assert_passed("queue.unpublished");
	threads_stalls_assert_passed("queue.unwritten");
	crowd_case(&cases[1], EACH / 4, seed);
	crowd_case(&cases[2], EACH, seed);
	threads_stalls_assert_passed("segment.popping");
}

static void queue_crowds_stopped(void **state)
{
	static const struct case_of_crowd one = {
		.producers = 6,
		.consumers = 3,
		.readers = 1,
		.wandering = true,
		.stopped = true,
	};

	(void)state;
	crowd_case(&one, 2 * EACH, threads_timing_seed("queue_crowds_stopped"));
}

static int group_setup(void **state)
{
	(void)state;
	rcu_thread_enroll();
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	rcu_thread_leave();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue_truth_table),
		cmocka_unit_test(queue_uses_segments_again),
		cmocka_unit_test(queue_knows_its_age),
		cmocka_unit_test(queue_without_memory),
#ifdef RS_WINDOWS
		cmocka_unit_test(queue_consumer_is_late),
#endif
		cmocka_unit_test(queue_crowds),
		cmocka_unit_test(queue_crowds_stalled),
		cmocka_unit_test(queue_crowds_stopped),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown) ? 1 : 0;
}
