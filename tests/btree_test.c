/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "core/base/alloc.h"
#include "core/forest/inner.h"
#include "core/forest/leaf.h"
#include "tests/support/forest_model.h"
#include "tests/support/threads.h"

#define TYPES 4U

#define TRIAL_BYTES 1000U /* three items fill a leaf of 4 KiB, one leaves it small */

static struct forest_model models[2];
static struct forest_tree tree;
static struct random_state random_data;

static uint32_t below(uint32_t bound)
{
	return (uint32_t)random_state_below(&random_data, bound);
}

static void begin(uint32_t node_bytes)
{
	forest_tree_begin(&tree, node_bytes);
	models[0].tree = &tree;
	models[0].root = tree.root;
	models[0].count = 0;
}

static void begin_random(uint32_t node_bytes)
{
	begin(node_bytes);
	random_state_seed(&random_data, threads_data_seed("btree_test"), node_bytes);
}

static struct format_key key_at(uint64_t objectid, uint64_t offset)
{
	return (struct format_key){ .objectid = objectid, .type = 1, .offset = offset };
}

/* No file extents, which would be references. */
static struct format_key key_random(void)
{
	static const uint8_t types[TYPES] = { 1, 12, 84, 96 };
	/* Neighbours that differ in the middle of the key, in its first bytes and in its last. */
	uint64_t high = (uint64_t)below(3) << 40;

	return (struct format_key){ .objectid = 256 + below(100) + high,
				    .type = types[below(TYPES)],
				    .offset = (uint64_t)below(50) << 20 | high | below(2) };
}

/* Mostly small, so that trees of some thousand items have three levels; some up to all that a leaf holds. */
static uint32_t bytes_random(void)
{
	uint32_t most = btree_item_bytes_max(tree.forest);
	uint32_t small = tree.forest->node_bytes > 4096 ? 8 : 32;

	switch (below(64)) {
	case 0:
		return most - below(40);
	case 1:
		return below(most + 1);
	case 2:
	case 3:
	case 4:
		return 0;
	default:
		return below(tree.forest->node_bytes / small);
	}
}

static void rekey(struct forest_model *model, uint32_t at)
{
	struct format_key key = model->entries[at].key;

	key.offset += below(2) ? 1 : UINT64_MAX;
	forest_model_rekey(model, at, &key);
}

/* `growth` out of 100 changes of what is there are insertions. */
static void random_step(struct forest_model *model, uint32_t growth)
{
	struct format_key key = key_random();
	uint32_t at = below(model->count);
	bool is_there = model->count != 0;

	if (is_there && below(8) == 0)
		forest_model_resize(model, at, bytes_random());
	else if (is_there && below(8) == 0)
		rekey(model, at);
	else if (is_there && below(8) == 0)
		forest_model_iterate(model, at, 10);
	else if (below(8) == 0)
		forest_model_change(model, is_there && below(2) ? &model->entries[at].key : &key);
	else if (below(100) < growth)
		forest_model_insert(model, &key, bytes_random());
	else if (is_there)
		forest_model_discard(model, at, 1 + (below(4) ? 0 : below(30)));
}

static unsigned random_steps(struct forest_model *model, unsigned steps, uint32_t growth)
{
	unsigned levels = 0;

	for (unsigned step = 1; step <= steps; step++) {
		struct forest_tree_shape shape;

		random_step(model, growth);
		if (step % 100)
			continue;
		forest_tree_check(model->root, &shape);
		assert_int_equal(shape.items, model->count);
		levels = shape.levels > levels ? shape.levels : levels;
		if (step % 500)
			continue;
		forest_model_check(model, NULL);
		forest_tree_commit(&tree);
		forest_tree_check_all(tree.forest, true);
	}
	return levels;
}

static void trees_are_as_the_model_says(uint32_t node_bytes, unsigned steps)
{
	struct forest_tree_shape shape;
	unsigned levels;

	begin_random(node_bytes);
	levels = random_steps(&models[0], steps, 95);
	assert_in_range(levels, 3, 4);
	random_steps(&models[0], steps / 3, 40);
	while (models[0].count)
		random_steps(&models[0], 100, 10);
	forest_model_check(&models[0], &shape);
	assert_int_equal(shape.blocks, 1);
	forest_tree_commit(&tree);
	forest_tree_check_all(tree.forest, true);
	forest_tree_end(&tree);
}

static void trees_of_4k_nodes_are_as_the_model_says(void **state)
{
	(void)state;
	trees_are_as_the_model_says(4096, 6000);
}

