/* SPDX-License-Identifier: MIT */
#include "core/disk/device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/super.h"

#define UUID_TEXT_BYTES 37

static void uuid_text(const uint8_t *uuid, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < FORMAT_FSID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		*text++ = digits[uuid[i] >> 4];
		*text++ = digits[uuid[i] & 15];
	}
	*text = '\0';
}

/* Size of the open file or block device; -EINVAL if it is neither. */
static int fd_bytes(int fd, uint64_t *bytes, struct rs_error *error)
{
	struct stat status;

	if (fstat(fd, &status))
		return error_set(error, -errno, "cannot be examined: %m");
	if (S_ISREG(status.st_mode)) {
		*bytes = (uint64_t)status.st_size;
		return 0;
	}
	if (!S_ISBLK(status.st_mode))
		return error_set(error, -EINVAL, "neither a file nor a block device");
	if (ioctl(fd, BLKGETSIZE64, bytes))
		return error_set(error, -errno, "size of the block device cannot be read: %m");
	return 0;
}

/* An image that was cut short is refused, as the kernel does, before its trees are found wanting. */
static int check_whole(const struct device *device, const struct format_super *super,
		       struct rs_error *error)
{
	uint64_t wanted = format_le64(&super->dev_item.total_bytes);

	if (device->bytes >= wanted)
		return 0;
	return error_set(error, -EUCLEAN,
			 "cut short: %" PRIu64 " bytes are there of the %" PRIu64
			 " that the device item says",
			 device->bytes, wanted);
}

static int device_open(struct device *device, const char *path, int flags,
		       struct format_super *super, struct rs_error *error)
{
	struct stat status;
	int ret;

	/* Not to be opened: that may wait, or do something to a tape or a terminal. */
	if (stat(path, &status))
		return error_set(error, -errno, "%m");
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return error_set(error, -EINVAL, "neither a file nor a block device");

	device->path = alloc_string(path);
	if (!device->path)
		return error_no_memory(error, "a path");
	device->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | flags);
	if (device->fd < 0) {
		ret = error_set(error, -errno, "cannot be opened: %m");
		goto free_path;
	}
	ret = fd_bytes(device->fd, &device->bytes, error);
	if (!ret)
		ret = super_read(device->fd, device->bytes, super, &device->bad_super_mirrors,
				 error);
	if (!ret)
		ret = check_whole(device, super, error);
	if (!ret) {
		device->id = format_le64(&super->dev_item.devid);
		return 0;
	}
	close(device->fd);
free_path:
	alloc_free(device->path);
	device->path = NULL;
	return ret;
}

