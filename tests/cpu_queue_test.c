/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/percpu.h"
#include "core/base/plant.h"
#include "core/delayed/cpu_queue.h"
#include "core/delayed/thread_queue.h"
#include "tests/support/queue_crowd.h"
#include "tests/support/threads.h"

#define PRODUCERS_MAX 32

/* The queues of the CPUs, and of the threads for when a CPU has none, over one pool. */
struct fixture {
	struct segment_pool pool;
	struct cpu_queues cpus;
	struct thread_queue threads[PRODUCERS_MAX];
	order_u64 absent; /* relaxed: appends that found no queue of a CPU */
};

static void fixture_init(struct fixture *fixture, unsigned cpus)
{
	unsigned at;

	memset(fixture, 0, sizeof(*fixture));
	assert_int_equal(segment_pool_init(&fixture->pool, cpus), 0);
	assert_int_equal(cpu_queues_init(&fixture->cpus, &fixture->pool, cpus), 0);
	for (at = 0; at < PRODUCERS_MAX; at++)
		thread_queue_init(&fixture->threads[at]);
}

/* All has been taken: what threads fill is left, of CPUs nothing. */
static void fixture_destroy(struct fixture *fixture)
{
	unsigned used = 0;
	unsigned at;

	for (at = 0; at < PRODUCERS_MAX; at++)
		used += fixture->threads[at].current != NULL;
	assert_int_equal(segment_used(&fixture->pool), used);
	rcu_defer_barrier();
	cpu_queues_destroy(&fixture->cpus);
	segment_pool_destroy(&fixture->pool);
}

static int fixture_append(void *argument, unsigned producer, const struct rs_delta *delta,
			  uint64_t seq)
{
	struct fixture *fixture = argument;
	enum cpu_queue_outcome outcome;

	/* Ends: a new segment has room for more appends than others make in between. */
	while ((outcome = cpu_queue_append(&fixture->cpus, delta, seq)) == CPU_QUEUE_FULL)
		if (cpu_queue_switch(&fixture->cpus))
			return -ENOMEM;
	if (outcome == CPU_QUEUE_APPENDED)
		return 0;
	order_fetch_add_relaxed(&fixture->absent, 1);
	return thread_queue_append(&fixture->threads[producer], &fixture->pool, delta, seq);
}

static int fixture_take(void *argument, struct taken *taken)
{
	struct fixture *fixture = argument;
	int result = 0;
	unsigned at;

	cpu_queue_take(&fixture->cpus, taken);
	for (at = 0; at < PRODUCERS_MAX && !result; at++)
		result = thread_queue_take(&fixture->threads[at], &fixture->pool, taken);
	return result;
}

static uint64_t fixture_pending(void *argument, uint64_t *since)
{
	struct fixture *fixture = argument;
	uint64_t pending = cpu_queue_pending(&fixture->cpus, since);
	unsigned at;

	for (at = 0; at < PRODUCERS_MAX; at++) {
		uint64_t oldest;

		pending += thread_queue_pending(&fixture->threads[at], &fixture->pool, &oldest);
		*since = oldest < *since ? oldest : *since;
	}
	return pending;
}

static const struct queue_crowd_calls fixture_calls = {
	.append = fixture_append,
	.take = fixture_take,
	.pending = fixture_pending,
};

static cpu_set_t allowed; /* as the test began */

/* Binds the thread to the last CPU that it may use, and returns that. */
static unsigned bind_last(void)
{
	unsigned cpu = CPU_SETSIZE - 1;
	cpu_set_t set;

	while (!CPU_ISSET(cpu, &allowed))
		cpu--;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
	return cpu;
}

static void bind_none(void)
{
	assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
}

static enum cpu_queue_outcome append_one(struct fixture *fixture, struct queue_book *book)
{
	uint64_t seq;
	struct rs_delta delta = queue_book_delta(book, 0, &seq);

