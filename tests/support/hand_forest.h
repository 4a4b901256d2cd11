/* SPDX-License-Identifier: MIT */
/*
 * A small committed forest made by hand, node by node, to be damaged: none of the code that
 * changes forests is needed for it. One thread. Asserts.
 *
 * Tree 256: TOP leads to LEFT and COPY. Tree 257, its snapshot: SNAP leads to LEFT too, and to
 * FULL, which COPY was copied from. Tree 258 is being taken apart: DROP_TOP leads by its second
 * pointer to PATH, which has its second pointer left, to DROP_LEAF; and by its third to REST above
 * REST_LEAF.
 */
#ifndef REFSTORM_TEST_HAND_FOREST_H
#define REFSTORM_TEST_HAND_FOREST_H

#include "core/forest/forest_impl.h"

#define HAND_NODE 4096U
#define HAND_DATA UINT64_C(65536)
#define HAND_GROUP UINT64_C(1048576)
#define HAND_GROUP_BYTES (UINT64_C(16) << 20)
#define HAND_GENERATION 7U

/* Tree blocks, then data, by place. */
#define HAND_AT(place) (HAND_GROUP + (uint64_t)(place)*HAND_NODE)
#define HAND_DATA_AT(place) (HAND_GROUP + (UINT64_C(1) << 20) + (uint64_t)(place)*HAND_DATA)
#define HAND_GONE HAND_AT(100) /* what has been taken apart pointed here */

enum hand_place {
	HAND_TOP,
	HAND_LEFT,
	HAND_COPY,
	HAND_SNAP,
	HAND_FULL,
	HAND_DROP_TOP,
	HAND_PATH,
	HAND_DROP_LEAF,
	HAND_REST,
	HAND_REST_LEAF,
	HAND_PLACES,
};

struct hand_forest {
	struct rs_forest forest; /* its buffers, extents, space; no tables of roots, no record path */
	struct buffer *blocks[HAND_PLACES];
	struct rs_subvol roots[3];
	struct root_commit commits[3];
};

extern struct hand_forest hand_forest;

void hand_forest_make(void);
void hand_forest_destroy(void);

/* Of a file extent. */
struct format_key hand_forest_key(uint64_t objectid, uint64_t offset);
struct format_key_ptr *hand_forest_pointer(enum hand_place place, uint32_t slot);
struct format_item *hand_forest_item(enum hand_place place, uint32_t slot);
struct btrfs_file_extent_item *hand_forest_extent(enum hand_place place, uint32_t slot);

/* Puts an item for the whole extent, or for a hole (0), behind the others of the leaf. */
void hand_forest_put(enum hand_place place, uint64_t inode, uint64_t offset, uint64_t bytenr);

/* Adds to the index. */
void hand_forest_index(uint64_t bytenr, uint64_t from, uint64_t owner, uint64_t offset,
		       uint32_t count, uint8_t type);
void hand_forest_index_data(unsigned place, uint64_t root, uint64_t inode, uint64_t offset);

#endif /* REFSTORM_TEST_HAND_FOREST_H */
