/* SPDX-License-Identifier: MIT */
/* A forest of small nodes, walks from all of its extents, and what reading each root's whole tree gives. One at a time. */
#ifndef REFSTORM_TEST_WALK_CASE_H
#define REFSTORM_TEST_WALK_CASE_H

#include "core/forest/forest_impl.h"
#include "core/qgroup/live_walk.h"

#define WALK_CASE_BLOCK 4096U

/* One root of one extent. */
struct walk_case_pair {
	uint64_t bytenr;
	uint64_t root;
};

struct walk_case_pairs {
	struct walk_case_pair *pairs; /* by address, then root */
	size_t count;
	size_t capacity;
};

/* A walk from each extent. */
struct walk_case_tour {
	struct live_walk *walk;
	enum live_walk_state state;
	struct walk_case_pairs pairs;
	uint64_t extents;
	int result;
	char what[RS_ERROR_WHAT_MAX + 32];
};

struct walk_case {
	struct rs_forest *forest;
	struct rs_writer *writer;
	struct live_walk *walk;
	unsigned serial;       /* of the next name */
	uint64_t half_dropped; /* trees that recounts have found so */
};

extern struct walk_case walk_case;

/* Deleted trees are taken apart by rs_forest_drop_step only. */
void walk_case_begin(const struct rs_observer *watch);
void walk_case_end(void);

/* A snapshot, or with NULL a fresh one. */
struct rs_subvol *walk_case_subvol(struct rs_subvol *source);
uint64_t walk_case_inode(struct rs_subvol *subvol, unsigned file);
/* Blocks [first, first + count), in extents of `each`. */
void walk_case_write(struct rs_subvol *subvol, unsigned file, unsigned first, unsigned count,
		     unsigned each);

/* The leaf of the file's item that begins at the block, and the item's slot; and its extent. Both commit. */
const struct buffer *walk_case_leaf(struct rs_subvol *subvol, unsigned file, unsigned block,
				    uint32_t *slot);
uint64_t walk_case_extent(struct rs_subvol *subvol, unsigned file, unsigned block);

/* What recounting the last commit gives. */
struct walk_case_pairs walk_case_recount(void);
/* Any thread. Asserts nothing. */
void walk_case_tour(struct walk_case_tour *tour);
void walk_case_assert_same(const struct walk_case_pairs *expected,
			   const struct walk_case_tour *tour);
/* All extents, as of the last commit; how many pairs there are. */
size_t walk_case_check(void);

#endif /* REFSTORM_TEST_WALK_CASE_H */
