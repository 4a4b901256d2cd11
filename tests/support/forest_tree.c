/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>

#include "core/disk/csum.h"
#include "core/forest/btree.h"
#include "core/forest/leaf.h"
#include "core/forest/root.h"
#include "core/forest/trans.h"
#include "tests/support/forest_tree.h"

#define TABLE_SLOTS (1U << 16)

static void tree_clear(struct forest_tree *tree)
{
	static const struct format_key first;
	struct btree_path path;

	for (;;) {
		forest_tree_enter(tree, tree->root, 1);
		assert_in_range(btree_change(tree->writer, tree->root, &first, &path), 0, 1);
		if (btree_settle(tree->root, &path))
			assert_int_equal(btree_delete(tree->writer, tree->root, &path, 1), 0);
		else
			break;
		forest_tree_leave(tree, tree->root);
	}
	forest_tree_leave(tree, tree->root);
}

void forest_tree_begin(struct forest_tree *tree, uint32_t node_bytes)
{
	const struct rs_forest_options options = { .node_bytes = node_bytes,
						   .no_drop_thread = true };

	assert_int_equal(rs_forest_create(&options, &tree->forest, NULL), 0);
	assert_int_equal(rs_writer_join(tree->forest, &tree->writer), 0);
	tree->root = rs_subvol_find_id(tree->forest, BTRFS_FS_TREE_OBJECTID);
	assert_non_null(tree->root);
	tree_clear(tree);
}

void forest_tree_end(struct forest_tree *tree)
{
	rs_writer_leave(tree->writer);
	rs_forest_destroy(tree->forest);
}

void forest_tree_enter(struct forest_tree *tree, struct rs_subvol *root, unsigned changes)
{
	assert_int_equal(trans_join(tree->writer, changes * BTREE_BLOCKS), 0);
	lock_acquire(&root->lock);
}

void forest_tree_leave(struct forest_tree *tree, struct rs_subvol *root)
{
	lock_release(&root->lock);
	trans_end(tree->writer);
}

void forest_tree_commit(struct forest_tree *tree)
{
	assert_int_equal(rs_forest_commit(tree->writer), 0);
}

struct walk {
	const struct rs_forest *forest;
	struct node_rules rules;
	struct forest_tree_shape shape;
	struct format_key last; /* of the leaf before */
	uint8_t *scratch;
};

/* Checksums are not kept in memory: a copy of the block gets one. */
static void block_check(struct walk *walk, const struct buffer *buffer,
			const struct node_expect *expect)
{
	struct rs_error error = RS_ERROR_INIT;

	assert_int_equal(buffer->bytenr, expect->bytenr);
	assert_int_equal(buffer->generation, expect->generation);
	assert_int_equal(buffer->level, expect->level);
	memcpy(walk->scratch, buffer->data, walk->rules.node_bytes);
	csum_block_write(walk->rules.csum_type, walk->scratch, walk->rules.node_bytes);
	if (node_check(&walk->rules, expect, walk->scratch, &error))
		fail_msg("block %" PRIu64 " of level %u: %s", buffer->bytenr, buffer->level,
			 error.what);
}

static void leaf_check(struct walk *walk, const uint8_t *leaf)
{
	uint32_t count = node_count(leaf);
	struct format_key key;

	if (count) {
		key = node_key(leaf, 0);
		assert_true(!walk->shape.items || format_key_compare(&walk->last, &key) < 0);
		walk->last = node_key(leaf, count - 1);
	}
	walk->shape.items += count;
	walk->shape.used_bytes += leaf_used_bytes(leaf, walk->rules.node_bytes, count);
	walk->shape.leaves++;
}

