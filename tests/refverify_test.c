/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/order.h"
#include "stress/oracle/refverify_impl.h"
#include "tests/support/threads.h"

#define AT UINT64_C(1048576)
#define NODE UINT64_C(16384)
#define DATA UINT64_C(65536)

static char text[REFVERIFY_TEXT_BYTES];
static struct refverify *verify;

static int set_up(void **state)
{
	const struct refverify_options options = { .trace_depth = 4, .history = 3 };

	(void)state;
	return refverify_create(&options, &verify);
}

static int tear_down(void **state)
{
	(void)state;
	refverify_destroy(verify);
	return 0;
}

static struct rs_ref_action block_action(enum rs_ref_kind kind, uint64_t bytenr, uint64_t root,
					 uint64_t parent)
{
	return (struct rs_ref_action){
		.kind = kind,
		.metadata = true,
		.bytenr = bytenr,
		.bytes = NODE,
		.parent = parent,
		.root = root,
		.owner = 1,
		.real_root = root ? root : 5,
	};
}

static struct rs_ref_action data_action(enum rs_ref_kind kind, uint64_t bytenr, uint64_t root,
					uint64_t inode)
{
	return (struct rs_ref_action){
		.kind = kind,
		.bytenr = bytenr,
		.bytes = DATA,
		.root = root,
		.owner = inode,
		.offset = 4096,
		.real_root = root,
	};
}

static int block_ref(enum rs_ref_kind kind, uint64_t bytenr, uint64_t root, uint64_t parent)
{
	const struct rs_ref_action action = block_action(kind, bytenr, root, parent);

	return refverify_ref(verify, &action);
}

static int data_ref(enum rs_ref_kind kind, uint64_t bytenr, uint64_t root, uint64_t inode)
{
	const struct rs_ref_action action = data_action(kind, bytenr, root, inode);

	return refverify_ref(verify, &action);
}

/* The failure that was just returned is the only one so far, and says so. */
static void expect_failure(int outcome, const char *words)
{
	assert_int_equal(outcome, -EUCLEAN);
	assert_int_equal(refverify_failures(verify), 1);
	refverify_text(verify, text, sizeof(text));
	if (!strstr(text, words))
		fail_msg("no \"%s\" in:\n%s", words, text);
}

static struct refverify_entry *entry_at(uint64_t bytenr)
{
	return refverify_entry_find(refverify_entry_shard(verify, bytenr), bytenr);
}

static void sound_histories_pass(void **state)
{
	struct refverify_statistics statistics;
	unsigned round;

	(void)state;
	assert_ptr_equal(refverify_observer(verify)->argument, verify);
	for (round = 0; round < 3; round++) {
		assert_int_equal(block_ref(RS_REF_ALLOCATE, AT, 256, 0), 0);
		assert_int_equal(block_ref(RS_REF_ADD, AT, 0, AT + NODE), 0);
		assert_int_equal(block_ref(RS_REF_DROP, AT, 256, 0), 0);
		assert_int_equal(block_ref(RS_REF_DROP, AT, 0, AT + NODE), 0);
	}
	/* Data at the same place: another length and sort; and the same reference more than once. */
	assert_int_equal(data_ref(RS_REF_ALLOCATE, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_ADD, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_ADD, AT, 257, 300), 0);
	assert_int_equal(entry_at(AT)->refs, 3);
	assert_int_equal(entry_at(AT)->ref_count, 2);
	assert_int_equal(refverify_entry_root(entry_at(AT), 256)->count, 2);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 256, 300), 0);
	assert_null(refverify_entry_root(entry_at(AT), 256));
	refverify_statistics_read(verify, &statistics);
	assert_int_equal(statistics.actions, 17);
	assert_int_equal(statistics.entries, 1);
	assert_int_equal(statistics.live, 1);
	/* One too many each round of 4, and two of the last 5. */
	assert_int_equal(statistics.dropped, 3 + 2);
	assert_int_equal(entry_at(AT)->action_count, 3);
	assert_int_equal(entry_at(AT)->dropped, 2);
	assert_int_equal(refverify_failures(verify), 0);
	assert_string_equal(refverify_text(verify, text, sizeof(text)), "");
}

static void allocation_of_what_has_references(void **state)
{
	(void)state;
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT, 256, 0), 0);
	expect_failure(block_ref(RS_REF_ALLOCATE, AT, 257, 0), "still has references");
	/* Nothing was changed by it; and checking goes on. */
	assert_int_equal(block_ref(RS_REF_DROP, AT, 256, 0), 0);
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT, 257, 0), 0);
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT, 257, 0), -EUCLEAN);
	assert_int_equal(refverify_failures(verify), 2);
}

