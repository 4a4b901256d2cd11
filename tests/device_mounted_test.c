/* SPDX-License-Identifier: MIT */
/*
 * device_mounted on real mounts. All happens in a mount name space of our own,
 * and the loop devices go when they are closed, so that nothing is left behind
 * however this program ends. Skipped, with the reason, where it is not possible.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/disk/device.h"

#define IMAGES 3
#define SKIPPED 77

/* Image 0 is a file system of its own; 1 and 2 are a RAID1 pair. */
static char directory[] = "/tmp/device_mounted.XXXXXX";
static char point[sizeof(directory) + 16]; /* with a blank, which mountinfo escapes */
static char images[IMAGES][sizeof(directory) + 16];
static char loops[IMAGES][32];
static char other_name[sizeof(directory) + 16]; /* another link to image 0, for a while */
static int loop_fds[IMAGES] = { -1, -1, -1 };
static const char *obstacle;

/* A loop device over the file, that goes away once it is closed and not mounted. -1 if none. */
static int loop_open(const char *file, char *name, size_t name_bytes)
{
	struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int backing = open(file, O_RDWR | O_CLOEXEC);
	int fd = -1;

	/* Somebody else may take the number in between. */
	for (unsigned attempt = 0; attempt < 50 && control >= 0 && backing >= 0; attempt++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		snprintf(name, name_bytes, "/dev/loop%d", number);
		fd = open(name, O_RDWR | O_CLOEXEC);
		config.fd = (uint32_t)backing;
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
			break;
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	if (control >= 0)
		close(control);
	if (backing >= 0)
		close(backing);
	return fd;
}

static bool run(const char *command)
{
	return system(command) == 0;
}

static bool make_images(void)
{
	char command[256];

	for (unsigned i = 0; i < IMAGES; i++) {
		int fd;

		snprintf(images[i], sizeof(images[i]), "%s/%u.img", directory, i);
		fd = open(images[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 || ftruncate(fd, 160 << 20) || close(fd))
			return false;
	}
	snprintf(command, sizeof(command), "mkfs.btrfs -q %s >/dev/null 2>&1", images[0]);
	if (!run(command))
		return false;
	snprintf(command, sizeof(command), "mkfs.btrfs -q -m raid1 -d raid1 %s %s >/dev/null 2>&1",
		 images[1], images[2]);
	return run(command);
}

/* Sets `obstacle` if something is not to be had here. */
static void prepare(void)
{
	if (geteuid() != 0)
		obstacle = "not root";
	else if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		obstacle = "no mount name space";
	else if (!make_images())
		obstacle = "no mkfs.btrfs, or no room in /tmp";
	for (unsigned i = 0; i < IMAGES && !obstacle; i++) {
		loop_fds[i] = loop_open(images[i], loops[i], sizeof(loops[i]));
		if (loop_fds[i] < 0)
			obstacle = "no loop devices";
	}
	if (obstacle)
		return;
	snprintf(point, sizeof(point), "%s/m p", directory);
	snprintf(other_name, sizeof(other_name), "%s/other", directory);
	if (mkdir(point, 0700) || mount(loops[0], point, "btrfs", 0, NULL))
		obstacle = "btrfs cannot be mounted";
	else
		umount(point);
}

static void clean_up(void)
{
	umount2(point, MNT_DETACH);
	rmdir(point);
	unlink(other_name);
	for (unsigned i = 0; i < IMAGES; i++) {
		if (loop_fds[i] >= 0)
			close(loop_fds[i]);
		unlink(images[i]);
	}
	rmdir(directory);
}

static int unmount(void **state)
{
	(void)state;
	while (umount2(point, MNT_DETACH) == 0)
		;
	return 0;
}

static void expect(const char *path, int result)
{
	char where[256];

	assert_int_equal(device_mounted(path, where, sizeof(where)), result);
	assert_string_equal(where, result == 1 ? point : "");
}

static void expect_both(unsigned image, int result)
{
	expect(images[image], result);
	expect(loops[image], result);
}

static void test_writable(void **state)
{
	char where[5];

	(void)state;
	expect_both(0, 0);
	assert_int_equal(mount(loops[0], point, "btrfs", 0, NULL), 0);
	expect_both(0, 1);
	expect_both(1, 0);
	expect_both(2, 0);
	assert_int_equal(device_mounted(loops[0], where, sizeof(where)), 1);
	assert_string_equal(where, "/tmp");
	assert_int_equal(umount(point), 0);
	expect_both(0, 0);
}

static void test_read_only(void **state)
{
	(void)state;
	assert_int_equal(mount(loops[0], point, "btrfs", MS_RDONLY, NULL), 0);
	expect_both(0, 0);
	assert_int_equal(mount(NULL, point, NULL, MS_REMOUNT, NULL), 0);
	expect_both(0, 1);
	/* One mount read-only, the file system not: it may be written by another way. */
	assert_int_equal(mount(NULL, point, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	expect_both(0, 1);
	assert_int_equal(mount(NULL, point, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	expect_both(0, 0);
	assert_int_equal(umount(point), 0);
}

static void test_pair(void **state)
{
	char options[128];

	(void)state;
	snprintf(options, sizeof(options), "device=%s,device=%s", loops[1], loops[2]);
	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(mount(loops[i], point, "btrfs", 0, options), 0);
		expect_both(0, 0);
		expect_both(1, 1);
		expect_both(2, 1);
		assert_int_equal(mount(NULL, point, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
		expect_both(1, 0);
		expect_both(2, 0);
		assert_int_equal(umount(point), 0);
	}
}

/* Another loop device over the same file, and another name of the file. */
static void test_other_names(void **state)
{
	char name[32];
	int fd = loop_open(images[0], name, sizeof(name));

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(link(images[0], other_name), 0);
	assert_int_equal(mount(loops[0], point, "btrfs", 0, NULL), 0);
	expect(name, 1);
	expect(other_name, 1);
	assert_int_equal(umount(point), 0);
	expect(name, 0);
	expect(other_name, 0);
	close(fd);
}

/* A loop device with nothing behind it is not mounted. */
static void test_unbound(void **state)
{
	char name[32];
	int fd = loop_open(images[0], name, sizeof(name));

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, LOOP_CLR_FD), 0);
	close(fd);
	expect(name, 0);
}

/* Mounts and then waits until `gate` is closed. */
static void child_mount(int ready, int gate)
{
	char byte = 'n';

	if (unshare(CLONE_NEWNS) == 0 && mount(loops[0], point, "btrfs", 0, NULL) == 0)
		byte = 'y';
	if (write(ready, &byte, 1) == 1)
		(void)!read(gate, &byte, 1);
	_exit(0);
}

/* Mounted where we cannot see it: that it is so is all that can be said. */
static void test_other_name_space(void **state)
{
	int ready[2];
	int gate[2];
	char byte = 0;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(gate), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(gate[1]);
		child_mount(ready[1], gate[0]);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	expect_both(0, -EBUSY);
	expect_both(1, 0);
	close(gate[0]);
	close(gate[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(ready[0]);
	close(ready[1]);
	assert_int_equal(byte, 'y');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_writable, unmount),
		cmocka_unit_test_teardown(test_read_only, unmount),
		cmocka_unit_test_teardown(test_pair, unmount),
		cmocka_unit_test_teardown(test_other_names, unmount),
		cmocka_unit_test(test_unbound),
		cmocka_unit_test_teardown(test_other_name_space, unmount),
	};
	int ret;

	if (!mkdtemp(directory)) {
		perror(directory);
		return 1;
	}
	prepare();
	if (obstacle) {
		fprintf(stderr, "skipped: %s\n", obstacle);
		ret = SKIPPED;
	} else {
		ret = cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
	}
	clean_up();
	return ret;
}
