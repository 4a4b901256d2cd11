/* SPDX-License-Identifier: MIT */
#include "core/disk/sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/order.h"
#include "tests/support/image_file.h"

#define TREE 2

struct fixture {
	struct image_build *build;
	struct image_items items;
	uint8_t *block;
	struct image_file file;
	struct rs_image *image;
	struct pool *pool;
	struct reader *reader;
	struct tree_root root;
	unsigned count;
	order_u32 *seen; /* of each item */
	order_u32 leaves;
	int answer;
};

static void begin(struct fixture *fixture, unsigned count, unsigned leaf_items, unsigned fanout)
{
	*fixture = (struct fixture){ .build = image_build_create(4096, IMAGE_DUP), .count = count };
	fixture->seen = calloc(count + 1, sizeof(*fixture->seen));
	assert_non_null(fixture->seen);
	for (unsigned i = 0; i < count; i++)
		image_items_add(&fixture->items, i, 1, 0, &i, sizeof(i));
	fixture->block =
		image_build_tree(fixture->build, TREE, &fixture->items, leaf_items, fanout);
}

static void open_fixture(struct fixture *fixture, unsigned threads, enum reader_io io)
{
	struct rs_error error = RS_ERROR_INIT;

	image_build_finish(fixture->build);
	image_file_write(&fixture->file, fixture->build, true);
	fixture->image = image_file_open(&fixture->file);
	assert_int_equal(pool_create(threads, &fixture->pool, &error), 0);
	assert_int_equal(reader_create(fixture->image, fixture->pool, io, &fixture->reader, &error),
			 0);
	fixture->root = (struct tree_root){
		.id = TREE,
		.bytenr = image_bytenr(fixture->block),
		.generation = IMAGE_GENERATION,
		.level = node_level(fixture->block),
	};
}

static void end(struct fixture *fixture)
{
	reader_destroy(fixture->reader);
	pool_destroy(fixture->pool);
	rs_image_close(fixture->image);
	image_file_close(&fixture->file);
	image_items_free(&fixture->items);
	image_build_free(fixture->build);
	free(fixture->seen);
}

/* Relaxed: counters that are read when the sweep has returned. */
static int on_leaf(void *argument, unsigned worker, const uint8_t *leaf, struct rs_error *error)
{
	struct fixture *fixture = argument;

	(void)error;
	if (worker >= pool_threads(fixture->pool) || node_level(leaf))
		return -EPROTO;
	order_fetch_add_relaxed(&fixture->leaves, 1);
	for (uint32_t slot = 0; slot < node_count(leaf); slot++)
		order_fetch_add_relaxed(&fixture->seen[node_key(leaf, slot).objectid], 1);
	return fixture->answer;
}

static int sweep(struct fixture *fixture, struct rs_error *error)
{
	memset(fixture->seen, 0, (fixture->count + 1) * sizeof(*fixture->seen));
	*error = (struct rs_error)RS_ERROR_INIT;
	return sweep_tree(fixture->reader, &fixture->root, on_leaf, fixture, NULL, error);
}

static void test_leaves(void **state)
{
	static const unsigned shapes[][3] = {
		{ 0, 0, 0 },   { 1, 1, 0 },    { 2, 1, 2 },
		{ 128, 1, 2 }, { 3000, 1, 0 }, { 3000, 7, 20 },
	};

	(void)state;
	for (unsigned i = 0; i < 18; i++) {
		const unsigned *shape = shapes[i / 3];
		struct fixture fixture;
		struct rs_error error;

		begin(&fixture, shape[0], shape[1], shape[2]);
		open_fixture(&fixture, 1 + i % 3, (enum reader_io)(i % 3));
		if (sweep(&fixture, &error))
			fail_msg("%s: %s", error.where, error.what);
		for (unsigned at = 0; at < fixture.count; at++)
			assert_int_equal(order_load_relaxed(&fixture.seen[at]), 1);
		assert_int_equal(order_load_relaxed(&fixture.leaves),
				 shape[0] ? (shape[0] + shape[1] - 1) / shape[1] : 1);
		end(&fixture);
	}
}

/* Ends the fixture. */
static void bad(struct fixture *fixture, uint64_t address, const char *text)
{
	struct rs_error error;

	open_fixture(fixture, 2, READER_IO_AUTO);
	assert_int_equal(sweep(fixture, &error), -EUCLEAN);
	assert_int_equal(error.address, address);
	assert_string_equal(error.where, "tree 2");
	if (!strstr(error.what, text))
		fail_msg("'%s' does not say '%s'", error.what, text);
	end(fixture);
}

static void test_damage(void **state)
{
	struct fixture fixture;
	struct format_key_ptr *pointer;

	(void)state;
	begin(&fixture, 40, 4, 0);
	pointer = image_pointer_at(fixture.block, 7);
	pointer->blockptr = image_pointer_at(fixture.block, 2)->blockptr;
	bad(&fixture, image_pointer_at(fixture.block, 7)->blockptr, "two pointers of one tree");
	begin(&fixture, 40, 4, 0);
	image_pointer_at(fixture.block, 7)->blockptr = image_bytenr(fixture.block);
	bad(&fixture, image_bytenr(fixture.block), "level is 1, expected 0");
	begin(&fixture, 40, 4, 0);
	image_header(fixture.block)->owner = 256;
	bad(&fixture, image_bytenr(fixture.block), "owner is tree 256, expected 2");
	begin(&fixture, 40, 4, 0);
	image_pointer_at(fixture.block, 7)->generation = 3;
	bad(&fixture, image_pointer_at(fixture.block, 7)->blockptr,
	    "generation is 100, expected 3");
}

static void test_errors(void **state)
{
	static const int answers[] = { -ENOMEM, -EUCLEAN, -EIO };
	struct fixture fixture;
	struct rs_error error;
	unsigned nth;

	(void)state;
	begin(&fixture, 3000, 2, 9);
	open_fixture(&fixture, 2, READER_IO_AUTO);
	for (unsigned i = 0; i < 3; i++) {
		fixture.answer = answers[i];
		assert_int_equal(sweep(&fixture, &error), answers[i]);
		fixture.answer = 0;
		assert_int_equal(sweep(&fixture, &error), 0);
	}
	for (nth = 1;; nth++) {
		int ret;

		alloc_fail_arm(nth, 0);
		ret = sweep(&fixture, &error);
		alloc_fail_arm(0, 0);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(error.code, -ENOMEM);
	}
	assert_true(nth > 5);
	reader_cancel(fixture.reader);
	assert_int_equal(sweep(&fixture, &error), -ECANCELED);
	end(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
