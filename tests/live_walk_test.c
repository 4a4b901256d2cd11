/* SPDX-License-Identifier: MIT */
/* Walks along back references whose outcome is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "tests/support/walk_case.h"

#define BLOCK WALK_CASE_BLOCK
#define LARGE_BLOCKS 9000U /* of a file that makes trees of three levels */

static void clone_blocks(struct rs_subvol *source, unsigned file, unsigned first,
			 struct rs_subvol *target, unsigned target_file, unsigned target_first,
			 unsigned count)
{
	const struct rs_file_range from = { source, walk_case_inode(source, file),
					    (uint64_t)first * BLOCK };
	const struct rs_file_range to = { target, walk_case_inode(target, target_file),
					  (uint64_t)target_first * BLOCK };

	assert_int_equal(rs_file_clone(walk_case.writer, &from, (uint64_t)count * BLOCK, &to), 0);
}

static void assert_roots(uint64_t bytenr, size_t expected, const uint64_t *ids)
{
	const uint64_t *roots;
	size_t count;

	rcu_section_enter();
	assert_int_equal(live_walk_roots(walk_case.walk, LIVE_WALK_COMMITTED, bytenr, &roots,
					 &count, NULL),
			 0);
	rcu_section_exit();
	assert_int_equal(count, expected);
	if (count)
		assert_memory_equal(roots, ids, count * sizeof(*ids));
}

/* 256 v, 257 a, 258 b (of a), 259 w. */
static void known_extents_have_known_roots(void **state)
{
	struct rs_subvol *v;
	struct rs_subvol *a;
	struct rs_subvol *b;
	struct rs_subvol *w;
	uint64_t old;
	uint64_t new;

	(void)state;
	walk_case_begin(NULL);
	v = walk_case_subvol(NULL);
	walk_case_write(v, 0, 0, 300, 1);
	old = walk_case_extent(v, 0, 100);
	assert_roots(old, 1, (const uint64_t[]){ 256 });
	a = walk_case_subvol(v);
	b = walk_case_subvol(a);
	assert_roots(old, 3, (const uint64_t[]){ 256, 257, 258 });
	walk_case_write(a, 0, 100, 1, 1);
	new = walk_case_extent(a, 0, 100);
	assert_roots(new, 1, (const uint64_t[]){ 257 });
	assert_roots(old, 2, (const uint64_t[]){ 256, 258 });
	w = walk_case_subvol(NULL);
	clone_blocks(a, 0, 90, w, 1, 0, 20);
	clone_blocks(a, 0, 100, w, 2, 7, 1);
	assert_int_equal(rs_forest_commit(walk_case.writer), 0);
	assert_roots(new, 2, (const uint64_t[]){ 257, 259 });
	assert_roots(walk_case_extent(v, 0, 101), 4, (const uint64_t[]){ 256, 257, 258, 259 });
	assert_int_equal(rs_subvol_delete(walk_case.writer, v), 0);
	assert_roots(old, 1, (const uint64_t[]){ 258 });
	assert_int_equal(rs_forest_drop_wait(walk_case.writer), 0);
	assert_roots(old, 1, (const uint64_t[]){ 258 });
	assert_int_equal(rs_subvol_delete(walk_case.writer, b), 0);
	assert_roots(old, 0, NULL);
	assert_int_equal(rs_forest_drop_wait(walk_case.writer), 0);
	assert_roots(old, 0, NULL);
	assert_roots(w->node->bytenr, 1, (const uint64_t[]){ 259 });
	assert_true(walk_case_check() > 0);
	walk_case_end();
}

/* The part of an extent before its item's begin lies before the file: the reference's offset has wrapped. */
static void offsets_below_zero(void **state)
{
	struct rs_subvol *v;
	struct rs_subvol *w;
	uint64_t extent;

	(void)state;
	walk_case_begin(NULL);
	v = walk_case_subvol(NULL);
	walk_case_write(v, 0, 0, 64, 32);
	extent = walk_case_extent(v, 0, 32);
	w = walk_case_subvol(NULL);
	clone_blocks(v, 0, 50, w, 0, 3, 5);
	clone_blocks(v, 0, 60, w, 0, 0, 1);
	assert_int_equal(rs_forest_commit(walk_case.writer), 0);
	assert_roots(extent, 2, (const uint64_t[]){ 256, 257 });
	assert_int_equal(rs_file_unlink(walk_case.writer, v, "f0"), 0);
	assert_int_equal(rs_forest_commit(walk_case.writer), 0);
	assert_roots(extent, 1, (const uint64_t[]){ 257 });
	assert_true(walk_case_check() > 0);
	walk_case_end();
}

/* An extent in items of several leaves, between those of others. */
static struct rs_subvol *spread_extent(unsigned blocks)
{
	struct rs_subvol *subvol = walk_case_subvol(NULL);
	unsigned at;

	walk_case_write(subvol, 0, 0, blocks, blocks);
	for (at = 1; at < blocks; at += 4)
		walk_case_write(subvol, 0, at, 2, 2);
	return subvol;
}

/* One reference stands for many items, in several leaves, some of which are shared. */
static void one_reference_many_items(void **state)
{
	struct rs_subvol *v;
	struct rs_subvol *a;

	(void)state;
	walk_case_begin(NULL);
	v = spread_extent(2000);
	assert_int_equal(rs_forest_commit(walk_case.writer), 0);
	assert_true(walk_case_check() > 500);
	a = walk_case_subvol(v);
	walk_case_write(v, 0, 800, 200, 1);
	walk_case_write(a, 0, 0, 40, 1);
	walk_case_subvol(a);
	walk_case_write(v, 0, 820, 4, 1);
	assert_int_equal(rs_forest_commit(walk_case.writer), 0);
	assert_true(walk_case_check() > 1500);
	assert_int_equal(rs_subvol_delete(walk_case.writer, v), 0);
	assert_int_equal(rs_forest_drop_wait(walk_case.writer), 0);
	walk_case_check();
	walk_case_end();
}

