/* SPDX-License-Identifier: MIT */
#include "core/disk/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "tests/support/chunk_item.h"
#include "tests/support/image_file.h"

#define OWNER 300

struct fixture {
	struct image_build *build;
	uint8_t *block;
	struct image_file file;
	struct rs_image *image;
	struct node_expect expect;
};

static void begin(struct fixture *fixture, enum image_profile profile)
{
	uint8_t data[12000];
	struct image_item item = { { .objectid = 7, .type = 1 }, data, sizeof(data) };

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 >> 3);
	*fixture = (struct fixture){ .build = image_build_create(16384, profile) };
	fixture->block = image_build_block(fixture->build, OWNER, 0);
	assert_true(image_leaf_add(fixture->build, fixture->block, &item));
	fixture->expect = (struct node_expect){
		.bytenr = image_bytenr(fixture->block),
		.generation = IMAGE_GENERATION,
		.owner = NODE_OWNER_SUBVOLUME,
		.first_key = item.key,
	};
}

static void open_fixture(struct fixture *fixture)
{
	image_build_finish(fixture->build);
	image_file_write(&fixture->file, fixture->build, false);
	fixture->image = image_file_open(&fixture->file);
}

static void end(struct fixture *fixture)
{
	rs_image_close(fixture->image);
	image_file_close(&fixture->file);
	image_build_free(fixture->build);
}

static int read_from(struct fixture *fixture, unsigned mirror, const struct rs_error *first,
		     struct rs_error *error)
{
	uint8_t *block = image_block_alloc(fixture->image);
	int ret;

	assert_non_null(block);
	*error = (struct rs_error)RS_ERROR_INIT;
	ret = image_read(fixture->image, &fixture->expect, mirror, first, block, error);
	if (!ret)
		assert_memory_equal(block, fixture->block, 16384);
	alloc_free(block);
	return ret;
}

static void test_copies(void **state)
{
	struct fixture fixture;
	struct rs_error error;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		begin(&fixture, i ? IMAGE_RAID1 : IMAGE_DUP);
		open_fixture(&fixture);
		assert_int_equal(read_from(&fixture, 0, NULL, &error), 0);
		assert_int_equal(read_from(&fixture, 1, NULL, &error), 0);
		assert_int_equal(rs_image_warning_count(fixture.image), 0);
		image_file_damage(&fixture.file, fixture.expect.bytenr, 1);
		assert_int_equal(read_from(&fixture, 0, NULL, &error), 0);
		assert_int_equal(rs_image_warning_count(fixture.image), 0);
		image_file_damage(&fixture.file, fixture.expect.bytenr, 1);
		image_file_damage(&fixture.file, fixture.expect.bytenr, 0);
		assert_int_equal(read_from(&fixture, 0, NULL, &error), 0);
		assert_int_equal(rs_image_warning_count(fixture.image), 1);
		assert_string_equal(
			rs_image_warning(fixture.image, 0),
			"block at 4194304: checksum does not match; copy 2 of 2 is good");
		assert_null(rs_image_warning(fixture.image, 1));
		image_file_damage(&fixture.file, fixture.expect.bytenr, 1);
		assert_int_equal(read_from(&fixture, 0, NULL, &error), -EUCLEAN);
		assert_int_equal(error.address, 4194304);
		assert_string_equal(error.what,
				    "checksum does not match (none of 2 copies is good)");
		end(&fixture);
	}
}

/* Those before `mirror` were refused by the caller, with a reason. */
static void test_later_copy(void **state)
{
	struct rs_error first = RS_ERROR_INIT;
	struct fixture fixture;
	struct rs_error error;

	(void)state;
	error_set(&first, -EIO, "the caller's reason");
	begin(&fixture, IMAGE_DUP);
	open_fixture(&fixture);
	assert_int_equal(read_from(&fixture, 1, &first, &error), 0);
	assert_non_null(strstr(rs_image_warning(fixture.image, 0), "the caller's reason"));
	assert_int_equal(read_from(&fixture, 2, &first, &error), -EIO);
	assert_non_null(strstr(error.what, "the caller's reason (none of 2"));
	assert_int_equal(error.address, 4194304);
	end(&fixture);
	begin(&fixture, IMAGE_SINGLE);
	open_fixture(&fixture);
	assert_int_equal(read_from(&fixture, 1, &first, &error), -EIO);
	assert_string_equal(error.what, "the caller's reason");
	end(&fixture);
}

static void test_warnings(void **state)
{
	struct fixture fixture;
	const char *last;

	(void)state;
	begin(&fixture, IMAGE_SINGLE);
	open_fixture(&fixture);
	for (unsigned i = 0; i < 1000; i++)
		image_warn(fixture.image, "warning %u", i);
	assert_int_equal(rs_image_warning_count(fixture.image), IMAGE_WARNINGS_MAX + 1);
	assert_string_equal(rs_image_warning(fixture.image, 99), "warning 99");
	last = rs_image_warning(fixture.image, IMAGE_WARNINGS_MAX);
	assert_non_null(strstr(last, "more warnings"));
	assert_null(rs_image_warning(fixture.image, IMAGE_WARNINGS_MAX + 1));
	end(&fixture);
}

