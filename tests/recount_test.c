/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/disk/put.h"
#include "stress/oracle/recount.h"
#include "stress/oracle/recount_accounts.h"
#include "tests/support/hand_forest.h"

static const struct recount_options all = { .references = true, .holdings = true };
static struct recount *counted;

static int set_up(void **state)
{
	(void)state;
	hand_forest_make();
	counted = NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	recount_destroy(counted);
	hand_forest_destroy();
	return 0;
}

static int try_count(const struct recount_options *options, unsigned root_count)
{
	unsigned at;
	int ret = recount_begin(&hand_forest.forest, options, &counted);

	for (at = 0; !ret && at < root_count; at++)
		ret = recount_root_add(counted, &hand_forest.roots[at]);
	return ret ? ret : recount_finish(counted);
}

static const struct recount_report *count_all(void)
{
	recount_destroy(counted);
	counted = NULL;
	assert_int_equal(try_count(&all, 3), 0);
	return recount_report(counted);
}

/* Something of this kind is found at the address. */
static void expect_found(enum recount_kind kind, uint64_t bytenr)
{
	const struct recount_report *report = count_all();
	uint64_t at;

	for (at = 0; at < report->finding_count && at < RECOUNT_FINDINGS_MAX; at++)
		if (report->findings[at].kind == kind && report->findings[at].bytenr == bytenr)
			return;
	for (at = 0; at < report->finding_count && at < RECOUNT_FINDINGS_MAX; at++)
		print_message("%s %llu: %s\n", recount_kind_name(report->findings[at].kind),
			      (unsigned long long)report->findings[at].bytenr,
			      report->findings[at].text);
	fail_msg("nothing of kind %s at %llu", recount_kind_name(kind), (unsigned long long)bytenr);
}

/* And nothing else. */
static void expect_only(enum recount_kind kind, uint64_t bytenr)
{
	expect_found(kind, bytenr);
	assert_int_equal(recount_report(counted)->finding_count, 1);
	assert_int_equal(recount_report(counted)->counts[kind], 1);
}

static void a_sound_forest_is_counted(void **state)
{
	const struct recount_report *report = count_all();
	const struct recount_size *sizes;
	const struct recount_root *bytes;
	size_t count;

	(void)state;
	if (report->finding_count)
		fail_msg("%s", report->findings[0].text);
	assert_int_equal(report->roots, 2);
	assert_int_equal(report->dropping, 1);
	assert_int_equal(report->blocks, HAND_PLACES);
	assert_int_equal(report->items, 3 + 2 + 2 + 1 + 1);
	assert_int_equal(report->extents, HAND_PLACES + 4);
	assert_int_equal(report->foreign, 0);
	bytes = recount_roots(counted, &count);
	assert_int_equal(count, 2);
	assert_int_equal(bytes[0].root, 256);
	assert_int_equal(bytes[0].rfer, 3 * HAND_NODE + 3 * HAND_DATA);
	assert_int_equal(bytes[0].excl, 2 * HAND_NODE + HAND_DATA);
	assert_int_equal(bytes[0].data_rfer, 3 * HAND_DATA);
	assert_int_equal(bytes[0].data_excl, HAND_DATA);
	assert_int_equal(bytes[1].rfer, 3 * HAND_NODE + 2 * HAND_DATA);
	assert_int_equal(bytes[1].data_excl, 0);
	sizes = recount_sizes(counted, &count);
	assert_int_equal(count, 1);
	assert_int_equal(sizes[0].bytes, HAND_DATA);
	assert_int_equal(sizes[0].count, 3);
}

static void progress_says_what_is_gone(void **state)
{
	(void)state;
	/* Above the pointer: the leaf has gone too, though the index has it yet. */
	hand_forest.commits[2].drop_progress = hand_forest_key(311, 1);
	expect_found(RECOUNT_EXTRA, HAND_AT(HAND_DROP_LEAF));
	assert_int_equal(recount_report(counted)->counts[RECOUNT_LOST], 1);
	assert_int_equal(recount_report(counted)->counts[RECOUNT_EXTRA], 2);
	/* Nothing has gone yet: then the pointers to what is gone, of two levels, lead nowhere. */
	hand_forest.commits[2].drop_progress = (struct format_key){ 0 };
	hand_forest.commits[2].drop_level = 0;
	expect_found(RECOUNT_NODE, HAND_GONE);
	assert_int_equal(recount_report(counted)->counts[RECOUNT_MISSING], 2);
}

static void references_that_differ_are_found(void **state)
{
	(void)state;
	hand_forest_index_data(0, 256, 333, 0);
	expect_only(RECOUNT_EXTRA, HAND_DATA_AT(0));
}

