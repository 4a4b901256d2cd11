/* SPDX-License-Identifier: MIT */
#include "core/base/lock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/probe.h"

/*
 * Relaxed: a switch. A thread that sees it late measures one acquisition more or
 * less; lock_release goes by held_since_ns and never by the switch.
 */
static order_u32 lock_times_on;

/* The list of all locks. The lock protects the list's links; it is itself not in the list. */
static struct lock lock_registry = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.rank = LOCK_RANK_REGISTRY,
	.name = "list of locks",
};
static struct lock *lock_first;

#ifndef NDEBUG
/* What this thread holds, in the order of acquisition. */
#define LOCK_HELD_MAX 32
static __thread const struct lock *lock_held_locks[LOCK_HELD_MAX];
static __thread unsigned lock_held_count;

static void lock_violation(const struct lock *lock, const char *what, const struct lock *held)
{
	fprintf(stderr, "lock '%s' (rank %d, %p) %s", lock->name, (int)lock->rank,
		(const void *)lock, what);
	if (held)
		fprintf(stderr, " '%s' (rank %d, %p)", held->name, (int)held->rank,
			(const void *)held);
	fputc('\n', stderr);
	abort();
}

/* Before waiting, so that a deadlock is a message and not a hang. */
static void lock_check_order(const struct lock *lock, bool next)
{
	for (unsigned i = 0; i < lock_held_count; i++) {
		const struct lock *held = lock_held_locks[i];

		if (held == lock)
			lock_violation(lock, "acquired twice; held:", held);
		if (held->rank > lock->rank)
			lock_violation(lock, "acquired after one of a higher rank:", held);
		if (held->rank < lock->rank)
			continue;
		if (!next)
			lock_violation(lock, "acquired after one of the same rank:", held);
		if ((uintptr_t)held > (uintptr_t)lock)
			lock_violation(lock, "acquired after one at a higher address:", held);
	}
}

static void lock_check_try(const struct lock *lock)
{
	for (unsigned i = 0; i < lock_held_count; i++)
		if (lock_held_locks[i] == lock)
			lock_violation(lock, "tried while held:", lock_held_locks[i]);
}

static void lock_check_push(const struct lock *lock)
{
	if (lock_held_count == LOCK_HELD_MAX)
		lock_violation(lock, "is one more than a thread may hold; last:",
			       lock_held_locks[LOCK_HELD_MAX - 1]);
	lock_held_locks[lock_held_count++] = lock;
}

/* From the end, where it nearly always is; the others keep their order. */
static void lock_check_pop(const struct lock *lock)
{
	unsigned at = lock_held_count;

	while (at && lock_held_locks[at - 1] != lock)
		at--;
	if (!at)
		lock_violation(lock, "released, but not held by this thread", NULL);
	for (; at < lock_held_count; at++)
		lock_held_locks[at - 1] = lock_held_locks[at];
	lock_held_count--;
}

int lock_held(const char **names, unsigned room)
{
	unsigned at;

	for (at = 0; at < lock_held_count && at < room; at++)
		names[at] = lock_held_locks[at]->name;
	return (int)lock_held_count;
}
#else
int lock_held(const char **names, unsigned room)
{
	(void)names;
	(void)room;
	return -1;
}

static inline void lock_check_order(const struct lock *lock, bool next)
{
	(void)lock;
	(void)next;
}

static inline void lock_check_try(const struct lock *lock)
{
	(void)lock;
}

static inline void lock_check_push(const struct lock *lock)
{
	(void)lock;
}

static inline void lock_check_pop(const struct lock *lock)
{
	(void)lock;
}
#endif

/* Relaxed: the holder is the only writer, and the mutex hands the value on to the next. */
static void lock_counter_add(order_u64 *counter, uint64_t value)
{
	order_store_relaxed(counter, order_load_relaxed(counter) + value);
}

/* Relaxed: as above. */
static void lock_counter_raise(order_u64 *counter, uint64_t value)
{
	if (value > order_load_relaxed(counter))
		order_store_relaxed(counter, value);
}

/* What must hold of a mutex whose calls cannot fail when they are used as they should be. */
static void lock_mutex_result(const struct lock *lock, int rc)
{
	(void)lock;
	(void)rc;
	assert(rc == 0);
}

