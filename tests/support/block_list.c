/* SPDX-License-Identifier: MIT */
#include "tests/support/block_list.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/disk/tree.h"

/* For what a test cannot go on without. */
static void need(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

static bool is_listed(const struct block_list *list, uint64_t bytenr)
{
	uint32_t at;

	for (at = 0; at < list->count; at++)
		if (list->blocks[at].expect.bytenr == bytenr)
			return true;
	return false;
}

static void add_block(struct block_list *list, const struct listed_block *block)
{
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? list->capacity * 2 : 256;
		list->blocks = alloc_resize(list->blocks, list->capacity, sizeof(*list->blocks));
		need(list->blocks, "the list of blocks");
	}
	list->blocks[list->count++] = *block;
}

static void add_root_items(struct block_list *list, struct rs_image *image, const uint8_t *leaf);

/* Ends: a block below another is of a lower level. */
static void add_below(struct block_list *list, struct rs_image *image,
		      const struct listed_block *found)
{
	struct rs_error error = RS_ERROR_INIT;
	uint32_t self = list->count;
	uint8_t *block;
	uint32_t slot;

	if (is_listed(list, found->expect.bytenr))
		return;
	block = image_block_alloc(image);
	need(block, "a block");
	if (!image_read(image, &found->expect, 0, NULL, block, &error)) {
		add_block(list, found);
		for (slot = 0; node_level(block) && slot < node_count(block); slot++) {
			struct listed_block child = {
				.expect = node_child(block, slot, found->expect.owner),
				.tree = found->tree,
				.parent = self,
				.slot = slot,
			};

			add_below(list, image, &child);
		}
		if (found->tree == BTRFS_ROOT_TREE_OBJECTID && !node_level(block))
			add_root_items(list, image, block);
	}
	alloc_free(block);
}

static void add_tree(struct block_list *list, struct rs_image *image, const struct tree_root *root)
{
	struct listed_block found = {
		.expect = tree_root_expect(root),
		.tree = root->id,
		.parent = BLOCK_LIST_NO_PARENT,
	};

	add_below(list, image, &found);
}

static void add_root_items(struct block_list *list, struct rs_image *image, const uint8_t *leaf)
{
	uint32_t slot;

	for (slot = 0; slot < node_count(leaf); slot++) {
		const struct btrfs_root_item *item =
			(const struct btrfs_root_item *)node_item_data(leaf, slot);
		struct tree_root root = { .id = node_key(leaf, slot).objectid };

		if (node_key(leaf, slot).type != BTRFS_ROOT_ITEM_KEY)
			continue;
		root.bytenr = format_le64(&item->bytenr);
		root.generation = format_le64(&item->generation);
		root.level = item->level;
		add_tree(list, image, &root);
	}
}

void block_list_read(struct block_list *list, struct rs_image *image)
{
	const struct format_super *super = &image->devices.super;
	struct tree_root chunks = {
		.id = BTRFS_CHUNK_TREE_OBJECTID,
		.bytenr = format_le64(&super->chunk_root),
		.generation = format_le64(&super->chunk_root_generation),
		.level = super->chunk_root_level,
	};
	struct tree_root root = {
		.id = BTRFS_ROOT_TREE_OBJECTID,
		.bytenr = format_le64(&super->root),
		.generation = format_le64(&super->generation),
		.level = super->root_level,
	};

	*list = (struct block_list){ 0 };
	add_tree(list, image, &chunks);
	add_tree(list, image, &root);
}

void block_list_destroy(struct block_list *list)
{
	alloc_free(list->blocks);
	*list = (struct block_list){ 0 };
}

void image_writer_open(struct image_writer *writer, const struct rs_image *image)
{
	size_t at;

	writer->image = image;
	need(image->devices.count <= sizeof(writer->fds) / sizeof(writer->fds[0]), "devices");
	for (at = 0; at < image->devices.count; at++) {
		writer->fds[at] = open(image->devices.devices[at].path, O_RDWR | O_CLOEXEC);
		need(writer->fds[at] >= 0, image->devices.devices[at].path);
	}
}

void image_writer_close(struct image_writer *writer)
{
	size_t at;

	for (at = 0; at < writer->image->devices.count; at++)
		close(writer->fds[at]);
}

void image_writer_put(const struct image_writer *writer, uint64_t bytenr, const uint8_t *data,
		      uint32_t bytes)
{
	unsigned copies = chunk_map_mirrors(writer->image->chunks, bytenr);
	unsigned mirror;

	need(copies, "an address that lies in no chunk");
	for (mirror = 0; mirror < copies; mirror++) {
		const struct device *device;
		struct chunk_place place;
		uint32_t done = 0;

		while (done < bytes) {
			uint64_t want = bytes - done;

			need(image_place(writer->image, bytenr + done, mirror, &device, &place),
			     "a copy");
			if (want > place.bytes)
				want = place.bytes;
			need(pwrite(writer->fds[device - writer->image->devices.devices],
				    data + done, want, (off_t)place.physical) == (ssize_t)want,
			     "writing a block");
			done += (uint32_t)want;
		}
	}
}