static void extents_that_are_too_many_are_found(void **state)
{
	(void)state;
	hand_forest_index(HAND_DATA_AT(4), 256, 300, 0, 1, RS_DELTA_EXTENT_DATA_REF);
	expect_found(RECOUNT_EXTRA, HAND_DATA_AT(4));
	assert_int_equal(recount_report(counted)->counts[RECOUNT_SPACE], 1);
	assert_int_equal(recount_report(counted)->finding_count, 2);
}

static void missing_extents_are_found(void **state)
{
	(void)state;
	hand_forest_put(HAND_COPY, 302, 0, HAND_DATA_AT(5));
	expect_only(RECOUNT_MISSING, HAND_DATA_AT(5));
}

static void missing_references_are_found(void **state)
{
	(void)state;
	hand_forest_put(HAND_COPY, 302, 0, HAND_DATA_AT(2));
	expect_only(RECOUNT_MISSING, HAND_DATA_AT(2));
}

static void counts_that_differ_are_found(void **state)
{
	(void)state;
	hand_forest_index(HAND_DATA_AT(1), HAND_AT(HAND_FULL), 0, 0, 1, RS_DELTA_SHARED_DATA_REF);
	expect_only(RECOUNT_COUNT, HAND_DATA_AT(1));
}

/* The flag alone decides how references are keyed. */
static void a_lost_flag_is_found(void **state)
{
	(void)state;
	buffer_lock(hand_forest.blocks[HAND_LEFT]);
	buffer_unlock(hand_forest.blocks[HAND_LEFT], 0, true);
	expect_found(RECOUNT_MISSING, HAND_DATA_AT(0));
	assert_int_equal(recount_report(counted)->counts[RECOUNT_EXTRA], 2);
}

static void lengths_that_differ_are_found(void **state)
{
	(void)state;
	put_le64(&hand_forest_extent(HAND_COPY, 1)->disk_num_bytes, 2 * HAND_DATA);
	expect_only(RECOUNT_LENGTH, HAND_DATA_AT(2));
}

static void overlaps_are_found(void **state)
{
	const struct extent_ref ref = { 256, 301, 2 * HAND_DATA, 1, RS_DELTA_EXTENT_DATA_REF };

	(void)state;
	assert_int_equal(extent_index_load(hand_forest.forest.extents, HAND_DATA_AT(2) + 4096,
					   HAND_DATA - 4096, false, &ref),
			 0);
	hand_forest_put(HAND_COPY, 301, 2 * HAND_DATA, HAND_DATA_AT(2) + 4096);
	put_le64(&hand_forest_extent(HAND_COPY, 2)->disk_num_bytes, HAND_DATA - 4096);
	put_le64(&hand_forest_extent(HAND_COPY, 2)->num_bytes, HAND_DATA - 4096);
	expect_only(RECOUNT_OVERLAP, HAND_DATA_AT(2) + 4096);
}

static void words_that_differ_are_found(void **state)
{
	(void)state;
	buffer_ref(hand_forest.blocks[HAND_LEFT]);
	expect_only(RECOUNT_WORD, HAND_AT(HAND_LEFT));
}

static void lost_buffers_are_found(void **state)
{
	struct buffer *buffer =
		buffer_create(&hand_forest.forest.buffers, NULL, HAND_AT(50), HAND_GENERATION, 0);

	(void)state;
	assert_non_null(buffer);
	assert_int_equal(buffer_publish(buffer), 0);
	expect_only(RECOUNT_LOST, HAND_AT(50));
}

static void free_space_under_extents_is_found(void **state)
{
	(void)state;
	space_free(&hand_forest.forest.space, HAND_DATA_AT(1) + 8192, 4096);
	expect_only(RECOUNT_SPACE, HAND_DATA_AT(1));
}

/* One thing wrong in one node each time. */
static void broken_headers_are_found(void **state)
{
	struct format_header *header;

	(void)state;
	header = (struct format_header *)hand_forest.blocks[HAND_COPY]->data;
	put_le64(&header->bytenr, HAND_AT(HAND_LEFT));
	expect_found(RECOUNT_NODE, HAND_AT(HAND_COPY));
}

static void broken_generations_are_found(void **state)
{
	(void)state;
	put_le64(&hand_forest_pointer(HAND_SNAP, 0)->generation, HAND_GENERATION + 1);
	expect_found(RECOUNT_NODE, HAND_AT(HAND_LEFT));
}

