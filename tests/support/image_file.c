/* SPDX-License-Identifier: MIT */
#include "tests/support/image_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int file_create(bool on_disk)
{
	const char *directory = getenv("TMPDIR");
	char path[4096];
	int fd;

	if (!on_disk)
		return memfd_create("refstorm-test", MFD_CLOEXEC);
	snprintf(path, sizeof(path), "%s/refstorm-test-XXXXXX", directory ? directory : "/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

void image_file_write(struct image_file *file, const struct image_build *build, bool on_disk)
{
	*file = (struct image_file){
		.build = build,
		.devices = build->profile == IMAGE_RAID1 ? 2 : 1,
	};
	for (unsigned i = 0; i < file->devices; i++) {
		file->fds[i] = file_create(on_disk);
		assert_true(file->fds[i] >= 0);
		snprintf(file->paths[i], sizeof(file->paths[i]), "/proc/%d/fd/%d", (int)getpid(),
			 file->fds[i]);
		image_build_write(build, i, file->fds[i]);
	}
}

void image_file_close(struct image_file *file)
{
	for (unsigned i = 0; i < file->devices; i++)
		close(file->fds[i]);
}

void image_file_damage(const struct image_file *file, uint64_t bytenr, unsigned copy)
{
	int fd = file->fds[file->devices > 1 ? copy : 0];
	off_t at = (off_t)image_build_physical(file->build, bytenr, copy) + 200;
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte = (uint8_t)~byte;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

void image_file_evict(const struct image_file *file)
{
	for (unsigned i = 0; i < file->devices; i++) {
		assert_int_equal(fdatasync(file->fds[i]), 0);
		assert_int_equal(posix_fadvise(file->fds[i], 0, 0, POSIX_FADV_DONTNEED), 0);
	}
}

struct rs_image *image_file_open(const struct image_file *file)
{
	const char *paths[2] = { file->paths[0], file->paths[1] };
	struct rs_error error = RS_ERROR_INIT;
	struct rs_image *image;

	if (rs_image_open(paths, file->devices, &image, &error))
		fail_msg("%s: %s", error.where, error.what);
	return image;
}
