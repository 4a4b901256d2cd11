/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/disk/csum.h"
#include "core/disk/super.h"
#include "tests/support/chunk_item.h"
#include "tests/support/super_image.h"

#define FSID 0x5a
#define ALL_MIRRORS ((UINT64_C(256) << 30) + 4096) /* bytes of a device with room for all three */

static uint64_t seed;

static int image_open(uint64_t bytes)
{
	int fd = memfd_create("super_test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

/* A file with the same super block on its first `mirrors` places. */
static int image_make(uint64_t bytes, unsigned mirrors, struct format_super *super)
{
	int fd = image_open(bytes);

	super_image_make(super, FSID, 1, 1);
	for (unsigned mirror = 0; mirror < mirrors; mirror++)
		super_image_write(fd, mirror, super);
	return fd;
}

/* Reads what must be readable; returns the mirror that was chosen. */
static unsigned read_good(int fd, uint64_t bytes, unsigned bad, uint64_t generation)
{
	struct rs_error error = RS_ERROR_INIT;
	struct format_super best;
	unsigned bad_mirrors = 77;

	assert_int_equal(super_read(fd, bytes, &best, &bad_mirrors, &error), 0);
	assert_int_equal(error.code, 0);
	assert_int_equal(bad_mirrors, bad);
	assert_int_equal(format_le64(&best.generation), generation);
	for (unsigned mirror = 0; mirror < FORMAT_SUPER_MIRRORS; mirror++) {
		if (format_le64(&best.bytenr) == super_offset(mirror))
			return mirror;
	}
	fail_msg("bytenr %llu is of no mirror", (unsigned long long)format_le64(&best.bytenr));
	return FORMAT_SUPER_MIRRORS;
}

static void expect_error(int fd, uint64_t bytes, int code, const char *what)
{
	struct rs_error error = RS_ERROR_INIT;
	struct format_super best;
	unsigned bad_mirrors;
	int ret = super_read(fd, bytes, &best, &bad_mirrors, &error);

	if (ret != code || error.code != code || !strstr(error.what, what))
		fail_msg("%d: %s: %s; expected %d: %s", ret, error.where, error.what, code, what);
	assert_int_equal(super_read(fd, bytes, &best, &bad_mirrors, NULL), code);
}

static void test_offsets(void **state)
{
	(void)state;
	assert_int_equal(super_offset(0), 64 << 10);
	assert_int_equal(super_offset(1), 64 << 20);
	assert_int_equal(super_offset(2), UINT64_C(256) << 30);
}

static void test_good(void **state)
{
	static const uint64_t sizes[] = { (64 << 10) + 4096, (64 << 20) + 4095, (64 << 20) + 4096,
					  ALL_MIRRORS - 1, ALL_MIRRORS };
	struct format_super super;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		int fd = image_make(sizes[i], 1 + i / 2, &super);

		/* The tail of a mirror that has no room is not looked at. */
		assert_int_equal(ftruncate(fd, (off_t)sizes[i]), 0);
		assert_int_equal(read_good(fd, sizes[i], 0, 10), 0);
		close(fd);
	}
}

static void test_each_damaged(void **state)
{
	struct format_super super;
	struct format_super broken;

	(void)state;
	/* Bit m of `damage`: mirror m is broken; all but the case that all are. */
	for (unsigned damage = 0; damage < 7; damage++) {
		int fd = image_make(ALL_MIRRORS, 3, &super);
		unsigned first = 0;

		for (unsigned mirror = 0; mirror < 3; mirror++) {
			if (!(damage >> mirror & 1))
				continue;
			broken = super;
			broken.bytenr = super_offset(mirror);
			csum_block_write(0, (uint8_t *)&broken, sizeof(broken));
			broken.padding[100 + mirror] ^= 1;
			super_image_write_raw(fd, mirror, &broken);
		}
		while (damage >> first & 1)
			first++;
		assert_int_equal(read_good(fd, ALL_MIRRORS, damage, 10), first);
		close(fd);
	}
}

static void test_newest_wins(void **state)
{
	struct format_super super;
	int fd = image_make(ALL_MIRRORS, 3, &super);

	(void)state;
	super.generation = 11;
	super_image_write(fd, 1, &super);
	assert_int_equal(read_good(fd, ALL_MIRRORS, 0, 11), 1);
	super_image_write(fd, 2, &super);
	assert_int_equal(read_good(fd, ALL_MIRRORS, 0, 11), 1);
	super.generation = 12;
	super_image_write(fd, 2, &super);
	assert_int_equal(read_good(fd, ALL_MIRRORS, 0, 12), 2);
	super_image_write(fd, 0, &super);
	assert_int_equal(read_good(fd, ALL_MIRRORS, 0, 12), 0);
	close(fd);
}

/* Behind a device that was grown there may be nothing, or what was there before. */
static void test_leftovers(void **state)
{
	const uint64_t bytes = (64 << 20) + 4096;
	struct format_super super;
	struct format_super other;
	int fd = image_make(bytes, 1, &super);

	(void)state;
	assert_int_equal(read_good(fd, bytes, 0, 10), 0);
	memset(&other, 0xe5, sizeof(other));
	super_image_write_raw(fd, 1, &other);
	assert_int_equal(read_good(fd, bytes, 2, 10), 0);
	super_image_make(&other, FSID + 1, 1, 1);
	other.generation = 1000;
	super_image_write(fd, 1, &other);
	assert_int_equal(read_good(fd, bytes, 2, 10), 0);
	close(fd);
}

static void test_not_btrfs(void **state)
{
	struct format_super noise;
	int fd = image_open(0);

	(void)state;
	expect_error(fd, 0, -EINVAL, "empty");
	assert_int_equal(ftruncate(fd, 65536 + 4095), 0);
	expect_error(fd, 65536 + 4095, -EINVAL, "too short");
	assert_int_equal(ftruncate(fd, 100 << 20), 0);
	expect_error(fd, 100 << 20, -EINVAL, "only zeros");
	for (unsigned i = 0; i < sizeof(noise); i++)
		((uint8_t *)&noise)[i] = (uint8_t)chunk_random(&seed);
	super_image_write_raw(fd, 0, &noise);
	expect_error(fd, 100 << 20, -EINVAL, "no magic");
	super_image_make(&noise, FSID, 1, 1);
	noise.magic ^= UINT64_C(1) << 40;
	super_image_write(fd, 0, &noise);
	expect_error(fd, 100 << 20, -EINVAL, "no magic");
	close(fd);
}

/* The reason is that of the first mirror that has one. */
static void test_all_bad(void **state)
{
	struct format_super super;
	int fd = image_make(ALL_MIRRORS, 3, &super);
	struct rs_error error = RS_ERROR_INIT;
	unsigned bad;

	(void)state;
	super.bytenr = super_offset(1);
	csum_block_write(0, (uint8_t *)&super, sizeof(super));
	super_image_write_raw(fd, 0, &super);
	super_image_write_raw(fd, 2, &super);
	super.csum[0] ^= 1;
	super_image_write_raw(fd, 1, &super);
	assert_int_equal(super_read(fd, ALL_MIRRORS, &super, &bad, &error), -EUCLEAN);
	assert_int_equal(bad, 7);
	assert_string_equal(error.where, "super block at 65536");
	assert_non_null(strstr(error.what, "for byte 67108864"));

	memset(&super, 1, sizeof(super));
	super_image_write_raw(fd, 0, &super);
	assert_int_equal(super_read(fd, ALL_MIRRORS, &super, &bad, &error), -EUCLEAN);
	assert_string_equal(error.where, "super block at 67108864");
	assert_non_null(strstr(error.what, "bad checksum (crc32c)"));
	close(fd);
}

static void test_read_errors(void **state)
{
	struct format_super super;
	int fd = image_make(1 << 20, 1, &super);
	char path[64];
	int writer;

	(void)state;
	expect_error(-1, 1 << 20, -EBADF, "cannot be read");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	writer = open(path, O_WRONLY);
	assert_true(writer >= 0);
	expect_error(writer, 1 << 20, -EBADF, "cannot be read");
	close(writer);
	/* A mirror that cannot be read is only bad as long as there is another. */
	assert_int_equal(read_good(fd, ALL_MIRRORS, 6, 10), 0);
	assert_int_equal(ftruncate(fd, 65536 + 100), 0);
	expect_error(fd, 1 << 20, -EIO, "became shorter");
	close(fd);
}

#define FIELD(name) offsetof(struct format_super, name), sizeof(((struct format_super *)0)->name)
#define ITEM(name)                                                                                 \
	offsetof(struct format_super, dev_item.name),                                              \
		sizeof(((struct format_super *)0)->dev_item.name)

static const struct field {
	size_t at;
	size_t bytes;
	uint64_t value;
	const char *what; /* NULL: allowed */
} fields[] = {
	{ FIELD(sectorsize), 0, "sector size" },
	{ FIELD(sectorsize), 512, "sector size" },
	{ FIELD(sectorsize), 4097, "sector size" },
	{ FIELD(sectorsize), 131072, "sector size" },
	{ FIELD(sectorsize), 32768, "node size" },
	{ FIELD(sectorsize), 16384, NULL },
	{ FIELD(nodesize), 0, "node size" },
	{ FIELD(nodesize), 2048, "node size" },
	{ FIELD(nodesize), 12288, "node size" },
	{ FIELD(nodesize), 131072, "node size" },
	{ FIELD(nodesize), 32768, "leaf size" },
	{ FIELD(leafsize), 4096, "leaf size" },
	{ FIELD(sys_chunk_array_size), 0, "system chunk array" },
	{ FIELD(sys_chunk_array_size), 96, "system chunk array" },
	{ FIELD(sys_chunk_array_size), 2048, NULL },
	{ FIELD(sys_chunk_array_size), 2049, "system chunk array" },
	{ FIELD(sys_chunk_array_size), UINT32_MAX, "system chunk array" },
	{ FIELD(root), 0, "root tree" },
	{ FIELD(root), 4095, "root tree" },
	{ FIELD(chunk_root), 0, "chunk tree" },
	{ FIELD(chunk_root), 512, "chunk tree" },
	{ FIELD(log_root), 1, "log tree" },
	{ FIELD(log_root), 40 << 20, NULL },
	{ FIELD(root_level), 7, NULL },
	{ FIELD(root_level), 8, "level 8 of the root tree" },
	{ FIELD(chunk_root_level), 8, "level 8 of the chunk tree" },
	{ FIELD(log_root_level), 255, "level 255 of the log tree" },
	{ FIELD(generation), 0, "generation 0" },
	{ FIELD(chunk_root_generation), 10, NULL },
	{ FIELD(chunk_root_generation), 11, "generation 11" },
	{ FIELD(num_devices), 0, "0 devices" },
	{ FIELD(num_devices), UINT64_MAX, NULL },
	{ FIELD(total_bytes), 0, "bytes used" },
	{ FIELD(total_bytes), 65536, "bytes used" },
	{ FIELD(bytes_used), UINT64_MAX, "bytes used" },
	{ ITEM(total_bytes), 0, "on the device" },
	{ ITEM(bytes_used), SUPER_IMAGE_BYTES + 1, "on the device" },
	{ ITEM(fsid[3]), 0, "another file system id" },
};

static void test_fields(void **state)
{
	struct format_super super;
	int fd = image_make(1 << 20, 1, &super);

	(void)state;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct field *field = &fields[i];

		super_image_make(&super, FSID, 1, 1);
		memcpy((uint8_t *)&super + field->at, &field->value, field->bytes);
		super_image_write(fd, 0, &super);
		if (field->what)
			expect_error(fd, 1 << 20, -EUCLEAN, field->what);
		else
			assert_int_equal(read_good(fd, 1 << 20, 0, 10), 0);
	}
	close(fd);
}

