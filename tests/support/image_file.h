/* SPDX-License-Identifier: MIT */
/* Built images as files, and opened by the library. */
#ifndef REFSTORM_TEST_IMAGE_FILE_H
#define REFSTORM_TEST_IMAGE_FILE_H

#include "core/disk/image.h"
#include "tests/support/image_build.h"

struct image_file {
	const struct image_build *build;
	int fds[2];
	unsigned devices;
	char paths[2][64];
};

/* In memory, or `on_disk` under $TMPDIR; no name is left behind. */
void image_file_write(struct image_file *file, const struct image_build *build, bool on_disk);
void image_file_close(struct image_file *file);

/* Inverts a byte of copy 0 or 1 of the block at `bytenr`. */
void image_file_damage(const struct image_file *file, uint64_t bytenr, unsigned copy);

/* Takes what is on disk out of the page cache. */
void image_file_evict(const struct image_file *file);

/* rs_image_open, which must succeed. */
struct rs_image *image_file_open(const struct image_file *file);

#endif /* REFSTORM_TEST_IMAGE_FILE_H */
