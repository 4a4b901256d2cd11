// SPDX-License-Identifier: MIT
#include "core/qgroup/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/sweep.h"

#define SECTOR_BYTES_MIN 4096U

struct owner_sum {
	uint64_t data;
	uint64_t metadata;
};

struct owner_sums {
	struct owner_sum *groups; /* by number of the group in the table */
} __attribute__((aligned(ORDER_LINE)));

int owner_account_init(struct owner_account *owner, const struct group_table *groups,
		       uint64_t enable_gen, uint32_t node_bytes, unsigned workers)
{
	unsigned at;

	*owner = (struct owner_account){
		.groups = groups,
		.enable_gen = enable_gen,
		.node_bytes = node_bytes,
		.workers = workers,
	};
	owner->sums = alloc_aligned(ORDER_LINE, workers, sizeof(*owner->sums));
	if (!owner->sums)
		return -ENOMEM;
	for (at = 0; at < workers; at++) {
		owner->sums[at].groups =
			alloc_zeroed(groups->count + 1, sizeof(*owner->sums[at].groups));
		if (!owner->sums[at].groups) {
			owner_account_destroy(owner);
			return -ENOMEM;
		}
	}
	return 0;
}

void owner_account_destroy(struct owner_account *owner)
{
	unsigned at;

	for (at = 0; owner->sums && at < owner->workers; at++)
		alloc_free(owner->sums[at].groups);
	alloc_free(owner->sums);
	owner->sums = NULL;
}

/* NULL if extents of that owner and generation count for no group. */
static struct owner_sum *find_sum(const struct owner_account *owner, unsigned worker, uint64_t id,
				  uint64_t generation)
{
	const struct group *group;

	if (generation < owner->enable_gen || !format_is_subvolume(id))
		return NULL;
	group = group_table_find(owner->groups, id);
	return group ? &owner->sums[worker].groups[group - owner->groups->groups] : NULL;
}

int owner_block(void *argument, unsigned worker, const uint8_t *block, struct rs_error *error)
{
	const struct owner_account *owner = argument;
	const struct format_header *header = node_header(block);
	struct owner_sum *sum = find_sum(owner, worker, format_le64(&header->owner),
					 format_le64(&header->generation));

	(void)error;
	if (sum)
		sum->metadata += owner->node_bytes;
	return 0;
}

/* Bytes of an inline reference of this type; 0 for one that is not known. */
static uint32_t inline_ref_bytes(uint8_t type)
{
	switch (type) {
	case BTRFS_TREE_BLOCK_REF_KEY:
	case BTRFS_SHARED_BLOCK_REF_KEY:
	case FORMAT_EXTENT_OWNER_REF_KEY:
		return 9;
	case BTRFS_SHARED_DATA_REF_KEY:
		return 13;
	case BTRFS_EXTENT_DATA_REF_KEY:
		return 29;
	default:
		return 0;
	}
}

/* The owner that the inline references give; 0 if none does. -EUCLEAN if they are damaged. */
static int find_owner(const uint8_t *refs, uint32_t bytes, uint64_t *owner)
{
	*owner = 0;
	while (bytes) {
		uint32_t own = inline_ref_bytes(refs[0]);

		if (!own || own > bytes)
			return -EUCLEAN;
		if (refs[0] == FORMAT_EXTENT_OWNER_REF_KEY)
			*owner = format_le64(refs + 1);
		refs += own;
		bytes -= own;
	}
	return 0;
}

static int count_extent(const struct owner_account *owner, unsigned worker, const uint8_t *leaf,
			uint32_t slot, struct rs_error *error)
{
	const struct btrfs_extent_item *item =
		(const struct btrfs_extent_item *)node_item_data(leaf, slot);
	struct format_key key = node_key(leaf, slot);
	uint32_t bytes = node_item_bytes(leaf, slot);
	struct owner_sum *sum;
	uint64_t root;

	if (bytes < sizeof(*item))
		return error_set_at(error, -EUCLEAN, key.objectid,
				    "extent item has %u bytes, needs %zu", bytes, sizeof(*item));
	if (!(format_le64(&item->flags) & BTRFS_EXTENT_FLAG_DATA))
		return 0;
	if (!key.offset || key.offset > FORMAT_EXTENT_BYTES_MAX || key.offset % SECTOR_BYTES_MIN)
		return error_set_at(error, -EUCLEAN, key.objectid,
				    "data extent of %" PRIu64 " bytes makes no sense", key.offset);
	if (find_owner((const uint8_t *)(item + 1), bytes - (uint32_t)sizeof(*item), &root))
		return error_set_at(error, -EUCLEAN, key.objectid,
				    "inline references of the extent item are damaged");
	sum = find_sum(owner, worker, root, format_le64(&item->generation));
	if (sum)
		sum->data += key.offset;
	return 0;
}

static int on_leaf(void *argument, unsigned worker, const uint8_t *leaf, struct rs_error *error)
{
	uint32_t slot;
	int ret = 0;

	for (slot = 0; !ret && slot < node_count(leaf); slot++)
		if (node_item(leaf, slot)->key.type == BTRFS_EXTENT_ITEM_KEY)
			ret = count_extent(argument, worker, leaf, slot, error);
	return ret;
}

int owner_read_extents(struct owner_account *owner, struct reader *reader,
		       const struct tree_root *root, const struct pool_watch *watch,
		       struct rs_error *error)
{
	if (!root->bytenr)
		return error_set(error, -EUCLEAN, "there is no extent tree");
	return sweep_tree(reader, root, on_leaf, owner, watch, error);
}

static void add_leaf(void *argument, const struct group *leaf)
{
	struct group_count *sum = argument;

	sum->rfer += leaf->count.rfer;
	sum->data_rfer += leaf->count.data_rfer;
}

int owner_count_groups(const struct owner_account *owner, struct group_table *groups)
{
	struct group_walk walk;
	size_t at;
	unsigned worker;

	if (group_walk_init(&walk, groups))
		return -ENOMEM;
	/* Sorted by level, so members have their numbers before the groups above them. */
	for (at = 0; at < groups->count; at++) {
		struct group *group = &groups->groups[at];
		struct group_count count = { 0 };

		for (worker = 0; worker < owner->workers; worker++) {
			count.data_rfer += owner->sums[worker].groups[at].data;
			count.rfer += owner->sums[worker].groups[at].metadata;
		}
		count.rfer += count.data_rfer;
		/* Chains of groups may be 65,535 long: those are not walked from each end. */
		if (group->member_count == 1)
			add_leaf(&count, &groups->groups[group->members[0]]);
		else if (group_level(group->id))
			group_walk_leaves(&walk, groups, group, add_leaf, &count);
		count.excl = count.rfer;
		count.data_excl = count.data_rfer;
		group->count = count;
	}
	group_walk_destroy(&walk);
	return 0;
}
