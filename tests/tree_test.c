/* SPDX-License-Identifier: MIT */
#include "core/disk/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/chunk_item.h"
#include "tests/support/image_file.h"

#define TREE 8
#define ITEMS 700

static uint64_t seed;

/* An image with one tree, and its items in order. */
struct fixture {
	struct image_build *build;
	struct image_items items;
	uint8_t *block;
	struct image_file file;
	struct rs_image *image;
	struct tree_root root;
};

static void open_fixture(struct fixture *fixture)
{
	image_build_finish(fixture->build);
	image_file_write(&fixture->file, fixture->build, false);
	fixture->image = image_file_open(&fixture->file);
	fixture->root = (struct tree_root){
		.id = TREE,
		.bytenr = image_bytenr(fixture->block),
		.generation = IMAGE_GENERATION,
		.level = node_level(fixture->block),
	};
}

/* Keys with gaps between them, so that bounds fall on items and beside them. */
static void begin(struct fixture *fixture, unsigned count, unsigned leaf_items, unsigned fanout)
{
	*fixture = (struct fixture){ .build = image_build_create(4096, IMAGE_SINGLE) };
	for (unsigned i = 0; i < count; i++)
		image_items_add(&fixture->items, 10 + i / 7 * 2, (uint8_t)(2 + i % 7 / 3 * 2),
				10 + i % 3 * 2, &i, sizeof(i));
	fixture->block =
		image_build_tree(fixture->build, TREE, &fixture->items, leaf_items, fanout);
}

static void end(struct fixture *fixture)
{
	rs_image_close(fixture->image);
	image_file_close(&fixture->file);
	image_items_free(&fixture->items);
	image_build_free(fixture->build);
}

/* What a walk must show: items from number `next` on. */
struct seen {
	const struct image_items *items;
	size_t next;
	size_t stop_at; /* returns `answer` for that one */
	int answer;
};

static int on_item(void *argument, const struct tree_item *item, struct rs_error *error)
{
	struct seen *seen = argument;
	const struct image_item *wanted = &seen->items->items[seen->next];

	(void)error;
	assert_true(seen->next < seen->items->count);
	assert_int_equal(format_key_compare(&item->key, &wanted->key), 0);
	assert_int_equal(item->bytes, wanted->bytes);
	assert_memory_equal(item->data, wanted->data, wanted->bytes);
	assert_true(item->leaf >= IMAGE_METADATA_AT);
	return seen->next++ == seen->stop_at ? seen->answer : 0;
}

/* Walks from `from` to `to`, either may be NULL, and compares with the plain array. */
static void compare(const struct fixture *fixture, const struct format_key *from,
		    const struct format_key *to)
{
	struct seen seen = { .items = &fixture->items, .stop_at = SIZE_MAX };
	struct rs_error error = RS_ERROR_INIT;
	size_t last = 0;

	while (from && seen.next < fixture->items.count &&
	       format_key_compare(&fixture->items.items[seen.next].key, from) < 0)
		seen.next++;
	while (last < fixture->items.count &&
	       (!to || format_key_compare(&fixture->items.items[last].key, to) <= 0))
		last++;
	if (last < seen.next)
		last = seen.next;
	if (tree_walk(fixture->image, &fixture->root, from, to, on_item, &seen, &error))
		fail_msg("%s: %s", error.where, error.what);
	assert_int_equal(seen.next, last);
}

static struct format_key random_key(uint64_t *random)
{
	return (struct format_key){
		.objectid = 8 + chunk_random(random) % (ITEMS / 7 * 2 + 6),
		.type = (uint8_t)(1 + chunk_random(random) % 7),
		.offset = 8 + chunk_random(random) % 9,
	};
}

static void test_ranges(void **state)
{
	static const unsigned shapes[][2] = { { 0, 0 }, { 1, 3 }, { 3, 2 }, { 7, 40 }, { 60, 9 } };
	uint64_t random = seed;

	(void)state;
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		/* Two pointers a node and 8 levels: 128 leaves. */
		unsigned count = i == 2 ? 350 : ITEMS;
		struct fixture fixture;

		begin(&fixture, count, shapes[i][0], shapes[i][1]);
		open_fixture(&fixture);
		compare(&fixture, NULL, NULL);
		for (unsigned round = 0; round < 600; round++) {
			struct format_key from = random_key(&random);
			struct format_key to = random_key(&random);

			compare(&fixture, &from, &to);
			compare(&fixture, &from, NULL);
			compare(&fixture, NULL, &to);
			compare(&fixture, &from, &from);
		}
		for (size_t at = 0; at < fixture.items.count; at++) {
			struct format_key key = fixture.items.items[at].key;

			compare(&fixture, &key, &key); /* a single item */
		}
		end(&fixture);
	}
}

static void test_ends(void **state)
{
	struct format_key least = { 0 };
	struct format_key most = { UINT64_MAX, UINT64_MAX, 255 };
	struct fixture fixture;

	(void)state;
	for (unsigned count = 0; count < 3; count++) {
		begin(&fixture, count, 1, 0);
		open_fixture(&fixture);
		compare(&fixture, NULL, NULL);
		compare(&fixture, &least, &most);
		compare(&fixture, &least, &least);
		compare(&fixture, &most, &most);
		compare(&fixture, &most, &least);
		end(&fixture);
	}
}

