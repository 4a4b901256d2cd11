/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "stress/oracle/recount_impl.h"
#include "tests/support/walk_case.h"

#define NAME_BYTES 16

struct walk_case walk_case;

void walk_case_begin(const struct rs_observer *watch)
{
	struct rs_forest_options options = {
		.node_bytes = 4096,
		.no_drop_thread = true,
		.observer = watch,
	};
	struct rs_error error = RS_ERROR_INIT;

	if (rs_forest_create(&options, &walk_case.forest, &error))
		fail_msg("%s", error.what);
	assert_int_equal(rs_writer_join(walk_case.forest, &walk_case.writer), 0);
	assert_int_equal(live_walk_create(walk_case.forest, &walk_case.walk), 0);
	walk_case.serial = 0;
	walk_case.half_dropped = 0;
}

void walk_case_end(void)
{
	live_walk_destroy(walk_case.walk);
	rs_writer_leave(walk_case.writer);
	rs_forest_destroy(walk_case.forest);
}

struct rs_subvol *walk_case_subvol(struct rs_subvol *source)
{
	char name[NAME_BYTES];
	struct rs_subvol *subvol;

	snprintf(name, sizeof(name), "v%u", walk_case.serial++);
	if (source)
		assert_int_equal(rs_subvol_snapshot(walk_case.writer, source, name, false, &subvol),
				 0);
	else
		assert_int_equal(rs_subvol_create(walk_case.writer, name, &subvol), 0);
	return subvol;
}

uint64_t walk_case_inode(struct rs_subvol *subvol, unsigned file)
{
	char name[NAME_BYTES];
	uint64_t inode;

	snprintf(name, sizeof(name), "f%u", file);
	assert_int_equal(rs_file_find(walk_case.writer, subvol, name, true, &inode), 0);
	return inode;
}

void walk_case_write(struct rs_subvol *subvol, unsigned file, unsigned first, unsigned count,
		     unsigned each)
{
	uint64_t inode = walk_case_inode(subvol, file);
	unsigned at;

	for (at = first; at < first + count; at += each)
		assert_int_equal(rs_file_write(walk_case.writer, subvol, inode,
					       (uint64_t)at * WALK_CASE_BLOCK,
					       (uint64_t)each * WALK_CASE_BLOCK),
				 0);
}

const struct buffer *walk_case_leaf(struct rs_subvol *subvol, unsigned file, unsigned block,
				    uint32_t *slot)
{
	const struct format_key key = { walk_case_inode(subvol, file),
					(uint64_t)block * WALK_CASE_BLOCK, BTRFS_EXTENT_DATA_KEY };
	const struct buffer *node = subvol->node;
	struct format_key found;

	assert_int_equal(rs_forest_commit(walk_case.writer), 0);
	while (node->level) {
		*slot = node_lower_bound(node->data, &key);
		found = *slot < node_count(node->data) ? node_key(node->data, *slot) :
							 (struct format_key){ 0 };
		if (*slot && format_key_compare(&found, &key))
			--*slot;
		node = buffer_find(&walk_case.forest->buffers,
				   format_le64(&node_pointer(node->data, *slot)->blockptr));
	}
	*slot = node_lower_bound(node->data, &key);
	found = node_key(node->data, *slot);
	assert_int_equal(format_key_compare(&found, &key), 0);
	return node;
}

uint64_t walk_case_extent(struct rs_subvol *subvol, unsigned file, unsigned block)
{
	uint32_t slot;
	const struct buffer *leaf = walk_case_leaf(subvol, file, block, &slot);
	const struct btrfs_file_extent_item *item =
		(const struct btrfs_file_extent_item *)node_item_data(leaf->data, slot);

	return format_le64(&item->disk_bytenr);
}

static int compare_pairs(const void *a, const void *b)
{
	const struct walk_case_pair *left = a;
	const struct walk_case_pair *right = b;

	if (left->bytenr != right->bytenr)
		return left->bytenr < right->bytenr ? -1 : 1;
	return left->root < right->root ? -1 : left->root > right->root;
}

static void pairs_add(struct walk_case_pairs *pairs, uint64_t bytenr, uint64_t root)
{
	if (pairs->count == pairs->capacity) {
		pairs->capacity = pairs->capacity ? pairs->capacity * 2 : 1024;
		pairs->pairs = realloc(pairs->pairs, pairs->capacity * sizeof(pairs->pairs[0]));
		assert_non_null(pairs->pairs);
	}
	pairs->pairs[pairs->count++] = (struct walk_case_pair){ bytenr, root };
}

struct walk_case_pairs walk_case_recount(void)
{
	const struct recount_options options = { .holdings = true };
	struct recount *recount;
	struct walk_case_pairs pairs = { 0 };
	size_t at;

	rcu_section_enter();
	assert_int_equal(recount_create(walk_case.forest, &options, &recount), 0);
	assert_int_equal(recount_report(recount)->finding_count, 0);
	walk_case.half_dropped += recount_report(recount)->dropping;
	for (at = 0; at < recount->holding_count; at++)
		pairs_add(&pairs, recount->holdings[at].bytenr, recount->holdings[at].root);
	recount_destroy(recount);
	rcu_section_exit();
	qsort(pairs.pairs, pairs.count, sizeof(pairs.pairs[0]), compare_pairs);
	return pairs;
}

static int tour_extent(void *argument, const struct extent *extent)
{
	struct walk_case_tour *tour = argument;
	struct rs_error error = RS_ERROR_INIT;
	const uint64_t *roots;
	size_t count;
	size_t at;

	tour->extents++;
	tour->result =
		live_walk_roots(tour->walk, tour->state, extent->bytenr, &roots, &count, &error);
	if (tour->result)
		snprintf(tour->what, sizeof(tour->what), "%" PRIu64 ": %s", extent->bytenr,
			 error.what);
	for (at = 0; !tour->result && at < count; at++)
		pairs_add(&tour->pairs, extent->bytenr, roots[at]);
	return tour->result;
}

void walk_case_tour(struct walk_case_tour *tour)
{
	rcu_section_enter();
	extent_index_each(walk_case.forest->extents, tour_extent, tour);
	rcu_section_exit();
}

/* The first difference, or NULL. Both are in order: of addresses, and of roots. */
static const struct walk_case_pair *pairs_differ(const struct walk_case_pairs *a,
						 const struct walk_case_pairs *b)
{
	static struct walk_case_pair none;
	size_t at;

	for (at = 0; at < a->count && at < b->count; at++)
		if (compare_pairs(&a->pairs[at], &b->pairs[at]))
			return &a->pairs[at];
	return a->count == b->count ? NULL : &none;
}

void walk_case_assert_same(const struct walk_case_pairs *expected,
			   const struct walk_case_tour *tour)
{
	const struct walk_case_pair *at;

	if (tour->result)
		fail_msg("%s", tour->what);
	at = pairs_differ(expected, &tour->pairs);
	if (at)
		fail_msg("recounted %zu roots of extents, walked to %zu; the first that differs: "
			 "extent %" PRIu64 ", root %" PRIu64,
			 expected->count, tour->pairs.count, at->bytenr, at->root);
	assert_true(tour->extents > 0 && tour->pairs.count > 0);
}

size_t walk_case_check(void)
{
	struct walk_case_pairs expected = walk_case_recount();
	struct walk_case_tour tour = { .walk = walk_case.walk };
	size_t count = expected.count;

	walk_case_tour(&tour);
	walk_case_assert_same(&expected, &tour);
	free(tour.pairs.pairs);
	free(expected.pairs);
	return count;
}
