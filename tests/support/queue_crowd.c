/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/queue_crowd.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/base/rcu.h"
#include "tests/support/threads.h"

/* With a stopper the crowd gathers again until it was stopped that often, or has met that often. */
#define QUEUE_CROWD_STOPS 1000U
#define QUEUE_CROWD_ROUNDS 20U

struct queue_book_page {
	order_u64 begun; /* deltas given out; written by the producer alone */
} __attribute__((aligned(ORDER_LINE)));

struct queue_book {
	unsigned producers;
	uint64_t each;
	struct queue_book_page *pages;
	order_u64 *seen; /* a bit for each delta */
	order_u64 taken __attribute__((aligned(ORDER_LINE)));
	/* Relaxed, all of them: sums, read when the threads are joined. */
	order_u64 malformed;
	order_u64 twice;
	order_u64 disordered;
};

struct queue_book *queue_book_open(unsigned producers, uint64_t each)
{
	struct queue_book *book = alloc_aligned(ORDER_LINE, 1, sizeof(*book));

	assert_in_range(producers, 1, THREADS_MAX);
	assert_non_null(book);
	book->producers = producers;
	book->each = each;
	book->pages = alloc_aligned(ORDER_LINE, producers, sizeof(book->pages[0]));
	book->seen = alloc_zeroed(producers * each / 64 + 1, sizeof(book->seen[0]));
	assert_non_null(book->pages);
	assert_non_null(book->seen);
	return book;
}

void queue_book_close(struct queue_book *book)
{
	alloc_free(book->seen);
	alloc_free(book->pages);
	alloc_free(book);
}

static uint64_t queue_book_mix(uint64_t producer, uint64_t index, uint64_t word)
{
	uint64_t mixed = (producer + 1) * UINT64_C(0x9e3779b97f4a7c15) +
			 (index + 1) * UINT64_C(0xbf58476d1ce4e5b9) + word;

	return mixed ^ mixed >> 31;
}

/* Every word depends on both, so that no mixture of two deltas is one. */
static struct rs_delta queue_book_content(uint64_t producer, uint64_t index)
{
	return (struct rs_delta){
		.bytenr = producer << 32 | index,
		.root = queue_book_mix(producer, index, 1),
		.owner = queue_book_mix(producer, index, 2),
		.offset = queue_book_mix(producer, index, 3),
		.count = (int32_t)queue_book_mix(producer, index, 4),
		.length_4k = (uint32_t)queue_book_mix(producer, index, 5),
		.seq_type = RS_DELTA_EXTENT_DATA_REF,
	};
}

struct rs_delta queue_book_delta(struct queue_book *book, unsigned producer, uint64_t *seq)
{
	order_u64 *begun = &book->pages[producer].begun;
	/* Relaxed, both: whoever sees the delta sees this too. */
	uint64_t index = order_load_relaxed(begun);

	order_store_relaxed(begun, index + 1);
	*seq = index + 1;
	return queue_book_content(producer, index);
}

uint64_t queue_book_begun(const struct queue_book *book, unsigned producer)
{
	return order_load_relaxed(&book->pages[producer].begun);
}

uint64_t queue_book_taken(const struct queue_book *book)
{
	/* BOOK.taken: what was looked at is not pending any more. */
	return order_load_acquire(&book->taken);
}

/* Its index plus 1, or 0 if nobody appended such a delta. */
static uint64_t queue_book_find(const struct queue_book *book, const struct rs_delta *delta)
{
	uint64_t producer = delta->bytenr >> 32;
	uint64_t index = delta->bytenr & UINT32_MAX;
	struct rs_delta want;

	if (producer >= book->producers || index >= book->each ||
	    index >= queue_book_begun(book, (unsigned)producer))
		return 0;
	want = queue_book_content(producer, index);
	want.seq_type |= (index + 1) << 8;
	return memcmp(delta, &want, sizeof(want)) ? 0 : index + 1;
}

