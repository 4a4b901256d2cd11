/* SPDX-License-Identifier: MIT */
/*
 * What a tree should hold, as a sorted array, and changes of both that compare them. Whatever differs
 * fails the test that calls. Each item's data follow from a stamp that each change renews.
 */
#ifndef REFSTORM_TEST_FOREST_MODEL_H
#define REFSTORM_TEST_FOREST_MODEL_H

#include "core/forest/btree.h"
#include "tests/support/forest_tree.h"

#define FOREST_MODEL_ITEMS_MAX 20000U

struct forest_model_entry {
	struct format_key key;
	uint32_t bytes;
	uint32_t stamp;
};

struct forest_model {
	struct forest_tree *tree;
	struct rs_subvol *root;
	struct forest_model_entry entries[FOREST_MODEL_ITEMS_MAX];
	uint32_t count;
	uint32_t stamps;
};

/* The first entry that is not below the key. */
uint32_t forest_model_find(const struct forest_model *model, const struct format_key *key,
			   bool *exact);

/* Of the model alone. */
void forest_model_entry_insert(struct forest_model *model, uint32_t at,
			       const struct forest_model_entry *entry);
void forest_model_entries_remove(struct forest_model *model, uint32_t at, uint32_t count);

/* The first `kept` bytes of the item at the path are as they were, the others zero; then all are new. */
void forest_model_item_renew(struct forest_model *model, uint32_t at, const struct btree_path *path,
			     uint32_t kept);

/* Of both, in a transaction of their own. A key that is there: -EEXIST. */
void forest_model_insert(struct forest_model *model, const struct format_key *key, uint32_t bytes);
/* Up to `most` items from `at` on, as far as they are in one leaf. */
void forest_model_discard(struct forest_model *model, uint32_t at, uint32_t most);
void forest_model_resize(struct forest_model *model, uint32_t at, uint32_t bytes);
/* Nothing happens if the key has no place between the neighbours. */
void forest_model_rekey(struct forest_model *model, uint32_t at, const struct format_key *key);
/* Copies the path, and gives the item other data if it is there. */
void forest_model_change(struct forest_model *model, const struct format_key *key);

/* From `at` on, up to `most` items, in both directions. */
void forest_model_iterate(const struct forest_model *model, uint32_t at, uint32_t most);

/* Everything; `shape` may be NULL. */
void forest_model_check(const struct forest_model *model, struct forest_tree_shape *shape);

#endif /* REFSTORM_TEST_FOREST_MODEL_H */