static void test_stop(void **state)
{
	static const int answers[] = { TREE_STOP, -ENOENT, -ENOMEM, -EUCLEAN };
	struct fixture fixture;

	(void)state;
	begin(&fixture, ITEMS, 5, 5);
	open_fixture(&fixture);
	for (unsigned i = 0; i < 4; i++) {
		for (size_t at = 0; at < ITEMS; at += 33) {
			struct rs_error error = RS_ERROR_INIT;
			struct seen seen = { .items = &fixture.items,
					     .stop_at = at,
					     .answer = answers[i] };

			assert_int_equal(tree_walk(fixture.image, &fixture.root, NULL, NULL,
						   on_item, &seen, &error),
					 i ? answers[i] : 0);
			assert_int_equal(seen.next, at + 1);
			if (i)
				assert_string_equal(error.where, "tree 8");
		}
	}
	end(&fixture);
}

/* Ends the fixture. */
static void bad(struct fixture *fixture, uint64_t address, const char *text)
{
	struct seen seen = { .items = &fixture->items, .stop_at = SIZE_MAX };
	struct rs_error error = RS_ERROR_INIT;

	open_fixture(fixture);
	assert_int_equal(tree_walk(fixture->image, &fixture->root, NULL, NULL, on_item, &seen,
				   &error),
			 -EUCLEAN);
	assert_int_equal(error.code, -EUCLEAN);
	assert_int_equal(error.address, address);
	assert_string_equal(error.where, "tree 8");
	if (!strstr(error.what, text))
		fail_msg("'%s' does not say '%s'", error.what, text);
	assert_int_equal(tree_walk(fixture->image, &fixture->root, NULL, NULL, on_item,
				   &(struct seen){ .items = &fixture->items, .stop_at = SIZE_MAX },
				   NULL),
			 -EUCLEAN);
	end(fixture);
}

static uint8_t *child_of(struct fixture *fixture, uint8_t *node, uint32_t slot)
{
	uint64_t bytenr = image_pointer_at(node, slot)->blockptr;

	for (size_t i = 0; i < fixture->build->block_count; i++)
		if (fixture->build->blocks[i].bytenr == bytenr)
			return fixture->build->blocks[i].bytes;
	fail_msg("no child");
	return NULL;
}

static void test_damage(void **state)
{
	struct fixture fixture;
	uint8_t *child;
	uint64_t twice;

	(void)state;
	/* One block below two pointers, beside one another and under two nodes. */
	begin(&fixture, ITEMS, 20, 6);
	twice = image_pointer_at(fixture.block, 0)->blockptr;
	image_pointer_at(fixture.block, 1)->blockptr = twice;
	bad(&fixture, twice, "is not the one its parent gives");
	begin(&fixture, ITEMS, 20, 6);
	child = child_of(&fixture, fixture.block, 1);
	twice = image_pointer_at(child_of(&fixture, fixture.block, 0), 5)->blockptr;
	image_pointer_at(child, 0)->blockptr = twice;
	bad(&fixture, twice, "is not the one its parent gives");
	/* Even where the pointers agree on its key. */
	begin(&fixture, ITEMS, 20, 6);
	child = child_of(&fixture, fixture.block, 1);
	image_pointer_at(child, 0)->blockptr = twice;
	image_pointer_at(child, 0)->key =
		image_pointer_at(child_of(&fixture, fixture.block, 0), 5)->key;
	bad(&fixture, image_bytenr(child), "is not the one its parent gives");
	/* A block whose keys reach into the next. */
	begin(&fixture, ITEMS, 20, 6);
	child = child_of(&fixture, child_of(&fixture, fixture.block, 0), 5);
	image_item_at(child, 19)->key.objectid += 50;
	bad(&fixture, image_bytenr(child), "is above the next block's first");
	begin(&fixture, ITEMS, 20, 6);
	child = child_of(&fixture, fixture.block, 0);
	image_pointer_at(child, 5)->key.objectid += 100;
	bad(&fixture, image_bytenr(child), "is above the next block's first");
	/* A pointer up: blocks of another level. */
	begin(&fixture, ITEMS, 20, 6);
	child = child_of(&fixture, fixture.block, 2);
	image_pointer_at(child, 0)->blockptr = image_bytenr(fixture.block);
	bad(&fixture, image_bytenr(fixture.block), "level is 2, expected 0");
	/* Another tree's block. */
	begin(&fixture, ITEMS, 20, 6);
	child = child_of(&fixture, child_of(&fixture, fixture.block, 0), 0);
	image_header(child)->owner = 2;
	bad(&fixture, image_bytenr(child), "owner is tree 2, expected 8");
}

static void test_root(void **state)
{
	struct rs_error error = RS_ERROR_INIT;
	struct fixture fixture;
	struct tree_root root;

	(void)state;
	begin(&fixture, 30, 5, 0);
	open_fixture(&fixture);
	for (unsigned level = 8; level < 256; level += 31) {
		root = fixture.root;
		root.level = (uint8_t)level;
		assert_int_equal(tree_walk(fixture.image, &root, NULL, NULL, on_item, NULL, &error),
				 -EUCLEAN);
		assert_int_equal(error.address, root.bytenr);
	}
	root = fixture.root;
	root.bytenr = 0;
	assert_int_equal(tree_walk(fixture.image, &root, NULL, NULL, on_item, NULL, &error),
			 -EUCLEAN);
	assert_int_equal(error.address, 0);
	end(&fixture);
	assert_int_equal(tree_owner(5), NODE_OWNER_SUBVOLUME);
	assert_int_equal(tree_owner(300), NODE_OWNER_SUBVOLUME);
	assert_int_equal(tree_owner(7), 7);
}

int main(void)
{
	const char *text = getenv("REFSTORM_SEED");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges), cmocka_unit_test(test_ends),
		cmocka_unit_test(test_stop),   cmocka_unit_test(test_damage),
		cmocka_unit_test(test_root),
	};

	seed = text ? strtoull(text, NULL, 10) : 20261120;
	printf("seed %llu (REFSTORM_SEED)\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