/* A block of 64 KiB on RAID0 devices, of which each piece lies on another. */
static void test_pieces(void **state)
{
	struct fixture fixture;
	struct chunk_item item;
	struct rs_error error;
	uint64_t logical = UINT64_C(1) << 40;
	uint8_t half[8192];

	(void)state;
	begin(&fixture, IMAGE_RAID1);
	chunk_item_make(&item, 8 * MIB, BTRFS_BLOCK_GROUP_METADATA | BTRFS_BLOCK_GROUP_RAID0, 2);
	for (unsigned i = 0; i < 2; i++) {
		struct btrfs_stripe *stripe = &chunk_item_fields(&item)->stripe + i;

		chunk_put64(&stripe->devid, i + 1);
		chunk_put64(&stripe->offset, 32 * MIB);
	}
	image_items_add(&fixture.build->chunks, BTRFS_FIRST_CHUNK_TREE_OBJECTID,
			BTRFS_CHUNK_ITEM_KEY, logical, chunk_item_fields(&item), item.size);
	/* Half of it at the end of the first stripe, half at the beginning of the second. */
	fixture.expect.bytenr = logical + 65536 - 8192;
	image_header(fixture.block)->bytenr = fixture.expect.bytenr;
	open_fixture(&fixture);
	assert_int_equal(pwrite(fixture.file.fds[0], fixture.block, 8192,
				(off_t)(32 * MIB + 65536 - 8192)),
			 8192);
	assert_int_equal(pwrite(fixture.file.fds[1], fixture.block + 8192, 8192, (off_t)(32 * MIB)),
			 8192);
	if (read_from(&fixture, 0, NULL, &error))
		fail_msg("%s", error.what);
	memset(half, 0, sizeof(half));
	assert_int_equal(pwrite(fixture.file.fds[1], half, 8192, (off_t)(32 * MIB)), 8192);
	assert_int_equal(read_from(&fixture, 0, NULL, &error), -EUCLEAN);
	assert_int_equal(error.address, fixture.expect.bytenr);
	/* Across the end of the chunk. */
	fixture.expect.bytenr = logical + 8 * MIB - 4096;
	assert_int_equal(read_from(&fixture, 0, NULL, &error), -EUCLEAN);
	assert_string_equal(error.what, "address lies in no chunk that can be read");
	end(&fixture);
}

static int open_path(const char *path, struct rs_error *error)
{
	struct rs_image *image;
	int ret;

	*error = (struct rs_error)RS_ERROR_INIT;
	ret = rs_image_open(&path, 1, &image, error);
	assert_int_equal(error->code, ret);
	if (ret) {
		assert_null(image);
		assert_int_equal(rs_image_open(&path, 1, &image, NULL), ret);
	}
	return ret;
}

static void test_open(void **state)
{
	struct rs_error error = RS_ERROR_INIT;
	struct rs_image *image;
	struct fixture fixture;

	(void)state;
	assert_int_equal(rs_image_open(NULL, 0, &image, &error), -EINVAL);
	assert_int_equal(open_path("/nonexistent", &error), -ENOENT);
	assert_non_null(strstr(error.where, "/nonexistent"));
	rs_image_close(NULL);
	/* One of two devices. */
	begin(&fixture, IMAGE_RAID1);
	open_fixture(&fixture);
	assert_int_equal(rs_image_generation(fixture.image), IMAGE_GENERATION);
	assert_int_equal(open_path(fixture.file.paths[0], &error), -ENXIO);
	assert_string_equal(error.where, fixture.file.paths[0]);
	assert_non_null(strstr(error.what, "device 2 of 2 is missing"));
	/* The chunk tree and the system chunks. */
	image_file_damage(&fixture.file, IMAGE_SYSTEM_AT, 0);
	rs_image_close(fixture.image);
	fixture.image = image_file_open(&fixture.file);
	assert_int_equal(rs_image_warning_count(fixture.image), 1);
	end(&fixture);
	begin(&fixture, IMAGE_SINGLE);
	open_fixture(&fixture);
	image_file_damage(&fixture.file, IMAGE_SYSTEM_AT, 0);
	assert_int_equal(open_path(fixture.file.paths[0], &error), -EUCLEAN);
	assert_int_equal(strncmp(error.where, fixture.file.paths[0], strlen(fixture.file.paths[0])),
			 0);
	assert_non_null(strstr(error.where, ": tree 3"));
	assert_int_equal(error.address, IMAGE_SYSTEM_AT);
	end(&fixture);
	begin(&fixture, IMAGE_SINGLE);
	image_build_finish(fixture.build);
	fixture.build->super.sys_chunk_array_size += 1;
	image_file_write(&fixture.file, fixture.build, false);
	assert_int_equal(open_path(fixture.file.paths[0], &error), -EUCLEAN);
	assert_non_null(strstr(error.where, ": system chunk array"));
	assert_null(strstr(strstr(error.where, "system chunk") + 1, "system chunk"));
	image_file_close(&fixture.file);
	image_build_free(fixture.build);
}

static void test_log_tree(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, IMAGE_SINGLE);
	image_build_finish(fixture.build);
	fixture.build->super.log_root = IMAGE_METADATA_AT;
	image_file_write(&fixture.file, fixture.build, false);
	fixture.image = image_file_open(&fixture.file);
	assert_int_equal(rs_image_warning_count(fixture.image), 1);
	assert_non_null(strstr(rs_image_warning(fixture.image, 0), "a log tree waits"));
	end(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies),   cmocka_unit_test(test_later_copy),
		cmocka_unit_test(test_warnings), cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_open),     cmocka_unit_test(test_log_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