static void a_node_above_its_commit_is_found(void **state)
{
	(void)state;
	hand_forest.commits[0].generation = HAND_GENERATION - 1;
	expect_only(RECOUNT_NODE, HAND_AT(HAND_TOP));
}

static void broken_owners_are_found(void **state)
{
	(void)state;
	put_le64(&((struct format_header *)hand_forest.blocks[HAND_COPY]->data)->owner, 2);
	expect_found(RECOUNT_NODE, HAND_AT(HAND_COPY));
}

static void broken_levels_are_found(void **state)
{
	(void)state;
	put_le64(&hand_forest_pointer(HAND_TOP, 1)->blockptr, HAND_AT(HAND_SNAP));
	expect_found(RECOUNT_NODE, HAND_AT(HAND_SNAP));
}

static void keys_out_of_order_are_found(void **state)
{
	const struct format_key key = hand_forest_key(300, 3 * HAND_DATA);

	(void)state;
	put_key(&hand_forest_item(HAND_LEFT, 1)->key, &key);
	expect_found(RECOUNT_NODE, HAND_AT(HAND_LEFT));
}

static void keys_of_pointers_are_compared(void **state)
{
	const struct format_key key = hand_forest_key(300, 4096);

	(void)state;
	put_key(&hand_forest_pointer(HAND_TOP, 1)->key, &key);
	/* Its child begins with another key; and what is before it reaches beyond. */
	expect_found(RECOUNT_NODE, HAND_AT(HAND_COPY));
	expect_found(RECOUNT_NODE, HAND_AT(HAND_LEFT));
}

static void gaps_between_items_are_found(void **state)
{
	(void)state;
	put_le32(&hand_forest_item(HAND_COPY, 1)->size, sizeof(struct btrfs_file_extent_item) - 1);
	expect_found(RECOUNT_NODE, HAND_AT(HAND_COPY));
}

static void file_extents_that_overlap_are_found(void **state)
{
	const struct format_key key = hand_forest_key(301, HAND_DATA - 4096);

	(void)state;
	put_key(&hand_forest_item(HAND_COPY, 1)->key, &key);
	expect_found(RECOUNT_NODE, HAND_AT(HAND_COPY));
}

static void file_extents_past_their_extent_are_found(void **state)
{
	(void)state;
	put_le64(&hand_forest_extent(HAND_COPY, 1)->num_bytes, HAND_DATA + 4096);
	expect_found(RECOUNT_NODE, HAND_AT(HAND_COPY));
	/* Unpacked, it is as large as that. */
	hand_forest_extent(HAND_COPY, 1)->compression = 1;
	put_le64(&hand_forest_extent(HAND_COPY, 1)->ram_bytes, HAND_DATA + 4096);
	assert_int_equal(count_all()->finding_count, 0);
}

/* What the index has of trees that are not in the forest is theirs. */
static void other_trees_are_left_alone(void **state)
{
	(void)state;
	hand_forest_index(HAND_AT(60), BTRFS_ROOT_TREE_OBJECTID, 1, 0, 1, RS_DELTA_TREE_BLOCK_REF);
	hand_forest_index_data(7, BTRFS_ROOT_TREE_OBJECTID, 300, 0);
	assert_int_equal(count_all()->finding_count, 0);
	assert_int_equal(count_all()->foreign, 2);
	/* Not so where a tree of the forest has a part in it. */
	hand_forest_index_data(7, 256, 300, 0);
	expect_found(RECOUNT_EXTRA, HAND_DATA_AT(7));
	assert_int_equal(count_all()->foreign, 1);
}

static void too_many_items_are_found(void **state)
{
	(void)state;
	put_le32(&((struct format_header *)hand_forest.blocks[HAND_COPY]->data)->nritems, 10000);
	expect_found(RECOUNT_NODE, HAND_AT(HAND_COPY));
}

static void empty_nodes_are_found(void **state)
{
	(void)state;
	put_le32(&((struct format_header *)hand_forest.blocks[HAND_REST]->data)->nritems, 0);
	expect_found(RECOUNT_NODE, HAND_AT(HAND_REST));
}

/* Root deltas of the forest, from nothing, as its writers would have made them. */
static struct rs_delta root_delta(uint64_t bytenr, uint64_t bytes, uint64_t root, int count)
{
	return (struct rs_delta){
		.bytenr = bytenr,
		.root = root,
		.count = count,
		.length_4k = (uint32_t)(bytes / RS_DELTA_UNIT),
		.seq_type = RS_DELTA_ROOT,
	};
}