static bool is_same_file(int a, int b)
{
	struct stat x;
	struct stat y;

	if (fstat(a, &x) || fstat(b, &y))
		return false;
	if (S_ISBLK(x.st_mode) && S_ISBLK(y.st_mode))
		return x.st_rdev == y.st_rdev;
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Whether `device`, with its super block, goes with those that are in the set. */
static int check_fits(const struct device_set *set, const struct device *device,
		      const struct format_super *super, struct rs_error *error)
{
	bool seeding = (format_le64(&super->flags) | format_le64(&set->super.flags)) &
		       FORMAT_SUPER_SEEDING;
	char ids[2][UUID_TEXT_BYTES];

	for (size_t i = 0; i < set->count; i++) {
		const struct device *other = &set->devices[i];

		if (is_same_file(other->fd, device->fd))
			return error_set(error, -EEXIST, "given twice (the same as %s)",
					 other->path);
		if (memcmp(super->fsid, set->super.fsid, FORMAT_FSID_BYTES) != 0)
			break;
		if (other->id == device->id)
			return error_set(error, -EEXIST,
					 "a second copy of device %" PRIu64 ", which is %s",
					 device->id, other->path);
	}
	if (set->count == 0 || memcmp(super->fsid, set->super.fsid, FORMAT_FSID_BYTES) == 0)
		return 0;
	uuid_text(super->fsid, ids[0]);
	uuid_text(set->super.fsid, ids[1]);
	return error_set(error, seeding ? -EOPNOTSUPP : -EINVAL,
			 "belongs to file system %s, but %s to %s%s", ids[0], set->devices[0].path,
			 ids[1],
			 seeding ? "; a file system that grew on a seed device is not supported" :
				   "");
}

static void insert_sorted(struct device_set *set, const struct device *device)
{
	size_t at = set->count++;

	for (; at > 0 && set->devices[at - 1].id > device->id; at--)
		set->devices[at] = set->devices[at - 1];
	set->devices[at] = *device;
}

static int add_path(struct device_set *set, const char *path, int flags, struct rs_error *error)
{
	struct device device = { .fd = -1 };
	struct format_super super;
	int ret;

	ret = device_open(&device, path, flags, &super, error);
	if (ret)
		goto fail;
	ret = check_fits(set, &device, &super, error);
	if (ret)
		goto close;
	if (set->count == 0 || format_le64(&super.generation) > format_le64(&set->super.generation))
		set->super = super;
	insert_sorted(set, &device);
	return 0;
close:
	close(device.fd);
	alloc_free(device.path);
fail:
	error_add_place(error, "%s", path);
	return ret;
}

/*
 * Ids are given out from 1 on, so those that are lacking up to the count are
 * named as missing; after removals of devices the true ones may be higher.
 */
static int missing_devices(const struct device_set *set, uint64_t wanted, struct rs_error *error)
{
	uint64_t missing = wanted - set->count;
	uint64_t named = 0;
	char ids[128] = "";

	for (uint64_t id = 1; id <= wanted && named < missing && named < 5; id++) {
		size_t used = strlen(ids);

		if (device_set_find(set, id))
			continue;
		snprintf(ids + used, sizeof(ids) - used, "%s%" PRIu64, named ? ", " : "", id);
		named++;
	}
	if (missing == 1)
		return error_set(error, -ENXIO,
				 "device %s of %" PRIu64 " is missing; give all devices", ids,
				 wanted);
	return error_set(error, -ENXIO, "devices %s%s of %" PRIu64 " are missing; give all devices",
			 ids, named < missing ? ", ..." : "", wanted);
}

static int check_complete(const struct device_set *set, struct rs_error *error)
{
	uint64_t wanted = format_le64(&set->super.num_devices);

	if (set->count < wanted)
		return missing_devices(set, wanted, error);
	if (set->count > wanted)
		return error_set(error, -EINVAL,
				 "%zu devices given, but the file system has %" PRIu64
				 " (one was removed or is being replaced)",
				 set->count, wanted);
	return 0;
}

static int set_open(struct device_set *set, const char *const *paths, size_t count, int flags,
		    struct rs_error *error)
{
	int ret = 0;

	memset(set, 0, sizeof(*set));
	if (count == 0)
		return error_set(error, -EINVAL, "no device given");
	set->devices = alloc_zeroed(count, sizeof(*set->devices));
	if (!set->devices)
		return error_no_memory(error, "the devices");
	for (size_t i = 0; i < count && !ret; i++)
		ret = add_path(set, paths[i], flags, error);
	if (!ret)
		ret = check_complete(set, error);
	if (ret)
		device_set_close(set);
	return ret;
}

int device_set_open(struct device_set *set, const char *const *paths, size_t count,
		    struct rs_error *error)
{
	return set_open(set, paths, count, 0, error);
}

int device_set_open_direct(struct device_set *set, const char *const *paths, size_t count,
			   struct rs_error *error)
{
	return set_open(set, paths, count, O_DIRECT, error);
}

void device_set_close(struct device_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		close(set->devices[i].fd);
		alloc_free(set->devices[i].path);
	}
	alloc_free(set->devices);
	set->devices = NULL;
	set->count = 0;
}