static void trees_of_16k_nodes_are_as_the_model_says(void **state)
{
	(void)state;
	trees_are_as_the_model_says(16384, 12000);
}

static void an_empty_tree_has_nothing(void **state)
{
	struct format_key key = key_at(256, 7);
	struct btree_path path;

	(void)state;
	begin(4096);
	assert_false(btree_find(tree.root, &key, &path));
	assert_ptr_equal(path.nodes[0], tree.root->node);
	assert_false(btree_settle(tree.root, &path));
	assert_false(btree_next(tree.root, &path));
	assert_false(btree_previous(tree.root, &path));
	forest_model_change(&models[0], &key);
	forest_model_insert(&models[0], &key, 0);
	forest_model_check(&models[0], NULL);
	forest_model_discard(&models[0], 0, 1);
	forest_model_check(&models[0], NULL);
	forest_tree_end(&tree);
}

static void wrong_items_change_nothing(void **state)
{
	struct format_key key = key_at(256, 7);
	struct format_key other = key_at(256, 8);
	struct btree_path path;
	uint32_t most;

	(void)state;
	begin(4096);
	most = btree_item_bytes_max(tree.forest);
	assert_int_equal(most, 4096 - 101 - 25);
	forest_model_insert(&models[0], &key, 10);
	forest_model_insert(&models[0], &key, 10);
	forest_tree_enter(&tree, tree.root, 1);
	assert_int_equal(btree_insert(tree.writer, tree.root, &other, most + 1, &path), -E2BIG);
	assert_int_equal(btree_change(tree.writer, tree.root, &key, &path), 1);
	assert_int_equal(btree_resize(tree.writer, tree.root, &path, most + 1), -E2BIG);
	forest_tree_leave(&tree, tree.root);
	forest_model_check(&models[0], NULL);
	assert_int_equal(rs_forest_aborted(tree.forest, NULL), 0);
	forest_tree_end(&tree);
}

/* An item that fits beside nothing, at each place of a full leaf. */
static void large_items_go_anywhere(void **state)
{
	(void)state;
	for (unsigned grow = 0; grow < 2; grow++)
		for (unsigned place = 0; place <= 20; place++) {
			struct format_key key = key_at(256, 2 * place + (grow ? 1 : 0));
			uint32_t most;

			if (grow && place == 20)
				continue;
			begin(4096);
			most = btree_item_bytes_max(tree.forest);
			for (unsigned at = 0; at < 20; at++) {
				struct format_key small = key_at(256, 2 * at + 1);

				forest_model_insert(&models[0], &small, 170);
			}
			assert_int_equal(tree.root->node->level, 0);
			if (grow)
				forest_model_resize(&models[0], place, most);
			else
				forest_model_insert(&models[0], &key, most);
			forest_model_check(&models[0], NULL);
			forest_tree_end(&tree);
		}
}

enum order {
	ORDER_UP,
	ORDER_DOWN,
	ORDER_MIDDLE,
	ORDERS
};

/* Items that come in order: how full leaves are, in percent. */
static unsigned fill_of(enum order order, uint32_t count)
{
	struct forest_tree_shape shape;
	uint32_t at;

	begin(4096);
	for (at = 0; at < count; at++) {
		struct format_key key = key_at(256, order == ORDER_DOWN ? count - at : at);

		/* Others stand behind those that come. */
		if (order == ORDER_MIDDLE && at < count / 8)
			key.objectid = 300;
		forest_model_insert(&models[0], &key, 53);
	}
	forest_model_check(&models[0], &shape);
	assert_int_equal(shape.levels, 3);
	at = (uint32_t)(shape.used_bytes * 100 / (shape.leaves * leaf_capacity(4096)));
	forest_tree_end(&tree);
	return at;
}

static void items_in_order_fill_leaves(void **state)
{
	(void)state;
	assert_in_range(fill_of(ORDER_UP, 8000), 97, 100);
	assert_in_range(fill_of(ORDER_MIDDLE, 8000), 90, 100);
	assert_in_range(fill_of(ORDER_DOWN, 8000), 49, 100);
}

static void nodes_in_order_are_full(void **state)
{
	struct forest_tree_shape shape;

	(void)state;
	begin(4096);
	for (uint32_t at = 0; at < 19000; at++) {
		struct format_key key = key_at(256, at);

		forest_model_insert(&models[0], &key, 53);
	}
	forest_model_check(&models[0], &shape);
	/* And the root, and the one at the end. */
	assert_in_range(shape.blocks - shape.leaves, 3,
			shape.leaves / (inner_capacity(4096) - 1) + 2);
	forest_tree_end(&tree);
}

