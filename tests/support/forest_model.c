/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tests/support/forest_model.h"

uint32_t forest_model_find(const struct forest_model *model, const struct format_key *key,
			   bool *exact)
{
	uint32_t low = 0;
	uint32_t high = model->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (format_key_compare(&model->entries[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*exact = low < model->count && !format_key_compare(&model->entries[low].key, key);
	return low;
}

void forest_model_entry_insert(struct forest_model *model, uint32_t at,
			       const struct forest_model_entry *entry)
{
	struct forest_model_entry *to = &model->entries[at];

	assert_true(model->count < FOREST_MODEL_ITEMS_MAX);
	memmove(to + 1, to, (model->count++ - at) * sizeof(*to));
	*to = *entry;
}

void forest_model_entries_remove(struct forest_model *model, uint32_t at, uint32_t count)
{
	struct forest_model_entry *from = &model->entries[at];

	model->count -= count;
	memmove(from, from + count, (model->count - at) * sizeof(*from));
}

static uint8_t byte_of(uint32_t stamp, uint32_t at)
{
	return (uint8_t)(stamp * 37 + at * 11 + 1);
}

static void data_check(const uint8_t *data, const struct forest_model_entry *entry, uint32_t bytes)
{
	for (uint32_t at = 0; at < bytes; at++)
		if (data[at] != byte_of(entry->stamp, at))
			fail_msg("byte %u of %u is %u", at, bytes, data[at]);
}

static void path_check(const struct rs_subvol *root, const struct btree_path *path)
{
	unsigned level = root->node->level;

	assert_ptr_equal(path->nodes[level], root->node);
	assert_true(level + 1 == FORMAT_LEVELS || !path->nodes[level + 1]);
	for (; level; level--) {
		struct node_expect child =
			node_child(path->nodes[level]->data, path->slots[level], 0);

		assert_true(path->slots[level] < node_count(path->nodes[level]->data));
		assert_int_equal(path->nodes[level - 1]->bytenr, child.bytenr);
		assert_int_equal(path->nodes[level - 1]->level, level - 1);
	}
}

/* The path is at the entry. */
static void item_check(const struct rs_subvol *root, const struct btree_path *path,
		       const struct forest_model_entry *entry)
{
	const uint8_t *leaf = btree_leaf(path);
	struct format_key key;

	path_check(root, path);
	assert_true(path->slots[0] < node_count(leaf));
	key = node_key(leaf, path->slots[0]);
	assert_int_equal(format_key_compare(&key, &entry->key), 0);
	assert_int_equal(node_item_bytes(leaf, path->slots[0]), entry->bytes);
	data_check(node_item_data(leaf, path->slots[0]), entry, entry->bytes);
}

void forest_model_item_renew(struct forest_model *model, uint32_t at, const struct btree_path *path,
			     uint32_t kept)
{
	struct forest_model_entry *entry = &model->entries[at];
	uint8_t *data = btree_item(path);
	uint32_t byte;

	data_check(data, entry, kept);
	for (byte = kept; byte < entry->bytes; byte++)
		assert_int_equal(data[byte], 0);
	entry->stamp = ++model->stamps;
	for (byte = 0; byte < entry->bytes; byte++)
		data[byte] = byte_of(entry->stamp, byte);
}

void forest_model_insert(struct forest_model *model, const struct format_key *key, uint32_t bytes)
{
	struct btree_path path;
	struct forest_model_entry entry = { .key = *key, .bytes = bytes };
	bool exact;
	uint32_t at = forest_model_find(model, key, &exact);

	forest_tree_enter(model->tree, model->root, 1);
	assert_int_equal(btree_insert(model->tree->writer, model->root, key, bytes, &path),
			 exact ? -EEXIST : 0);
	if (!exact) {
		forest_model_entry_insert(model, at, &entry);
		path_check(model->root, &path);
		forest_model_item_renew(model, at, &path, 0);
		item_check(model->root, &path, &model->entries[at]);
	}
	forest_tree_leave(model->tree, model->root);
}

void forest_model_discard(struct forest_model *model, uint32_t at, uint32_t most)
{
	struct btree_path path;
	uint32_t count;

	forest_tree_enter(model->tree, model->root, 1);
	assert_int_equal(btree_change(model->tree->writer, model->root, &model->entries[at].key,
				      &path),
			 1);
	item_check(model->root, &path, &model->entries[at]);
	count = node_count(btree_leaf(&path)) - path.slots[0];
	count = count < most ? count : most;
	assert_int_equal(btree_delete(model->tree->writer, model->root, &path, count), 0);
	forest_tree_leave(model->tree, model->root);
	forest_model_entries_remove(model, at, count);
}

void forest_model_resize(struct forest_model *model, uint32_t at, uint32_t bytes)
{
	struct forest_model_entry *entry = &model->entries[at];
	struct btree_path path;
	uint32_t kept = bytes < entry->bytes ? bytes : entry->bytes;

	forest_tree_enter(model->tree, model->root, 1);
	assert_int_equal(btree_change(model->tree->writer, model->root, &entry->key, &path), 1);
	assert_int_equal(btree_resize(model->tree->writer, model->root, &path, bytes), 0);
	path_check(model->root, &path);
	entry->bytes = bytes;
	forest_model_item_renew(model, at, &path, kept);
	item_check(model->root, &path, entry);
	forest_tree_leave(model->tree, model->root);
}

void forest_model_rekey(struct forest_model *model, uint32_t at, const struct format_key *key)
{
	struct forest_model_entry *entry = &model->entries[at];
	struct btree_path path;

	if (at && format_key_compare(&entry[-1].key, key) >= 0)
		return;
	if (at + 1 < model->count && format_key_compare(&entry[1].key, key) <= 0)
		return;
	forest_tree_enter(model->tree, model->root, 1);
	assert_int_equal(btree_change(model->tree->writer, model->root, &entry->key, &path), 1);
	btree_rekey(&path, key);
	entry->key = *key;
	item_check(model->root, &path, entry);
	forest_tree_leave(model->tree, model->root);
}

void forest_model_change(struct forest_model *model, const struct format_key *key)
{
	struct btree_path path;
	bool exact;
	uint32_t at = forest_model_find(model, key, &exact);

	forest_tree_enter(model->tree, model->root, 1);
	assert_int_equal(btree_change(model->tree->writer, model->root, key, &path), exact);
	path_check(model->root, &path);
	for (unsigned level = 0; level <= model->root->node->level; level++)
		assert_int_equal(path.nodes[level]->generation, model->tree->writer->generation);
	if (exact) {
		data_check(btree_item(&path), &model->entries[at], model->entries[at].bytes);
		memset(btree_item(&path), 0, model->entries[at].bytes);
		forest_model_item_renew(model, at, &path, 0);
	}
	forest_tree_leave(model->tree, model->root);
}

void forest_model_iterate(const struct forest_model *model, uint32_t at, uint32_t most)
{
	struct btree_path path;
	uint32_t stop = model->count - at < most ? model->count : at + most;
	uint32_t now;

	assert_true(btree_find(model->root, &model->entries[at].key, &path));
	for (now = at;;) {
		item_check(model->root, &path, &model->entries[now]);
		if (++now == stop)
			break;
		assert_true(btree_next(model->root, &path));
	}
	if (stop == model->count) {
		assert_false(btree_next(model->root, &path));
		item_check(model->root, &path, &model->entries[stop - 1]);
	}
	for (now = stop - 1; now > at; now--) {
		item_check(model->root, &path, &model->entries[now]);
		assert_true(btree_previous(model->root, &path));
	}
	item_check(model->root, &path, &model->entries[at]);
	if (!at) {
		assert_false(btree_previous(model->root, &path));
		item_check(model->root, &path, &model->entries[0]);
	}
}

static void find(const struct forest_model *model, const struct format_key *key)
{
	struct btree_path path;
	bool exact;
	uint32_t at = forest_model_find(model, key, &exact);

	assert_int_equal(btree_find(model->root, key, &path), exact);
	path_check(model->root, &path);
	/* Between items: the one before is there without going to another leaf, or there is none. */
	assert_int_equal(btree_settle(model->root, &path), at < model->count);
	if (at < model->count)
		item_check(model->root, &path, &model->entries[at]);
	btree_find(model->root, key, &path);
	assert_int_equal(btree_previous(model->root, &path), at > 0);
	if (at)
		item_check(model->root, &path, &model->entries[at - 1]);
}

void forest_model_check(const struct forest_model *model, struct forest_tree_shape *shape)
{
	struct format_key key;
	uint32_t at;

	forest_tree_check(model->root, shape);
	if (model->count)
		forest_model_iterate(model, 0, model->count);
	for (at = 0; at < model->count; at += 1 + model->count / 64) {
		key = model->entries[at].key;
		find(model, &key);
		key.offset++;
		find(model, &key);
		key.objectid--;
		find(model, &key);
	}
}