static int feed(struct recount_accounts *accounts, uint64_t bytenr, uint64_t bytes, uint64_t root,
		int count)
{
	const struct rs_delta delta = root_delta(bytenr, bytes, root, count);
	const struct rs_head head = { .bytenr = bytenr, .roots = &delta, .root_count = 1 };

	return recount_accounts_head(accounts, &head);
}

/* 256 had TOP, LEFT and FULL, was copied as 257, and copied FULL then; 258 came and went. */
static struct recount_accounts *fed_accounts(void)
{
	struct recount_accounts *accounts;

	assert_int_equal(recount_accounts_create(&accounts), 0);
	assert_int_equal(feed(accounts, HAND_AT(HAND_TOP), HAND_NODE, 256, 1), 0);
	assert_int_equal(feed(accounts, HAND_AT(HAND_LEFT), HAND_NODE, 256, 1), 0);
	assert_int_equal(feed(accounts, HAND_AT(HAND_FULL), HAND_NODE, 256, 1), 0);
	assert_int_equal(feed(accounts, HAND_DATA_AT(0), HAND_DATA, 256, 2), 0);
	assert_int_equal(feed(accounts, HAND_DATA_AT(1), HAND_DATA, 256, 2), 0);
	assert_int_equal(feed(accounts, HAND_DATA_AT(3), HAND_DATA, 258, 2), 0);
	assert_int_equal(feed(accounts, HAND_AT(HAND_TOP), HAND_NODE, 257, -1), 0);
	assert_int_equal(feed(accounts, HAND_AT(HAND_SNAP), HAND_NODE, 257, 1), 0);
	assert_int_equal(recount_accounts_snapshot(accounts, 256, 257), 0);
	assert_int_equal(recount_accounts_deleted(accounts, 258), 0);
	assert_int_equal(feed(accounts, HAND_AT(HAND_FULL), HAND_NODE, 256, -1), 0);
	assert_int_equal(feed(accounts, HAND_AT(HAND_COPY), HAND_NODE, 256, 1), 0);
	assert_int_equal(feed(accounts, HAND_DATA_AT(1), HAND_DATA, 256, -1), 0);
	assert_int_equal(feed(accounts, HAND_DATA_AT(2), HAND_DATA, 256, 1), 0);
	return accounts;
}

/* Findings of accounts after a delta more. */
static uint64_t found_with(uint64_t bytenr, uint64_t bytes, uint64_t root, int count)
{
	struct recount_accounts *accounts = fed_accounts();

	count_all();
	if (count)
		assert_int_equal(feed(accounts, bytenr, bytes, root, count), 0);
	assert_int_equal(recount_accounts_compare(accounts, counted), 0);
	recount_accounts_destroy(accounts);
	assert_int_equal(recount_report(counted)->counts[RECOUNT_ACCOUNT],
			 recount_report(counted)->finding_count);
	return recount_report(counted)->finding_count;
}

static void deltas_come_to_what_roots_have(void **state)
{
	(void)state;
	assert_int_equal(found_with(0, 0, 0, 0), 0);
	assert_int_equal(found_with(HAND_DATA_AT(0), HAND_DATA, 256, 1), 1);
	assert_int_equal(recount_report(counted)->findings[0].bytenr, HAND_DATA_AT(0));
	assert_int_equal(found_with(HAND_DATA_AT(0), HAND_DATA, 257, -2), 1);
	assert_int_equal(found_with(HAND_DATA_AT(0), HAND_DATA, 257, -3), 1);
	assert_int_equal(found_with(HAND_DATA_AT(9), HAND_DATA, 256, 1), 1);
	/* A root that there is not, below and above the others. */
	assert_int_equal(found_with(HAND_DATA_AT(0), HAND_DATA, 5, 1), 1);
	assert_int_equal(found_with(HAND_DATA_AT(0), HAND_DATA, 300, 1), 1);
}

static void lengths_in_deltas_are_compared(void **state)
{
	struct recount_accounts *accounts = fed_accounts();

	(void)state;
	count_all();
	assert_int_equal(feed(accounts, HAND_DATA_AT(2), HAND_DATA, 256, -1), 0);
	assert_int_equal(feed(accounts, HAND_DATA_AT(2), 2 * HAND_DATA, 256, 1), 0);
	assert_int_equal(recount_accounts_compare(accounts, counted), 0);
	assert_int_equal(recount_report(counted)->counts[RECOUNT_ACCOUNT], 1);
	recount_accounts_destroy(accounts);
}