static void test_csum_types(void **state)
{
	struct format_super super;
	int fd = image_make(1 << 20, 1, &super);

	(void)state;
	for (uint16_t type = 0; type < 4; type++) {
		super_image_make(&super, FSID, 1, 1);
		super.csum_type = type;
		super_image_write(fd, 0, &super);
		assert_int_equal(read_good(fd, 1 << 20, 0, 10), 0);
	}
	super.csum_type = 4;
	super_image_write_raw(fd, 0, &super);
	expect_error(fd, 1 << 20, -EOPNOTSUPP, "unknown checksum type 4");
	close(fd);
}

static void test_metadata_uuid(void **state)
{
	struct format_super super;
	int fd = image_make(1 << 20, 1, &super);

	(void)state;
	memset(super.metadata_uuid, 0x77, sizeof(super.metadata_uuid));
	assert_ptr_equal(super_block_fsid(&super), super.fsid);
	super.incompat_flags |= FORMAT_INCOMPAT_METADATA_UUID;
	assert_ptr_equal(super_block_fsid(&super), super.metadata_uuid);
	super_image_write(fd, 0, &super);
	expect_error(fd, 1 << 20, -EUCLEAN, "another file system id");
	memset(super.dev_item.fsid, 0x77, sizeof(super.dev_item.fsid));
	super_image_write(fd, 0, &super);
	assert_int_equal(read_good(fd, 1 << 20, 0, 10), 0);
	close(fd);
}

