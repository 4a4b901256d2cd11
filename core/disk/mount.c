/* SPDX-License-Identifier: MIT */
#include "core/disk/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

/* Far more devices than a file system has. */
#define DEVICE_ID_MAX 65536U

static int open_directory(const char *directory, int *fd, struct rs_error *error)
{
	struct statfs about;

	*fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return error_set(error, -errno, "cannot be opened: %s", strerror(errno));
	if (!fstatfs(*fd, &about) && about.f_type == BTRFS_SUPER_MAGIC)
		return 0;
	close(*fd);
	return error_set(error, -EINVAL, "does not lie on a btrfs");
}

static int add_device(struct mount_devices *devices, int fd, uint64_t id, struct rs_error *error)
{
	struct btrfs_ioctl_dev_info_args device = { .devid = id };

	if (ioctl(fd, BTRFS_IOC_DEV_INFO, &device)) {
		/* Ids of devices that were removed stay unused. */
		if (errno == ENODEV)
			return 0;
		return error_set(error, -errno, "device %" PRIu64 ": %s", id, strerror(errno));
	}
	device.path[sizeof(device.path) - 1] = 0;
	if (!device.path[0])
		return error_set(error, -ENXIO, "device %" PRIu64 " is missing", id);
	devices->paths[devices->count] = alloc_string((const char *)device.path);
	if (!devices->paths[devices->count])
		return error_no_memory(error, "the devices");
	devices->count++;
	return 0;
}

static int read_devices(struct mount_devices *devices, int fd, struct rs_error *error)
{
	struct btrfs_ioctl_fs_info_args about = { 0 };
	uint64_t id;
	int ret = 0;

	if (ioctl(fd, BTRFS_IOC_FS_INFO, &about))
		return error_set(error, -errno, "cannot be asked for its devices: %s",
				 strerror(errno));
	if (about.max_id > DEVICE_ID_MAX)
		return error_set(error, -E2BIG, "has a device number %" PRIu64,
				 (uint64_t)about.max_id);
	devices->paths = alloc_zeroed(about.max_id + 1, sizeof(*devices->paths));
	if (!devices->paths)
		return error_no_memory(error, "the devices");
	for (id = 1; !ret && id <= about.max_id; id++)
		ret = add_device(devices, fd, id, error);
	if (ret)
		mount_devices_free(devices);
	return ret;
}

int mount_devices_read(struct mount_devices *devices, const char *directory, struct rs_error *error)
{
	int fd;
	int ret;

	*devices = (struct mount_devices){ 0 };
	ret = open_directory(directory, &fd, error);
	if (!ret) {
		ret = read_devices(devices, fd, error);
		close(fd);
	}
	if (ret)
		error_add_place(error, "%s", directory);
	return ret;
}

void mount_devices_free(struct mount_devices *devices)
{
	size_t at;

	for (at = 0; at < devices->count; at++)
		alloc_free(devices->paths[at]);
	alloc_free(devices->paths);
	*devices = (struct mount_devices){ 0 };
}