	return cpu_queue_append(&fixture->cpus, &delta, seq);
}

static void append_some(struct fixture *fixture, struct queue_book *book, unsigned producer,
			uint64_t deltas)
{
	while (deltas--) {
		uint64_t seq;
		struct rs_delta delta = queue_book_delta(book, producer, &seq);

		assert_int_equal(fixture_append(fixture, producer, &delta, seq), 0);
	}
}

static uint64_t take_some(struct fixture *fixture, struct queue_book *book)
{
	struct taken taken;
	uint64_t deltas;

	taken_init(&taken);
	assert_int_equal(fixture_take(fixture, &taken), 0);
	deltas = taken.deltas;
	queue_book_take(book, &taken);
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

#define FULL ((uint64_t)SEGMENT_DELTAS)

/* So many deltas are appended, then taken; `segments` are in the queue before each take. */
struct step {
	uint64_t deltas;
	uint64_t segments;
};

static const struct step steps[] = {
	{ 0, 0 },        { 1, 1 },        { FULL - 1, 1 },     { FULL, 1 },
	{ FULL + 1, 2 }, { 2 * FULL, 2 }, { 7 * FULL + 3, 8 },
};

static void queue_truth_table(void **state)
{
	struct fixture fixture;
	struct queue_book *book = queue_book_open(1, 20 * FULL);
	uint64_t begin;
	uint64_t since;
	size_t at;

	(void)state;
	fixture_init(&fixture, bind_last() + 1);
	for (at = 0; at < sizeof(steps) / sizeof(steps[0]); at++) {
		begin = clock_now_ns();
		append_some(&fixture, book, 0, steps[at].deltas);
		assert_int_equal(pending_in(&fixture), steps[at].deltas);
		cpu_queue_pending(&fixture.cpus, &since);
		assert_true(!steps[at].deltas || (since >= begin && since <= clock_now_ns()));
		assert_int_equal(segment_used(&fixture.pool), steps[at].segments);
		assert_int_equal(take_some(&fixture, book), steps[at].deltas);
		assert_int_equal(pending_in(&fixture), 0);
		assert_int_equal(take_some(&fixture, book), 0);
	}
	queue_book_assert(book, true);
	queue_book_close(book);
	bind_none();
	fixture_destroy(&fixture);
}

/* What append says, call by call. */
static void queue_outcomes(void **state)
{
	struct fixture fixture;
	struct queue_book *book = queue_book_open(1, 3 * FULL);
	uint64_t seq;
	struct rs_delta delta = queue_book_delta(book, 0, &seq);
	unsigned at;

	(void)state;
	fixture_init(&fixture, bind_last() + 1);
	/* A queue without a segment is full. */
	assert_int_equal(cpu_queue_append(&fixture.cpus, &delta, seq), CPU_QUEUE_FULL);
	alloc_fail_arm(1, 1);
	assert_int_equal(cpu_queue_switch(&fixture.cpus), -ENOMEM);
	alloc_fail_arm(0, 0);
	assert_int_equal(cpu_queue_append(&fixture.cpus, &delta, seq), CPU_QUEUE_FULL);
	assert_int_equal(cpu_queue_switch(&fixture.cpus), 0);
	assert_int_equal(cpu_queue_append(&fixture.cpus, &delta, seq), CPU_QUEUE_APPENDED);
	/* One with room is not changed for another. */
	assert_int_equal(cpu_queue_switch(&fixture.cpus), 0);
	assert_int_equal(segment_used(&fixture.pool), 1);
	for (at = 1; at < FULL; at++)
		assert_int_equal(append_one(&fixture, book), CPU_QUEUE_APPENDED);
	delta = queue_book_delta(book, 0, &seq);
	assert_int_equal(cpu_queue_append(&fixture.cpus, &delta, seq), CPU_QUEUE_FULL);
	assert_int_equal(pending_in(&fixture), FULL);
	assert_int_equal(cpu_queue_switch(&fixture.cpus), 0);
	assert_int_equal(cpu_queue_append(&fixture.cpus, &delta, seq), CPU_QUEUE_APPENDED);
	assert_int_equal(take_some(&fixture, book), FULL + 1);
	assert_int_equal(segment_full.count, SEGMENT_DELTAS);
	queue_book_assert(book, true);
	queue_book_close(book);
	bind_none();
	fixture_destroy(&fixture);
}

/* A CPU whose number is too high has no queue: nothing is appended, and a switch does nothing. */
static void queue_of_a_cpu_is_absent(void **state)
{
	struct fixture fixture;
	struct queue_book *book = queue_book_open(1, 10);
	unsigned cpu = bind_last();
	uint64_t seq;
	struct rs_delta delta = queue_book_delta(book, 0, &seq);

	(void)state;
	if (!cpu) {
		queue_book_close(book);
		bind_none();
		skip();
	}
	fixture_init(&fixture, cpu);
	assert_int_equal(cpu_queue_append(&fixture.cpus, &delta, seq), CPU_QUEUE_ABSENT);
	assert_int_equal(cpu_queue_switch(&fixture.cpus), 0);
	assert_int_equal(segment_used(&fixture.pool), 0);
	assert_int_equal(pending_in(&fixture), 0);
	assert_int_equal(fixture_append(&fixture, 0, &delta, seq), 0);
	assert_int_equal(order_load_relaxed(&fixture.absent), 1);
	assert_int_equal(take_some(&fixture, book), 1);
	queue_book_assert(book, true);
	queue_book_close(book);
	bind_none();
	fixture_destroy(&fixture);
}

/* A thread that forgot its last sequence appends as before. */
static void queue_is_forgotten(void **state)
{
	struct fixture fixture;
	struct queue_book *book = queue_book_open(1, 10);

	(void)state;
	fixture_init(&fixture, percpu_possible());
	append_some(&fixture, book, 0, 3);
	cpu_queue_forget();
	append_some(&fixture, book, 0, 3);
	cpu_queue_forget();
	assert_int_equal(take_some(&fixture, book), 6);
	queue_book_assert(book, true);
	queue_book_close(book);
	fixture_destroy(&fixture);
}

#ifdef RS_WINDOWS
/* What happens, once, at the first pass of a window: what other threads could have done there. */
struct meanwhile {
	const char *window;
	uint64_t appended; /* deltas, after a take if `takes` */
	bool takes;
	bool frees; /* and what was taken is free again by then */
	struct fixture *fixture;
	struct queue_book *book;
};

static void meanwhile_hook(const char *name, void *argument)
{
	struct meanwhile *meanwhile = argument;

	if (!meanwhile->window || strcmp(name, meanwhile->window) != 0)
		return;
	meanwhile->window = NULL;
	if (meanwhile->takes)
		take_some(meanwhile->fixture, meanwhile->book);
	if (meanwhile->frees)
		rcu_defer_barrier();
	append_some(meanwhile->fixture, meanwhile->book, 1, meanwhile->appended);
}

static void interleave(struct meanwhile meanwhile)
{
	struct fixture fixture;

	meanwhile.fixture = &fixture;
	meanwhile.book = queue_book_open(2, 20 * FULL);
	fixture_init(&fixture, bind_last() + 1);
	append_some(&fixture, meanwhile.book, 0, FULL);
	window_hook_set(meanwhile_hook, &meanwhile);
	/* Passes queue.switching; the take passes queue.taken. */
	append_some(&fixture, meanwhile.book, 0, 5);
	take_some(&fixture, meanwhile.book);
	window_hook_set(NULL, NULL);
	take_some(&fixture, meanwhile.book);
	assert_null(meanwhile.window);
	queue_book_assert(meanwhile.book, true);
	assert_int_equal(pending_in(&fixture), 0);
	queue_book_close(meanwhile.book);
	bind_none();
	fixture_destroy(&fixture);
}

/*
 * A switch of segments is held while others take the full one, free it, and bring it back into
 * the same queue, partly filled or full; a take is held while others append and take.
 */
static void queue_thread_is_late(void **state)
{
	static const uint64_t appended[] = { 0, 1, FULL, FULL + 1, 2 * FULL, 3 * FULL + 1 };
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(appended) / sizeof(appended[0]); at++) {
		interleave((struct meanwhile){ "queue.switching", appended[at], .takes = false });
		interleave((struct meanwhile){ "queue.switching", appended[at], .takes = true });
		interleave((struct meanwhile){ "queue.switching", appended[at], .takes = true,
					       .frees = true });
		interleave((struct meanwhile){ "queue.taken", appended[at], .takes = false });
		interleave((struct meanwhile){ "queue.taken", appended[at], .takes = true,
					       .frees = true });
	}
}
#endif

