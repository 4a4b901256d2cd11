/* SPDX-License-Identifier: MIT */
/*
 * What the parts of refverify share: entries in shards. Who may call: the functions of entries and
 * of histories the holder of the shard's lock.
 */
#ifndef REFSTORM_ORACLE_REFVERIFY_IMPL_H
#define REFSTORM_ORACLE_REFVERIFY_IMPL_H

#include <pthread.h>

#include "core/base/order.h"
#include "stress/oracle/refverify.h"

#define REFVERIFY_SHARD_BITS 6
#define REFVERIFY_SHARDS (1U << REFVERIFY_SHARD_BITS)
#define REFVERIFY_LEVEL_UNKNOWN UINT64_MAX

/* Tree blocks: owner and offset are 0, the level is the entry's. */
struct refverify_ref {
	uint64_t root; /* or 0 and a parent */
	uint64_t parent;
	uint64_t owner;
	uint64_t offset;
	uint64_t count;
};

/* Sum of the references that name the root. */
struct refverify_root {
	uint64_t root;
	uint64_t count;
};

struct refverify_action {
	struct rs_ref_action action;
	uint32_t frame_count;
	uintptr_t frames[]; /* room for trace_depth */
};

struct refverify_entry {
	struct refverify_entry *next; /* in its chain */
	uint64_t bytenr;
	uint64_t bytes;
	uint64_t refs; /* sum of the counts of `ref` */
	uint64_t level;
	bool metadata;
	bool from_disk;
	bool seen; /* by the check that is going on */
	size_t ref_count;
	size_t ref_capacity;
	struct refverify_ref *ref; /* ascending by all but the count */
	size_t root_count;
	size_t root_capacity;
	struct refverify_root *root; /* ascending */
	uint8_t *actions;            /* a ring */
	uint32_t action_first;
	uint32_t action_count;
	uint32_t action_capacity;
	uint64_t dropped;
};

struct refverify_shard {
	pthread_mutex_t lock; /* protects what follows, and all entries */
	struct refverify_entry **chains;
	size_t chain_count; /* a power of two, or 0 */
	size_t entries;
	uint64_t actions;
	uint64_t dropped;
} __attribute__((aligned(ORDER_LINE)));

struct refverify {
	struct rs_observer observer;
	unsigned trace_depth;
	unsigned history;
	order_u64 failures;
	pthread_mutex_t text_lock; /* protects text; taken last */
	char text[REFVERIFY_TEXT_BYTES];
	struct refverify_shard shards[REFVERIFY_SHARDS];
};

/* refverify_entry.c */
struct refverify_shard *refverify_entry_shard(struct refverify *verify, uint64_t bytenr);
struct refverify_entry *refverify_entry_find(const struct refverify_shard *shard, uint64_t bytenr);
/* One that is not there. NULL: no memory. */
struct refverify_entry *refverify_entry_add(struct refverify_shard *shard, uint64_t bytenr);
/* Takes out and frees those for which `fn` says so; it sees each. */
void refverify_entry_sweep(struct refverify_shard *shard,
			   bool (*fn)(void *argument, struct refverify_entry *entry),
			   void *argument);
/* Makes room for one more reference and one more root. 0 or -ENOMEM. */
int refverify_entry_reserve(struct refverify_entry *entry) __attribute__((warn_unused_result));
/* NULL if there is none; by all fields but the count. */
struct refverify_ref *refverify_entry_ref(const struct refverify_entry *entry,
					  const struct refverify_ref *key);
struct refverify_root *refverify_entry_root(const struct refverify_entry *entry, uint64_t root);
/* What there is room for: adds the reference's count to it and to its root's. */
void refverify_entry_ref_add(struct refverify_entry *entry, const struct refverify_ref *ref);
/* One less of what is there. */
void refverify_entry_ref_drop(struct refverify_entry *entry, struct refverify_ref *ref);

/* refverify_history.c */
/* Fills in the action, with the frames of whoever called refverify_ref. */
void refverify_history_capture(const struct refverify *verify, const struct rs_ref_action *action,
			       struct refverify_action *out);
/* Makes room for one more. 0 or -ENOMEM. */
int refverify_history_reserve(const struct refverify *verify, struct refverify_entry *entry)
	__attribute__((warn_unused_result));
/* What there is room for. True: the oldest had to go. */
bool refverify_history_add(const struct refverify *verify, struct refverify_entry *entry,
			   const struct refverify_action *action);
void refverify_history_clear(struct refverify_entry *entry);
const struct refverify_action *refverify_history_at(const struct refverify *verify,
						    const struct refverify_entry *entry,
						    uint32_t number);

/* refverify_text.c */
/*
 * Counts a failure, and keeps its text if it is the first: the sentence, then the entry, then the
 * action, each if there is one. Returns -EUCLEAN.
 */
int refverify_fail(struct refverify *verify, const struct refverify_entry *entry,
		   const struct refverify_action *action, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif /* REFSTORM_ORACLE_REFVERIFY_IMPL_H */