/* NULL if all of it is supported. */
static const char *unsupported(uint64_t features, uint64_t flags)
{
	static struct rs_error error;
	struct format_super super;
	int ret;

	memset(&error, 0, sizeof(error));
	super_image_make(&super, FSID, 1, 1);
	super.incompat_flags = features;
	super.flags = flags;
	ret = super_check_supported(&super, &error);
	if (ret == 0)
		return NULL;
	assert_int_equal(ret, -EOPNOTSUPP);
	assert_int_equal(error.code, ret);
	assert_int_equal(super_check_supported(&super, NULL), ret);
	return error.what;
}

static void test_supported(void **state)
{
	static const char *const features[64] = {
		[12] = "zoned", [13] = "extent-tree-v2", [15] = "encrypt", [17] = "remap-tree"
	};
	static const char *const flags[64] = {
		[33] = "metadata dump",  [34] = "metadata dump v2",   [35] = "file system id",
		[36] = "file system id", [37] = "checksum type",      [38] = "block group tree",
		[39] = "data checksums", [40] = "metadata checksums",
	};
	const uint64_t good_features = 0xfff | 1 << 14 | 1 << 16;
	const uint64_t good_flags = 7 | UINT64_C(1) << 32;

	(void)state;
	assert_null(unsupported(0, 0));
	assert_null(unsupported(good_features, good_flags));
	for (unsigned bit = 0; bit < 64; bit++) {
		const char *what = unsupported(UINT64_C(1) << bit, 1);
		char unknown[40];

		snprintf(unknown, sizeof(unknown), "unknown feature bit %u", bit);
		if (good_features >> bit & 1)
			assert_null(what);
		else
			assert_non_null(strstr(what, features[bit] ? features[bit] : unknown));
		what = unsupported(0x361, UINT64_C(1) << bit);
		snprintf(unknown, sizeof(unknown), "unknown super flag bit %u", bit);
		if (good_flags >> bit & 1)
			assert_null(what);
		else
			assert_non_null(strstr(what, flags[bit] ? flags[bit] : unknown));
	}
	assert_non_null(strstr(unsupported(3 << 12, 1), "zoned, extent-tree-v2"));
	assert_non_null(strstr(unsupported(1 << 12, UINT64_C(1) << 33), "zoned, metadata dump"));
	assert_non_null(strstr(unsupported(UINT64_MAX, UINT64_MAX), "remap-tree"));
}

