/* SPDX-License-Identifier: MIT */
#include "tests/support/image_sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define INODE 257

void sample_add_root(struct image_build *build, const struct sample_root *root)
{
	const struct format_header *header = (const struct format_header *)root->block;
	struct btrfs_root_item item = {
		.generation = header->generation,
		.bytenr = header->bytenr,
		.refs = root->deleted ? 0 : 1,
		.level = header->level,
		.generation_v2 = header->generation,
		.otransid = root->created,
		.root_dirid = 256,
		.drop_level = root->drop_level,
		.drop_progress = {
			.objectid = root->drop_progress.objectid,
			.type = root->drop_progress.type,
			.offset = root->drop_progress.offset,
		},
	};

	memset(item.uuid, root->uuid, sizeof(item.uuid));
	memset(item.parent_uuid, root->parent_uuid, sizeof(item.parent_uuid));
	image_items_add(&build->roots, root->id, BTRFS_ROOT_ITEM_KEY, 0, &item, sizeof(item));
}

void sample_add_name(struct image_build *build, uint64_t id, uint64_t parent, uint64_t inode,
		     const char *name, size_t bytes)
{
	uint8_t data[sizeof(struct btrfs_root_ref) + 255];
	struct btrfs_root_ref *ref = (struct btrfs_root_ref *)data;

	assert_true(bytes <= 255);
	ref->dirid = inode;
	ref->sequence = 2;
	ref->name_len = (uint16_t)bytes;
	memcpy(ref + 1, name, bytes);
	image_items_add(&build->roots, id, BTRFS_ROOT_BACKREF_KEY, parent, data,
			sizeof(*ref) + bytes);
}

void sample_add_inode_ref(struct image_items *items, uint64_t inode, uint64_t parent,
			  const char *name, size_t bytes)
{
	uint8_t data[sizeof(struct btrfs_inode_ref) + 255];
	struct btrfs_inode_ref *ref = (struct btrfs_inode_ref *)data;

	assert_true(bytes <= 255);
	ref->index = 2;
	ref->name_len = (uint16_t)bytes;
	memcpy(ref + 1, name, bytes);
	image_items_add(items, inode, BTRFS_INODE_REF_KEY, parent, data, sizeof(*ref) + bytes);
}

void sample_add_file_extent(struct image_items *items, uint64_t inode, uint64_t offset,
			    uint64_t bytenr, uint64_t bytes)
{
	struct btrfs_file_extent_item item = {
		.generation = IMAGE_GENERATION,
		.ram_bytes = bytes,
		.type = BTRFS_FILE_EXTENT_REG,
		.disk_bytenr = bytenr,
		.disk_num_bytes = bytes,
		.num_bytes = bytes,
	};

	image_items_add(items, inode, BTRFS_EXTENT_DATA_KEY, offset, &item, sizeof(item));
}

void sample_add_group(struct image_items *quota, uint64_t id, uint64_t rfer, uint64_t excl)
{
	struct btrfs_qgroup_info_item info = {
		.generation = IMAGE_GENERATION,
		.rfer = rfer,
		.rfer_cmpr = rfer,
		.excl = excl,
		.excl_cmpr = excl,
	};

	image_items_add(quota, 0, BTRFS_QGROUP_INFO_KEY, id, &info, sizeof(info));
}

void sample_add_relation(struct image_items *quota, uint64_t member, uint64_t parent)
{
	image_items_add(quota, member, BTRFS_QGROUP_RELATION_KEY, parent, NULL, 0);
	image_items_add(quota, parent, BTRFS_QGROUP_RELATION_KEY, member, NULL, 0);
}

uint8_t *sample_find(uint8_t *leaf, uint64_t objectid, uint8_t type, uint64_t offset)
{
	for (uint32_t slot = 0; slot < image_header(leaf)->nritems; slot++) {
		const struct btrfs_disk_key *key = &image_item_at(leaf, slot)->key;

		if (key->objectid == objectid && key->type == type && key->offset == offset)
			return image_data_at(leaf, slot);
	}
	fail_msg("no item (%llu %u %llu)", (unsigned long long)objectid, type,
		 (unsigned long long)offset);
	return NULL;
}

static uint8_t *one_extent_leaf(struct image_build *build, uint64_t owner, uint64_t inode,
				uint64_t bytenr, uint64_t bytes)
{
	struct image_items items = { 0 };
	uint8_t *leaf;

	sample_add_file_extent(&items, inode, 0, bytenr, bytes);
	leaf = image_build_tree(build, owner, &items, 0, 0);
	image_items_free(&items);
	return leaf;
}

static uint8_t *node_of_two(struct image_build *build, uint64_t owner, const uint8_t *left,
			    const uint8_t *right)
{
	uint8_t *node = image_build_block(build, owner, 1);

	image_node_add(node, left);
	image_node_add(node, right);
	return node;
}

static void add_extent(struct image_items *items, uint64_t bytenr, uint64_t bytes, uint64_t owner)
{
	struct {
		struct btrfs_extent_item item;
		uint8_t type;
		__le64 root;
	} __attribute__((packed)) data = {
		.item = { .refs = 1,
			  .generation = IMAGE_GENERATION,
			  .flags = BTRFS_EXTENT_FLAG_DATA },
		.type = FORMAT_EXTENT_OWNER_REF_KEY,
		.root = owner,
	};

	image_items_add(items, bytenr, BTRFS_EXTENT_ITEM_KEY, bytes, &data, sizeof(data));
}

