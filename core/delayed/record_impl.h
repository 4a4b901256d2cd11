/* SPDX-License-Identifier: MIT */
/* What record.c and throttle.c share. */
#ifndef REFSTORM_DELAYED_RECORD_IMPL_H
#define REFSTORM_DELAYED_RECORD_IMPL_H

#include "core/base/lock.h"
#include "core/delayed/queued.h"

#define RECORD_SEEN 256U

struct rs_record {
	/* Set when it is made. */
	struct rs_record_options options;
	const struct store_functions *functions;
	struct store *store;
	const char *name;
	enum producer_path path;

	struct sequence sequence;
	struct lock run_lock;    /* who runs and folds heads */
	struct lock commit_lock; /* the order of commits */
	struct {
		uint64_t counter;
		uint64_t time;
	} seen[RECORD_SEEN]; /* the sequence number at runs, a ring; by the run lock */
	unsigned seen_last;

	order_u32 throttled __attribute__((
		aligned(ORDER_LINE))); /* too much is pending: read by every operation */
	order_u32 relief __attribute__((aligned(ORDER_LINE))); /* runs that have ended; a futex */

	/* Sums. */
	order_u64 abandoned;
	order_u64 helped;
	order_u64 waits;
	order_u64 wait_ns_max;
	order_u64 views_ended;
};

/* As rs_record_run, under the run lock. `result` is counted on. */
int record_run_locked(struct rs_record *record, uint64_t cut, rs_head_fn *run, void *argument,
		      struct rs_run_result *result) __attribute__((warn_unused_result));

/* Whether operations must wait to begin. */
static inline bool throttle_is_on(const struct rs_record *record)
{
	/* Relaxed: seen a little later it lets a few more begin. */
	return order_load_relaxed(&record->throttled) != 0;
}

/* By a producer that changes segments: helps to merge, or turns the throttle on, where too much is pending. */
void throttle_check(struct rs_record *record);

/* The same by one that appended to a baseline's store. */
void throttle_check_store(struct rs_record *record);

/* Waits for room: 0, -ENOMEM, or what the record's runner returned. */
int throttle_wait(struct rs_record *record) __attribute__((warn_unused_result));

/* After a run, under the run lock: lets those go on who wait. */
void throttle_relieve(struct rs_record *record);

/* Ends views that are too old. */
void throttle_end_views(struct rs_record *record);

/* Folds runs of heads where they have become many, unless the run lock is taken. */
void throttle_fold(struct rs_record *record);
/* The same by the holder of the run lock. */
void throttle_fold_locked(struct rs_record *record);

#endif /* REFSTORM_DELAYED_RECORD_IMPL_H */
