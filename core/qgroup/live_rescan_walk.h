/* SPDX-License-Identifier: MIT */
/*
 * What an extent's word in the ledger should be, worked out from its back references and the committed
 * trees. Sets of tree blocks are kept from one extent to the next, as long as nothing is committed.
 *
 * Who may call: the holder of the commit lock, in an RCU section or not.
 */
#ifndef REFSTORM_QGROUP_LIVE_RESCAN_WALK_H
#define REFSTORM_QGROUP_LIVE_RESCAN_WALK_H

#include "core/forest/forest_impl.h"
#include "core/qgroup/live_ledger.h"

struct live_rescan_walk_entry {
	uint64_t bytenr; /* of a tree block; 0: none */
	uint32_t set;
};

/*
 * Full references that were added up last, and the set that those up to each come to. Neighbours that
 * were written together have the same ones, up to where one was overwritten.
 */
struct live_rescan_walk_full {
	struct live_rescan_walk_one {
		uint64_t word; /* as struct extent has it */
		uint32_t set;
	} * ones;
	size_t count;
	size_t capacity;
};

struct live_rescan_walk {
	struct rs_forest *forest;
	struct live_ledger *ledger;
	struct live_rescan_walk_entry *entries; /* by address, open */
	size_t entry_count;
	size_t entry_mask;
	/* Of data, and of tree blocks of each level. */
	struct live_rescan_walk_full data;
	struct live_rescan_walk_full blocks[FORMAT_LEVELS];
	struct rs_subvol *root; /* that was looked up last */
	/* The leaf that was come to last, in the tree of `leaf_root`: keys from `low` up to below `high`. */
	const struct rs_subvol *leaf_root;
	const struct buffer *leaf;
	struct format_key low;
	struct format_key high;
	bool high_is_end;
};

/* 0 or -ENOMEM. */
int live_rescan_walk_init(struct live_rescan_walk *walk, struct rs_forest *forest,
			  struct live_ledger *ledger) __attribute__((warn_unused_result));
void live_rescan_walk_destroy(struct live_rescan_walk *walk);

/* What is kept holds its sets, or no more: for a sweep between the two. */
void live_rescan_walk_hold(struct live_rescan_walk *walk, bool hold);

/* Something was committed, or the ledger's sets changed. */
void live_rescan_walk_forget(struct live_rescan_walk *walk);

/* The extent's word, of a reference of its own in the ledger. 0, -ENOMEM, -E2BIG; -EUCLEAN: a back reference leads nowhere. */
int live_rescan_walk_word(struct live_rescan_walk *walk, const struct extent *extent,
			  uint32_t *word, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_LIVE_RESCAN_WALK_H */