static void queue_book_look(struct queue_book *book, const struct batch_span *span)
{
	uint64_t last[THREADS_MAX] = { 0 };
	size_t at;

	for (at = 0; at < span->count; at++) {
		const struct rs_delta *delta = &span->first[at];
		uint64_t found = queue_book_find(book, delta);
		uint64_t producer = delta->bytenr >> 32;
		uint64_t bit = producer * book->each + found - 1;

		if (!found) {
			order_fetch_add_relaxed(&book->malformed, 1);
			continue;
		}
		if (order_fetch_or_relaxed(&book->seen[bit / 64], UINT64_C(1) << bit % 64) >>
			    bit % 64 &
		    1)
			order_fetch_add_relaxed(&book->twice, 1);
		/* In one segment the deltas of one thread stand in their order. */
		if (found <= last[producer])
			order_fetch_add_relaxed(&book->disordered, 1);
		last[producer] = found;
	}
	/* BOOK.taken: it is out of the queue. */
	order_fetch_add_release(&book->taken, span->count);
}

void queue_book_take(struct queue_book *book, struct taken *taken)
{
	struct batch_span *spans = NULL;
	size_t capacity = 0;
	size_t deltas = 0;
	size_t count = 0;
	size_t at;

	/* Memory is not made to fail here. */
	if (taken_spans(taken, &spans, &capacity, &count))
		abort();
	for (at = 0; at < count; at++) {
		queue_book_look(book, &spans[at]);
		deltas += spans[at].count;
	}
	if (deltas != taken->deltas)
		order_fetch_add_relaxed(&book->malformed, 1);
	alloc_free(spans);
	taken_release(taken);
}

void queue_book_assert(const struct queue_book *book, bool all)
{
	uint64_t begun = 0;
	unsigned at;

	assert_int_equal(order_load_relaxed(&book->malformed), 0);
	assert_int_equal(order_load_relaxed(&book->twice), 0);
	assert_int_equal(order_load_relaxed(&book->disordered), 0);
	for (at = 0; at < book->producers; at++)
		begun += queue_book_begun(book, at);
	if (all)
		assert_int_equal(queue_book_taken(book), begun);
}

struct queue_crowd {
	const struct queue_crowd_calls *calls;
	void *queue;
	const struct queue_crowd_shape *shape;
	struct queue_book *book;
	cpu_set_t allowed;
	/* Relaxed, all of them. */
	order_u32 at_work; /* producers that have not ended */
	order_u64 refused;
	order_u64 beyond; /* readers saw more than there could be */
	order_u64 looks;  /* of readers, and those of them that found something */
	order_u64 found;
};

/* One thread's stint as a producer. */
struct queue_crowd_stint {
	struct queue_crowd *crowd;
	unsigned producer;
	uint64_t deltas;
	uint64_t seed;
};

/* To one CPU that the process may use, or to all of them. */
static void queue_crowd_wander(const struct queue_crowd *crowd, struct random_state *random)
{
	unsigned cpu = (unsigned)random_state_below(random, CPU_SETSIZE);
	cpu_set_t set = crowd->allowed;

	if (!crowd->shape->wandering || !random_state_chance(random, 1, 100))
		return;
	if (random_state_chance(random, 3, 4)) {
		/* Ends: the process may use one at least. */
		while (!CPU_ISSET(cpu, &crowd->allowed))
			cpu = (cpu + 1) % CPU_SETSIZE;
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
	}
	sched_setaffinity(0, sizeof(set), &set);
}

static void *queue_crowd_append(void *argument)
{
	const struct queue_crowd_stint *stint = argument;
	struct queue_crowd *crowd = stint->crowd;
	struct random_state random;
	unsigned turns;
	uint64_t at;

	random_state_seed(&random, stint->seed, stint->producer);
	stopper_add(crowd->shape->stopper);
	for (at = 0; at < stint->deltas; at++) {
		uint64_t seq;
		struct rs_delta delta = queue_book_delta(crowd->book, stint->producer, &seq);

		if (crowd->calls->append(crowd->queue, stint->producer, &delta, seq))
			order_fetch_add_relaxed(&crowd->refused, 1);
		if (at % 64)
			continue;
		queue_crowd_wander(crowd, &random);
		/* Side by side with readers that find something, if consumers leave them anything. */
		for (turns = 0; turns < 200 && crowd->shape->readers &&
				order_load_relaxed(&crowd->found) * 512 < at;
		     turns++)
			sched_yield();
	}
	return NULL;
}

