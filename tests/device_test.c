/* SPDX-License-Identifier: MIT */
/* Mounted file systems: device_mounted_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/disk/device.h"
#include "tests/support/super_image.h"

#define FSID 0x5a

/* Each test runs in a directory of its own; all that it leaves there is removed. */
static char directory[] = "/tmp/device_test.XXXXXX";

static int directory_make(void **state)
{
	(void)state;
	strcpy(strrchr(directory, '.'), ".XXXXXX");
	return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int directory_remove(void **state)
{
	struct dirent *entry;
	DIR *here = opendir(".");

	(void)state;
	if (!here)
		return -1;
	while ((entry = readdir(here))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			remove(entry->d_name);
	}
	closedir(here);
	return chdir("/") == 0 && rmdir(directory) == 0 ? 0 : -1;
}

static void write_device(const char *path, const struct format_super *super)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SUPER_IMAGE_BYTES), 0);
	super_image_write(fd, 0, super);
	close(fd);
}

static void make_device(const char *path, uint8_t fsid, uint64_t id, uint64_t devices)
{
	struct format_super super;

	super_image_make(&super, fsid, id, devices);
	write_device(path, &super);
}

static unsigned open_files(void)
{
	DIR *files = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(files);
	while (readdir(files))
		count++;
	closedir(files);
	return count;
}

/* Up to four paths, NULL behind the last. Everything must be closed again. */
static void expect_error(int code, const char *where, const char *what, const char *const paths[])
{
	struct rs_error error = RS_ERROR_INIT;
	struct device_set set;
	unsigned files = open_files();
	size_t count = 0;
	int ret;

	while (paths[count])
		count++;
	ret = device_set_open(&set, paths, count, &error);
	if (ret != code || error.code != code || !strstr(error.what, what) ||
	    strncmp(error.where, where, strlen(where)) != 0)
		fail_msg("%d: %s: %s; expected %d: %s: %s", ret, error.where, error.what, code,
			 where, what);
	assert_int_equal(open_files(), files);
	assert_int_equal(set.count, 0);
	assert_null(set.devices);
	assert_int_equal(device_set_open(&set, paths, count, NULL), code);
}

