/* SPDX-License-Identifier: MIT */
/* What the parts of the back end on a mounted file system share. Any thread, but for `found`. */
#ifndef REFSTORM_WORKLOADS_SCRIPT_KERNEL_IMPL_H
#define REFSTORM_WORKLOADS_SCRIPT_KERNEL_IMPL_H

#include <errno.h>
#include <unistd.h>

#include "workloads/script_kernel.h"

#define SCRIPT_KERNEL_FOUND_BYTES 240

struct btrfs_ioctl_vol_args_v2;

struct script_kernel {
	const struct script *script;
	int directory;
	const void *zeros; /* as many as one write has, without memory of their own */
	char found[SCRIPT_KERNEL_FOUND_BYTES]; /* by the last expectation, which no other is beside */
	struct script_backend backend;
};

/* Closes `fd`, and returns what failed before; 0 if nothing. */
static inline int script_kernel_close(int fd, int ret)
{
	close(fd);
	return ret;
}

static inline int script_kernel_result(int ret)
{
	return ret < 0 ? -errno : 0;
}

/* script_kernel.c */
/* A file descriptor or a negative errno. */
int script_kernel_subvol_open(const struct script_kernel *kernel, uint32_t subvol);
script_run_fn script_kernel_commit;

/* script_kernel_quota.c */
script_run_fn script_kernel_quota_switch;
script_run_fn script_kernel_rescan_start;
script_run_fn script_kernel_rescan_wait;
script_run_fn script_kernel_group_make;   /* and remove */
script_run_fn script_kernel_group_assign; /* and unassign */
script_run_fn script_kernel_expect;
const char *script_kernel_quota_refused(const struct script_operation *operation);
const char *script_kernel_quota_found(void *thread);
/* The groups of a snapshot, if it has any; the caller frees `qgroup_inherit`. 0 or -ENOMEM. */
int script_kernel_inherit_set(const struct script_kernel *kernel,
			      const struct script_operation *operation,
			      struct btrfs_ioctl_vol_args_v2 *arguments)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_WORKLOADS_SCRIPT_KERNEL_IMPL_H */