/* A root node has two pointers, or it is a leaf; and it is the root's own. */
static void root_check(void)
{
	const struct buffer *node = tree.root->node;

	assert_true(!node->level || node_count(node->data) > 1);
	assert_int_equal(node->generation, tree.writer->generation);
}

/* Of each 20 items 19 go, in this order or the other: leaves merge with those that were there before. */
static void thin_out(bool down)
{
	struct forest_tree_shape shape;
	uint32_t at;

	begin(4096);
	for (at = 0; at < 8000; at++) {
		struct format_key key = key_at(256, at);

		forest_model_insert(&models[0], &key, 53);
	}
	forest_tree_commit(&tree);
	for (at = 8000; at--;) {
		struct format_key key = key_at(256, down ? at : 7999 - at);
		bool exact;
		uint32_t entry = forest_model_find(&models[0], &key, &exact);

		assert_true(exact);
		if (at % 20 == 0)
			continue;
		forest_model_discard(&models[0], entry, 1);
		root_check();
	}
	forest_model_check(&models[0], &shape);
	assert_in_range(shape.used_bytes * 100 / (shape.leaves * leaf_capacity(4096)), 33, 100);
	assert_int_equal(shape.levels, 2);
	forest_tree_commit(&tree);
	forest_tree_check_all(tree.forest, true);
	forest_tree_end(&tree);
}

static void small_leaves_merge(void **state)
{
	(void)state;
	thin_out(false);
	thin_out(true);
}

/* The leaf that is left was not copied before, and a snapshot has it too. */
static void the_last_leaf_becomes_the_root(void **state)
{
	struct rs_subvol *snapshot;

	(void)state;
	begin(4096);
	for (uint32_t at = 0; at < 4; at++) {
		struct format_key key = key_at(256, at);

		forest_model_insert(&models[0], &key, TRIAL_BYTES);
	}
	assert_int_equal(tree.root->node->level, 1);
	assert_int_equal(rs_subvol_snapshot(tree.writer, tree.root, "snapshot", false, &snapshot),
			 0);
	models[1] = models[0];
	models[1].root = snapshot;
	forest_model_discard(&models[0], 3, 1);
	root_check();
	assert_int_equal(tree.root->node->level, 0);
	forest_model_check(&models[0], NULL);
	forest_model_check(&models[1], NULL);
	forest_tree_check_all(tree.forest, false);
	forest_tree_commit(&tree);
	forest_tree_check_all(tree.forest, true);
	forest_tree_end(&tree);
}

/* Both trees change, each as its model says, however much they share. */
static void snapshots_are_left_alone(void **state)
{
	struct rs_subvol *snapshot;

	(void)state;
	begin_random(4096);
	random_steps(&models[0], 2000, 95);
	assert_int_equal(rs_subvol_snapshot(tree.writer, tree.root, "snapshot", false, &snapshot),
			 0);
	models[1] = models[0];
	models[1].root = snapshot;
	forest_tree_check_all(tree.forest, true);
	forest_model_check(&models[1], NULL);
	for (unsigned round = 0; round < 12; round++) {
		unsigned side = round % 2;

		random_steps(&models[side], 200, round < 4 ? 50 : 20);
		forest_model_check(&models[!side], NULL);
		forest_tree_check_all(tree.forest, false);
	}
	forest_tree_commit(&tree);
	forest_tree_check_all(tree.forest, true);
	forest_tree_end(&tree);
}

enum trial {
	TRIAL_INSERT,
	TRIAL_RAISE,
	TRIAL_GROW,
	TRIAL_DELETE,
	TRIAL_CHANGE,
	TRIALS
};

/*
 * A tree in which the trial has much to do, all of it committed: nodes that a split of a leaf splits too,
 * up to the root in one of them; leaves of two items, and one less makes them small.
 */
static void trial_begin(enum trial trial)
{
	uint32_t leaves = trial == TRIAL_RAISE ? inner_capacity(4096) : 2 * inner_capacity(4096);
	struct format_key key;
	uint32_t at;

	begin(4096);
	for (at = 0; at < 3 * leaves; at++) {
		key = key_at(256, 10 * at);
		forest_model_insert(&models[0], &key, TRIAL_BYTES);
	}
	for (at = 2; at < models[0].count && trial != TRIAL_RAISE; at += 2)
		forest_model_discard(&models[0], at, 1);
	key = key_at(256, 5);
	if (trial == TRIAL_INSERT || trial == TRIAL_GROW)
		forest_model_insert(&models[0], &key, btree_item_bytes_max(tree.forest));
	forest_tree_commit(&tree);
	assert_int_equal(tree.root->node->level, trial == TRIAL_RAISE ? 1 : 2);
}

