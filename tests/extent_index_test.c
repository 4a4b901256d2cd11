/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/alloc.h"
#include "tests/support/index_case.h"

#define CROWD 100000U

/*
 * What one head does to an extent of 16 KiB that has `before`. References are written as a letter for
 * their type, their root or parent, and their count.
 */
#define REFUSED (-1)
#define TABLE_REFS 5U

struct table_row {
	const char *name;
	const char *before;
	const char *head;
	unsigned roots;    /* with a reservation each but the first */
	int outcome;       /* or REFUSED, and then nothing changes */
	const char *after; /* what is there then; if it is refused, what the error says */
};

static const struct table_row table[] = {
	{ "made", "", "d5+1", 0, EXTENT_MADE, "d5+1" },
	{ "made by three", "", "d5+2 d6+1 D4096+3", 2, EXTENT_MADE, "d5+2 d6+1 D4096+3" },
	{ "made of a tree block", "", "b5+1", 2, EXTENT_MADE, "b5+1" },
	{ "counted up", "d5+1", "d5+2", 0, EXTENT_KEPT, "d5+3" },
	{ "counted down", "d5+3", "d5-2", 0, EXTENT_KEPT, "d5+1" },
	{ "second", "d5+1", "d4+1", 0, EXTENT_KEPT, "d4+1 d5+1" },
	{ "first of two goes", "d4+1 d5+1", "d4-1", 0, EXTENT_KEPT, "d5+1" },
	{ "second of two goes", "d4+1 d5+1", "d5-1", 0, EXTENT_KEPT, "d4+1" },
	{ "another in its place", "b5+1", "B8192+1 b5-1", 0, EXTENT_KEPT, "B8192+1" },
	{ "another place in a lower one's", "B8192+1", "b5+1 B8192-1", 0, EXTENT_KEPT, "b5+1" },
	{ "around those that stay", "d4+1 d6+1 d8+1", "d3+1 d9+1 d6-1", 0, EXTENT_KEPT,
	  "d3+1 d4+1 d8+1 d9+1" },
	{ "freed", "d5+2", "d5-2", 0, EXTENT_FREED, "" },
	{ "freed with a reservation", "b5+1", "b5-1", 2, EXTENT_FREED, "" },
	{ "freed of three", "d4+1 d6+1 D4096+2", "d4-1 d6-1 D4096-2", 0, EXTENT_FREED, "" },
	{ "two of one key come to nothing", "", "d5+7 d5-7", 1, EXTENT_ABSENT, "" },
	{ "the same, allocated", "", "d5+7 d5-7", 2, EXTENT_FREED, "" },
	{ "two of one key are one", "d5+1", "d5+7 d5+2 d5-4", 0, EXTENT_KEPT, "d5+6" },
	{ "accounts alone", "d5+1", "", 1, EXTENT_KEPT, "d5+1" },
	{ "accounts and a reservation alone", "d5+1", "", 3, EXTENT_KEPT, "d5+1" },
	{ "accounts of nothing", "", "", 1, EXTENT_ABSENT, "" },
	{ "made and freed", "", "", 2, EXTENT_FREED, "" },
	{ "dropped of nothing", "", "d5-1", 2, REFUSED,
	  "1 references by tree 5, inode 257, offset 0 are dropped, there is none" },
	{ "dropped of another key", "D4096+1", "D8192-3", 0, REFUSED,
	  "3 references by the tree block at 8192 are dropped, there is none" },
	{ "dropped of another type", "B4096+1", "b5-1", 0, REFUSED,
	  "1 references by tree 5, level 0 are dropped, there is none" },
	{ "as many as a parent can have", "D4096+4000", "D4096+95 D8192+4095", 0, EXTENT_KEPT,
	  "D4096+4095 D8192+4095" },
	{ "more than a parent can have", "D4096+4000", "D4096+96", 0, REFUSED,
	  "4096 references by the tree block at 4096 do not fit" },
	{ "by no tree block", "d5+1", "D4100+1", 0, REFUSED,
	  "the tree block at 4100 begins between units of 4096 bytes" },
	{ "below nothing", "d5+2", "d5-3", 0, REFUSED,
	  "3 references by tree 5, inode 257, offset 0 are dropped, there are 2" },
	{ "below nothing behind an addition", "d5+2", "d4+1 d5-3", 0, REFUSED,
	  "are dropped, there are 2" },
	{ "one too many", "d5+1 d6+1", "d5-1 d6-1 d7-1", 0, REFUSED,
	  "tree 7, inode 257, offset 0 are dropped, there is none" },
	{ "twice to a tree block", "b5+1", "b5+1", 0, REFUSED,
	  "2 references to a tree block by tree 5, level 0, at most 1" },
	{ "twice at once", "", "B8192+2", 0, REFUSED,
	  "2 references to a tree block by the tree block at 8192, at most 1" },
	{ "twice to a tree block among others", "b5+1", "b6+1 B8192+2", 0, REFUSED, "at most 1" },
	{ "data and a tree block at once", "", "b5+1 d5+1", 0, REFUSED,
	  "a back reference of type 178 to a tree block" },
	{ "data is no tree block", "d5+1", "B8192+1", 0, REFUSED,
	  "a back reference of type 182 to data" },
	{ "a tree block is no data", "b5+1", "D8192+1", 0, REFUSED,
	  "a back reference of type 184 to a tree block" },
	{ "no type", "d5+1", "x5+1", 0, REFUSED, "180 is no type of a back reference" },
	{ "accounts as a back reference", "", "r5+1", 0, REFUSED,
	  "1 is no type of a back reference" },
};