struct case_of_crowd {
	unsigned cpus; /* 0: as many as there are */
	unsigned producers;
	unsigned consumers;
	unsigned readers;
	bool wandering;
	bool mortal;
	const char *stalls; /* prefix of windows; NULL: none */
};

static void crowd_case(const struct case_of_crowd *one, uint64_t each, uint64_t seed,
		       struct stopper *stopper)
{
	struct fixture fixture;
	struct queue_crowd_shape shape = {
		.producers = one->producers,
		.consumers = one->consumers,
		.readers = one->readers,
		.each = each,
		.wandering = one->wandering,
		.mortal = one->mortal,
		.stopper = stopper,
		.seed = seed,
	};

	fixture_init(&fixture, one->cpus ? one->cpus : percpu_possible());
	if (one->stalls)
		threads_stalls_begin(one->stalls, seed, 40, 200);
	queue_crowd_run(&fixture_calls, &fixture, &shape);
	if (one->stalls)
		threads_stalls_end();
	if (!one->cpus)
		assert_int_equal(order_load_relaxed(&fixture.absent), 0);
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
		{ .producers = 2, .consumers = 4, .readers = 2 },
		{ .producers = 8, .consumers = 4, .readers = 2, .wandering = true },
		{ .producers = 4, .consumers = 2, .readers = 1, .mortal = true },
		{ .producers = 16, .consumers = 1, .readers = 1, .wandering = true, .mortal = true },
		/* More threads than CPUs with queues. */
		{ .cpus = 1, .producers = 8, .consumers = 3, .readers = 1, .wandering = true },
	};
	uint64_t seed = threads_timing_seed("queue_crowds");
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(cases) / sizeof(cases[0]); at++)
		crowd_case(&cases[at], EACH, seed, NULL);
}