/* The lock is held now. */
static void lock_count(struct lock *lock)
{
	lock_check_push(lock);
	lock_counter_add(&lock->counters.acquisitions, 1);
	/* Relaxed: see lock_times_on. */
	lock->held_since_ns = order_load_relaxed(&lock_times_on) ? clock_now_ns() : 0;
}

static unsigned lock_wait_bucket(uint64_t wait_ns)
{
	unsigned group;

	if (!(wait_ns >> LOCK_WAIT_BITS))
		return 0;
	group = 63U - (unsigned)__builtin_clzll(wait_ns) - LOCK_WAIT_BITS;
	if (group >= LOCK_WAIT_GROUPS)
		return LOCK_WAIT_BUCKETS - 1;
	return 1 + group * 4 + ((unsigned)(wait_ns >> (group + LOCK_WAIT_BITS - 2)) & 3);
}

/* The middle of a bucket; of the last, which has none, UINT64_MAX. */
static uint64_t lock_wait_middle(unsigned bucket)
{
	unsigned shift = LOCK_WAIT_BITS - 2 + (bucket - 1) / 4;

	if (!bucket)
		return UINT64_C(1) << (LOCK_WAIT_BITS - 1);
	if (bucket == LOCK_WAIT_BUCKETS - 1)
		return UINT64_MAX;
	return ((UINT64_C(4) + (bucket - 1) % 4) << shift) + (UINT64_C(1) << (shift - 1));
}

/* The lock is held now, after a timed wait. Relaxed: as the counters. */
static void lock_count_wait(struct lock *lock, uint64_t wait_ns)
{
	order_u32 *bucket = &lock->waits[lock_wait_bucket(wait_ns)];
	uint32_t count = order_load_relaxed(bucket);

	lock_counter_add(&lock->counters.wait_ns, wait_ns);
	lock_counter_raise(&lock->counters.wait_ns_max, wait_ns);
	if (count != UINT32_MAX)
		order_store_relaxed(bucket, count + 1);
}

/* Out of line, so that lock_acquire stays short, and tools find it by its name. */
static void __attribute__((noinline)) lock_acquire_contended(struct lock *lock)
{
	/* Relaxed: see lock_times_on. */
	bool timed = order_load_relaxed(&lock_times_on) != 0;
	uint64_t since_ns = timed ? clock_now_ns() : 0;
	uint64_t wait_ns = 0;

	PROBE2(lock_wait, lock->name, lock);
	lock_mutex_result(lock, pthread_mutex_lock(&lock->mutex));
	if (timed) {
		wait_ns = clock_now_ns() - since_ns;
		lock_count_wait(lock, wait_ns);
	}
	lock_counter_add(&lock->counters.contended, 1);
	PROBE3(lock_acquired, lock->name, lock, wait_ns);
	lock_count(lock);
}

static void lock_acquire_checked(struct lock *lock)
{
	if (__builtin_expect(pthread_mutex_trylock(&lock->mutex) == 0, 1))
		lock_count(lock);
	else
		lock_acquire_contended(lock);
}

void lock_acquire(struct lock *lock)
{
	lock_check_order(lock, false);
	lock_acquire_checked(lock);
}

void lock_acquire_next(struct lock *lock)
{
	lock_check_order(lock, true);
	lock_acquire_checked(lock);
}

bool lock_try(struct lock *lock)
{
	lock_check_try(lock);
	if (pthread_mutex_trylock(&lock->mutex) != 0)
		return false;
	lock_count(lock);
	return true;
}

void lock_release(struct lock *lock)
{
	lock_check_pop(lock);
	if (lock->held_since_ns) {
		uint64_t hold_ns = clock_now_ns() - lock->held_since_ns;

		lock_counter_add(&lock->counters.hold_ns, hold_ns);
		lock_counter_raise(&lock->counters.hold_ns_max, hold_ns);
	}
	lock_mutex_result(lock, pthread_mutex_unlock(&lock->mutex));
}

void lock_init(struct lock *lock, enum lock_rank rank, const char *name)
{
	*lock = (struct lock){ .rank = rank, .name = name };
	lock_mutex_result(lock, pthread_mutex_init(&lock->mutex, NULL));
	lock_acquire(&lock_registry);
	lock->next = lock_first;
	if (lock_first)
		lock_first->prev = lock;
	lock_first = lock;
	lock_release(&lock_registry);
}