static void accounts_refuse_what_cannot_be(void **state)
{
	struct recount_accounts *accounts = fed_accounts();

	(void)state;
	assert_int_equal(feed(accounts, HAND_DATA_AT(2), HAND_DATA, 258, -1), -EUCLEAN);
	assert_int_equal(recount_accounts_deleted(accounts, 258), -EUCLEAN);
	assert_int_equal(recount_accounts_snapshot(accounts, 258, 259), -EUCLEAN);
	assert_int_equal(recount_accounts_snapshot(accounts, 256, 258), -EUCLEAN);
	assert_int_equal(recount_accounts_snapshot(accounts, 256, 256), -EUCLEAN);
	recount_accounts_destroy(accounts);
}

static void accounts_begin_with_a_recount(void **state)
{
	struct recount_accounts *accounts;

	(void)state;
	count_all();
	assert_int_equal(recount_accounts_create(&accounts), 0);
	assert_int_equal(recount_accounts_load(accounts, counted), 0);
	assert_int_equal(recount_accounts_compare(accounts, counted), 0);
	assert_int_equal(recount_report(counted)->finding_count, 0);
	recount_accounts_destroy(accounts);
	/* And all that roots have is found, where accounts have nothing: 3 + 3 and 3 + 2 extents. */
	assert_int_equal(recount_accounts_create(&accounts), 0);
	assert_int_equal(recount_accounts_compare(accounts, counted), 0);
	assert_int_equal(recount_report(counted)->counts[RECOUNT_ACCOUNT], 11);
	recount_accounts_destroy(accounts);
}

static void only_trees_are_read_beside_writers(void **state)
{
	const struct recount_options trees = { .holdings = true };

	(void)state;
	/* All of that is none of its business. */
	buffer_ref(hand_forest.blocks[HAND_LEFT]);
	hand_forest_index_data(0, 256, 333, 0);
	rcu_section_enter();
	assert_int_equal(try_count(&trees, 3), 0);
	rcu_section_exit();
	assert_int_equal(recount_report(counted)->finding_count, 0);
	assert_int_equal(recount_report(counted)->references, 0);
	assert_int_equal(recount_report(counted)->blocks, HAND_PLACES);
}

static void failed_allocations_leave_nothing(void **state)
{
	unsigned nth;
	int outcome;

	(void)state;
	for (nth = 1; nth < 200; nth++) {
		alloc_fail_arm(nth, 0);
		outcome = try_count(&all, 3);
		if (!alloc_fail_count())
			break;
		alloc_fail_arm(0, 0);
		assert_int_equal(outcome, -ENOMEM);
		recount_destroy(counted);
		counted = NULL;
	}
	alloc_fail_arm(0, 0);
	assert_in_range(nth, 10, 199);
	assert_int_equal(outcome, 0);
	assert_int_equal(recount_report(counted)->finding_count, 0);
}

static int enroll(void **state)
{
	(void)state;
	rcu_thread_enroll();
	return 0;
}

static int leave(void **state)
{
	(void)state;
	rcu_thread_leave();
	return 0;
}

#define CHECK(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECK(a_sound_forest_is_counted),
		CHECK(progress_says_what_is_gone),
		CHECK(references_that_differ_are_found),
		CHECK(extents_that_are_too_many_are_found),
		CHECK(missing_extents_are_found),
		CHECK(missing_references_are_found),
		CHECK(counts_that_differ_are_found),
		CHECK(a_lost_flag_is_found),
		CHECK(lengths_that_differ_are_found),
		CHECK(overlaps_are_found),
		CHECK(words_that_differ_are_found),
		CHECK(lost_buffers_are_found),
		CHECK(free_space_under_extents_is_found),
		CHECK(broken_headers_are_found),
		CHECK(broken_generations_are_found),
		CHECK(a_node_above_its_commit_is_found),
		CHECK(broken_owners_are_found),
		CHECK(broken_levels_are_found),
		CHECK(keys_out_of_order_are_found),
		CHECK(keys_of_pointers_are_compared),
		CHECK(gaps_between_items_are_found),
		CHECK(file_extents_that_overlap_are_found),
		CHECK(file_extents_past_their_extent_are_found),
		CHECK(other_trees_are_left_alone),
		CHECK(too_many_items_are_found),
		CHECK(empty_nodes_are_found),
		CHECK(deltas_come_to_what_roots_have),
		CHECK(lengths_in_deltas_are_compared),
		CHECK(accounts_refuse_what_cannot_be),
		CHECK(accounts_begin_with_a_recount),
		CHECK(only_trees_are_read_beside_writers),
		CHECK(failed_allocations_leave_nothing),
	};

	return cmocka_run_group_tests(tests, enroll, leave) ? 1 : 0;
}
