/* SPDX-License-Identifier: MIT */
/*
 * Reading whole trees, several at once, level by level from the highest down,
 * with the workers of a reader.
 *
 * Who may call: one thread, not a worker. The functions of a walk are called on
 * the workers, together. Memory: 72 bytes for each block of two levels.
 */
#ifndef REFSTORM_ORACLE_WALK_H
#define REFSTORM_ORACLE_WALK_H

#include <stddef.h>

#include "core/disk/reader.h"

struct walk_list;

struct walk {
	struct reader *reader;
	unsigned workers;
	const struct pool_watch *watch; /* may be NULL */
	void *argument;
	/* Each block that is read. 0 or a negative errno. */
	int (*block)(void *argument, unsigned worker, const uint8_t *block, struct rs_error *error);
	/*
	 * Whether to read the block that pointer `slot` leads to; NULL: always. A block that
	 * several pointers lead to is read once, but takes memory for each until then, so this
	 * better says no to one that it has said yes to.
	 */
	bool (*descend)(void *argument, unsigned worker, const uint8_t *block, uint32_t slot,
			struct rs_error *error);

	struct walk_list *lists;   /* workers + 1 for each level; the last one is walk_add's */
	struct node_expect *level; /* being read */
	uint64_t known;            /* blocks met so far */
};

/* The rest of the fields is set by the caller before. 0 or -ENOMEM. */
int walk_init(struct walk *walk, struct reader *reader) __attribute__((warn_unused_result));
void walk_destroy(struct walk *walk);

/* A block to begin with; its owner is what all blocks below must have. 0 or -ENOMEM. */
int walk_add(struct walk *walk, const struct node_expect *expect)
	__attribute__((warn_unused_result));

/* Reads all that was added, and below. 0, an error of reading or of `block`, -ECANCELED, -ENOMEM. */
int walk_run(struct walk *walk, struct rs_error *error) __attribute__((warn_unused_result));

#endif /* REFSTORM_ORACLE_WALK_H */