const struct device *device_set_find(const struct device_set *set, uint64_t id)
{
	size_t low = 0;
	size_t high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (set->devices[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < set->count && set->devices[low].id == id ? &set->devices[low] : NULL;
}

/* What is looked for among the devices of the mounted file systems. */
struct target {
	bool has_device;
	dev_t device;
	bool has_file;
	uint64_t file_device;
	uint64_t file_inode;
};

/* The file behind an open loop device; -ENXIO if it has none or is not one. */
static int loop_backing(int fd, uint64_t *device, uint64_t *inode)
{
	struct loop_info64 info = { 0 };
	int ret = 0;

	if (ioctl(fd, LOOP_GET_STATUS64, &info))
		ret = errno == ENOTTY || errno == EINVAL ? -ENXIO : -errno;
	*device = info.lo_device;
	*inode = info.lo_inode;
	return ret;
}

/* A loop device stands for the file behind it too, which may be behind another one. */
static int target_of(const char *path, struct target *target)
{
	struct stat status;
	int ret;
	int fd;

	memset(target, 0, sizeof(*target));
	if (stat(path, &status))
		return -errno;
	if (S_ISREG(status.st_mode)) {
		target->has_file = true;
		target->file_device = status.st_dev;
		target->file_inode = status.st_ino;
		return 0;
	}
	if (!S_ISBLK(status.st_mode))
		return -EINVAL;
	target->has_device = true;
	target->device = status.st_rdev;
	if (major(status.st_rdev) != LOOP_MAJOR)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	ret = loop_backing(fd, &target->file_device, &target->file_inode);
	close(fd);
	target->has_file = ret == 0;
	return ret == -ENXIO ? 0 : ret;
}

/* The number of the block device that the entry `name` of a devices directory stands for. */
static int entry_device(int devices_fd, const char *name, dev_t *device)
{
	char path[NAME_MAX + 8];
	char text[32];
	unsigned major_number;
	unsigned minor_number;
	ssize_t got;
	int ret;
	int fd;

	snprintf(path, sizeof(path), "%s/dev", name);
	fd = openat(devices_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = read(fd, text, sizeof(text) - 1);
	ret = got < 0 ? -errno : 0;
	close(fd);
	if (ret)
		return ret;
	text[got] = '\0';
	if (sscanf(text, "%u:%u", &major_number, &minor_number) != 2)
		return -EIO;
	*device = makedev(major_number, minor_number);
	return 0;
}

/* 1, 0, or a negative errno. */
static int entry_matches(int devices_fd, const char *name, const struct target *target)
{
	char path[NAME_MAX + 8];
	uint64_t file_device;
	uint64_t file_inode;
	dev_t device;
	int ret;
	int fd;

	ret = entry_device(devices_fd, name, &device);
	if (ret) /* one that went away while we looked is not mounted */
		return ret == -ENOENT || ret == -ENODEV ? 0 : ret;
	if (target->has_device && target->device == device)
		return 1;
	if (!target->has_file || major(device) != LOOP_MAJOR)
		return 0;
	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	ret = loop_backing(fd, &file_device, &file_inode);
	close(fd);
	if (ret)
		return ret == -ENXIO ? 0 : ret;
	return file_device == target->file_device && file_inode == target->file_inode;
}

/*
 * Whether a mounted file system, by its devices directory, has the target among
 * its devices. A match counts for more than an entry that cannot be examined.
 */
static int has_target(DIR *devices, const struct target *target)
{
	struct dirent *entry;
	int result = 0;

	rewinddir(devices);
	while ((entry = readdir(devices))) {
		int ret;

		if (entry->d_name[0] == '.')
			continue;
		ret = entry_matches(dirfd(devices), entry->d_name, target);
		if (ret > 0)
			return 1;
		if (ret < 0)
			result = ret;
	}
	return result;
}

/* All of a file of /proc, whose size cannot be known before. To be freed with alloc_free. */
static int read_text(const char *path, char **out)
{
	size_t room = 1 << 16;
	size_t used = 0;
	char *text = NULL;
	int ret = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (;;) {
		char *grown = used + 1 < room && text ? text : alloc_resize(text, room *= 2, 1);
		ssize_t got;

		if (!grown) {
			ret = -ENOMEM;
			break;
		}
		text = grown;
		got = read(fd, text + used, room - used - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			ret = -errno;
		if (got <= 0)
			break;
		used += (size_t)got;
	}
	close(fd);
	if (ret) {
		alloc_free(text);
		return ret;
	}
	text[used] = '\0';
	*out = text;
	return 0;
}

/* Undoes the \ooo of mountinfo in place. */
static void unescape(char *text)
{
	char *out = text;

	while (*text) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
		    text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
			*out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
					(text[3] - '0'));
			text += 4;
		} else {
			*out++ = *text++;
		}
	}
	*out = '\0';
}

struct mount {
	char *point;
	char *type;
	char *source;
	bool writable; /* the file system, whatever this one mount allows */
};

/* Takes a line of mountinfo apart, see proc(5). False if it has not that form. */
static bool mount_parse(char *line, struct mount *mount)
{
	char *rest = strstr(line, " - ");
	char *save;
	char *word;

	if (!rest)
		return false;
	*rest = '\0';
	word = strtok_r(line, " ", &save);
	for (unsigned i = 0; i < 4 && word; i++)
		word = strtok_r(NULL, " ", &save);
	mount->point = word;
	mount->type = strtok_r(rest + 3, " ", &save);
	mount->source = strtok_r(NULL, " ", &save);
	word = strtok_r(NULL, " ", &save);
	if (!mount->point || !word)
		return false;
	mount->writable = strncmp(word, "rw", 2) == 0 && (word[2] == ',' || word[2] == '\0');
	unescape(mount->point);
	unescape(mount->source);
	return true;
}

/* Whether the mount's source is one of the devices of a file system. */
static bool mount_is_of(const struct mount *mount, DIR *devices)
{
	const char *slash = strrchr(mount->source, '/');
	const char *name = slash ? slash + 1 : mount->source;
	struct target target = { .has_device = true };
	struct stat status;

	if (strcmp(mount->type, "btrfs") != 0)
		return false;
	if (stat(mount->source, &status) || !S_ISBLK(status.st_mode))
		return *name && name[0] != '.' &&
		       faccessat(dirfd(devices), name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	target.device = status.st_rdev;
	return has_target(devices, &target) > 0;
}

/*
 * 1 with the place if some mount of the file system with these devices is
 * writable, 0 if all are not. -EBUSY if the kernel has it but no mount is in
 * sight: it may be mounted in another name space.
 */
static int mount_state(DIR *devices, char *where, size_t where_bytes)
{
	struct mount mount;
	char *text = NULL;
	char *save;
	char *line;
	int result = -EBUSY;
	int ret;

	ret = read_text("/proc/self/mountinfo", &text);
	if (ret)
		return ret;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!mount_parse(line, &mount) || !mount_is_of(&mount, devices))
			continue;
		result = 0;
		if (mount.writable) {
			snprintf(where, where_bytes, "%s", mount.point);
			result = 1;
			break;
		}
	}
	alloc_free(text);
	return result;
}

