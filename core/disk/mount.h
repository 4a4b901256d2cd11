/* SPDX-License-Identifier: MIT */
/* The devices of a mounted file system, as the kernel names them. Any thread. */
#ifndef REFSTORM_DISK_MOUNT_H
#define REFSTORM_DISK_MOUNT_H

#include <stddef.h>

#include "refstorm/error.h"

struct mount_devices {
	char **paths;
	size_t count;
};

/*
 * The devices of the btrfs that `directory` lies on. 0; -EINVAL if it lies on
 * another file system; -ENXIO if a device is missing; errno of open and ioctl; -ENOMEM.
 */
int mount_devices_read(struct mount_devices *devices, const char *directory, struct rs_error *error)
	__attribute__((warn_unused_result));
void mount_devices_free(struct mount_devices *devices);

#endif /* REFSTORM_DISK_MOUNT_H */