static void action_on_what_is_not_known(void **state)
{
	(void)state;
	expect_failure(block_ref(RS_REF_ADD, AT, 256, 0), "not known");
}

static void action_on_what_has_no_references(void **state)
{
	(void)state;
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT, 256, 0), 0);
	assert_int_equal(block_ref(RS_REF_DROP, AT, 256, 0), 0);
	expect_failure(block_ref(RS_REF_ADD, AT, 256, 0), "no references");
	/* The history tells who freed it. */
	assert_non_null(strstr(text, "drop tree block"));
}

static void drop_of_what_is_not_there(void **state)
{
	(void)state;
	assert_int_equal(data_ref(RS_REF_ALLOCATE, AT, 256, 300), 0);
	expect_failure(data_ref(RS_REF_DROP, AT, 256, 301), "not there");
}

static void drop_of_what_has_none_left(void **state)
{
	(void)state;
	assert_int_equal(data_ref(RS_REF_ALLOCATE, AT, 256, 300), 0);
	entry_at(AT)->ref[0].count = 0;
	expect_failure(data_ref(RS_REF_DROP, AT, 256, 300), "none left");
}

static void drop_by_a_root_that_is_missing(void **state)
{
	(void)state;
	assert_int_equal(data_ref(RS_REF_ALLOCATE, AT, 256, 300), 0);
	entry_at(AT)->root[0].root = 257;
	expect_failure(data_ref(RS_REF_DROP, AT, 256, 300), "root that the extent does not have");
}

static void second_reference_to_a_tree_block(void **state)
{
	(void)state;
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT, 256, 0), 0);
	assert_int_equal(block_ref(RS_REF_ADD, AT, 0, AT + NODE), 0);
	expect_failure(block_ref(RS_REF_ADD, AT, 0, AT + NODE), "second time");
}

static void reference_of_nobody_or_two(void **state)
{
	(void)state;
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT, 0, 0), -EUCLEAN);
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT, 256, AT), -EUCLEAN);
	assert_int_equal(block_ref((enum rs_ref_kind)7, AT, 256, 0), -EUCLEAN);
	assert_int_equal(refverify_failures(verify), 3);
	refverify_text(verify, text, sizeof(text));
	assert_non_null(strstr(text, "no root and no parent"));
}

static void another_length_sort_or_level(void **state)
{
	struct rs_ref_action action = block_action(RS_REF_ADD, AT, 257, 0);

	(void)state;
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT, 256, 0), 0);
	action.bytes = 0;
	assert_int_equal(refverify_ref(verify, &action), -EUCLEAN);
	action.bytes = 2 * NODE;
	assert_int_equal(refverify_ref(verify, &action), -EUCLEAN);
	action.bytes = NODE;
	action.owner = 2;
	assert_int_equal(refverify_ref(verify, &action), -EUCLEAN);
	action.owner = 1;
	action.metadata = false;
	assert_int_equal(refverify_ref(verify, &action), -EUCLEAN);
	assert_int_equal(refverify_failures(verify), 4);
	action.metadata = true;
	assert_int_equal(refverify_ref(verify, &action), 0);
}

/* The frames are of whoever changed the reference. */
static void text_has_the_stack(void **state)
{
	const struct refverify_action *action;

	(void)state;
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT, 256, 0), 0);
	action = refverify_history_at(verify, entry_at(AT), 0);
	assert_in_range(action->frame_count, 1, 4);
	expect_failure(block_ref(RS_REF_DROP, AT, 257, 0), "+0x");
}

static struct extent_ref keyed_ref(uint64_t root, uint64_t owner, uint32_t count)
{
	return (struct extent_ref){
		.root_or_parent = root,
		.owner = owner,
		.offset = 4096,
		.count = count,
		.type = RS_DELTA_EXTENT_DATA_REF,
	};
}

static void loading_begins_with_what_is_there(void **state)
{
	struct extent_ref keyed[] = { keyed_ref(256, 300, 2), keyed_ref(257, 300, 1) };
	const uint64_t full = AT | 1;
	struct extent extent = {
		.bytenr = AT,
		.bytes = DATA,
		.refs = 3,
		.keyed_count = 1,
		.full_count = 1,
		.keyed = keyed,
		.full = &full,
	};

	(void)state;
	assert_int_equal(refverify_load(verify, &extent), 0);
	assert_true(entry_at(AT)->from_disk);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 256, 300), -EUCLEAN);
	assert_int_equal(refverify_load(verify, &extent), -EUCLEAN);
	extent.bytenr += DATA;
	extent.refs = 4;
	assert_int_equal(refverify_load(verify, &extent), -EUCLEAN);
	extent.bytenr += DATA;
	extent.refs = 3;
	extent.keyed_count = 2;
	extent.full_count = 0;
	keyed[1] = keyed[0];
	assert_int_equal(refverify_load(verify, &extent), -EUCLEAN);
	extent.bytenr += DATA;
	keyed[1].type = RS_DELTA_TREE_BLOCK_REF;
	assert_int_equal(refverify_load(verify, &extent), -EUCLEAN);
	assert_int_equal(refverify_failures(verify), 5);
}