static unsigned table_type(char letter)
{
	static const char letters[] = "bdBDrx";
	static const unsigned types[] = {
		BLOCK, DATA, FULL_BLOCK, FULL_DATA, RS_DELTA_ROOT, 180,
	};
	const char *found = strchr(letters, letter);

	assert_non_null(found);
	return types[found - letters];
}

static unsigned table_deltas(const char *text, struct rs_delta *deltas)
{
	unsigned used = 0;
	unsigned key;
	char letter;
	int count;
	int length;

	while (sscanf(text, " %c%u%d%n", &letter, &key, &count, &length) == 3) {
		assert_true(used < TABLE_REFS);
		deltas[used++] = delta_at(HERE, table_type(letter), key, count);
		text += length;
	}
	assert_int_equal(*text, 0);
	return used;
}

/* What is there is the list, and nothing else. */
static void assert_refs(const char *text)
{
	struct rs_delta refs[TABLE_REFS];
	unsigned count = table_deltas(text, refs);
	struct extent extent;
	uint64_t sum = 0;
	unsigned at;

	assert_int_equal(extent_index_find(extents, HERE, &extent), count > 0);
	assert_int_equal(extent_index_count(extents), count > 0);
	if (!count)
		return;
	assert_int_equal(extent.bytes, 4 * UNIT);
	assert_int_equal(extent.metadata, *text == 'b' || *text == 'B');
	assert_int_equal(extent_ref_count(&extent), count);
	for (at = 0; at < count; at++) {
		assert_int_equal(extent_ref_at(&extent, at).type, rs_delta_type(&refs[at]));
		assert_int_equal(extent_ref_at(&extent, at).root_or_parent, refs[at].root);
		assert_int_equal(extent_ref_at(&extent, at).owner, refs[at].owner);
		assert_int_equal(extent_ref_at(&extent, at).offset, 0);
		assert_int_equal(extent_ref_at(&extent, at).count, refs[at].count);
		sum += extent_ref_at(&extent, at).count;
	}
	assert_int_equal(extent.refs, sum);
}

