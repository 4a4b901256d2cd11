/* SPDX-License-Identifier: MIT */
/*
 * Making a live forest of an image: what the steps share. rs_forest_open takes them in this order.
 *
 * Who may call: the thread that opens; nobody else knows the forest yet. Everything that comes from
 * the image is checked here, once: what a step has let pass, later code relies on.
 * Errors of all steps: -ENOMEM; -EUCLEAN with the address; -EOPNOTSUPP by name; errors of reading.
 */
#ifndef REFSTORM_FOREST_OPEN_H
#define REFSTORM_FOREST_OPEN_H

#include "core/disk/tree.h"
#include "core/forest/forest_impl.h"

/* Chunks end below this, so that block groups that are made behind them end where the buffer map does. */
#define OPEN_ADDRESS_MAX (UINT64_C(1) << 51)

/* A subvolume or snapshot, as the root tree has it. */
struct open_root {
	struct tree_root tree;
	uint8_t uuid[BTRFS_UUID_SIZE];        /* zero if the root item is of the old kind */
	uint8_t parent_uuid[BTRFS_UUID_SIZE]; /* of the source of a snapshot, else zero */
	uint64_t created;                     /* generation */
	uint64_t last_snapshot;               /* generation */
	uint64_t place;                       /* subvolume that it stands in; 0 if in none */
	uint64_t directory;                   /* inode of the directory there */
	char *name;                           /* in that directory; NULL if it has none */
	char *path;                           /* from the top level; NULL if it has none */
	bool read_only;
	bool deleted;                    /* no name is left; its tree may still be there */
	bool dropping;                   /* deleted, and part of its tree has gone */
	uint8_t drop_level;              /* of the node where that has got to */
	struct format_key drop_progress; /* the first key there that still counts */
};

/* A node on the way to where a deletion has got to: its pointers before `first` lead to what is gone. */
struct open_gap {
	uint64_t bytenr;
	uint32_t first;
};

struct open_work {
	struct rs_image *image;
	struct rs_forest *forest;
	struct open_root *roots; /* ascending by id */
	size_t root_count;
	size_t root_capacity;
	struct tree_root extents;    /* the extent tree; bytenr 0: none */
	struct tree_root quota_tree; /* bytenr 0: none */
	struct forest_groups groups;
	bool quotas;           /* are on in the image */
	uint64_t id_max;       /* the highest in use below the special ones */
	struct open_gap *gaps; /* ascending by address */
	size_t gap_count;
	size_t gap_capacity;
};

/* Reads the root tree: all subvolumes, and where the extent tree is. */
int open_roots_read(struct open_work *work, struct rs_error *error)
	__attribute__((warn_unused_result));
void open_roots_free(struct open_work *work);
/* NULL if there is none with that id. */
const struct open_root *open_roots_find(const struct open_work *work, uint64_t id);

/* The groups of the quota tree, where quotas are on. */
int open_groups_read(struct open_work *work, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Bytes of all chunks that are not for the chunk tree alone. */
int open_chunks_sum(struct rs_image *image, uint64_t *bytes, struct rs_error *error)
	__attribute__((warn_unused_result));
/* Each of them becomes a block group. */
int open_chunks_add(struct open_work *work, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Reads the blocks of all subvolumes into buffers; the items in their leaves are checked. */
int open_blocks_read(struct open_work *work, struct rs_error *error)
	__attribute__((warn_unused_result));
/* The first pointer of the block that does not lead to what is gone. */
uint32_t open_blocks_first(const struct open_work *work, const struct buffer *buffer);

/* Whether the items of a leaf are what the forest's code takes them for. Any thread. */
int open_items_check(const uint8_t *leaf, struct rs_error *error)
	__attribute__((warn_unused_result));

/*
 * Checks that all pointers of the buffers lead to what they say, and counts them: until the extent
 * tree is read, the word of a buffer is BUFFER_LOCK and the number of pointers to it.
 */
int open_links_count(struct open_work *work, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Reads the extent tree: extents, their back references, the words of buffers, what space is used. */
int open_extents_load(struct open_work *work, struct rs_error *error)
	__attribute__((warn_unused_result));
/* Whether all that the trees refer to has its extent. */
int open_extents_check(struct open_work *work, struct rs_error *error)
	__attribute__((warn_unused_result));

/* The highest objectid in the tree that is not above `most`; 0 if there is none. The links are checked. */
uint64_t open_names_last(const struct open_work *work, const struct buffer *node, uint64_t most);
/* Builds the path of each subvolume that has one. */
int open_names_build(struct open_work *work, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_FOREST_OPEN_H */
