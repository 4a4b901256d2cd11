/* SPDX-License-Identifier: MIT */
/* Quotas of a mounted file system, as scripts name them. */
#include "workloads/script_kernel_impl.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/base/alloc.h"

#define LEVEL_SHIFT 48
#define NUMBER_MAX ((UINT64_C(1) << LEVEL_SHIFT) - 1)
#define PATH_BYTES 160
#define NUMBER_BYTES 32

const char *script_kernel_quota_refused(const struct script_operation *operation)
{
	if (operation->kind == SCRIPT_EXPECT && operation->flags & SCRIPT_DATA_ONLY)
		return "the kernel has no numbers of data alone";
	/* The others count the same numbers, whatever engine does it. */
	if (operation->kind == SCRIPT_QUOTA_ON && operation->engine == SCRIPT_ENGINE_SIMPLE)
		return "the engine 'simple' is not available yet on a mounted file system";
	return NULL;
}

const char *script_kernel_quota_found(void *thread)
{
	const struct script_kernel *kernel = thread;

	return kernel->found[0] ? kernel->found : NULL;
}

int script_kernel_quota_switch(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	struct btrfs_ioctl_quota_ctl_args arguments = {
		.cmd = operation->kind == SCRIPT_QUOTA_ON ? BTRFS_QUOTA_CTL_ENABLE :
							    BTRFS_QUOTA_CTL_DISABLE,
	};

	return script_kernel_result(ioctl(kernel->directory, BTRFS_IOC_QUOTA_CTL, &arguments));
}

int script_kernel_rescan_start(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	struct btrfs_ioctl_quota_rescan_args arguments = { 0 };

	(void)operation;
	return script_kernel_result(ioctl(kernel->directory, BTRFS_IOC_QUOTA_RESCAN, &arguments));
}

int script_kernel_rescan_wait(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;

	(void)operation;
	return script_kernel_result(ioctl(kernel->directory, BTRFS_IOC_QUOTA_RESCAN_WAIT));
}

/* The id of a subvolume's tree. */
static int read_tree_id(const struct script_kernel *kernel, uint32_t subvol, uint64_t *id)
{
	struct btrfs_ioctl_ino_lookup_args arguments = { .objectid = BTRFS_FIRST_FREE_OBJECTID };
	int fd = script_kernel_subvol_open(kernel, subvol);
	int ret;

	if (fd < 0)
		return fd;
	ret = script_kernel_result(ioctl(fd, BTRFS_IOC_INO_LOOKUP, &arguments));
	*id = arguments.treeid;
	return script_kernel_close(fd, ret);
}

/* The id of the group with number `at` that the line names. */
static int find_group(const struct script_kernel *kernel, const struct script_operation *operation,
		      uint32_t at, uint64_t *id)
{
	const struct script_group *group = &kernel->script->groups[operation->group_first + at];

	if (group->subvol != SCRIPT_NONE)
		return read_tree_id(kernel, group->subvol, id);
	*id = (uint64_t)group->level << LEVEL_SHIFT | group->id;
	return 0;
}

int script_kernel_group_make(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	struct btrfs_ioctl_qgroup_create_args arguments = {
		.create = operation->kind == SCRIPT_GROUP_CREATE,
	};
	uint64_t id;
	int ret = find_group(kernel, operation, 0, &id);

	if (ret)
		return ret;
	arguments.qgroupid = id;
	return script_kernel_result(ioctl(kernel->directory, BTRFS_IOC_QGROUP_CREATE, &arguments));
}

/* Above 0 the kernel says that a rescan is wanted: that is for the script to say. */
int script_kernel_group_assign(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	struct btrfs_ioctl_qgroup_assign_args arguments = {
		.assign = operation->kind == SCRIPT_GROUP_ASSIGN,
	};
	uint64_t member;
	uint64_t parent;
	int ret = find_group(kernel, operation, 0, &member);

	if (!ret)
		ret = find_group(kernel, operation, 1, &parent);
	if (ret)
		return ret;
	arguments.src = member;
	arguments.dst = parent;
	return script_kernel_result(ioctl(kernel->directory, BTRFS_IOC_QGROUP_ASSIGN, &arguments));
}

int script_kernel_inherit_set(const struct script_kernel *kernel,
			      const struct script_operation *operation,
			      struct btrfs_ioctl_vol_args_v2 *arguments)
{
	struct btrfs_qgroup_inherit *inherit;
	size_t bytes;
	uint32_t at;

