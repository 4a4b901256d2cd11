/* SPDX-License-Identifier: MIT */
/* The quota tree of an image that is one leaf, in memory; and the groups that come of it. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/disk/image.h"
#include "core/qgroup/quota.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/leaf_edit.h"

#define PHYSICAL (UINT64_C(1) << 20)
#define CHUNK_BYTES (UINT64_C(8) << 20)

static struct device device = { .id = 1, .bytes = PHYSICAL + CHUNK_BYTES };

static void need(bool good)
{
	if (!good)
		abort();
}

static struct chunk_map *make_chunks(void)
{
	struct chunk_map *map = chunk_map_create();
	struct rs_error error = RS_ERROR_INIT;
	struct btrfs_chunk chunk = { 0 };

	leaf_put64(&chunk.length, CHUNK_BYTES);
	leaf_put64(&chunk.owner, BTRFS_EXTENT_TREE_OBJECTID);
	leaf_put64(&chunk.stripe_len, FORMAT_STRIPE_BYTES);
	leaf_put64(&chunk.type, BTRFS_BLOCK_GROUP_METADATA);
	leaf_put32(&chunk.io_align, 65536);
	leaf_put32(&chunk.io_width, 65536);
	leaf_put32(&chunk.sector_size, 4096);
	chunk.num_stripes = 1; /* little-endian machines only, as is the fuzzer */
	leaf_put64(&chunk.stripe.devid, device.id);
	leaf_put64(&chunk.stripe.offset, PHYSICAL);
	need(map && !chunk_map_add(map, FUZZ_BYTENR, &chunk, sizeof(chunk), 4096, &error));
	return map;
}

/* Made once; the leaf is written anew for each input. */
static struct rs_image *make_image(void)
{
	struct rs_image *image = calloc(1, sizeof(*image));

	need(image);
	device.fd = memfd_create("quota", MFD_CLOEXEC);
	need(device.fd >= 0 && !ftruncate(device.fd, (off_t)device.bytes));
	image->devices.devices = &device;
	image->devices.count = 1;
	image->chunks = make_chunks();
	pthread_mutex_init(&image->warning_lock, NULL);
	return image;
}

static void count_group(void *argument, const struct group *leaf)
{
	uint64_t *count = argument;

	*count += group_level(leaf->id) == 0;
}

static void walk_groups(struct group_table *groups)
{
	struct group_walk walk;
	size_t dangling;
	uint64_t count;
	size_t at;

	need(!group_table_sort(groups, &dangling) && !group_walk_init(&walk, groups));
	for (at = 0; at < groups->count; at++) {
		count = 0;
		group_walk_leaves(&walk, groups, &groups->groups[at], count_group, &count);
		need(count <= groups->count);
		need(group_table_find(groups, groups->groups[at].id) == &groups->groups[at]);
	}
	group_walk_destroy(&walk);
}

static void drop_warnings(struct rs_image *image)
{
	while (image->warning_count)
		alloc_free(image->warnings[--image->warning_count]);
	memset(image->warnings, 0, sizeof(image->warnings));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rs_image *image;
	struct fuzz_leaf leaf;
	struct tree_root root = {
		.id = BTRFS_QUOTA_TREE_OBJECTID,
		.bytenr = FUZZ_BYTENR,
		.generation = FUZZ_GENERATION,
	};
	struct group_table groups = { 0 };
	struct rs_error error = RS_ERROR_INIT;
	struct quota_status status;

	if (!image)
		image = make_image();
	fuzz_leaf_make(&leaf, data, size, root.id);
	image->rules = leaf.rules;
	need(pwrite(device.fd, leaf.block, leaf.rules.node_bytes, (off_t)PHYSICAL) ==
	     (ssize_t)leaf.rules.node_bytes);
	fuzz_leaf_free(&leaf);
	if (!quota_read(image, &root, &status, &groups, &error))
		walk_groups(&groups);
	else
		need(error.what[0]);
	group_table_destroy(&groups);
	drop_warnings(image);
	return 0;
}
