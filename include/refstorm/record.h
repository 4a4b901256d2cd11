/* SPDX-License-Identifier: MIT */
/*
 * The record path: reference changes are recorded as deltas when they happen, merged
 * with their opposites, and handed on per extent once everything around them is whole.
 *
 * A thread joins as a producer. It changes references inside operations; the deltas
 * of one operation carry one sequence number. A cut is a number with all earlier
 * operations ended. Heads, the merged deltas of one extent, are run in the order of
 * their addresses up to a cut, and never past a view that somebody holds.
 *
 * Who may call: a producer is used by the thread that joined it; all else by any
 * thread, unless it says otherwise. Progress: recording is wait-free, but for the
 * operating system when memory is first touched, and for merging where much is queued;
 * beginning an operation waits where too much is pending; a look-up begins again when its
 * extent was run meanwhile; merging, waiting for a cut and running block.
 * Guarantee: each recorded delta is part of exactly one head that is run, or was
 * cancelled by its opposites inside the same transaction and between the same views.
 * With the `locked` and `hashed` paths recording takes a lock.
 */
#ifndef REFSTORM_RECORD_H
#define REFSTORM_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refstorm/error.h"
#include "refstorm/export.h"

#ifdef __cplusplus
extern "C" {
#endif

struct rs_record;
struct rs_producer;
struct rs_view;

/* What a delta changes. Back references have the numbers of btrfs's item keys. */
enum rs_delta_type {
	RS_DELTA_ROOT = 1, /* accounting: items or tree blocks that a root gained or lost */
	RS_DELTA_TREE_BLOCK_REF = 176,   /* back reference of a tree block by its root */
	RS_DELTA_EXTENT_DATA_REF = 178,  /* of data by root, inode and offset */
	RS_DELTA_SHARED_BLOCK_REF = 182, /* of a tree block by its parent */
	RS_DELTA_SHARED_DATA_REF = 184,  /* of data by the leaf that refers to it */
};

/* Lengths are counted in units of this many bytes, the smallest sector. */
#define RS_DELTA_UNIT 4096U

/*
 * One change of references, 48 bytes. What is not used by a type is 0. Two deltas
 * have the same key when all but count, reserved, length and the sequence number are equal.
 */
struct rs_delta {
	uint64_t bytenr; /* of the extent, in bytes; a multiple of RS_DELTA_UNIT */
	RS_EXTENSION union {
		uint64_t root;   /* ROOT, TREE_BLOCK_REF, EXTENT_DATA_REF: the tree's id */
		uint64_t parent; /* SHARED_*: bytenr of the tree block that refers to the extent */
	};
	RS_EXTENSION union {
		uint64_t owner;    /* EXTENT_DATA_REF: inode number; *_BLOCK_REF: level */
		uint64_t reserved; /* ROOT: bytes of a reservation that is handed over; summed */
	};
	uint64_t offset;    /* EXTENT_DATA_REF: in the file, less that in the extent, in bytes */
	int32_t count;      /* references (or, ROOT: items, tree blocks) gained; lost if negative */
	uint32_t length_4k; /* of the extent, in units of RS_DELTA_UNIT */
	uint64_t seq_type;  /* sequence number in the upper 56 bits, type in the lower 8 */
};

static inline enum rs_delta_type rs_delta_type(const struct rs_delta *delta)
{
	return (enum rs_delta_type)(delta->seq_type & 0xff);
}

/* The number read when the delta's operation began; of merged ones, the highest. */
static inline uint64_t rs_delta_seq(const struct rs_delta *delta)
{
	return delta->seq_type >> 8;
}

/* Where deltas are kept until they are merged. */
enum rs_record_path {
	RS_RECORD_PERCPU, /* queues that no CPU shares, merged in batches */
	RS_RECORD_LOCKED, /* one red-black tree under one lock, merged at once */
	RS_RECORD_HASHED, /* one hash table under one lock, sorted when it is run */
};

/* Which queue RS_RECORD_PERCPU uses. */
enum rs_record_queue {
	RS_QUEUE_BEST,     /* what the machine has */
	RS_QUEUE_RSEQ,     /* restartable sequences, a queue for each CPU; x86-64 only */
	RS_QUEUE_PORTABLE, /* C11 atomics, a queue for each producer */
};

struct rs_head;

/* Consumes one head; `head` and what it points to is valid during the call. 0, or a negative errno. */
typedef int rs_head_fn(void *argument, const struct rs_head *head);

/* 0 in any number stands for its default. */
struct rs_record_options {
	enum rs_record_path path;
	enum rs_record_queue queue;
	unsigned cpus;   /* RS_QUEUE_RSEQ: queues; by default one for each possible CPU */
	rs_head_fn *run; /* where a producer that waits for room runs heads to; NULL: nowhere */
	void *argument;  /* of `run` */
	uint64_t soft_deltas; /* queued from which producers help merging: 1 Mi */
	uint64_t hard_deltas; /* queued and merged from which operations wait to begin: 8 Mi */
	uint64_t soft_bytes;  /* memory of the same: soft_deltas times 64 */
	uint64_t hard_bytes;
	uint64_t age_ns_max; /* of the oldest pending delta, before rs_record_tend runs it: 5 s */
	uint64_t view_age_ns_max; /* after which a view may be ended: 30 s */
};

/*
 * Makes an empty record; sequence numbers begin at 1, transactions at 1. `options`
 * may be NULL. 0, -ENOMEM, -EINVAL (a hard bound below its soft one, an unknown
 * path), -ENOTSUP (RS_QUEUE_RSEQ where the machine or the C library has none).
 */
RS_API int rs_record_create(const struct rs_record_options *options, struct rs_record **out,
			    struct rs_error *error) __attribute__((warn_unused_result));

/* All producers have left and all views are released. What is pending is lost. NULL is allowed. */
RS_API void rs_record_destroy(struct rs_record *record);

/*
 * Makes the calling thread a producer; one thread may be several. It leaves by
 * itself when the thread ends; one that ends inside an operation ends that too.
 * 0 or -ENOMEM.
 */
RS_API int rs_producer_join(struct rs_record *record, struct rs_producer **out)
	__attribute__((warn_unused_result));

/* Not inside an operation. What it recorded stays. */
RS_API void rs_producer_leave(struct rs_producer *producer);

/*
 * Begins an operation; the producer is in none. Waits while more than the hard
 * bounds are pending, running heads itself where the record has a runner; not if the
 * thread is in an operation of another of its producers. So it holds no lock that
 * an operation in progress, or the runner, may want. 0, -ENOMEM, or what the runner
 * returned, and then no operation is begun.
 */
RS_API int rs_operation_begin(struct rs_producer *producer) __attribute__((warn_unused_result));

/*
 * Records one delta of the operation; its sequence number is put in here. Copies
 * the delta. 0, or -ENOMEM, and then nothing is recorded.
 */
RS_API int rs_operation_record(struct rs_producer *producer, const struct rs_delta *delta)
	__attribute__((warn_unused_result));

/* Ends it: cuts that wait for it may close. */
RS_API void rs_operation_end(struct rs_producer *producer);

/*
 * A cut: operations that begin from now on have higher numbers than the one
 * returned. rs_commit_cut ends the transaction besides: deltas up to the cut belong
 * to the old one. Shared lines written: one. -EAGAIN from rs_commit_cut (in place of
 * 0): 64 transactions wait to be run.
 */
RS_API uint64_t rs_cut_take(struct rs_record *record);
RS_API int rs_commit_cut(struct rs_record *record, uint64_t *cut)
	__attribute__((warn_unused_result));

/* Whom a cut waits for. */
struct rs_cut_waiting {
	unsigned producers; /* operations that are not ended */
	int thread;         /* the kernel's id of the thread of one of them */
	uint64_t seq;       /* that operation's number; 0 if it is about to read it */
};

/*
 * Waits until all operations up to `cut` have ended, or for `timeout_ns` (0: only
 * looks). 0, or -ETIMEDOUT and in `waiting`, which may be NULL, for whom; -EINVAL
 * for a cut that was not taken.
 */
RS_API int rs_cut_wait(struct rs_record *record, uint64_t cut, uint64_t timeout_ns,
		       struct rs_cut_waiting *waiting) __attribute__((warn_unused_result));

/* Takes a cut and holds it: nothing past it is run until the view is released. 0 or -ENOMEM. */
RS_API int rs_view_acquire(struct rs_record *record, struct rs_view **out)
	__attribute__((warn_unused_result));

/* 0, or -ESTALE: it was too old and has been ended. Of a look-up: done after it. */
RS_API int rs_view_check(const struct rs_view *view) __attribute__((warn_unused_result));
RS_API uint64_t rs_view_cut(const struct rs_view *view);

/* -ESTALE if it had been ended. The view is gone in both cases. */
RS_API int rs_view_release(struct rs_record *record, struct rs_view *view);

#define RS_HEAD_AHEAD 3

/*
 * Everything pending for one extent in one transaction, merged: at most one entry for each key,
 * none with a count of 0 but for a reservation.
 */
struct rs_head {
	uint64_t transaction;
	uint64_t bytenr;
	const struct rs_delta *refs; /* additions before drops; within each by type, then key */
	size_t ref_count;
	const struct rs_delta *roots; /* ascending by root */
	size_t root_count;
	/*
	 * Extents whose heads come soon, further away first, 0 where that is not known: for a runner that
	 * fetches what it will need into the cache.
	 */
	uint64_t ahead[RS_HEAD_AHEAD];
};

/*
 * Merges into heads all that is queued. What another merge has taken out of the queues is in heads
 * when that one ends: nobody waits for it here. 0 or -ENOMEM, and then nothing is lost.
 */
RS_API int rs_record_merge(struct rs_record *record) __attribute__((warn_unused_result));

/* The same, and waits for those merges: all that was recorded before is in heads then. */
RS_API int rs_record_settle(struct rs_record *record) __attribute__((warn_unused_result));

/* What a run did. */
struct rs_run_result {
	uint64_t cut;     /* run up to here; 0: nothing could be run */
	uint64_t heads;   /* given to the runner, the one that failed not counted */
	uint64_t entries; /* in them */
};

/*
 * Runs the heads of all transactions up to that of `cut`, one transaction after the
 * other, each by ascending bytenr, up to the last cut of it that rs_cut_wait has found
 * closed and that no view holds back; that may be past `cut`, but not past the end of
 * its transaction. One run goes on at a time, others wait. `run` calls none of these
 * functions but rs_head_lookup, and the thread is not cancelled meanwhile. 0, -ENOMEM,
 * or what `run` returned: that head and those behind it stay pending. `result` may be
 * NULL.
 */
RS_API int rs_record_run(struct rs_record *record, uint64_t cut, rs_head_fn *run, void *argument,
			 struct rs_run_result *result) __attribute__((warn_unused_result));

/*
 * For whoever has a thread for it, some times a second: ends views that are too old and, where the
 * oldest pending delta is older than the bound and the record has a runner, takes a cut and runs. 0,
 * -ENOMEM, or what the runner returned.
 */
RS_API int rs_record_tend(struct rs_record *record) __attribute__((warn_unused_result));

/* What is pending for an extent: sums over all keys. */
struct rs_head_pending {
	int64_t refs;      /* references by back reference deltas */
	int64_t items;     /* items or tree blocks by root deltas */
	uint64_t reserved; /* bytes */
	size_t entries;    /* keys with something pending, whether they fit or not */
	bool running; /* the extent's head is in the runner's hands: it may count or not any more */
};

/*
 * Looks up what is merged and not run yet for the extent at `bytenr`, by operations up
 * to `seq_max` (a view's cut; UINT64_MAX for all); what is queued or being merged is
 * not seen: rs_record_merge before takes care of the first, rs_record_settle of both. Up to `capacity` net entries are put
 * to `entries`, in no order; sums are always over all. 0, or -E2BIG when there are more
 * entries than fit.
 */
RS_API int rs_head_lookup(struct rs_record *record, uint64_t bytenr, uint64_t seq_max,
			  struct rs_head_pending *pending, struct rs_delta *entries,
			  size_t capacity) __attribute__((warn_unused_result));

/* Each number is true of some moment; numbers of busy records may be some moments apart. */
struct rs_record_statistics {
	const char *path;  /* "percpu/rseq", "percpu/portable", "locked", "hashed" */
	uint64_t recorded; /* deltas */
	uint64_t merged;   /* of them, folded into another of the same key or cancelled by it */
	uint64_t run;      /* entries given to a runner */
	uint64_t pending_deltas; /* queued, and entries merged but not run */
	uint64_t pending_bytes;  /* memory that holds them */
	uint64_t oldest_ns;      /* age of the oldest of them; 0 for none */
	uint64_t merges;         /* batches */
	uint64_t helped;         /* of them, by producers past the soft bound */
	uint64_t waits;          /* operations that waited to begin */
	uint64_t wait_ns_max;
	uint64_t cuts;
	uint64_t views;       /* held */
	uint64_t views_ended; /* for their age */
	uint64_t abandoned;   /* operations whose thread ended inside them */
};
RS_API void rs_record_statistics_read(struct rs_record *record,
				      struct rs_record_statistics *statistics);

#ifdef __cplusplus
}
#endif

#endif /* REFSTORM_RECORD_H */