static void queue_crowds_stalled(void **state)
{
	static const struct case_of_crowd cases[] = {
		{ .producers = 4, .consumers = 4, .readers = 3, .stalls = "queue." },
		{ .cpus = 1,
		  .producers = 6,
		  .consumers = 3,
		  .readers = 1,
		  .wandering = true,
		  .stalls = "queue." },
		{ .producers = 8, .consumers = 4, .readers = 2, .stalls = "segment." },
	};
	uint64_t seed = threads_timing_seed("queue_crowds_stalled");

	(void)state;
	crowd_case(&cases[0], EACH, seed, NULL);
	threads_stalls_assert_passed("queue.looking");
	threads_stalls_assert_passed("queue.switching");
	threads_stalls_assert_passed("queue.taken");
	crowd_case(&cases[1], EACH / 10, seed, NULL);
	crowd_case(&cases[2], EACH, seed, NULL);
	threads_stalls_assert_passed("segment.popping");
}

#if CPU_QUEUE_HAS
/* The linker gathers the descriptors of all sequences that the program has. */
extern const struct rseq_cs __start___rseq_cs[];
extern const struct rseq_cs __stop___rseq_cs[];

static void count_inside(void *argument, uint64_t instruction)
{
	uint64_t *inside = argument;
	const struct rseq_cs *sequence;

	for (sequence = __start___rseq_cs; sequence < __stop___rseq_cs; sequence++)
		*inside += instruction - sequence->start_ip < sequence->post_commit_offset;
}