	if (!operation->group_count)
		return 0;
	bytes = sizeof(*inherit) + operation->group_count * sizeof(inherit->qgroups[0]);
	inherit = alloc_zeroed(bytes, 1);
	if (!inherit)
		return -ENOMEM;
	inherit->num_qgroups = operation->group_count;
	for (at = 0; at < operation->group_count; at++) {
		const struct script_group *group =
			&kernel->script->groups[operation->group_first + at];

		inherit->qgroups[at] = (uint64_t)group->level << LEVEL_SHIFT | group->id;
	}
	arguments->flags |= BTRFS_SUBVOL_QGROUP_INHERIT;
	arguments->size = bytes;
	arguments->qgroup_inherit = inherit;
	return 0;
}

/* The directory of all groups of the file system. */
static int name_groups(const struct script_kernel *kernel, char *path)
{
	struct btrfs_ioctl_fs_info_args about = { 0 };
	int length;
	unsigned at;

	if (ioctl(kernel->directory, BTRFS_IOC_FS_INFO, &about))
		return -errno;
	length = snprintf(path, PATH_BYTES, "/sys/fs/btrfs/");
	for (at = 0; at < sizeof(about.fsid); at++)
		length += snprintf(path + length, (size_t)(PATH_BYTES - length), "%s%02x",
				   at == 4 || at == 6 || at == 8 || at == 10 ? "-" : "",
				   about.fsid[at]);
	snprintf(path + length, (size_t)(PATH_BYTES - length), "/qgroups");
	return access(path, F_OK) ? -ENOTCONN : 0;
}

/* One number of a group. */
static int read_number(const char *groups, uint64_t id, const char *name, uint64_t *number)
{
	char path[PATH_BYTES + NUMBER_BYTES * 3];
	char text[NUMBER_BYTES];
	ssize_t bytes;
	int fd;

	snprintf(path, sizeof(path), "%s/%" PRIu64 "_%" PRIu64 "/%s", groups, id >> LEVEL_SHIFT,
		 id & NUMBER_MAX, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	bytes = read(fd, text, sizeof(text) - 1);
	if (bytes < 0)
		return script_kernel_close(fd, -errno);
	text[bytes] = 0;
	return script_kernel_close(fd, sscanf(text, "%" SCNu64, number) == 1 ? 0 : -EIO);
}

/* Why numbers may be wrong. */
static const char *describe_state(const struct script_kernel *kernel, const char *groups)
{
	struct btrfs_ioctl_quota_rescan_args rescan = { 0 };
	char path[PATH_BYTES + NUMBER_BYTES];
	char text[NUMBER_BYTES];
	ssize_t bytes;
	int fd;

	if (!ioctl(kernel->directory, BTRFS_IOC_QUOTA_RESCAN_STATUS, &rescan) && rescan.flags)
		return "; a rescan runs";
	snprintf(path, sizeof(path), "%s/inconsistent", groups);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return "";
	bytes = read(fd, text, sizeof(text));
	close(fd);
	return bytes > 0 && text[0] == '1' ? "; the accounts are inconsistent" : "";
}

/* The numbers are of the last commit. */
int script_kernel_expect(void *thread, const struct script_operation *operation)
{
	struct script_kernel *kernel = thread;
	char groups[PATH_BYTES];
	uint64_t rfer = 0;
	uint64_t excl = 0;
	uint64_t id;
	int ret;

	kernel->found[0] = 0;
	ret = find_group(kernel, operation, 0, &id);
	if (!ret)
		ret = script_kernel_commit(thread, operation);
	if (!ret)
		ret = name_groups(kernel, groups);
	if (!ret)
		ret = read_number(groups, id, "referenced", &rfer);
	if (!ret)
		ret = read_number(groups, id, "exclusive", &excl);
	if (ret || (rfer == operation->rfer && excl == operation->excl))
		return ret;
	snprintf(kernel->found, sizeof(kernel->found),
		 "expected rfer %" PRIu64 " excl %" PRIu64 ", found rfer %" PRIu64 " excl %" PRIu64
		 "%s",
		 operation->rfer, operation->excl, rfer, excl, describe_state(kernel, groups));
	return -EUCLEAN;
}
