// SPDX-License-Identifier: MIT
/* The quota tree of an image: which groups there are above level 0, and who is a member of which. */
#include <errno.h>

#include "core/base/array.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/forest/open.h"

static unsigned level_of(uint64_t group)
{
	return (unsigned)(group >> 48);
}

/* NULL: no memory. */
static struct forest_group_link *add_link(struct open_work *work, uint64_t group, uint64_t parent)
{
	struct forest_groups *groups = &work->groups;
	struct forest_group_link *links =
		array_grow(groups->links, groups->count, 1, &groups->capacity, sizeof(*links));

	if (!links)
		return NULL;
	groups->links = links;
	links[groups->count] = (struct forest_group_link){ group, parent };
	return &links[groups->count++];
}

static int read_status(struct open_work *work, const struct tree_item *item, struct rs_error *error)
{
	const struct format_qgroup_status *disk = (const struct format_qgroup_status *)item->data;

	if (item->bytes < offsetof(struct format_qgroup_status, enable_gen))
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "quota status item has %u bytes, needs %zu", item->bytes,
				    offsetof(struct format_qgroup_status, enable_gen));
	work->quotas = format_le64(&disk->flags) & BTRFS_QGROUP_STATUS_FLAG_ON;
	return 0;
}

/* Stands there twice, once from either end. */
static int read_relation(struct open_work *work, const struct tree_item *item,
			 struct rs_error *error)
{
	uint64_t member = item->key.objectid;
	uint64_t parent = item->key.offset;

	if (member > parent)
		return 0;
	if (level_of(member) >= level_of(parent))
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "a group of level %u is a member of one of level %u",
				    level_of(member), level_of(parent));
	return add_link(work, member, parent) ? 0 : error_no_memory(error, "the groups");
}

static int read_item(void *argument, const struct tree_item *item, struct rs_error *error)
{
	struct open_work *work = argument;

	switch (item->key.type) {
	case BTRFS_QGROUP_STATUS_KEY:
		return read_status(work, item, error);
	case BTRFS_QGROUP_INFO_KEY:
		if (!level_of(item->key.offset) || add_link(work, item->key.offset, 0))
			return 0;
		return error_no_memory(error, "the groups");
	case BTRFS_QGROUP_RELATION_KEY:
		return read_relation(work, item, error);
	default:
		return 0;
	}
}

int open_groups_read(struct open_work *work, struct rs_error *error)
{
	int ret;

	if (!work->quota_tree.bytenr)
		return 0;
	ret = tree_walk(work->image, &work->quota_tree, NULL, NULL, read_item, work, error);
	if (!work->quotas)
		work->groups.count = 0;
	return ret;
}