/* Threads are stopped anywhere, some of them inside a sequence. */
static void queue_crowds_stopped(void **state)
{
	/* Few, since a thread that waits for a CPU stops once it has one. */
	static const struct case_of_crowd few = { .producers = 2, .consumers = 1 };
	static const struct case_of_crowd many = {
		.producers = 6,
		.consumers = 2,
		.readers = 1,
		.wandering = true,
	};
	uint64_t seed = threads_timing_seed("queue_crowds_stopped");
	struct stopper *stopper = stopper_begin(seed, 100);
	uint64_t inside = 0;
	uint64_t stops;

	(void)state;
	if (!stopper)
		skip();
	crowd_case(&few, 10 * EACH, seed, stopper);
	crowd_case(&many, EACH, seed, stopper);
	stops = stopper_end(stopper, count_inside, &inside);
	print_message("cpu_queue: threads were stopped %llu times, %llu of them inside a sequence\n",
		      (unsigned long long)stops, (unsigned long long)inside);
	assert_true(stops >= 100);
}

/* In a process without restartable sequences every append is turned away, and none is lost. */
static void queue_without_rseq(void **state)
{
	static const struct case_of_crowd one = {
		.cpus = 64, .producers = 4, .consumers = 2, .readers = 1
	};
	struct fixture fixture;
	struct queue_book *book = queue_book_open(1, 1);
	uint64_t seq;
	struct rs_delta delta = queue_book_delta(book, 0, &seq);

	(void)state;
	assert_int_equal(__rseq_size, 0);
	assert_false(cpu_queue_possible());
	fixture_init(&fixture, 64);
	assert_int_equal(cpu_queue_append(&fixture.cpus, &delta, seq), CPU_QUEUE_ABSENT);
	assert_int_equal(segment_used(&fixture.pool), 0);
	cpu_queue_forget();
	queue_book_close(book);
	fixture_destroy(&fixture);
	crowd_case(&one, EACH / 10, threads_timing_seed("queue_without_rseq"), NULL);
}

#define CHILD_VARIABLE "REFSTORM_TEST_WITHOUT_RSEQ"

static void queue_without_rseq_in_a_child(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (!child) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		setenv(CHILD_VARIABLE, "1", 1);
		execl("/proc/self/exe", "cpu_queue_test", (char *)NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}
#endif

static int group_setup(void **state)
{
	(void)state;
	rcu_thread_enroll();
	return sched_getaffinity(0, sizeof(allowed), &allowed);
}

static int group_teardown(void **state)
{
	(void)state;
	rcu_thread_leave();
	return 0;
}

int main(void)
{
#if CPU_QUEUE_HAS
	const struct CMUnitTest child[] = {
		cmocka_unit_test(queue_without_rseq),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue_truth_table),
		cmocka_unit_test(queue_outcomes),
		cmocka_unit_test(queue_of_a_cpu_is_absent),
		cmocka_unit_test(queue_is_forgotten),
#ifdef RS_WINDOWS
		cmocka_unit_test(queue_thread_is_late),
#endif
		cmocka_unit_test(queue_crowds),
		cmocka_unit_test(queue_crowds_stalled),
		cmocka_unit_test(queue_crowds_stopped),
		cmocka_unit_test(queue_without_rseq_in_a_child),
	};

	if (getenv(CHILD_VARIABLE))
		return cmocka_run_group_tests(child, group_setup, group_teardown) ? 1 : 0;
	if (cpu_queue_possible())
		return cmocka_run_group_tests(tests, group_setup, group_teardown) ? 1 : 0;
#endif
	print_message("cpu_queue: no restartable sequences here\n");
	return 77;
}
