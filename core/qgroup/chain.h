/* SPDX-License-Identifier: MIT */
/*
 * A chain of tree blocks that hold much the same items, as the versions of one
 * leaf in a row of snapshots do.
 *
 * A worker that goes from one version to the next finds most items unchanged. For
 * those it looks nothing up and writes nothing that is shared: the roots that
 * reach the item's target are kept here, as a run that grows from version to
 * version, and are added to the target's union when the item goes, or the run
 * cannot grow. So the cost of a shared item is one comparison, however many
 * snapshots hold it. Blocks may come in any order; a good one is the same
 * place in the trees, then the lineage.
 *
 * Who may call: a chain belongs to one worker. Targets may be shared; they are
 * written by runs_add only.
 */
#ifndef REFSTORM_QGROUP_CHAIN_H
#define REFSTORM_QGROUP_CHAIN_H

#include "core/base/order.h"
#include "core/disk/format.h"
#include "core/qgroup/runs.h"

/* An item that leads to something with a union of runs. */
struct chain_item {
	struct format_key key;
	uint64_t bytenr; /* of the target */
	uint64_t check;  /* what else must be the same: a length, a generation */
};

struct chain_link {
	struct chain_item item;
	struct runs *target;
	struct run pending; /* not added to the target yet */
};

struct chain {
	struct chain_link *links; /* of the block before, from `cursor` on not looked at yet */
	uint32_t count;
	uint32_t cursor;
	struct chain_link *next; /* of this block */
	uint32_t next_count;
	uint32_t capacity;      /* of both */
	const struct run *runs; /* that reach this block; at least one */
	size_t run_count;
} __attribute__((aligned(ORDER_LINE)));

/* Room for blocks of up to `items` items. 0 or -ENOMEM. */
int chain_init(struct chain *chain, uint32_t items) __attribute__((warn_unused_result));

/* Drops what is pending: chain_finish comes before, unless the whole work is given up. */
void chain_destroy(struct chain *chain);

/* Begins with a block that `runs` reach; they stay valid until chain_end. */
void chain_begin(struct chain *chain, const struct run *runs, size_t count);

/*
 * Items of the block in ascending order. True if the block before had the same
 * one: it is taken over, and nothing else is to be done. If false, the caller
 * finds the target and calls chain_add. An error of runs_add goes to `*result`,
 * which is left alone otherwise; it may come with either answer, and ends the work.
 */
bool chain_take(struct chain *chain, const struct chain_item *item, int *result);

/* 0 or -ENOMEM. */
int chain_add(struct chain *chain, const struct chain_item *item, struct runs *target)
	__attribute__((warn_unused_result));

/* Ends the block. 0 or -ENOMEM. */
int chain_end(struct chain *chain) __attribute__((warn_unused_result));

/* Adds all that is pending to its targets. 0 or -ENOMEM. */
int chain_finish(struct chain *chain) __attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_CHAIN_H */
