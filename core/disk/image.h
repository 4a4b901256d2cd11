/* SPDX-License-Identifier: MIT */
/*
 * An open file system: its devices, its chunk map, and the reading of single
 * blocks from the first good copy.
 *
 * Who may call: image_read and image_warn from any thread; image_open sets up
 * everything else before it returns.
 */
#ifndef REFSTORM_DISK_IMAGE_H
#define REFSTORM_DISK_IMAGE_H

#include <pthread.h>

#include "core/disk/chunk.h"
#include "core/disk/device.h"
#include "core/disk/node.h"
#include "refstorm/image.h"

#define IMAGE_WARNINGS_MAX 100

struct rs_image {
	struct device_set devices;
	struct chunk_map *chunks;
	struct node_rules rules;
	char *name;  /* the first path, for messages */
	bool direct; /* the devices are mounted, and read past the page cache */

	pthread_mutex_t warning_lock; /* protects what follows */
	char *warnings[IMAGE_WARNINGS_MAX + 1];
	size_t warning_count;
};

/* Where `expect` is found on copy `mirror`; false if there is no such copy. */
bool image_place(const struct rs_image *image, uint64_t bytenr, unsigned mirror,
		 const struct device **device, struct chunk_place *place);

/*
 * Reads and checks one block into `block` (node_bytes, aligned to 4096). Copies
 * are tried from number `mirror` on, in turn; a bad one gives a warning when a
 * good one is found behind it. `first` is why copies before `mirror` were refused,
 * NULL if there were none. Returns 0, -EIO (cannot be read), -EUCLEAN (no copy is
 * good) with the first reason.
 */
int image_read(struct rs_image *image, const struct node_expect *expect, unsigned mirror,
	       const struct rs_error *first, uint8_t *block, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Keeps a warning; those over IMAGE_WARNINGS_MAX are counted in a last line. */
void image_warn(struct rs_image *image, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A buffer for one block. */
uint8_t *image_block_alloc(const struct rs_image *image) __attribute__((warn_unused_result));

#endif /* REFSTORM_DISK_IMAGE_H */
