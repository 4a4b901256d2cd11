// SPDX-License-Identifier: MIT
#include "core/qgroup/quota.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/error.h"
#include "core/disk/image.h"

struct quota_reading {
	struct rs_image *image;
	struct quota_status *status;
	struct group_table *groups;
	bool has_status;
};

static int check_bytes(const struct tree_item *item, size_t least, const char *what,
		       struct rs_error *error)
{
	if (item->bytes >= least)
		return 0;
	return error_set_at(error, -EUCLEAN, item->leaf, "%s has %u bytes, needs %zu", what,
			    item->bytes, least);
}

static int read_status(struct quota_reading *reading, const struct tree_item *item,
		       struct rs_error *error)
{
	const struct format_qgroup_status *disk = (const struct format_qgroup_status *)item->data;
	struct quota_status *status = reading->status;
	uint64_t generation;
	uint64_t flags;
	int ret;

	ret = check_bytes(item, offsetof(struct format_qgroup_status, enable_gen),
			  "quota status item", error);
	if (ret)
		return ret;
	if (format_le64(&disk->version) != BTRFS_QGROUP_STATUS_VERSION)
		return error_set_at(error, -EOPNOTSUPP, item->leaf,
				    "quota status is of version %" PRIu64 ", only %d is supported",
				    format_le64(&disk->version), BTRFS_QGROUP_STATUS_VERSION);
	reading->has_status = true;
	flags = format_le64(&disk->flags);
	generation = format_le64(&disk->generation);
	status->on = flags & BTRFS_QGROUP_STATUS_FLAG_ON;
	status->simple = flags & FORMAT_QGROUP_FLAG_SIMPLE;
	status->rescan = flags & BTRFS_QGROUP_STATUS_FLAG_RESCAN;
	status->rescan_at = format_le64(&disk->rescan);
	status->inconsistent = flags & BTRFS_QGROUP_STATUS_FLAG_INCONSISTENT;
	if (status->on && !status->simple && generation != reading->image->rules.generation_max) {
		status->inconsistent = true;
		image_warn(reading->image,
			   "quota status is of generation %" PRIu64 ", the file system of %" PRIu64
			   ": the kernel would call the groups inconsistent",
			   generation, reading->image->rules.generation_max);
	}
	if (item->bytes >= sizeof(*disk))
		status->enable_gen = format_le64(&disk->enable_gen);
	else if (status->simple)
		return check_bytes(item, sizeof(*disk), "status item of simple quotas", error);
	return 0;
}

static int read_info(struct quota_reading *reading, const struct tree_item *item,
		     struct rs_error *error)
{
	const struct btrfs_qgroup_info_item *disk =
		(const struct btrfs_qgroup_info_item *)item->data;
	struct group *group;
	int ret;

	ret = check_bytes(item, sizeof(*disk), "group", error);
	if (ret)
		return ret;
	group = group_table_add(reading->groups, item->key.offset);
	if (!group)
		return error_no_memory(error, "the groups");
	group->has_stored = true;
	group->stored_rfer = format_le64(&disk->rfer);
	group->stored_excl = format_le64(&disk->excl);
	return 0;
}

/* Each relation stands in the tree twice, once from either end; the lower end says it. */
static int read_relation(struct quota_reading *reading, const struct tree_item *item,
			 struct rs_error *error)
{
	uint64_t member = item->key.objectid;
	uint64_t parent = item->key.offset;
	int ret;

	if (member > parent)
		return 0;
	ret = group_table_relate(reading->groups, member, parent);
	if (ret == -EINVAL)
		return error_set_at(error, -EUCLEAN, item->leaf,
				    "group %u/%" PRIu64 " is a member of %u/%" PRIu64
				    ", which is not of a higher level",
				    group_level(member), group_number(member), group_level(parent),
				    group_number(parent));
	return ret ? error_no_memory(error, "the groups") : 0;
}

static int read_quota_item(void *argument, const struct tree_item *item, struct rs_error *error)
{
	switch (item->key.type) {
	case BTRFS_QGROUP_STATUS_KEY:
		return read_status(argument, item, error);
	case BTRFS_QGROUP_INFO_KEY:
		return read_info(argument, item, error);
	case BTRFS_QGROUP_RELATION_KEY:
		return read_relation(argument, item, error);
	default:
		return 0;
	}
}

int quota_read(struct rs_image *image, const struct tree_root *root, struct quota_status *status,
	       struct group_table *groups, struct rs_error *error)
{
	struct quota_reading reading = { .image = image, .status = status, .groups = groups };
	int ret;

	*status = (struct quota_status){ 0 };
	if (!root->bytenr)
		return 0;
	ret = tree_walk(image, root, NULL, NULL, read_quota_item, &reading, error);
	if (!ret && !reading.has_status)
		image_warn(image,
			   "there is a quota tree, but no status in it: quotas count as off");
	return ret;
}
