/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/base/random.h"
#include "core/delayed/rbtree.h"
#include "tests/support/threads.h"

#define KEYS 600

struct item {
	struct rbtree_node node; /* first, so that a node is its item */
	unsigned key;
};

struct garden {
	struct rbtree tree;
	struct item items[KEYS];
	bool in[KEYS];
	unsigned count;
};

/* The number of black links down to any leaf; asserts order, colours and even depth. */
static unsigned check_below(rbtree_link link, bool parent_red, unsigned low, unsigned high,
			    unsigned *count)
{
	const struct item *item = (const struct item *)rbtree_node_of(link);
	bool red = link & RBTREE_RED;
	unsigned left;
	unsigned right;

	if (!item) {
		assert_false(red);
		return 0;
	}
	assert_false(red && parent_red);
	assert_true(item->key >= low && item->key < high);
	++*count;
	left = check_below(item->node.child[0], red, low, item->key, count);
	right = check_below(item->node.child[1], red, item->key + 1, high, count);
	assert_int_equal(left, right);
	return left + !red;
}

static void check(const struct garden *garden)
{
	unsigned count = 0;

	check_below(garden->tree.root, true, 0, KEYS, &count);
	assert_int_equal(count, garden->count);
}

static bool find(struct garden *garden, struct rbtree_path *path, unsigned key)
{
	struct item *item;

	rbtree_path_begin(path, &garden->tree);
	while ((item = (struct item *)rbtree_path_node(path))) {
		if (item->key == key)
			return true;
		rbtree_path_down(path, &item->node, key > item->key);
	}
	return false;
}

static void toggle(struct garden *garden, unsigned key)
{
	struct rbtree_path path;

	assert_int_equal(find(garden, &path, key), garden->in[key]);
	if (garden->in[key]) {
		assert_ptr_equal(rbtree_path_node(&path), &garden->items[key]);
		rbtree_remove(&path);
		memset(&garden->items[key].node, 0xff, sizeof(struct rbtree_node));
		garden->count--;
	} else {
		garden->items[key].key = key;
		rbtree_insert(&path, &garden->items[key].node);
		garden->count++;
	}
	garden->in[key] = !garden->in[key];
	assert_int_equal(find(garden, &path, key), garden->in[key]);
}

/* From each node on: the next one that is in. */
static void check_walk(struct garden *garden)
{
	struct rbtree_path path;
	unsigned from;

	for (from = 0; from < KEYS; from++) {
		unsigned key;

		if (!garden->in[from])
			continue;
		assert_true(find(garden, &path, from));
		for (key = from + 1; key < KEYS; key++) {
			if (!garden->in[key])
				continue;
			assert_ptr_equal(rbtree_path_peek(&path), &garden->items[key]);
			assert_true(rbtree_path_next(&path));
			assert_ptr_equal(rbtree_path_node(&path), &garden->items[key]);
		}
		assert_null(rbtree_path_peek(&path));
		assert_false(rbtree_path_next(&path));
	}
}

/* All ways to put in four keys and to take them out. */
static void rbtree_small_trees(void **state)
{
	unsigned in;
	unsigned out;

	(void)state;
	for (in = 0; in < 256; in++) {
		for (out = 0; out < 256; out++) {
			struct garden garden = { .count = 0 };
			unsigned at;

			for (at = 0; at < 4; at++) {
				toggle(&garden, in >> (2 * at) & 3);
				check(&garden);
			}
			for (at = 0; at < 4; at++) {
				toggle(&garden, out >> (2 * at) & 3);
				check(&garden);
			}
		}
	}
}

static void rbtree_ascending_and_descending(void **state)
{
	static struct garden garden;
	unsigned key;

	(void)state;
	for (key = 0; key < KEYS; key++) {
		toggle(&garden, key);
		check(&garden);
	}
	check_walk(&garden);
	for (key = 0; key < KEYS; key += 2)
		toggle(&garden, key);
	check(&garden);
	check_walk(&garden);
	for (key = KEYS; key-- > 0;) {
		if (!garden.in[key])
			continue;
		toggle(&garden, key);
		check(&garden);
	}
	assert_int_equal(garden.tree.root, 0);
}

/* Fills and empties by turns. */
static void rbtree_random(void **state)
{
	static struct garden garden;
	struct random_state random;
	unsigned step;

	(void)state;
	random_state_seed(&random, threads_data_seed("rbtree_random"), 0);
	for (step = 0; step < 20000; step++) {
		unsigned key = (unsigned)random_state_below(&random, KEYS);
		bool fill = step / 2000 % 2 == 0;

		if (garden.in[key] == fill && random_state_chance(&random, 3, 4))
			continue;
		toggle(&garden, key);
		check(&garden);
		if (step % 1000 == 0)
			check_walk(&garden);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rbtree_small_trees),
		cmocka_unit_test(rbtree_ascending_and_descending),
		cmocka_unit_test(rbtree_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