static void table_run(const struct table_row *row)
{
	struct rs_delta refs[TABLE_REFS];
	struct rs_delta roots[TABLE_REFS];
	unsigned count;
	unsigned at;
	int ret;

	print_message("%s\n", row->name);
	index_begin();
	count = table_deltas(row->before, refs);
	if (count)
		assert_int_equal(apply(HERE, refs, count, NULL, 0), 0);
	for (at = 0; at < row->roots; at++) {
		roots[at] = delta_at(HERE, RS_DELTA_ROOT, 5 + at, 1);
		roots[at].reserved = at ? 4 * UNIT : 0;
	}
	count = table_deltas(row->head, refs);
	ret = apply(HERE, refs, count, roots, row->roots);
	if (row->outcome == REFUSED) {
		assert_int_equal(ret, -EUCLEAN);
		assert_int_equal(error.code, -EUCLEAN);
		assert_int_equal(error.address, HERE);
		if (!strstr(error.what, row->after))
			fail_msg("%s", error.what);
		assert_refs(row->before);
	} else {
		assert_int_equal(ret, 0);
		assert_int_equal(outcome, row->outcome);
		assert_int_equal(bytes, 4 * UNIT);
		assert_refs(row->after);
	}
	extent_index_destroy(extents);
}

static void heads_do_as_the_table_says(void **state)
{
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(table) / sizeof(*table); at++)
		table_run(&table[at]);
}

/* The delta of the head at `wrong` has another length. */
static void assert_length_refused(unsigned wrong, uint32_t length_4k)
{
	struct rs_delta deltas[3] = {
		delta_at(HERE, DATA, 5, 1),
		delta_at(HERE, DATA, 6, 1),
		delta_at(HERE, RS_DELTA_ROOT, 6, 1),
	};

	deltas[wrong].length_4k = length_4k;
	assert_int_equal(apply(HERE, deltas, 2, deltas + 2, 1), -EUCLEAN);
	assert_non_null(strstr(error.what, "bytes is changed as one of"));
	assert_int_equal(error.address, HERE);
}

static void lengths_and_addresses_must_be_right(void **state)
{
	struct rs_delta root = delta_at(HERE, RS_DELTA_ROOT, 6, 1);
	struct extent extent;
	unsigned wrong;

	(void)state;
	index_begin();
	for (wrong = 0; wrong < 3; wrong++) {
		assert_length_refused(wrong, 3);
		assert_length_refused(wrong, 0);
	}
	assert_int_equal(extent_index_count(extents), 0);
	make_one(HERE);
	for (wrong = 0; wrong < 3; wrong++)
		assert_length_refused(wrong, 5);
	assert_true(extent_index_find(extents, HERE, &extent));
	assert_int_equal(extent.refs, 1);
	root.length_4k = 0;
	assert_int_equal(apply(HERE, NULL, 0, &root, 1), -EUCLEAN);
	assert_int_equal(apply(HERE + 4 * UNIT, NULL, 0, &root, 1), -EUCLEAN);
	assert_int_equal(apply_one(HERE + 512, DATA, 256, -1), -EUCLEAN);
	assert_non_null(strstr(error.what, "units of 4096 bytes"));
	assert_false(extent_index_find(extents, HERE + 512, &extent));
	assert_int_equal(apply(HERE, NULL, 0, NULL, 0), 0);
	assert_int_equal(outcome, EXTENT_KEPT);
	assert_int_equal(apply(HERE + UNIT, NULL, 0, NULL, 0), 0);
	assert_int_equal(outcome, EXTENT_ABSENT);
	assert_int_equal(bytes, 0);
	extent_index_destroy(extents);
	extent_index_destroy(NULL);
}

static int load(unsigned type, uint64_t key, uint64_t owner, uint32_t count, uint64_t length)
{
	const struct extent_ref ref = {
		.root_or_parent = key,
		.owner = owner,
		.offset = 3 * UNIT,
		.count = count,
		.type = (uint8_t)type,
	};

	return extent_index_load(extents, HERE, length, type == BLOCK || type == FULL_BLOCK, &ref);
}

