/* SPDX-License-Identifier: MIT */
/*
 * What the operations on files share besides core/forest/file.h: plans, which have all their data
 * space before anything is changed; what becomes of preallocation; and who else uses it.
 *
 * Who may call: as file.h, unless it says otherwise.
 */
#ifndef REFSTORM_FOREST_FILE_IMPL_H
#define REFSTORM_FOREST_FILE_IMPL_H

#include "core/forest/file.h"

/* A part of a range that gets new extents, or is preallocated and becomes written. */
struct file_piece {
	uint64_t start;
	uint64_t end;
	bool in_place;
};

struct file_plan {
	struct file_piece *pieces; /* ascending */
	size_t count;
	size_t capacity;
	struct space_piece *spaces; /* for the pieces not in place, in their order */
	size_t space_count;
	size_t space_capacity;
};

/*
 * A plan begins as all zero. One more piece behind the others; one of new extents joins one right
 * before it. 0 or -ENOMEM.
 */
int file_plan_add(struct file_plan *plan, uint64_t start, uint64_t end, bool in_place)
	__attribute__((warn_unused_result));

/*
 * Takes the space: an extent for each piece, or several where there is no room in one. All or
 * none.
 */
int file_plan_take(struct rs_writer *writer, struct file_plan *plan)
	__attribute__((warn_unused_result));

/*
 * Changes the file: new extents are of `type`. Where it stops early it gives back what is not
 * used.
 */
int file_plan_apply(struct file *file, struct file_plan *plan, uint8_t type)
	__attribute__((warn_unused_result));

void file_plan_destroy(struct file_plan *plan);

/*
 * The range, in one preallocated item, becomes written. As btrfs has it, it joins written
 * neighbours of the same extent, so that writing block by block leaves one item.
 */
int file_mark_written(struct file *file, uint64_t start, uint64_t end)
	__attribute__((warn_unused_result));

/* A preallocated extent, and whether anybody but the file uses it. */
struct file_share {
	uint64_t bytenr;
	uint64_t key_offset; /* of the file's own back reference */
	bool shared;
};

/* Those that were asked for. Valid while the root's count of clones is as it was then. */
struct file_shares {
	struct file_share *share;
	size_t count;
	size_t capacity;
	uint64_t clones;
	bool answered; /* else they are questions */
};

enum file_sharing {
	FILE_ALONE,
	FILE_SHARED,
	FILE_UNKNOWN, /* it has been added to the questions */
	FILE_NO_MEMORY,
};

/*
 * Whether a write must leave the extent of a preallocated item alone: btrfs's
 * can_nocow_extent. Shared is what is not younger than the last snapshot of the root, and what
 * has back references of others.
 */
enum file_sharing file_shares_of(const struct rs_subvol *root, struct file_shares *shares,
				 const struct file_extent *extent);

/*
 * Answers what was asked: by the back references that are committed and those that are pending. The
 * writer is in no transaction and holds no lock.
 */
int file_shares_answer(struct rs_forest *forest, uint64_t root, uint64_t inode,
		       struct file_shares *shares) __attribute__((warn_unused_result));

void file_shares_destroy(struct file_shares *shares);

#endif /* REFSTORM_FOREST_FILE_IMPL_H */