static void forgetting_a_range(void **state)
{
	(void)state;
	assert_int_equal(data_ref(RS_REF_ALLOCATE, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_ALLOCATE, AT + DATA, 256, 300), 0);
	assert_int_equal(refverify_forget(verify, AT, DATA), 0);
	assert_null(entry_at(AT));
	assert_non_null(entry_at(AT + DATA));
	/* Across an end it stays; inside it goes, and was wrong all the same. */
	expect_failure(refverify_forget(verify, AT, DATA + 4096), "lies across its end");
	assert_int_equal(refverify_forget(verify, AT + DATA + 4096, DATA), -EUCLEAN);
	assert_non_null(entry_at(AT + DATA));
	assert_int_equal(refverify_forget(verify, AT + DATA, DATA), -EUCLEAN);
	assert_null(entry_at(AT + DATA));
	assert_int_equal(refverify_failures(verify), 3);
}

static struct extent_index *index_of_two(void)
{
	const struct extent_ref data = keyed_ref(256, 300, 2);
	const struct extent_ref block = {
		.root_or_parent = 256, .owner = 1, .count = 1, .type = RS_DELTA_TREE_BLOCK_REF
	};
	struct extent_index *index;

	assert_int_equal(extent_index_create(&index), 0);
	assert_int_equal(extent_index_load(index, AT, DATA, false, &data), 0);
	assert_int_equal(extent_index_load(index, AT + DATA, NODE, true, &block), 0);
	return index;
}

static void the_check_at_rest_goes_both_ways(void **state)
{
	struct extent_index *index = index_of_two();

	(void)state;
	assert_int_equal(data_ref(RS_REF_ALLOCATE, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_ADD, AT, 256, 300), 0);
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT + DATA, 256, 0), 0);
	assert_int_equal(refverify_check(verify, index), 0);
	/* The count of one, with the same sum. */
	assert_int_equal(data_ref(RS_REF_ADD, AT, 256, 301), 0);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 256, 300), 0);
	expect_failure(refverify_check(verify, index), "references of 1 kinds");
	assert_int_equal(data_ref(RS_REF_ADD, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 256, 301), 0);
	assert_int_equal(refverify_check(verify, index), 0);
	/* Another key. */
	assert_int_equal(data_ref(RS_REF_DROP, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_ALLOCATE, AT, 257, 300), 0);
	assert_int_equal(data_ref(RS_REF_ADD, AT, 257, 300), 0);
	assert_int_equal(refverify_check(verify, index), -EUCLEAN);
	assert_int_equal(refverify_failures(verify), 2);
	assert_int_equal(data_ref(RS_REF_ADD, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_ADD, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 257, 300), 0);
	assert_int_equal(data_ref(RS_REF_DROP, AT, 257, 300), 0);
	assert_int_equal(refverify_check(verify, index), 0);
	/* One side alone, each: the entry is there, the index's is not, and the other way round. */
	assert_int_equal(data_ref(RS_REF_ALLOCATE, 8 * AT, 256, 300), 0);
	assert_int_equal(refverify_check(verify, index), -EUCLEAN);
	assert_int_equal(refverify_failures(verify), 3);
	assert_int_equal(data_ref(RS_REF_DROP, 8 * AT, 256, 300), 0);
	assert_int_equal(block_ref(RS_REF_DROP, AT + DATA, 256, 0), 0);
	assert_int_equal(refverify_forget(verify, AT + DATA, NODE), 0);
	assert_int_equal(refverify_check(verify, index), -EUCLEAN);
	assert_int_equal(refverify_failures(verify), 4);
	extent_index_destroy(index);
}

/* Also for lengths, levels, and extents that overlap. */
static void the_check_at_rest_sees_places(void **state)
{
	struct extent_index *index = index_of_two();

	(void)state;
	assert_int_equal(data_ref(RS_REF_ALLOCATE, AT, 256, 300), 0);
	assert_int_equal(data_ref(RS_REF_ADD, AT, 256, 300), 0);
	assert_int_equal(block_ref(RS_REF_ALLOCATE, AT + DATA, 256, 0), 0);
	entry_at(AT + DATA)->level = 2;
	expect_failure(refverify_check(verify, index), "level");
	entry_at(AT + DATA)->level = 1;
	entry_at(AT)->bytes++;
	/* Its length, and the overlap that comes of it. */
	assert_int_equal(refverify_check(verify, index), -EUCLEAN);
	assert_int_equal(refverify_failures(verify), 3);
	extent_index_destroy(index);
}