static struct forest_model_entry trial_entry(uint32_t at)
{
	return (struct forest_model_entry){ .key = key_at(256,
							  models[0].entries[at].key.offset + 5),
					    .bytes = btree_item_bytes_max(tree.forest) };
}

static int trial_run(enum trial trial, uint32_t at)
{
	struct format_key key = models[0].entries[at].key;
	struct forest_model_entry more = trial_entry(at);
	struct btree_path path;
	int result;

	if (trial == TRIAL_INSERT || trial == TRIAL_RAISE)
		return btree_insert(tree.writer, tree.root, &more.key, more.bytes, &path);
	result = btree_change(tree.writer, tree.root, &key, &path);
	if (result < 0 || trial == TRIAL_CHANGE)
		return result < 0 ? result : 0;
	if (trial == TRIAL_GROW)
		return btree_resize(tree.writer, tree.root, &path, more.bytes);
	return btree_delete(tree.writer, tree.root, &path, 1);
}

/* The model, when the trial did what it was to do. */
static void trial_done(enum trial trial, uint32_t at)
{
	struct forest_model_entry more = trial_entry(at);
	struct btree_path path;
	uint32_t kept = 0;

	if (trial == TRIAL_CHANGE)
		return;
	if (trial == TRIAL_DELETE) {
		forest_model_entries_remove(&models[0], at, 1);
		return;
	}
	if (trial == TRIAL_GROW) {
		kept = models[0].entries[at].bytes;
		models[0].entries[at].bytes = more.bytes;
	} else {
		forest_model_entry_insert(&models[0], ++at, &more);
	}
	assert_true(btree_find(tree.root, &models[0].entries[at].key, &path));
	forest_model_item_renew(&models[0], at, &path, kept);
}

struct trial_counts {
	unsigned clean;
	unsigned aborted;
};

/* Each allocation of the trial fails once: none of the change is made, or the forest is aborted. */
static void trial_fail(enum trial trial, struct trial_counts *counts)
{
	uint64_t refused = 1;
	uint64_t nth;

	for (nth = 1; refused; nth++) {
		uint32_t at = 60;
		int result;

		trial_begin(trial);
		forest_tree_enter(&tree, tree.root, 1);
		alloc_fail_arm(nth, 0);
		result = trial_run(trial, at);
		refused = alloc_fail_count();
		alloc_fail_arm(0, 0);
		assert_int_equal(result, refused ? -ENOMEM : 0);
		if (!result)
			trial_done(trial, at);
		forest_tree_leave(&tree, tree.root);
		if (rs_forest_aborted(tree.forest, NULL)) {
			assert_int_equal(rs_forest_aborted(tree.forest, NULL), result);
			counts->aborted++;
		} else {
			counts->clean += result != 0;
			forest_model_check(&models[0], NULL);
			forest_tree_commit(&tree);
			forest_tree_check_all(tree.forest, true);
		}
		forest_tree_end(&tree);
	}
	assert_true(nth > 3);
}

static void failing_allocations_leave_a_tree(void **state)
{
	struct trial_counts counts = { 0, 0 };

	(void)state;
	/* Each tree block is an allocation that can fail. */
	buffer_pool_keep_apart(true);
	for (unsigned trial = 0; trial < TRIALS; trial++)
		trial_fail((enum trial)trial, &counts);
	print_message("%u changes not made, %u forests aborted\n", counts.clean, counts.aborted);
	assert_true(counts.clean > 0 && counts.aborted > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_tree_has_nothing),
		cmocka_unit_test(wrong_items_change_nothing),
		cmocka_unit_test(large_items_go_anywhere),
		cmocka_unit_test(items_in_order_fill_leaves),
		cmocka_unit_test(nodes_in_order_are_full),
		cmocka_unit_test(small_leaves_merge),
		cmocka_unit_test(the_last_leaf_becomes_the_root),
		cmocka_unit_test(trees_of_4k_nodes_are_as_the_model_says),
		cmocka_unit_test(trees_of_16k_nodes_are_as_the_model_says),
		cmocka_unit_test(snapshots_are_left_alone),
		cmocka_unit_test(failing_allocations_leave_a_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