/* The answer for one directory of /sys/fs/btrfs. */
static int file_system_state(const char *name, const struct target *target, char *where,
			     size_t where_bytes)
{
	char path[NAME_MAX + 32];
	DIR *devices;
	int ret;

	snprintf(path, sizeof(path), "/sys/fs/btrfs/%s/devices", name);
	devices = opendir(path);
	if (!devices) /* not a file system, or gone in the meantime */
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	ret = has_target(devices, target);
	if (ret > 0)
		ret = mount_state(devices, where, where_bytes);
	closedir(devices);
	return ret;
}

int device_mounted(const char *path, char *where, size_t where_bytes)
{
	struct target target;
	struct dirent *entry;
	DIR *file_systems;
	int result;

	if (where_bytes)
		where[0] = '\0';
	result = target_of(path, &target);
	if (result)
		return result;
	file_systems = opendir("/sys/fs/btrfs");
	if (!file_systems) {
		result = -errno;
		/* Without btrfs in the kernel nothing is mounted; without sysfs nothing is known. */
		return result == -ENOENT && access("/sys/fs", F_OK) == 0 ? 0 : result;
	}
	while (result != 1 && (entry = readdir(file_systems))) {
		int ret;

		if (entry->d_name[0] == '.')
			continue;
		ret = file_system_state(entry->d_name, &target, where, where_bytes);
		if (ret)
			result = ret;
	}
	closedir(file_systems);
	return result;
}