/* Single bits: without a new checksum never valid, with one either valid or refused for a reason. */
static void test_flipped_bits(void **state)
{
	struct format_super good;
	int fd = image_make(1 << 20, 1, &good);
	unsigned valid = 0;

	(void)state;
	assert_int_equal(pread(fd, &good, sizeof(good), 65536), sizeof(good));
	for (unsigned bit = 0; bit < 8 * sizeof(good); bit++) {
		struct format_super super = good;
		struct format_super best;
		unsigned bad;
		int ret;

		((uint8_t *)&super)[bit / 8] ^= (uint8_t)(1U << bit % 8);
		super_image_write_raw(fd, 0, &super);
		/* Of the checksum's 32 bytes only the first 4 count. */
		ret = super_read(fd, 1 << 20, &best, &bad, NULL);
		assert_int_equal(ret == 0, bit / 8 >= 4 && bit / 8 < FORMAT_CSUM_BYTES);
		assert_int_equal(bad, ret != 0);
		if (csum_bytes(super.csum_type) == 0)
			continue;
		super_image_write(fd, 0, &super);
		ret = super_read(fd, 1 << 20, &best, &bad, NULL);
		assert_true(ret == 0 || ret == -EUCLEAN || ret == -EINVAL);
		valid += ret == 0;
	}
	assert_in_range(valid, 20000, 8 * sizeof(good) - 500);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offsets),       cmocka_unit_test(test_good),
		cmocka_unit_test(test_each_damaged),  cmocka_unit_test(test_newest_wins),
		cmocka_unit_test(test_leftovers),     cmocka_unit_test(test_not_btrfs),
		cmocka_unit_test(test_all_bad),       cmocka_unit_test(test_read_errors),
		cmocka_unit_test(test_fields),        cmocka_unit_test(test_csum_types),
		cmocka_unit_test(test_metadata_uuid), cmocka_unit_test(test_supported),
		cmocka_unit_test(test_flipped_bits),
	};

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) | 1 : 20240711;
	fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