#define PATHS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void test_two(void **state)
{
	struct rs_error error = RS_ERROR_INIT;
	unsigned files = open_files();
	struct device_set set;

	(void)state;
	make_device("a", FSID, 1, 2);
	make_device("b", FSID, 2, 2);
	assert_int_equal(device_set_open(&set, PATHS("b", "a"), 2, &error), 0);
	assert_int_equal(error.code, 0);
	assert_int_equal(open_files(), files + 2);
	assert_int_equal(set.count, 2);
	assert_string_equal(set.devices[0].path, "a");
	assert_string_equal(set.devices[1].path, "b");
	for (uint64_t id = 0; id < 4; id++) {
		const struct device *device = device_set_find(&set, id);

		assert_ptr_equal(device, id == 1 || id == 2 ? &set.devices[id - 1] : NULL);
		if (!device)
			continue;
		assert_int_equal(device->id, id);
		assert_int_equal(device->bytes, SUPER_IMAGE_BYTES);
		assert_int_equal(device->bad_super_mirrors, 0);
		assert_int_equal(fcntl(device->fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
	}
	device_set_close(&set);
	assert_int_equal(open_files(), files);
}

/* Ids need not be without gaps, nor paths in their order. */
static void test_many(void **state)
{
	static const uint64_t ids[] = { 7, 3, UINT64_MAX, 1, 12, 5 };
	char names[6][8];
	const char *paths[6];
	struct device_set set;
	uint64_t last = 0;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		snprintf(names[i], sizeof(names[i]), "d%u", i);
		paths[i] = names[i];
		make_device(names[i], FSID, ids[i], 6);
	}
	assert_int_equal(device_set_open(&set, paths, 6, NULL), 0);
	assert_int_equal(set.count, 6);
	for (unsigned i = 0; i < 6; i++) {
		assert_true(set.devices[i].id > last);
		last = set.devices[i].id;
		assert_string_equal(device_set_find(&set, ids[i])->path, names[i]);
	}
	assert_null(device_set_find(&set, 2));
	assert_null(device_set_find(&set, 0));
	device_set_close(&set);
}

static void test_stale(void **state)
{
	struct format_super super;
	struct device_set set;

	(void)state;
	make_device("a", FSID, 1, 3);
	make_device("c", FSID, 3, 3);
	super_image_make(&super, FSID, 2, 3);
	super.generation = 11;
	write_device("b", &super);
	for (unsigned i = 0; i < 3; i++) {
		const char *const names[] = { "a", "b", "c", "a", "b" };

		assert_int_equal(device_set_open(&set, names + i, 3, NULL), 0);
		assert_int_equal(format_le64(&set.super.generation), 11);
		assert_int_equal(format_le64(&set.super.dev_item.devid), 2);
		device_set_close(&set);
	}
}

static void test_missing(void **state)
{
	(void)state;
	make_device("a", FSID, 1, 3);
	make_device("b", FSID, 2, 3);
	make_device("c", FSID, 3, 3);
	expect_error(-ENXIO, "", "device 2 of 3 is missing; give all devices", PATHS("c", "a"));
	expect_error(-ENXIO, "", "device 1 of 3 is missing", PATHS("b", "c"));
	expect_error(-ENXIO, "", "devices 2, 3 of 3 are missing", PATHS("a"));
	make_device("a", FSID, 1, 9);
	expect_error(-ENXIO, "", "devices 2, 3, 4, 5, 6, ... of 9 are missing", PATHS("a"));
	make_device("a", FSID, 1, UINT32_MAX);
	expect_error(-ENXIO, "", "devices 2, 3, 4, 5, 6, ... of 4294967295", PATHS("a"));
	make_device("a", FSID, 1, 1);
	make_device("b", FSID, 2, 1);
	expect_error(-EINVAL, "", "2 devices given, but the file system has 1", PATHS("a", "b"));
}

static void test_twice(void **state)
{
	(void)state;
	make_device("a", FSID, 1, 2);
	make_device("b", FSID, 1, 2);
	assert_int_equal(symlink("a", "symbolic"), 0);
	assert_int_equal(link("a", "hard"), 0);
	expect_error(-EEXIST, "a", "given twice", PATHS("a", "a"));
	expect_error(-EEXIST, "symbolic", "given twice (the same as a)", PATHS("a", "symbolic"));
	expect_error(-EEXIST, "hard", "given twice", PATHS("a", "hard"));
	expect_error(-EEXIST, "b", "a second copy of device 1, which is a", PATHS("a", "b"));
}

static void test_foreign(void **state)
{
	struct format_super super;

	(void)state;
	make_device("a", 0x11, 1, 2);
	make_device("b", 0x22, 2, 2);
	expect_error(-EINVAL, "b",
		     "system 22222222-2222-2222-2222-222222222222, but a to "
		     "11111111-1111-1111-1111-111111111111",
		     PATHS("a", "b"));
	super_image_make(&super, 0x22, 1, 1);
	super.flags |= FORMAT_SUPER_SEEDING;
	write_device("b", &super);
	expect_error(-EOPNOTSUPP, "b", "seed device", PATHS("a", "b"));
	expect_error(-EOPNOTSUPP, "a", "seed device", PATHS("b", "a"));
}

static void test_seed_alone(void **state)
{
	struct format_super super;
	struct device_set set;

	(void)state;
	super_image_make(&super, FSID, 1, 1);
	super.flags |= FORMAT_SUPER_SEEDING;
	write_device("a", &super);
	assert_int_equal(device_set_open(&set, PATHS("a"), 1, NULL), 0);
	device_set_close(&set);
}

static void test_unfit(void **state)
{
	struct format_super super;
	struct device_set set;

	(void)state;
	make_device("a", FSID, 1, 2);
	assert_int_equal(mkdir("dir", 0700), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(symlink("nowhere", "dangling"), 0);
	close(open("empty", O_WRONLY | O_CREAT, 0600));
	expect_error(-EINVAL, "dir", "neither a file nor a block device", PATHS("a", "dir"));
	expect_error(-EINVAL, "fifo", "neither a file nor a block device", PATHS("fifo"));
	expect_error(-EINVAL, "/dev/null", "neither", PATHS("/dev/null"));
	expect_error(-ENOENT, "none", "No such file", PATHS("a", "none"));
	expect_error(-ENOENT, "dangling", "No such file", PATHS("dangling"));
	expect_error(-ENOENT, "", "", PATHS(""));
	expect_error(-EINVAL, "empty", "not a btrfs file system: empty", PATHS("a", "empty"));
	assert_int_equal(device_set_open(&set, PATHS("a"), 0, NULL), -EINVAL);

	super_image_make(&super, FSID, 2, 2);
	super.dev_item.total_bytes = SUPER_IMAGE_BYTES + 4096;
	super.total_bytes += 4096;
	write_device("b", &super);
	expect_error(-EUCLEAN, "b", "cut short: 1048576 bytes are there of the 1052672",
		     PATHS("a", "b"));
	super.sectorsize = 5;
	write_device("b", &super);
	expect_error(-EUCLEAN, "b: super block at 65536", "bad sector size 5", PATHS("a", "b"));
}

static void test_no_memory(void **state)
{
	unsigned files = open_files();
	struct device_set set;
	unsigned failures = 0;
	int ret = -ENOMEM;

	(void)state;
	make_device("a", FSID, 1, 2);
	make_device("b", FSID, 2, 2);
	for (uint64_t nth = 1; ret == -ENOMEM && nth < 100; nth++) {
		struct rs_error error = RS_ERROR_INIT;

		alloc_fail_arm(nth, 0);
		ret = device_set_open(&set, PATHS("a", "b"), 2, &error);
		alloc_fail_arm(0, 0);
		failures += ret != 0;
		assert_int_equal(error.code, ret);
		assert_int_equal(open_files(), files + (ret ? 0 : 2));
	}
	assert_int_equal(ret, 0);
	assert_true(failures >= 3);
	device_set_close(&set);
}

static void test_not_mounted(void **state)
{
	char where[16] = "unchanged";

	(void)state;
	make_device("a", FSID, 1, 1);
	/* Only root may ask the loop devices that others have mounted. */
	if (geteuid() == 0) {
		assert_int_equal(device_mounted("a", where, sizeof(where)), 0);
		assert_string_equal(where, "");
		assert_int_equal(device_mounted("a", NULL, 0), 0);
	}
	assert_int_equal(device_mounted("none", where, sizeof(where)), -ENOENT);
	assert_int_equal(device_mounted(".", where, sizeof(where)), -EINVAL);
	assert_int_equal(device_mounted("/dev/null", where, sizeof(where)), -EINVAL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, directory_make, directory_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_two),         TEST(test_many),  TEST(test_stale),
		TEST(test_missing),     TEST(test_twice), TEST(test_foreign),
		TEST(test_seed_alone),  TEST(test_unfit), TEST(test_no_memory),
		TEST(test_not_mounted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
