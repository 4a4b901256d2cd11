/* SPDX-License-Identifier: MIT */
/* All trees of an image: the super block's own, and those of the root tree. One thread. */
#ifndef REFSTORM_ORACLE_TREE_LIST_H
#define REFSTORM_ORACLE_TREE_LIST_H

#include <stddef.h>

#include "core/disk/reader.h"

struct rs_image;

struct listed_tree {
	uint64_t id;
	uint64_t bytenr;
	uint64_t generation;
	uint8_t level;
	bool dropping; /* being taken apart, as the next two say */
	uint8_t drop_level;
	struct format_key drop_progress;
};

struct tree_list {
	struct listed_tree *trees;
	size_t count;
	size_t capacity;
};

/* 0, -EUCLEAN for root items that make no sense, or an error of reading. */
int tree_list_read(struct tree_list *list, struct rs_image *image, struct reader *reader,
		   struct rs_error *error) __attribute__((warn_unused_result));
void tree_list_destroy(struct tree_list *list);

/* NULL if there is none with that id. */
const struct listed_tree *tree_list_find(const struct tree_list *list, uint64_t id);

/* What its root block must be. */
struct node_expect tree_list_expect(const struct listed_tree *tree);

#endif /* REFSTORM_ORACLE_TREE_LIST_H */
