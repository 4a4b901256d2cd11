/* SPDX-License-Identifier: MIT */
/*
 * The back end of scripts on a btrfs file system that the running kernel has mounted: subvolumes
 * are made in one directory, files in them. For comparing what the forest does with what btrfs does.
 * Quotas are of the whole file system.
 *
 * Callers: the back end belongs to one script_run at a time.
 */
#ifndef REFSTORM_WORKLOADS_SCRIPT_KERNEL_H
#define REFSTORM_WORKLOADS_SCRIPT_KERNEL_H

#include "refstorm/error.h"
#include "workloads/script_run.h"

struct script_kernel;

/*
 * `directory` lies on a mounted btrfs. 0; -EINVAL if not; errno of opening it; -EOPNOTSUPP where the
 * script names subvolumes by id; -ENOMEM.
 */
int script_kernel_create(const struct script *script, const char *directory,
			 struct script_kernel **out, struct rs_error *error)
	__attribute__((warn_unused_result));

/* NULL is allowed. */
void script_kernel_destroy(struct script_kernel *kernel);

const struct script_backend *script_kernel_backend(const struct script_kernel *kernel);

#endif /* REFSTORM_WORKLOADS_SCRIPT_KERNEL_H */
