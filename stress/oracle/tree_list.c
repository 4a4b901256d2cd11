/* SPDX-License-Identifier: MIT */
#include "stress/oracle/tree_list.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "stress/oracle/walk.h"

#define OLD_ROOT_ITEM_BYTES offsetof(struct btrfs_root_item, generation_v2)

/* The leaves of the root tree are few: the workers take turns. */
struct listing {
	struct tree_list *list;
	const struct rs_image *image;
	pthread_mutex_t turn; /* protects the list */
};

static struct listed_tree *list_add(struct tree_list *list)
{
	struct listed_tree *trees =
		array_grow(list->trees, list->count, 1, &list->capacity, sizeof(*trees));

	if (!trees)
		return NULL;
	list->trees = trees;
	list->trees[list->count] = (struct listed_tree){ 0 };
	return &list->trees[list->count++];
}

static int check_tree(const struct listing *listing, const struct listed_tree *tree,
		      struct rs_error *error)
{
	const struct node_rules *rules = &listing->image->rules;

	if (tree->bytenr && tree->bytenr % rules->sector_bytes == 0 &&
	    tree->level < FORMAT_LEVELS && tree->generation <= rules->generation_max &&
	    (!tree->dropping || (tree->drop_level && tree->drop_level <= tree->level)))
		return 0;
	return error_set(error, -EUCLEAN, "root item of tree %" PRId64 " makes no sense",
			 (int64_t)tree->id);
}

static int read_root_item(struct listing *listing, const uint8_t *leaf, uint32_t slot,
			  struct rs_error *error)
{
	const struct btrfs_root_item *item =
		(const struct btrfs_root_item *)node_item_data(leaf, slot);
	struct listed_tree *tree;
	int ret;

	if (node_item_bytes(leaf, slot) < OLD_ROOT_ITEM_BYTES)
		return error_set_at(error, -EUCLEAN, format_le64(&node_header(leaf)->bytenr),
				    "root item %u is cut off", slot);
	pthread_mutex_lock(&listing->turn);
	tree = list_add(listing->list);
	if (tree) {
		tree->id = node_key(leaf, slot).objectid;
		tree->bytenr = format_le64(&item->bytenr);
		tree->generation = format_le64(&item->generation);
		tree->level = item->level;
		tree->drop_level = item->drop_level;
		tree->drop_progress = format_key_read(&item->drop_progress);
		tree->dropping = !format_le32(&item->refs) && tree->drop_progress.objectid;
		ret = check_tree(listing, tree, error);
	} else {
		ret = error_no_memory(error, "the list of trees");
	}
	pthread_mutex_unlock(&listing->turn);
	return ret;
}

static int on_block(void *argument, unsigned worker, const uint8_t *block, struct rs_error *error)
{
	uint32_t slot;
	int ret = 0;

	(void)worker;
	for (slot = 0; !ret && !node_level(block) && slot < node_count(block); slot++)
		if (node_item(block, slot)->key.type == BTRFS_ROOT_ITEM_KEY)
			ret = read_root_item(argument, block, slot, error);
	return ret;
}

static int add_own_trees(struct tree_list *list, const struct rs_image *image)
{
	const struct format_super *super = &image->devices.super;
	struct listed_tree *root = list_add(list);
	struct listed_tree *chunks = root ? list_add(list) : NULL;

	if (!chunks)
		return -ENOMEM;
	list->trees[0] = (struct listed_tree){
		.id = BTRFS_ROOT_TREE_OBJECTID,
		.bytenr = format_le64(&super->root),
		.generation = format_le64(&super->generation),
		.level = super->root_level,
	};
	list->trees[1] = (struct listed_tree){
		.id = BTRFS_CHUNK_TREE_OBJECTID,
		.bytenr = format_le64(&super->chunk_root),
		.generation = format_le64(&super->chunk_root_generation),
		.level = super->chunk_root_level,
	};
	return 0;
}

int tree_list_read(struct tree_list *list, struct rs_image *image, struct reader *reader,
		   struct rs_error *error)
{
	struct listing listing = { .list = list, .image = image };
	struct walk walk = { .argument = &listing, .block = on_block };
	struct node_expect expect;
	int ret;

	*list = (struct tree_list){ 0 };
	if (add_own_trees(list, image) || walk_init(&walk, reader))
		return error_no_memory(error, "the list of trees");
	pthread_mutex_init(&listing.turn, NULL);
	expect = tree_list_expect(&list->trees[0]);
	ret = walk_add(&walk, &expect) ? error_no_memory(error, "the list of trees") :
					 walk_run(&walk, error);
	pthread_mutex_destroy(&listing.turn);
	walk_destroy(&walk);
	return ret;
}

void tree_list_destroy(struct tree_list *list)
{
	alloc_free(list->trees);
	*list = (struct tree_list){ 0 };
}

const struct listed_tree *tree_list_find(const struct tree_list *list, uint64_t id)
{
	size_t at;

	for (at = 0; at < list->count; at++)
		if (list->trees[at].id == id)
			return &list->trees[at];
	return NULL;
}

/* Blocks of subvolumes, and of their copies while they are balanced, may belong to others. */
static uint64_t owner_of(uint64_t id)
{
	if (format_is_subvolume(id))
		return NODE_OWNER_SUBVOLUME;
	return id == (uint64_t)BTRFS_TREE_RELOC_OBJECTID ? NODE_OWNER_ANY : id;
}

struct node_expect tree_list_expect(const struct listed_tree *tree)
{
	struct node_expect expect = {
		.bytenr = tree->bytenr,
		.generation = tree->generation,
		.owner = owner_of(tree->id),
		.level = tree->level,
		.is_root = true,
	};

	return expect;
}
