/* SPDX-License-Identifier: MIT */
/* The files or block devices of one file system. */
#ifndef REFSTORM_DISK_DEVICE_H
#define REFSTORM_DISK_DEVICE_H

#include "core/disk/format.h"
#include "refstorm/error.h"

struct device {
	int fd;
	uint64_t id;    /* devid */
	uint64_t bytes; /* size of the file or block device */
	char *path;
	unsigned bad_super_mirrors; /* bit per mirror, see super_read */
};

struct device_set {
	struct device *devices; /* sorted by id */
	size_t count;
	struct format_super super; /* the best over all devices */
};

/*
 * Opens every path read-only and reads its super blocks. All must belong to one
 * file system (same fsid), have different ids, and be as many as the super block
 * says; which ids are missing is said (-ENXIO). A path that is not a regular
 * file or block device is -EINVAL; one given twice, or a second copy of one id,
 * -EEXIST. Where the super blocks of the devices differ, the one with the highest
 * generation wins. Also refused: another fsid and more devices than there should
 * be (-EINVAL), a file system that grew on a seed device (-EOPNOTSUPP), a device
 * shorter than its device item says (-EUCLEAN); and what super_read and open
 * return. Whether the features are supported is left to super_check_supported.
 * Everything is closed again on failure, and the set is empty.
 */
int device_set_open(struct device_set *set, const char *const *paths, size_t count,
		    struct rs_error *error) __attribute__((warn_unused_result));
/* The same with O_DIRECT, past the page cache, for devices that are mounted. */
int device_set_open_direct(struct device_set *set, const char *const *paths, size_t count,
			   struct rs_error *error) __attribute__((warn_unused_result));
void device_set_close(struct device_set *set);

/* NULL if there is none with that id. */
const struct device *device_set_find(const struct device_set *set, uint64_t id);

/*
 * Whether the kernel has the device (or, for a file, a loop device over it)
 * mounted read-write as btrfs: 1, 0, or a negative errno if that cannot be
 * found out: -EBUSY if the kernel has it mounted but not in this name space,
 * -EACCES if the loop devices may not be asked. `where`, of `where_bytes`, gets
 * the mount point with 1, otherwise "". A device mounted read-only only is 0; a
 * read-only mount of a file system that is writable elsewhere is not. Finds file
 * systems by their devices in /sys/fs/btrfs/<fsid>/devices, so that any device of
 * a multi-device file system counts, and loop devices by LOOP_GET_STATUS64
 * (device and inode of the file behind them).
 */
int device_mounted(const char *path, char *where, size_t where_bytes);

#endif /* REFSTORM_DISK_DEVICE_H */