static void queue_crowd_produce(struct queue_crowd *crowd, unsigned producer)
{
	const struct queue_crowd_shape *shape = crowd->shape;
	struct random_state random;
	uint64_t left = shape->each;

	random_state_seed(&random, shape->seed, producer);
	while (left) {
		struct queue_crowd_stint stint = { crowd, producer, left,
						   random_state_next(&random) };
		pthread_t thread;

		if (shape->mortal && left > 1)
			stint.deltas = 1 + random_state_below(&random, left < 4000 ? left : 4000);
		left -= stint.deltas;
		if (!shape->mortal)
			queue_crowd_append(&stint);
		else if (pthread_create(&thread, NULL, queue_crowd_append, &stint) ||
			 pthread_join(thread, NULL))
			abort();
	}
	/* Relaxed: what is left in the queues is taken when the threads are joined. */
	order_fetch_sub_relaxed(&crowd->at_work, 1);
}

static void queue_crowd_consume(struct queue_crowd *crowd, struct random_state *random)
{
	struct taken taken;

	taken_init(&taken);
	while (order_load_relaxed(&crowd->at_work)) {
		queue_crowd_wander(crowd, random);
		if (crowd->calls->take(crowd->queue, &taken))
			order_fetch_add_relaxed(&crowd->refused, 1);
		/* Some hold what several takes gave them. */
		if (random_state_chance(random, 3, 4))
			queue_book_take(crowd->book, &taken);
		if (random_state_chance(random, 1, 4))
			sched_yield();
	}
	queue_book_take(crowd->book, &taken);
	taken_destroy(&taken);
}

static void queue_crowd_read(struct queue_crowd *crowd, struct random_state *random)
{
	unsigned at;

	do {
		uint64_t taken = queue_book_taken(crowd->book);
		uint64_t begun = 0;
		uint64_t pending;
		uint64_t since;

		queue_crowd_wander(crowd, random);
		rcu_section_enter();
		pending = crowd->calls->pending(crowd->queue, &since);
		rcu_section_exit();
		for (at = 0; at < crowd->shape->producers; at++)
			begun += queue_book_begun(crowd->book, at);
		if (pending > begun - taken ||
		    (pending ? since > clock_now_ns() : since != UINT64_MAX))
			order_fetch_add_relaxed(&crowd->beyond, 1);
		order_fetch_add_relaxed(&crowd->looks, 1);
		order_fetch_add_relaxed(&crowd->found, pending > 0);
	} while (order_load_relaxed(&crowd->at_work));
}

static void queue_crowd_thread(void *argument, unsigned thread)
{
	struct queue_crowd *crowd = argument;
	const struct queue_crowd_shape *shape = crowd->shape;
	struct random_state random;

	random_state_seed(&random, shape->seed, 1000 + thread);
	if (thread < shape->producers) {
		queue_crowd_produce(crowd, thread);
		return;
	}
	stopper_add(shape->stopper);
	if (thread < shape->producers + shape->consumers)
		queue_crowd_consume(crowd, &random);
	else
		queue_crowd_read(crowd, &random);
}

static void queue_crowd_once(const struct queue_crowd_calls *calls, void *queue,
			     const struct queue_crowd_shape *shape)
{
	struct queue_crowd crowd = { .calls = calls, .queue = queue, .shape = shape };
	struct taken taken;
	uint64_t since;

	crowd.book = queue_book_open(shape->producers, shape->each);
	assert_int_equal(sched_getaffinity(0, sizeof(crowd.allowed), &crowd.allowed), 0);
	order_store_relaxed(&crowd.at_work, shape->producers);
	threads_run(shape->producers + shape->consumers + shape->readers, queue_crowd_thread,
		    &crowd);
	taken_init(&taken);
	assert_int_equal(calls->take(queue, &taken), 0);
	queue_book_take(crowd.book, &taken);
	taken_destroy(&taken);
	assert_int_equal(order_load_relaxed(&crowd.refused), 0);
	assert_int_equal(order_load_relaxed(&crowd.beyond), 0);
	assert_true(!shape->readers || order_load_relaxed(&crowd.looks) > 0);
	queue_book_assert(crowd.book, true);
	rcu_section_enter();
	assert_int_equal(calls->pending(queue, &since), 0);
	rcu_section_exit();
	queue_book_close(crowd.book);
}

void queue_crowd_run(const struct queue_crowd_calls *calls, void *queue,
		     const struct queue_crowd_shape *shape)
{
	unsigned round = 0;

	do
		queue_crowd_once(calls, queue, shape);
	while (shape->stopper && stopper_count(shape->stopper) < QUEUE_CROWD_STOPS &&
	       ++round < QUEUE_CROWD_ROUNDS);
}