/*
 * 256 v, 257 r, 258 s, each a snapshot of the one before. Of the extent s has only what is in a leaf that was
 * made for r: among leaves of r's tree that are v's that one must be found.
 */
static void leaves_of_others_do_not_count(void **state)
{
	struct rs_subvol *v;
	struct rs_subvol *r;
	struct rs_subvol *s;
	const struct buffer *leaf;
	unsigned first;
	uint64_t extent;
	uint32_t slot;

	(void)state;
	walk_case_begin(NULL);
	v = spread_extent(400);
	extent = walk_case_extent(v, 0, 0);
	r = walk_case_subvol(v);
	walk_case_write(r, 0, 397, 1, 1);
	leaf = walk_case_leaf(r, 0, 397, &slot);
	first = (unsigned)(node_key(leaf->data, 0).offset / BLOCK);
	assert_in_range(first, 200, 395);
	s = walk_case_subvol(r);
	walk_case_write(s, 0, 0, first, 1);
	assert_ptr_equal(walk_case_leaf(s, 0, 397, &slot), leaf);
	assert_roots(extent, 3, (const uint64_t[]){ 256, 257, 258 });
	walk_case_check();
	walk_case_end();
}

/*
 * A deleted tree's references are made full leaf by leaf, while the keyed one goes on to stand for the
 * leaves whose turn has not come; other roots have only one of the leaves.
 */
static void leaves_that_are_full_do_not_count(void **state)
{
	const struct buffer *leaf;
	struct rs_subvol *v;
	struct rs_subvol *b;
	uint32_t slot;

	(void)state;
	walk_case_begin(NULL);
	v = spread_extent(400);
	walk_case_write(v, 1, 0, LARGE_BLOCKS, 1);
	assert_int_equal(v->node->level, 2);
	walk_case_subvol(v);
	b = walk_case_subvol(v);
	leaf = walk_case_leaf(v, 0, 397, &slot);
	walk_case_write(b, 0, 0, (unsigned)(node_key(leaf->data, 0).offset / BLOCK), 1);
	assert_ptr_equal(walk_case_leaf(b, 0, 397, &slot), leaf);
	assert_int_equal(rs_subvol_delete(walk_case.writer, v), 0);
	walk_case.half_dropped = 0;
	while (rs_forest_drop_step(walk_case.writer, 2) && walk_case.half_dropped < 12) {
		assert_int_equal(rs_forest_commit(walk_case.writer), 0);
		walk_case_check();
	}
	assert_true(walk_case.half_dropped > 8);
	assert_int_equal(rs_forest_drop_wait(walk_case.writer), 0);
	walk_case_check();
	walk_case_end();
}

/* References that no tree implies, put into the index. */
static void damage_is_found(void **state)
{
	static const struct extent_ref refs[] = {
		{ 256, 257, 99 * BLOCK, 1, RS_DELTA_EXTENT_DATA_REF },
		{ 256, 9999, 0, 1, RS_DELTA_EXTENT_DATA_REF },
		{ 12345 * UINT64_C(4096), 0, 0, 1, RS_DELTA_SHARED_DATA_REF },
		{ 257, 0, 0, 1, RS_DELTA_TREE_BLOCK_REF },
		{ 9999, 257, 0, 1, RS_DELTA_EXTENT_DATA_REF },
	};
	struct rs_error error;
	const uint64_t *roots;
	size_t count;
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(refs) / sizeof(refs[0]); at++) {
		bool metadata = refs[at].type == RS_DELTA_TREE_BLOCK_REF;
		struct rs_subvol *v;
		uint64_t bytenr;
		int result;

		walk_case_begin(NULL);
		v = walk_case_subvol(NULL);
		walk_case_subvol(NULL);
		walk_case_write(v, 0, 0, 200, 1);
		bytenr = walk_case_extent(v, 0, 7);
		if (metadata) {
			bytenr = format_le64(&node_pointer(v->node->data, 0)->blockptr);
			assert_true(v->node->level > 0);
		}
		assert_int_equal(extent_index_load(walk_case.forest->extents, bytenr, BLOCK,
						   metadata, &refs[at]),
				 0);
		error = (struct rs_error)RS_ERROR_INIT;
		rcu_section_enter();
		result = live_walk_roots(walk_case.walk, LIVE_WALK_COMMITTED, bytenr, &roots,
					 &count, &error);
		rcu_section_exit();
		/* The last one is of a tree that nobody knows. */
		if (refs[at].root_or_parent == 9999) {
			assert_int_equal(result, 0);
			assert_int_equal(count, 1);
		} else {
			assert_int_equal(result, -EUCLEAN);
			assert_int_equal(count, 0);
			assert_true(strlen(error.what) > 0);
		}
		walk_case_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_extents_have_known_roots),
		cmocka_unit_test(offsets_below_zero),
		cmocka_unit_test(one_reference_many_items),
		cmocka_unit_test(leaves_of_others_do_not_count),
		cmocka_unit_test(leaves_that_are_full_do_not_count),
		cmocka_unit_test(damage_is_found),
	};

	rcu_thread_adopt();
	return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
