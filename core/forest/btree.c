/* SPDX-License-Identifier: MIT */
#include "core/forest/btree.h"

#include <errno.h>

#include "core/forest/btree_impl.h"
#include "core/forest/cow.h"
#include "core/forest/inner.h"
#include "core/forest/leaf.h"
#include "core/forest/trans.h"

/* A key as two numbers, so that it is compared without a branch. */
struct btree_order {
	unsigned __int128 high; /* objectid, type */
	uint64_t low;           /* offset */
};

static inline struct btree_order btree_order_of(uint64_t objectid, uint8_t type, uint64_t offset)
{
	return (struct btree_order){
		.high = (unsigned __int128)objectid << 8 | type,
		.low = offset,
	};
}

static inline struct btree_order btree_order_read(const uint8_t *at)
{
	const struct btrfs_disk_key *disk = (const struct btrfs_disk_key *)at;

	return btree_order_of(format_le64(&disk->objectid), disk->type, format_le64(&disk->offset));
}

/*
 * The first of `count` keys, `stride` bytes apart, that is not below `key`; `count`: none. The outcome of
 * a comparison is chance, so that it is added up and not jumped on.
 */
static inline uint32_t btree_bound(const uint8_t *keys, uint32_t stride, uint32_t count,
				   const struct btree_order *key)
{
	const uint8_t *at = keys;
	uint32_t left = count;

	while (left) {
		uint32_t half = (left + 1) / 2;
		uint32_t next = (left - half + 1) / 2;
		struct btree_order order = btree_order_read(at + (half - 1) * stride);
		/* Both keys that the next turn may compare, about: without a branch nothing runs ahead. */
		__builtin_prefetch(at + next * stride);
		__builtin_prefetch(at + (half + next) * stride);
		/* The borrow of the low parts carried into the high ones. */
		size_t below = order.high < key->high + (order.low < key->low);

		at += half * stride & (0 - below);
		left -= half;
	}
	return (uint32_t)(at - keys) / stride;
}

static inline bool btree_equal(const uint8_t *at, const struct btree_order *key)
{
	struct btree_order order = btree_order_read(at);

	return order.high == key->high && order.low == key->low;
}

/* The pointer to where the key is or would be. */
static inline uint32_t btree_pointer_find(const uint8_t *node, const struct btree_order *key)
{
	const uint8_t *keys = node + sizeof(struct format_header);
	uint32_t stride = sizeof(struct format_key_ptr);
	uint32_t count = node_count(node);
	uint32_t slot = btree_bound(keys, stride, count, key);

	if (slot < count && btree_equal(keys + slot * stride, key))
		return slot;
	return slot ? slot - 1 : 0;
}

bool btree_find(struct rs_subvol *root, const struct format_key *key, struct btree_path *path)
{
	struct btree_order order = btree_order_of(key->objectid, key->type, key->offset);
	struct buffer *node = root->node;
	const uint8_t *keys;
	uint32_t count;
	uint32_t slot;

	*path = (struct btree_path){ 0 };
	while (node->level) {
		slot = btree_pointer_find(node->data, &order);
		path->nodes[node->level] = node;
		path->slots[node->level] = slot;
		node = btree_child(root, node, slot);
	}
	count = node_count(node->data);
	keys = node->data + sizeof(struct format_header);
	slot = btree_bound(keys, sizeof(struct format_item), count, &order);
	path->nodes[0] = node;
	path->slots[0] = slot;
	return slot < count && btree_equal(keys + slot * sizeof(struct format_item), &order);
}

/* From the path's block at `level` down, along the first pointers or the last ones. */
static void btree_descend(const struct rs_subvol *root, struct btree_path *path, unsigned level,
			  bool last)
{
	while (level--) {
		struct buffer *node =
			btree_child(root, path->nodes[level + 1], path->slots[level + 1]);

		path->nodes[level] = node;
		path->slots[level] = last ? node_count(node->data) - 1 : 0;
	}
}

bool btree_next(struct rs_subvol *root, struct btree_path *path)
{
	unsigned level = 0;

	while (path->slots[level] + 1 >= node_count(path->nodes[level]->data))
		if (!btree_parent(path, level++))
			return false;
	path->slots[level]++;
	btree_descend(root, path, level, false);
	return true;
}