static void images_are_loaded(void **state)
{
	const struct extent_ref block = { .root_or_parent = 5, .count = 1, .type = BLOCK };
	struct extent extent;

	(void)state;
	index_begin();
	assert_int_equal(load(DATA, 5, 257, 0, UNIT), -EUCLEAN);
	assert_int_equal(load(DATA, 5, 257, 1, 0), -EUCLEAN);
	assert_int_equal(load(DATA, 5, 257, 1, UNIT + 512), -EUCLEAN);
	assert_int_equal(load(DATA, 5, 257, 1, UNIT << 32), -EUCLEAN);
	assert_int_equal(load(RS_DELTA_ROOT, 5, 0, 1, UNIT), -EUCLEAN);
	assert_int_equal(extent_index_load(extents, HERE, UNIT, false, &block), -EUCLEAN);
	assert_int_equal(extent_index_load(extents, HERE + 1, UNIT, true, &block), -EUCLEAN);
	assert_int_equal(extent_index_count(extents), 0);
	assert_int_equal(load(FULL_DATA, 8192, 9, 2, UNIT * UINT32_MAX), 0);
	assert_int_equal(load(DATA, 5, 257, UINT32_MAX - 1, UNIT * UINT32_MAX), 0);
	assert_int_equal(load(DATA, 5, 257, 2, UNIT * UINT32_MAX), -EUCLEAN);
	assert_int_equal(load(DATA, 5, 257, 1, UNIT * UINT32_MAX), 0);
	assert_int_equal(load(DATA, 5, 257, 1, UNIT), -EUCLEAN);
	assert_int_equal(extent_index_load(extents, HERE, UNIT * UINT32_MAX, true, &block),
			 -EUCLEAN);
	assert_true(extent_index_find(extents, HERE, &extent));
	assert_int_equal(extent.bytes, UNIT * UINT32_MAX);
	assert_int_equal(extent.refs, UINT64_C(2) + UINT32_MAX);
	assert_int_equal(extent_ref_count(&extent), 2);
	assert_int_equal(extent_ref_at(&extent, 0).type, DATA);
	assert_int_equal(extent_ref_at(&extent, 0).offset, 3 * UNIT);
	assert_int_equal(extent_ref_at(&extent, 0).count, UINT32_MAX);
	assert_int_equal(extent_ref_at(&extent, 1).type, FULL_DATA);
	assert_int_equal(extent_ref_at(&extent, 1).owner,
			 0); /* a full one is its parent's address */
	assert_int_equal(extent_ref_at(&extent, 1).offset, 0);
	extent_index_destroy(extents);
}

struct walk {
	uint64_t count;
	uint64_t next;    /* the lowest address that may come */
	uint64_t stop_at; /* the extent of this number ends it */
	uint64_t sum;
};

static int walk_one(void *argument, const struct extent *extent)
{
	struct walk *walk = argument;

	assert_true(extent->bytenr >= walk->next);
	walk->next = extent->bytenr + 1;
	walk->sum += extent->bytenr;
	return ++walk->count == walk->stop_at ? -EINTR : 0;
}

/* Where the index's own borders are, in an order that goes there from both sides. */
static void neighbours_are_told_apart(void **state)
{
	const uint64_t at[] = {
		PAGE,      0,           TOP,         31 * UNIT,           32 * UNIT,
		33 * UNIT, PAGE - UNIT, PAGE + UNIT, 7 * PAGE + 5 * UNIT, TOP - UNIT,
		30 * UNIT,
	};
	const size_t count = sizeof(at) / sizeof(*at);
	struct walk walk = { .stop_at = 3 };
	struct extent extent;
	uint64_t sum = 0;
	size_t made;
	size_t look;

	(void)state;
	index_begin();
	for (made = 0; made < count; made++) {
		make_one(at[made]);
		sum += at[made];
		for (look = 0; look < count; look++)
			assert_int_equal(extent_index_find(extents, at[look], &extent),
					 look <= made);
		assert_int_equal(walk_sum(), sum);
	}
	assert_int_equal(extent_index_each(extents, walk_one, &walk), -EINTR);
	assert_int_equal(walk.count, 3);
	for (made = 0; made < count; made++) {
		free_one(at[made]);
		sum -= at[made];
		for (look = 0; look < count; look++)
			assert_int_equal(extent_index_find(extents, at[look], &extent),
					 look > made);
		assert_int_equal(walk_sum(), sum);
	}
	extent_index_destroy(extents);
}

