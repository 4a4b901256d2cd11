/* SPDX-License-Identifier: MIT */
/* All tree blocks of an image that can be reached and read, and writing to them. One thread. */
#ifndef REFSTORM_TEST_BLOCK_LIST_H
#define REFSTORM_TEST_BLOCK_LIST_H

#include "core/disk/image.h"

#define BLOCK_LIST_NO_PARENT UINT32_MAX

struct listed_block {
	struct node_expect expect;
	uint64_t tree;
	uint32_t parent; /* index of the block that led here; BLOCK_LIST_NO_PARENT for a root */
	uint32_t slot;   /* of the pointer in it */
};

struct block_list {
	struct listed_block *blocks; /* of one tree in the order of keys; parents first */
	uint32_t count;
	uint32_t capacity;
};

/* Each block once. Trees that are half dropped lead to some that are gone: these are left out. */
void block_list_read(struct block_list *list, struct rs_image *image);
void block_list_destroy(struct block_list *list);

/* The devices of an image, open for writing, in its order. */
struct image_writer {
	const struct rs_image *image;
	int fds[16];
};

void image_writer_open(struct image_writer *writer, const struct rs_image *image);
void image_writer_close(struct image_writer *writer);

/* Writes `bytes` to every copy of what is at `bytenr`, as they are. Parity stays as it was. */
void image_writer_put(const struct image_writer *writer, uint64_t bytenr, const uint8_t *data,
		      uint32_t bytes);

#endif /* REFSTORM_TEST_BLOCK_LIST_H */