static void block_walk(struct walk *walk, const struct node_expect *expect)
{
	const struct buffer *buffer = buffer_find(&walk->forest->buffers, expect->bytenr);
	uint32_t slot;

	assert_non_null(buffer);
	block_check(walk, buffer, expect);
	walk->shape.blocks++;
	if (!buffer->level) {
		leaf_check(walk, buffer->data);
		return;
	}
	for (slot = 0; slot < node_count(buffer->data); slot++) {
		struct node_expect child = node_child(buffer->data, slot, NODE_OWNER_SUBVOLUME);

		block_walk(walk, &child);
	}
}

void forest_tree_check(const struct rs_subvol *root, struct forest_tree_shape *shape)
{
	const struct rs_forest *forest = root->forest;
	struct node_expect expect = {
		.bytenr = root->node->bytenr,
		.generation = root->node->generation,
		.owner = root->id,
		.level = root->node->level,
		.is_root = true,
	};
	struct walk walk = {
		.forest = forest,
		.rules = { .node_bytes = forest->node_bytes, .sector_bytes = SPACE_UNIT },
		.scratch = malloc(forest->node_bytes),
	};

	assert_non_null(walk.scratch);
	walk.rules.generation_max = order_load_relaxed(&forest->generation);
	memcpy(walk.rules.fsid, forest->fsid, sizeof(walk.rules.fsid));
	block_walk(&walk, &expect);
	free(walk.scratch);
	walk.shape.levels = root->node->level + 1U;
	if (shape)
		*shape = walk.shape;
}

/* Blocks that have been met, by address, and how many ways led there. */
struct table {
	struct {
		const struct buffer *buffer;
		uint64_t refs;
	} slots[TABLE_SLOTS];
	uint64_t count;
};

/* True the first time. */
static bool table_meet(struct table *table, const struct buffer *buffer)
{
	uint32_t at = (uint32_t)(buffer->bytenr / SPACE_UNIT * 2654435761U) % TABLE_SLOTS;

	while (table->slots[at].buffer && table->slots[at].buffer != buffer)
		at = (at + 1) % TABLE_SLOTS;
	table->slots[at].buffer = buffer;
	if (table->slots[at].refs++)
		return false;
	assert_true(++table->count < TABLE_SLOTS / 2);
	return true;
}

static void table_walk(struct table *table, const struct rs_forest *forest, uint64_t bytenr)
{
	const struct buffer *buffer = buffer_find(&forest->buffers, bytenr);
	uint32_t slot;

	assert_non_null(buffer);
	if (!table_meet(table, buffer) || !buffer->level)
		return;
	for (slot = 0; slot < node_count(buffer->data); slot++)
		table_walk(table, forest, format_le64(&node_pointer(buffer->data, slot)->blockptr));
}

static int count_one(void *argument, struct buffer *buffer)
{
	(void)buffer;
	++*(uint64_t *)argument;
	return 0;
}

void forest_tree_check_all(struct rs_forest *forest, bool committed)
{
	struct table *table = calloc(1, sizeof(*table));
	struct rs_subvol *root;
	uint64_t all = 0;
	uint32_t at;

	assert_non_null(table);
	for (root = forest_root_next(forest, NULL); root; root = forest_root_next(forest, root)) {
		if (!root->node)
			continue;
		forest_tree_check(root, NULL);
		table_walk(table, forest, root->node->bytenr);
	}
	for (at = 0; at < TABLE_SLOTS; at++) {
		const struct buffer *buffer = table->slots[at].buffer;

		if (buffer && buffer_refs(buffer_word_approx(buffer)) != table->slots[at].refs)
			fail_msg("block %" PRIu64 " of level %u has %" PRIu64
				 " references, not %" PRIu64,
				 buffer->bytenr, buffer->level,
				 buffer_refs(buffer_word_approx(buffer)), table->slots[at].refs);
	}
	/* What a commit frees goes when nobody can look at it any more. */
	rcu_defer_barrier();
	assert_int_equal(buffer_map_each(&forest->buffers, count_one, &all), 0);
	if (committed)
		assert_int_equal(all, table->count);
	free(table);
}
