/* SPDX-License-Identifier: MIT */
/* The program on files that are no image, are cut short, or have a bad super block or chunk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/disk/csum.h"
#include "tests/support/chunk_item.h"
#include "tests/support/super_image.h"
#include "tests/support/verify_run.h"

#define NODE 16384

static uint64_t seed;

static void made(struct image_sample *sample)
{
	sample_begin(sample, NODE, IMAGE_SINGLE);
	sample_finish(sample);
}

static void test_no_files(void **state)
{
	char directory[] = "/tmp/refstorm-test-XXXXXX";
	char path[PROGRAM_PATH_BYTES];
	char pipe_path[64];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(directory));
	verify_refuse_path(directory, "neither a file nor a block device");
	snprintf(pipe_path, sizeof(pipe_path), "%s/pipe", directory);
	verify_refuse_path(pipe_path, "No such file");
	assert_int_equal(mkfifo(pipe_path, 0600), 0);
	verify_refuse_path(pipe_path, "neither a file nor a block device");
	verify_refuse_path("/dev/null", "neither a file nor a block device");
	unlink(pipe_path);
	rmdir(directory);
	fd = program_file(path);
	verify_refuse_path(path, "not a btrfs file system: empty");
	close(fd);
}

static void test_random_bytes(void **state)
{
	uint64_t random = seed;
	static uint64_t bytes[32768];

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		char path[PROGRAM_PATH_BYTES];
		int fd = program_file(path);

		for (unsigned i = 0; i < 32768; i++)
			bytes[i] = chunk_random(&random);
		/* From the third on with the magic, then with the checksum. */
		if (round > 2)
			bytes[(65536 + offsetof(struct format_super, magic)) / 8] = FORMAT_MAGIC;
		if (round > 6)
			((struct format_super *)((uint8_t *)bytes + 65536))->csum_type = 0;
		if (round > 10)
			((struct format_super *)((uint8_t *)bytes + 65536))->bytenr = 65536;
		if (round > 6)
			csum_block_write(0, (uint8_t *)bytes + 65536, FORMAT_SUPER_BYTES);
		assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
		verify_refuse_path(path,
				   round > 2 ? "super block at 65536" : "not a btrfs file system");
		close(fd);
	}
}

static void test_lengths(void **state)
{
	static const uint64_t lengths[] = { 0,
					    1,
					    4095,
					    65535,
					    65536,
					    65537,
					    69631,
					    69632,
					    100000,
					    IMAGE_SYSTEM_AT,
					    IMAGE_SYSTEM_AT + 1,
					    IMAGE_SYSTEM_AT + NODE - 1,
					    IMAGE_SYSTEM_AT + NODE,
					    IMAGE_METADATA_AT,
					    IMAGE_METADATA_AT + 1,
					    IMAGE_METADATA_AT + NODE + 1 };
	char path[PROGRAM_PATH_BYTES];
	struct image_sample sample;
	uint64_t end;
	int fd;

	(void)state;
	made(&sample);
	end = sample.build->next_metadata;
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		fd = program_image(sample.build, path);
		assert_int_equal(ftruncate(fd, (off_t)lengths[i]), 0);
		verify_refuse_path(path, "");
		close(fd);
	}
	for (uint64_t bytes = end - 1; bytes > IMAGE_METADATA_AT; bytes -= 4096) {
		fd = program_image(sample.build, path);
		assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
		verify_refuse_path(path, "at ");
		close(fd);
	}
	/* All that is read is there. */
	fd = program_image(sample.build, path);
	assert_int_equal(ftruncate(fd, (off_t)end), 0);
	verify_run_path(path, NULL);
	assert_int_equal(verify_result.exit_code, 0);
	/* Shorter than the device item says, which is found at once. */
	sample.build->super.dev_item.total_bytes = IMAGE_FILE_BYTES + 4096;
	close(fd);
	fd = program_image(sample.build, path);
	verify_refuse_path(path, "cut short");
	close(fd);
	sample_free(&sample);
}

static void refuse_super(const struct format_super *super, const char *text)
{
	struct image_sample sample;

	made(&sample);
	sample.build->super = *super;
	verify_refuse(&sample, VERIFY_NO_ADDRESS, text);
}

