/* SPDX-License-Identifier: MIT */
/* The leaves of an image's extent tree in memory, to be changed, written, and put back. One thread. */
#ifndef REFSTORM_TEST_EXTENT_TREE_H
#define REFSTORM_TEST_EXTENT_TREE_H

#include "tests/support/block_list.h"

struct extent_leaf {
	uint64_t bytenr;
	uint8_t *block; /* to be changed */
	uint8_t *kept;  /* as the image has it */
	bool changed;
};

struct extent_tree {
	struct image_writer writer;
	uint32_t node_bytes;
	uint32_t sector_bytes;
	uint16_t csum_type;
	struct extent_leaf *leaves; /* in the order of keys */
	uint32_t count;
};

/* An item. */
struct extent_site {
	uint32_t leaf;
	uint32_t slot;
};

void extent_tree_open(struct extent_tree *tree, struct rs_image *image);
void extent_tree_close(struct extent_tree *tree);

/* The leaf, which counts as changed from now on. */
uint8_t *extent_tree_change(struct extent_tree *tree, uint32_t leaf);

/* Writes what was changed, with the checksum repaired; and, if `back`, as it was. */
void extent_tree_write(struct extent_tree *tree, bool back);

/* Forgets all changes. */
void extent_tree_forget(struct extent_tree *tree);

/* The item of the extent at `bytenr`. */
bool extent_tree_find(const struct extent_tree *tree, uint64_t bytenr, struct extent_site *site);

/* The address of the extent whose item comes next; UINT64_MAX if there is none. */
uint64_t extent_tree_next(const struct extent_tree *tree, const struct extent_site *site);

struct format_key extent_tree_key(const struct extent_tree *tree, const struct extent_site *site);

bool extent_key_is_item(const struct format_key *key);

#endif /* REFSTORM_TEST_EXTENT_TREE_H */