void lock_destroy(struct lock *lock)
{
	lock_acquire(&lock_registry);
	if (lock->next)
		lock->next->prev = lock->prev;
	if (lock->prev)
		lock->prev->next = lock->next;
	else
		lock_first = lock->next;
	lock_release(&lock_registry);
	lock_mutex_result(lock, pthread_mutex_destroy(&lock->mutex));
}

void lock_statistics_enable(bool on)
{
	/* Relaxed: see lock_times_on. */
	order_store_relaxed(&lock_times_on, on);
}

/* From its buckets. Never above the longest wait, which may be older than they. */
static uint64_t lock_wait_p99(const struct lock_statistics *statistics)
{
	uint64_t count = 0;
	uint64_t seen = 0;
	uint64_t rank;
	unsigned at;

	for (at = 0; at < LOCK_WAIT_BUCKETS; at++)
		count += statistics->waits[at];
	if (!count)
		return 0;
	/* The same as count * 99 / 100, without its overflow. */
	rank = count - count / 100 - (count % 100 != 0);
	for (at = 0; at < LOCK_WAIT_BUCKETS - 1; at++) {
		seen += statistics->waits[at];
		if (seen > rank)
			break;
	}
	if (lock_wait_middle(at) > statistics->wait_ns_max)
		return statistics->wait_ns_max;
	return lock_wait_middle(at);
}

void lock_statistics_read(const struct lock *lock, struct lock_statistics *statistics)
{
	const struct lock_counters *counters = &lock->counters;
	unsigned at;

	/* Relaxed: written by one holder at a time; stale is allowed, as the header says. */
	*statistics = (struct lock_statistics){
		.name = lock->name,
		.rank = lock->rank,
		.acquisitions = order_load_relaxed(&counters->acquisitions),
		.contended = order_load_relaxed(&counters->contended),
		.wait_ns = order_load_relaxed(&counters->wait_ns),
		.wait_ns_max = order_load_relaxed(&counters->wait_ns_max),
		.hold_ns = order_load_relaxed(&counters->hold_ns),
		.hold_ns_max = order_load_relaxed(&counters->hold_ns_max),
	};
	for (at = 0; at < LOCK_WAIT_BUCKETS; at++)
		statistics->waits[at] = order_load_relaxed(&lock->waits[at]);
	statistics->wait_ns_p99 = lock_wait_p99(statistics);
}

static uint64_t lock_longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void lock_statistics_add(struct lock_statistics *into, const struct lock_statistics *from)
{
	unsigned at;

	into->acquisitions += from->acquisitions;
	into->contended += from->contended;
	into->wait_ns += from->wait_ns;
	into->hold_ns += from->hold_ns;
	into->wait_ns_max = lock_longer(into->wait_ns_max, from->wait_ns_max);
	into->hold_ns_max = lock_longer(into->hold_ns_max, from->hold_ns_max);
	for (at = 0; at < LOCK_WAIT_BUCKETS; at++)
		into->waits[at] += from->waits[at];
	into->wait_ns_p99 = lock_wait_p99(into);
}

/* What is less than before lost a lock that was destroyed: then nothing is known, and 0 is said. */
static void lock_less(uint64_t *value, uint64_t before)
{
	*value = *value > before ? *value - before : 0;
}

void lock_statistics_subtract(struct lock_statistics *from, const struct lock_statistics *begin)
{
	unsigned at;

	lock_less(&from->acquisitions, begin->acquisitions);
	lock_less(&from->contended, begin->contended);
	lock_less(&from->wait_ns, begin->wait_ns);
	lock_less(&from->hold_ns, begin->hold_ns);
	for (at = 0; at < LOCK_WAIT_BUCKETS; at++)
		lock_less(&from->waits[at], begin->waits[at]);
	from->wait_ns_p99 = lock_wait_p99(from);
}

void lock_statistics_each(lock_statistics_fn *fn, void *argument)
{
	struct lock_statistics statistics;

	lock_acquire(&lock_registry);
	for (const struct lock *lock = lock_first; lock; lock = lock->next) {
		lock_statistics_read(lock, &statistics);
		fn(&statistics, argument);
	}
	lock_release(&lock_registry);
}
