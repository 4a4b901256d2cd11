/* SPDX-License-Identifier: MIT */
/*
 * Corrupted variants of an image, made in place from a seed and undone: bits turned over, ranges
 * zeroed, fields overwritten, blocks swapped, older copies put back, pointers that lead in circles,
 * files cut off; some with checksums that are right. One thread.
 */
#ifndef REFSTORM_TEST_CORRUPTION_H
#define REFSTORM_TEST_CORRUPTION_H

#include <stdio.h>

#include "tests/support/block_list.h"

struct corruption_undo {
	struct corruption_undo *next;
	int fd;
	uint64_t offset;
	uint64_t cut_from; /* the file's old size; 0 if it was not cut */
	uint32_t bytes;
	uint8_t data[];
};

/* Two blocks of one level that could each be the other's past. */
struct corruption_pair {
	uint32_t older;
	uint32_t newer;
};

struct corruption {
	struct rs_image *image; /* as it was before */
	struct image_writer writer;
	struct block_list list;
	struct corruption_pair *pairs;
	uint32_t pair_count;
	struct corruption_undo *undo;
	uint64_t random;
	bool repaired; /* checksums are right */
	bool one_copy; /* only the first copy is changed */
	char text[200];
};

/* Ends the program if it cannot be. */
void corruption_open(struct corruption *corruption, const char *const *paths, size_t count);
void corruption_close(struct corruption *corruption);

/* What it did is in `text`, and whether the super blocks are still such that the image is opened. */
void corruption_make(struct corruption *corruption, uint64_t seed);
void corruption_undo_all(struct corruption *corruption);

#endif /* REFSTORM_TEST_CORRUPTION_H */