static void add_status(struct image_sample *sample)
{
	struct format_qgroup_status status = {
		.version = 1,
		.generation = IMAGE_GENERATION,
		.flags = BTRFS_QGROUP_STATUS_FLAG_ON |
			 (sample->simple ? FORMAT_QGROUP_FLAG_SIMPLE : 0),
		.enable_gen = 1,
	};

	image_items_add(&sample->quota, 0, BTRFS_QGROUP_STATUS_KEY, 0, &status, sizeof(status));
}

static void add_groups(struct image_sample *sample)
{
	uint64_t node = sample->build->node_bytes;
	uint64_t whole = 5 * node + SAMPLE_BYTES_A + SAMPLE_BYTES_B + SAMPLE_BYTES_C;
	uint64_t a = 3 * node + SAMPLE_BYTES_A + SAMPLE_BYTES_B;
	uint64_t b = 2 * node + SAMPLE_BYTES_C;

	add_status(sample);
	sample_add_group(&sample->quota, 5, node, node);
	if (sample->simple) {
		sample_add_group(&sample->quota, 256, a, a);
		sample_add_group(&sample->quota, 257, b, b);
	} else {
		sample_add_group(&sample->quota, 256, a, 2 * node + SAMPLE_BYTES_B);
		sample_add_group(&sample->quota, 257, 3 * node + SAMPLE_BYTES_A + SAMPLE_BYTES_C,
				 b);
	}
	sample_add_group(&sample->quota, SAMPLE_GROUP(1, 0), whole, whole);
	sample_add_relation(&sample->quota, 256, SAMPLE_GROUP(1, 0));
	sample_add_relation(&sample->quota, 257, SAMPLE_GROUP(1, 0));
}

static void begin(struct image_sample *sample, uint32_t node_bytes, enum image_profile profile,
		  bool simple)
{
	struct image_build *build = image_build_create(node_bytes, profile);
	struct image_items top = { 0 };
	struct image_items extents = { 0 };

	*sample = (struct image_sample){ .build = build, .simple = simple };
	sample_add_inode_ref(&top, 256, 256, "..", 2);
	sample->top = image_build_tree(build, BTRFS_FS_TREE_OBJECTID, &top, 0, 0);
	image_items_free(&top);
	sample->leaf_a = one_extent_leaf(build, 256, INODE, SAMPLE_EXTENT_A, SAMPLE_BYTES_A);
	sample->leaf_b = one_extent_leaf(build, 256, INODE + 1, SAMPLE_EXTENT_B, SAMPLE_BYTES_B);
	sample->leaf_c = one_extent_leaf(build, 257, INODE + 1, SAMPLE_EXTENT_C, SAMPLE_BYTES_C);
	sample->root_a = node_of_two(build, 256, sample->leaf_a, sample->leaf_b);
	sample->root_b = node_of_two(build, 257, sample->leaf_a, sample->leaf_c);
	sample_add_root(build, &(struct sample_root){ 5, .block = sample->top, .uuid = 5 });
	sample_add_root(build, &(struct sample_root){ 256, .block = sample->root_a, .uuid = 1,
						      .created = 10 });
	sample_add_root(build, &(struct sample_root){ 257, .block = sample->root_b, .uuid = 2,
						      .parent_uuid = 1, .created = 20 });
	sample_add_name(build, 256, 5, 256, "a", 1);
	sample_add_name(build, 257, 5, 256, "b", 1);
	add_extent(&extents, SAMPLE_EXTENT_A, SAMPLE_BYTES_A, 256);
	add_extent(&extents, SAMPLE_EXTENT_B, SAMPLE_BYTES_B, 256);
	add_extent(&extents, SAMPLE_EXTENT_C, SAMPLE_BYTES_C, 257);
	sample->extents = image_build_tree(build, BTRFS_EXTENT_TREE_OBJECTID, &extents, 0, 0);
	image_items_free(&extents);
	sample_add_root(build, &(struct sample_root){ BTRFS_EXTENT_TREE_OBJECTID,
						      .block = sample->extents });
	add_groups(sample);
}

void sample_begin(struct image_sample *sample, uint32_t node_bytes, enum image_profile profile)
{
	begin(sample, node_bytes, profile, false);
}

void sample_begin_simple(struct image_sample *sample, uint32_t node_bytes)
{
	begin(sample, node_bytes, IMAGE_SINGLE, true);
}

void sample_finish(struct image_sample *sample)
{
	sample->quota_root =
		image_build_tree(sample->build, BTRFS_QUOTA_TREE_OBJECTID, &sample->quota, 0, 0);
	sample_add_root(sample->build, &(struct sample_root){ BTRFS_QUOTA_TREE_OBJECTID,
							      .block = sample->quota_root });
	image_build_finish(sample->build);
}

void sample_free(struct image_sample *sample)
{
	image_items_free(&sample->quota);
	image_build_free(sample->build);
}
