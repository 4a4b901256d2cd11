/* SPDX-License-Identifier: MIT */
/*
 * A small image with quotas whose numbers are known by hand.
 *
 *   5            one leaf: the root directory
 *   256 "a"      root, leaf A (one extent of 128 KiB), leaf B (64 KiB)
 *   257 "b"      snapshot of 256: root, leaf A, leaf C (4 KiB)
 *   1/0          256 and 257
 */
#ifndef REFSTORM_TEST_IMAGE_SAMPLE_H
#define REFSTORM_TEST_IMAGE_SAMPLE_H

#include "tests/support/image_build.h"

#define SAMPLE_EXTENT_A IMAGE_DATA_AT
#define SAMPLE_BYTES_A (UINT64_C(128) << 10)
#define SAMPLE_EXTENT_B (IMAGE_DATA_AT + (UINT64_C(1) << 20))
#define SAMPLE_BYTES_B (UINT64_C(64) << 10)
#define SAMPLE_EXTENT_C (IMAGE_DATA_AT + (UINT64_C(2) << 20))
#define SAMPLE_BYTES_C (UINT64_C(4) << 10)
#define SAMPLE_GROUP(level, number) ((uint64_t)(level) << 48 | (number))

struct image_sample {
	struct image_build *build;
	uint8_t *top;    /* the leaf of subvolume 5 */
	uint8_t *root_a; /* of 256 */
	uint8_t *root_b; /* of 257 */
	uint8_t *leaf_a;
	uint8_t *leaf_b;
	uint8_t *leaf_c;
	uint8_t *extents;         /* the extent tree: a leaf */
	struct image_items quota; /* of the quota tree, which sample_finish builds */
	uint8_t *quota_root;
	bool simple;
};

/* Everything but the root, chunk and quota trees: more can be added to build->roots and quota. */
void sample_begin(struct image_sample *sample, uint32_t node_bytes, enum image_profile profile);
/* The same with simple quotas, in which 257 has what it does not share. */
void sample_begin_simple(struct image_sample *sample, uint32_t node_bytes);
void sample_finish(struct image_sample *sample);
void sample_free(struct image_sample *sample);

/* What a root item says; zero where the member is not named. */
struct sample_root {
	uint64_t id;
	const uint8_t *block;
	uint8_t uuid; /* all 16 bytes of it */
	uint8_t parent_uuid;
	uint64_t created;
	bool deleted; /* no references left */
	struct format_key drop_progress;
	uint8_t drop_level;
};

void sample_add_root(struct image_build *build, const struct sample_root *root);

/* The name of subvolume `id`: `bytes` bytes in directory `inode` of subvolume `parent`. */
void sample_add_name(struct image_build *build, uint64_t id, uint64_t parent, uint64_t inode,
		     const char *name, size_t bytes);

/* The reference of inode `inode` to its parent directory. */
void sample_add_inode_ref(struct image_items *items, uint64_t inode, uint64_t parent,
			  const char *name, size_t bytes);
void sample_add_file_extent(struct image_items *items, uint64_t inode, uint64_t offset,
			    uint64_t bytenr, uint64_t bytes);
void sample_add_group(struct image_items *quota, uint64_t id, uint64_t rfer, uint64_t excl);
/* Both ends. */
void sample_add_relation(struct image_items *quota, uint64_t member, uint64_t parent);

/* The data of the item with that key in a leaf, to be changed. */
uint8_t *sample_find(uint8_t *leaf, uint64_t objectid, uint8_t type, uint64_t offset);

#endif /* REFSTORM_TEST_IMAGE_SAMPLE_H */