bool btree_previous(struct rs_subvol *root, struct btree_path *path)
{
	unsigned level = 0;

	while (!path->slots[level])
		if (!btree_parent(path, level++))
			return false;
	path->slots[level]--;
	btree_descend(root, path, level, true);
	return true;
}

bool btree_settle(struct rs_subvol *root, struct btree_path *path)
{
	return path->slots[0] < node_count(btree_leaf(path)) || btree_next(root, path);
}

void btree_key_changed(const struct btree_path *path, unsigned level)
{
	struct format_key key = node_key(path->nodes[level]->data, 0);

	for (; btree_parent(path, level); level++) {
		inner_key_set(path->nodes[level + 1]->data, path->slots[level + 1], &key);
		if (path->slots[level + 1])
			return;
	}
}

/* What fails half-way leaves a tree that says the same, in which some blocks are copied. */
static int btree_path_copy(struct rs_writer *writer, struct rs_subvol *root,
			   struct btree_path *path)
{
	struct buffer *parent = NULL;
	unsigned level = root->node->level + 1U;

	while (level--) {
		uint32_t slot = parent ? path->slots[level + 1] : 0;
		int result = cow_copy(writer, root, path->nodes[level], parent, slot,
				      &path->nodes[level]);

		if (result)
			return result;
		parent = path->nodes[level];
	}
	trans_dirty(root);
	return 0;
}

int btree_change(struct rs_writer *writer, struct rs_subvol *root, const struct format_key *key,
		 struct btree_path *path)
{
	bool exact = btree_find(root, key, path);
	int result = btree_path_copy(writer, root, path);

	return result ? result : exact;
}

int btree_insert(struct rs_writer *writer, struct rs_subvol *root, const struct format_key *key,
		 uint32_t bytes, struct btree_path *path)
{
	int result;

	if (bytes > btree_item_bytes_max(root->forest))
		return -E2BIG;
	if (btree_find(root, key, path))
		return -EEXIST;
	result = btree_path_copy(writer, root, path);
	if (!result)
		result = btree_leaf_room(writer, root, path, key, bytes);
	if (result)
		return result;
	leaf_item_insert(path->nodes[0]->data, root->forest->node_bytes, path->slots[0], key,
			 bytes);
	if (!path->slots[0])
		btree_key_changed(path, 0);
	return 0;
}

int btree_delete(struct rs_writer *writer, struct rs_subvol *root, struct btree_path *path,
		 uint32_t count)
{
	uint8_t *leaf = path->nodes[0]->data;
	int result;

	assert(path->nodes[0]->generation == writer->generation);
	leaf_items_remove(leaf, root->forest->node_bytes, path->slots[0], count);
	if (!path->slots[0] && node_count(leaf))
		btree_key_changed(path, 0);
	result = btree_shrink(writer, root, path);
	if (result)
		return trans_abort(root->forest, result, "a tree cannot be made smaller");
	return 0;
}

int btree_resize(struct rs_writer *writer, struct rs_subvol *root, struct btree_path *path,
		 uint32_t bytes)
{
	uint32_t old = node_item_bytes(btree_leaf(path), path->slots[0]);
	int result = 0;

	assert(path->nodes[0]->generation == writer->generation);
	if (bytes > btree_item_bytes_max(root->forest))
		return -E2BIG;
	if (bytes > old)
		result = btree_leaf_room(writer, root, path, NULL, bytes - old);
	if (result)
		return result;
	leaf_item_resize(path->nodes[0]->data, root->forest->node_bytes, path->slots[0], bytes);
	return 0;
}

void btree_rekey(struct btree_path *path, const struct format_key *key)
{
	leaf_item_rekey(path->nodes[0]->data, path->slots[0], key);
	if (!path->slots[0])
		btree_key_changed(path, 0);
}

uint8_t *btree_item(const struct btree_path *path)
{
	uint8_t *leaf = path->nodes[0]->data;

	return leaf + (node_item_data(leaf, path->slots[0]) - leaf);
}

int btree_create(struct rs_writer *writer, struct rs_subvol *root)
{
	struct buffer *leaf;
	int result = cow_block_new(writer, root, 0, &leaf);

	if (result)
		return result;
	root->node = leaf;
	trans_dirty(root);
	return 0;
}

uint32_t btree_item_bytes_max(const struct rs_forest *forest)
{
	return leaf_capacity(forest->node_bytes) - LEAF_ITEM_BYTES;
}