static void test_super(void **state)
{
	static const struct {
		uint64_t features;
		const char *text;
	} features[] = {
		{ 1 << 12, "zoned" },
		{ 1 << 13, "extent-tree-v2" },
		{ 1 << 17, "remap-tree" },
		{ UINT64_C(1) << 40, "unknown feature bit 40" },
		{ UINT64_C(3) << 62, "unknown feature bit 62, unknown feature bit 63" },
	};
	struct image_sample sample;
	struct format_super super;

	(void)state;
	made(&sample);
	for (unsigned i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		super = sample.build->super;
		super.incompat_flags |= features[i].features;
		refuse_super(&super, features[i].text);
	}
	super = sample.build->super;
	super.magic ^= 1;
	refuse_super(&super, "not a btrfs file system");
	super = sample.build->super;
	super.nodesize = 12345;
	refuse_super(&super, "bad node size");
	super = sample.build->super;
	super.num_devices = UINT64_MAX;
	refuse_super(&super, "are missing");
	super = sample.build->super;
	super.root_level = 8;
	refuse_super(&super, "level 8 of the root tree");
	/* Roots in the wrong place. */
	super = sample.build->super;
	super.root = image_bytenr(sample.quota_root);
	refuse_super(&super, "owner is tree 8, expected 1");
	super = sample.build->super;
	super.root = UINT64_MAX - 4095;
	refuse_super(&super, "lies in no chunk");
	super = sample.build->super;
	super.chunk_root = super.root;
	refuse_super(&super, "lies in no chunk");
	super = sample.build->super;
	super.chunk_root_level = 7;
	refuse_super(&super, "level is 0, expected 7");
	super = sample.build->super;
	super.generation += 1;
	refuse_super(&super, "generation is 100, expected 101");
	super = sample.build->super;
	super.fsid[0] ^= 1;
	super.dev_item.fsid[0] ^= 1;
	refuse_super(&super, "another file system");
	super = sample.build->super;
	super.sys_chunk_array_size += 1;
	refuse_super(&super, "cut off");
	sample_free(&sample);
}

/* A chunk added to the chunk tree, and what is wrong with it. */
static void test_chunks(void **state)
{
	static const char *const texts[] = {
		"chunk of 0 bytes",      "overlaps",  "for 65535 stripes",
		"more than one profile", "stripe at",
	};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		uint64_t logical = UINT64_C(1) << 50;
		struct image_sample sample;
		struct chunk_item item;
		struct btrfs_chunk *fields = chunk_item_fields(&item);

		sample_begin(&sample, NODE, IMAGE_SINGLE);
		chunk_item_make(&item, MIB, BTRFS_BLOCK_GROUP_DATA, 1);
		if (i == 0)
			fields->length = 0;
		else if (i == 1)
			logical = IMAGE_METADATA_AT + MIB;
		else if (i == 2)
			fields->num_stripes = UINT16_MAX;
		else if (i == 3)
			fields->type |= BTRFS_BLOCK_GROUP_RAID0 | BTRFS_BLOCK_GROUP_RAID1;
		else
			fields->stripe.offset = UINT64_MAX - 4095;
		image_items_add(&sample.build->chunks, BTRFS_FIRST_CHUNK_TREE_OBJECTID,
				BTRFS_CHUNK_ITEM_KEY, logical, fields, item.size);
		sample_finish(&sample);
		verify_refuse(&sample, logical, texts[i]);
	}
}

/* A device that no device item has. */
static void test_chunk_device(void **state)
{
	struct image_sample sample;
	struct chunk_item item;

	(void)state;
	sample_begin(&sample, NODE, IMAGE_SINGLE);
	chunk_item_make(&item, MIB, BTRFS_BLOCK_GROUP_METADATA, 1); /* of device 10 */
	image_items_add(&sample.build->chunks, BTRFS_FIRST_CHUNK_TREE_OBJECTID,
			BTRFS_CHUNK_ITEM_KEY, UINT64_C(1) << 50, chunk_item_fields(&item),
			item.size);
	sample_finish(&sample);
	image_pointer_at(sample.root_a, 1)->blockptr = UINT64_C(1) << 50;
	verify_refuse(&sample, UINT64_C(1) << 50, "no chunk that can be read");
}

/*
 * Bytes changed at random in blocks, checksums put right: any exit code but a
 * crash, and on 2 a message.
 */
static void test_random_damage(void **state)
{
	uint64_t random = seed;
	unsigned refused = 0;

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		struct image_sample sample;
		struct image_block *block;
		unsigned changes = 1 + (unsigned)(chunk_random(&random) % 3);

		if (round % 2)
			sample_begin_simple(&sample, 4096);
		else
			sample_begin(&sample, 4096, IMAGE_SINGLE);
		sample_finish(&sample);
		block = &sample.build->blocks[chunk_random(&random) % sample.build->block_count];
		for (unsigned i = 0; i < changes; i++) {
			/* Where something stands: headers and keys, or data at the end. */
			uint64_t at = chunk_random(&random) % 700;

			if (chunk_random(&random) % 2)
				at = 4095 - at;
			block->bytes[at] = (uint8_t)chunk_random(&random);
		}
		verify_run(&sample, NULL);
		if (verify_result.exit_code > 2)
			fail_msg("seed %llu round %u: exit %d: %s", (unsigned long long)seed, round,
				 verify_result.exit_code, verify_result.err);
		if (verify_result.exit_code == 2) {
			assert_true(verify_result.err[0]);
			refused++;
		}
		sample_free(&sample);
	}
	assert_in_range(refused, 20, 399);
}

int main(void)
{
	const char *text = getenv("REFSTORM_SEED");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_files),      cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_lengths),       cmocka_unit_test(test_super),
		cmocka_unit_test(test_chunks),        cmocka_unit_test(test_chunk_device),
		cmocka_unit_test(test_random_damage),
	};

	seed = text ? strtoull(text, NULL, 10) : 20261120;
	printf("seed %llu (REFSTORM_SEED)\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, verify_set_up, NULL) ? 1 : 0;
}