static void without_memory_nothing_is_changed(void **state)
{
	unsigned nth;

	(void)state;
	for (nth = 1; nth < 100; nth++) {
		uint64_t bytenr = AT + nth * DATA;
		int outcome;

		alloc_fail_arm(nth % 8 + 1, 0);
		outcome = data_ref(RS_REF_ALLOCATE, bytenr, 256, 300);
		if (!outcome)
			outcome = data_ref(RS_REF_ADD, bytenr, 257, 300);
		alloc_fail_arm(0, 0);
		if (outcome)
			assert_int_equal(outcome, -ENOMEM);
		if (entry_at(bytenr) && entry_at(bytenr)->refs)
			assert_int_equal(data_ref(RS_REF_DROP, bytenr, 256, 300), 0);
		if (entry_at(bytenr) && entry_at(bytenr)->refs)
			assert_int_equal(data_ref(RS_REF_DROP, bytenr, 257, 300), 0);
		assert_int_equal(data_ref(RS_REF_ALLOCATE, bytenr, 256, 300), 0);
	}
	assert_int_equal(refverify_failures(verify), 0);
}

#define CROWD 8U
#define CROWD_EXTENTS 512U
#define CROWD_STEPS 20000U

static struct {
	uint64_t seed;
	order_u32 wrong;
} crowd;

/* Each thread has its inode in all extents, so that all outcomes are known to it. */
static void crowd_main(void *argument, unsigned thread)
{
	uint8_t mine[CROWD_EXTENTS] = { 0 };
	struct random_state random;
	unsigned step;

	(void)argument;
	random_state_seed(&random, crowd.seed, thread);
	for (step = 0; step < CROWD_STEPS; step++) {
		unsigned extent = (unsigned)random_state_below(&random, CROWD_EXTENTS);
		bool drop = mine[extent] && (mine[extent] == 255 || step & 1);

		if (data_ref(drop ? RS_REF_DROP : RS_REF_ADD, AT + extent * DATA, 256,
			     300 + thread))
			order_fetch_add_relaxed(&crowd.wrong,
						1); /* relaxed: read behind the join */
		mine[extent] = (uint8_t)(mine[extent] + (drop ? -1 : 1));
	}
}

static void threads_change_references_together(void **state)
{
	struct refverify_statistics statistics;
	uint64_t refs = 0;
	unsigned extent;

	(void)state;
	crowd.seed = threads_data_seed("refverify_test");
	for (extent = 0; extent < CROWD_EXTENTS; extent++)
		assert_int_equal(data_ref(RS_REF_ALLOCATE, AT + extent * DATA, 256, 299), 0);
	threads_run(CROWD, crowd_main, NULL);
	assert_int_equal(order_load_relaxed(&crowd.wrong), 0);
	assert_int_equal(refverify_failures(verify), 0);
	for (extent = 0; extent < CROWD_EXTENTS; extent++) {
		const struct refverify_entry *entry = entry_at(AT + extent * DATA);

		assert_int_equal(refverify_entry_root(entry, 256)->count, entry->refs);
		refs += entry->refs;
	}
	assert_in_range(refs, CROWD_EXTENTS, CROWD_EXTENTS + CROWD * CROWD_STEPS);
	refverify_statistics_read(verify, &statistics);
	assert_int_equal(statistics.actions, CROWD_EXTENTS + CROWD * CROWD_STEPS);
}

static void options_are_checked(void **state)
{
	const struct refverify_options options = { .trace_depth = REFVERIFY_TRACE_MAX + 1 };
	struct refverify *other;

	(void)state;
	assert_int_equal(refverify_create(&options, &other), -EINVAL);
	assert_int_equal(refverify_create(NULL, &other), 0);
	refverify_destroy(other);
}

#define CHECK(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECK(sound_histories_pass),
		CHECK(allocation_of_what_has_references),
		CHECK(action_on_what_is_not_known),
		CHECK(action_on_what_has_no_references),
		CHECK(drop_of_what_is_not_there),
		CHECK(drop_of_what_has_none_left),
		CHECK(drop_by_a_root_that_is_missing),
		CHECK(second_reference_to_a_tree_block),
		CHECK(reference_of_nobody_or_two),
		CHECK(another_length_sort_or_level),
		CHECK(text_has_the_stack),
		CHECK(loading_begins_with_what_is_there),
		CHECK(forgetting_a_range),
		CHECK(the_check_at_rest_goes_both_ways),
		CHECK(the_check_at_rest_sees_places),
		CHECK(without_memory_nothing_is_changed),
		CHECK(threads_change_references_together),
		cmocka_unit_test(options_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