/* References of one extent. In one head, and if work went by the square this would take minutes. */
static void crowd_apply(unsigned first, unsigned step, int count, enum extent_outcome expected)
{
	struct rs_delta *deltas = alloc_array(CROWD, sizeof(*deltas));
	unsigned used = 0;
	unsigned at;

	assert_non_null(deltas);
	for (at = first; at < CROWD; at += step)
		deltas[used++] = delta_at(HERE, FULL_DATA, (at + 1) * UNIT, count);
	assert_int_equal(apply(HERE, deltas, used, NULL, 0), 0);
	assert_int_equal(outcome, expected);
	alloc_free(deltas);
}

static void crowd_assert(unsigned count, uint64_t refs)
{
	struct extent extent;
	unsigned at;

	assert_true(extent_index_find(extents, HERE, &extent));
	assert_int_equal(extent_ref_count(&extent), count);
	assert_int_equal(extent.refs, refs);
	for (at = 1; at < count; at++)
		assert_true(extent_ref_at(&extent, at - 1).root_or_parent <
			    extent_ref_at(&extent, at).root_or_parent);
}

static void one_extent_has_many_references(void **state)
{
	uint64_t memory;
	uint64_t empty;
	unsigned at;

	(void)state;
	index_begin();
	crowd_apply(0, 1, 1, EXTENT_MADE);
	crowd_apply(0, 1, -1, EXTENT_FREED);
	empty = extent_index_memory(extents);
	crowd_apply(0, 2, 1, EXTENT_MADE);
	crowd_assert(CROWD / 2, CROWD / 2);
	crowd_apply(1, 2, 2, EXTENT_KEPT);
	crowd_assert(CROWD, CROWD / 2 * 3);
	for (at = 0; at < 2000; at++) /* 7919 is prime: each key once, all over the array */
		assert_int_equal(apply_one(HERE, FULL_DATA, (at * 7919 % CROWD + 1) * UNIT, 1), 0);
	crowd_assert(CROWD, CROWD / 2 * 3 + 2000);
	for (at = 0; at < 2000; at++)
		assert_int_equal(apply_one(HERE, FULL_DATA, (at * 7919 % CROWD + 1) * UNIT, -1), 0);
	crowd_apply(0, 1, -1, EXTENT_KEPT);
	crowd_assert(CROWD / 2, CROWD / 2);
	memory = extent_index_memory(extents);
	for (at = 1; at < 2000; at += 2)
		assert_int_equal(apply_one(HERE, FULL_DATA, (at + 1) * UNIT, -1), 0);
	crowd_assert(CROWD / 2 - 1000, CROWD / 2 - 1000);
	crowd_apply(2001, 4, -1, EXTENT_KEPT);
	crowd_apply(2003, 8, -1, EXTENT_KEPT);
	crowd_assert(CROWD / 8 - 250, CROWD / 8 - 250);
	assert_true(extent_index_memory(extents) < memory - CROWD / 4 * sizeof(uint64_t));
	crowd_apply(2007, 8, -1, EXTENT_FREED);
	assert_int_equal(extent_index_memory(extents), empty);
	extent_index_destroy(extents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_do_as_the_table_says),
		cmocka_unit_test(lengths_and_addresses_must_be_right),
		cmocka_unit_test(images_are_loaded),
		cmocka_unit_test(neighbours_are_told_apart),
		cmocka_unit_test(one_extent_has_many_references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
