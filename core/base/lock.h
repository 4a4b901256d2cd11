/* SPDX-License-Identifier: MIT */
/*
 * The mutex of the slow paths: with a rank, a name and statistics.
 *
 * Who may call: lock_acquire, lock_try and lock_release any thread; a thread
 * releases what it acquired. lock_init and lock_destroy once each, when nobody
 * else uses the lock. Progress: blocking. In a signal handler: lock_held alone.
 * Guarantee: mutual exclusion, and each holder sees what earlier ones wrote.
 * Statistics are read without the lock: each number is a true one of some
 * moment, but numbers of one lock may be some acquisitions apart.
 *
 * Unless NDEBUG is defined, a lock taken out of rank, a lock taken twice and a
 * release of one that is not held say so on standard error and abort.
 */
#ifndef REFSTORM_BASE_LOCK_H
#define REFSTORM_BASE_LOCK_H

#include <pthread.h>

#include "core/base/order.h"

/*
 * In the order in which one thread may acquire: while it holds a lock it may
 * take only locks of a higher rank. Leave gaps, so that a new one fits between.
 */
enum lock_rank {
	LOCK_RANK_FOREST_COMMIT = 10, /* who commits */
	LOCK_RANK_FOREST_ROOT = 20,   /* one subvolume tree; several by ascending address */
	LOCK_RANK_FOREST_TABLE = 24,  /* subvolumes by name and id */
	LOCK_RANK_FOREST_DIRTY = 28,  /* lists of those that wait for a commit, or for the drop */
	LOCK_RANK_RECORD_COMMIT = 40, /* commits of one record path */
	LOCK_RANK_RECORD_RUN = 50,    /* who runs the heads of a record path; held while they run */
	LOCK_RANK_SPACE = 60,         /* the block groups of a forest */
	LOCK_RANK_SPACE_GROUP = 64,   /* what is free in one of them */
	LOCK_RANK_QGROUP = 70,        /* the hierarchy of quota groups */
	LOCK_RANK_QGROUP_DIRTY = 72,  /* extents that a transaction changed */
	LOCK_RANK_BUFFER_POOL = 80,   /* blocks of a forest that are not in use */
	LOCK_RANK_IDTABLE = 100,      /* a shard of an id table */
	LOCK_RANK_STORE = 200,        /* pending deltas */
	LOCK_RANK_REGISTRY = 1000,    /* the list of all locks; nothing is taken inside it */
};

/*
 * Waits by their length: one bucket below 128 ns, four for each doubling up to 2^35 ns, one for what is
 * longer. A lock has them itself, and there are thousands of locks: that is why they are few and narrow.
 */
#define LOCK_WAIT_BITS 7U
#define LOCK_WAIT_GROUPS 28U
#define LOCK_WAIT_BUCKETS (LOCK_WAIT_GROUPS * 4U + 2U)

/* All numbers are relaxed atomics: written by the holder only, read by anybody. */
struct lock_counters {
	order_u64 acquisitions;
	order_u64 contended;
	order_u64 wait_ns;
	order_u64 wait_ns_max;
	order_u64 hold_ns;
	order_u64 hold_ns_max;
};

/* Its members are lock.c's own. */
struct lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
	const char *name;
	uint64_t held_since_ns; /* by the holder; 0 while times are off */
	struct lock_counters counters;
	struct lock *next; /* in the list of all locks, under its lock */
	struct lock *prev;
	order_u32 waits
		[LOCK_WAIT_BUCKETS]; /* as the counters, but written by a holder that waited only */
};

/* One lock's numbers, or those of several of one name. Times are 0 for what happened while times were off. */
struct lock_statistics {
	const char *name;
	enum lock_rank rank;
	uint64_t acquisitions; /* that succeeded, lock_try's too */
	uint64_t contended;    /* those of them that had to wait */
	uint64_t wait_ns;
	uint64_t wait_ns_p99; /* that 99 of 100 waits do not exceed, to an eighth of it; 0: none was timed */
	uint64_t wait_ns_max;
	uint64_t hold_ns;
	uint64_t hold_ns_max;
	uint64_t waits[LOCK_WAIT_BUCKETS]; /* timed ones; a lock's own stay at 2^32 - 1 */
};

/*
 * `name` is kept by pointer and must outlive the lock. Takes the lock of the list
 * of locks, as lock_destroy does: not under a lock of rank LOCK_RANK_REGISTRY.
 */
void lock_init(struct lock *lock, enum lock_rank rank, const char *name);

/* Nobody holds it or waits for it. */
void lock_destroy(struct lock *lock);

void lock_acquire(struct lock *lock);

/*
 * As lock_acquire, for one more lock of the highest rank that the thread holds:
 * allowed if its address is above those of all locks of that rank that it holds.
 */
void lock_acquire_next(struct lock *lock);

/* False if it is held. Never waits, so that any rank may be tried. */
bool lock_try(struct lock *lock) __attribute__((warn_unused_result));

void lock_release(struct lock *lock);

/*
 * Names of the locks that the calling thread holds, in the order of acquisition, up to `room` of them,
 * and how many there are; -1 where NDEBUG is defined: not known. In a signal handler too.
 */
int lock_held(const char **names, unsigned room);

/*
 * Times are measured from now on, or no more: two readings of the clock for each
 * acquisition, two more for one that waits. Counts are always kept.
 */
void lock_statistics_enable(bool on);

void lock_statistics_read(const struct lock *lock, struct lock_statistics *statistics);

/* Adds another lock's numbers; the name stays. */
void lock_statistics_add(struct lock_statistics *into, const struct lock_statistics *from);

/*
 * Leaves what happened after `begin` was read. The longest times cannot be taken apart: they are of
 * all that was timed, so that who wants them of a stretch turns times on at its beginning.
 */
void lock_statistics_subtract(struct lock_statistics *from, const struct lock_statistics *begin);

/*
 * Calls `fn` for each lock between its lock_init and lock_destroy, in no order.
 * `fn` must take no lock, nor make or destroy one.
 */
typedef void lock_statistics_fn(const struct lock_statistics *statistics, void *argument);
void lock_statistics_each(lock_statistics_fn *fn, void *argument);

#endif /* REFSTORM_BASE_LOCK_H */
