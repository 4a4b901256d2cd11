// SPDX-License-Identifier: MIT
#include "core/disk/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/mount.h"
#include "core/disk/super.h"
#include "core/disk/tree.h"

#define BLOCK_ALIGNMENT 4096

uint8_t *image_block_alloc(const struct rs_image *image)
{
	return alloc_aligned(BLOCK_ALIGNMENT, image->rules.node_bytes, 1);
}

void image_warn(struct rs_image *image, const char *format, ...)
{
	char text[RS_ERROR_WHERE_MAX + RS_ERROR_WHAT_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);

	pthread_mutex_lock(&image->warning_lock);
	if (image->warning_count < IMAGE_WARNINGS_MAX)
		image->warnings[image->warning_count] = alloc_string(text);
	else if (image->warning_count == IMAGE_WARNINGS_MAX)
		image->warnings[image->warning_count] =
			alloc_string("more warnings of this kind were left out");
	if (image->warning_count <= IMAGE_WARNINGS_MAX && image->warnings[image->warning_count])
		image->warning_count++;
	pthread_mutex_unlock(&image->warning_lock);
}

size_t rs_image_warning_count(struct rs_image *image)
{
	size_t count;

	pthread_mutex_lock(&image->warning_lock);
	count = image->warning_count;
	pthread_mutex_unlock(&image->warning_lock);
	return count;
}

const char *rs_image_warning(struct rs_image *image, size_t index)
{
	const char *text = NULL;

	pthread_mutex_lock(&image->warning_lock);
	if (index < image->warning_count)
		text = image->warnings[index];
	pthread_mutex_unlock(&image->warning_lock);
	return text;
}

bool image_place(const struct rs_image *image, uint64_t bytenr, unsigned mirror,
		 const struct device **device, struct chunk_place *place)
{
	if (!chunk_map_find(image->chunks, bytenr, mirror, place))
		return false;
	*device = device_set_find(&image->devices, place->device_id);
	return *device != NULL;
}

/* The bytes of one copy, which may lie in several pieces. */
static int read_copy(const struct rs_image *image, uint64_t bytenr, unsigned mirror, uint8_t *block,
		     struct rs_error *error)
{
	uint32_t done = 0;

	while (done < image->rules.node_bytes) {
		const struct device *device;
		struct chunk_place place;
		uint64_t want = image->rules.node_bytes - done;
		ssize_t got;

		if (!image_place(image, bytenr + done, mirror, &device, &place))
			return error_set_at(error, -EUCLEAN, bytenr,
					    "address lies in no chunk that can be read");
		if (want > place.bytes)
			want = place.bytes;
		got = pread(device->fd, block + done, want, (off_t)place.physical);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_at(error, -errno, bytenr, "%s: cannot read: %s",
					    device->path, strerror(errno));
		if (!got)
			return error_set_at(error, -EIO, bytenr,
					    "%s: ends at byte %" PRIu64
					    ", before the block at byte %" PRIu64,
					    device->path, device->bytes, place.physical);
		done += (uint32_t)got;
	}
	return 0;
}

int image_read(struct rs_image *image, const struct node_expect *expect, unsigned mirror,
	       const struct rs_error *first, uint8_t *block, struct rs_error *error)
{
	unsigned copies = chunk_map_mirrors(image->chunks, expect->bytenr);
	struct rs_error reason = RS_ERROR_INIT;
	bool refused = first != NULL;

	if (first)
		reason = *first;
	if (!copies)
		return error_set_at(error, -EUCLEAN, expect->bytenr, "address lies in no chunk");
	for (; mirror < copies; mirror++) {
		struct rs_error why = RS_ERROR_INIT;
		int ret;

		ret = read_copy(image, expect->bytenr, mirror, block, &why);
		if (!ret)
			ret = node_check(&image->rules, expect, block, &why);
		if (!ret) {
			if (refused)
				image_warn(image, "block at %" PRIu64 ": %s; copy %u of %u is good",
					   expect->bytenr, reason.what, mirror + 1, copies);
			return 0;
		}
		if (!refused)
			reason = why;
		refused = true;
	}
	if (copies > 1)
		return error_set_at(error, reason.code, expect->bytenr,
				    "%s (none of %u copies is good)", reason.what, copies);
	return error_set_at(error, reason.code, expect->bytenr, "%s", reason.what);
}

static int add_chunk_item(void *argument, const struct tree_item *item, struct rs_error *error)
{
	struct rs_image *image = argument;

	if (item->key.type != BTRFS_CHUNK_ITEM_KEY ||
	    item->key.objectid != BTRFS_FIRST_CHUNK_TREE_OBJECTID)
		return 0;
	return chunk_map_add(image->chunks, item->key.offset, item->data, item->bytes,
			     image->rules.sector_bytes, error);
}

static int read_chunks(struct rs_image *image, struct rs_error *error)
{
	const struct format_super *super = &image->devices.super;
	struct tree_root root = {
		.id = BTRFS_CHUNK_TREE_OBJECTID,
		.bytenr = format_le64(&super->chunk_root),
		.generation = format_le64(&super->chunk_root_generation),
		.level = super->chunk_root_level,
	};
	int ret;

	ret = chunk_map_add_system(image->chunks, super, error);
	if (ret)
		return ret;
	return tree_walk(image, &root, NULL, NULL, add_chunk_item, image, error);
}

static void set_rules(struct rs_image *image)
{
	const struct format_super *super = &image->devices.super;

	image->rules.node_bytes = format_le32(&super->nodesize);
	image->rules.sector_bytes = format_le32(&super->sectorsize);
	image->rules.csum_type = format_le16(&super->csum_type);
	image->rules.generation_max = format_le64(&super->generation);
	memcpy(image->rules.fsid, super_block_fsid(super), FORMAT_FSID_BYTES);
}

static void warn_of_super(struct rs_image *image)
{
	size_t at;

	for (at = 0; at < image->devices.count; at++) {
		const struct device *device = &image->devices.devices[at];
		unsigned mirror;

		for (mirror = 0; mirror < FORMAT_SUPER_MIRRORS; mirror++)
			if (device->bad_super_mirrors & (1U << mirror))
				image_warn(image,
					   "%s: super block %u at byte %" PRIu64 " is not valid",
					   device->path, mirror, super_offset(mirror));
	}
	if (format_le64(&image->devices.super.log_root))
		image_warn(image, "a log tree waits to be replayed: what was only fsynced is not "
				  "counted");
}

/* What comes behind the opening of the devices; `name` is for messages. */
static int image_read_start(struct rs_image *image, const char *name, struct rs_error *error)
{
	int ret = super_check_supported(&image->devices.super, error);

	if (ret)
		return ret;
	set_rules(image);
	image->name = alloc_string(name);
	image->chunks = chunk_map_create();
	if (!image->name || !image->chunks)
		return error_no_memory(error, "the chunk map");
	ret = read_chunks(image, error);
	if (!ret)
		warn_of_super(image);
	return ret;
}

static int image_open(const char *const *paths, size_t count, const char *name, bool direct,
		      struct rs_image **out, struct rs_error *error)
{
	struct rs_image *image = alloc_zeroed(1, sizeof(*image));
	int ret;

	*out = NULL;
	if (!image)
		return error_no_memory(error, "an image");
	image->direct = direct;
	pthread_mutex_init(&image->warning_lock, NULL);
	ret = direct ? device_set_open_direct(&image->devices, paths, count, error) :
		       device_set_open(&image->devices, paths, count, error);
	if (ret) {
		/* Which device is missing, it says of none of them. */
		if (error && !error->where[0])
			error_add_place(error, "%s", name);
		pthread_mutex_destroy(&image->warning_lock);
		alloc_free(image);
		return ret;
	}
	ret = image_read_start(image, name, error);
	if (ret) {
		error_add_place(error, "%s", name);
		rs_image_close(image);
		return ret;
	}
	*out = image;
	return 0;
}

int rs_image_open(const char *const *paths, size_t count, struct rs_image **out,
		  struct rs_error *error)
{
	*out = NULL;
	if (!count)
		return error_set(error, -EINVAL, "no image given");
	return image_open(paths, count, paths[0], false, out, error);
}

int rs_image_open_live(const char *directory, struct rs_image **out, struct rs_error *error)
{
	struct mount_devices devices;
	int ret = mount_devices_read(&devices, directory, error);

	*out = NULL;
	if (!ret) {
		ret = image_open((const char *const *)devices.paths, devices.count, directory, true,
				 out, error);
		mount_devices_free(&devices);
	}
	return ret;
}

int rs_image_moved(const struct rs_image *image, struct rs_error *error)
{
	uint64_t generation = 0;
	size_t at;

	for (at = 0; at < image->devices.count; at++) {
		const struct device *device = &image->devices.devices[at];
		struct format_super super;
		unsigned bad;
		int ret = super_read(device->fd, device->bytes, &super, &bad, error);

		if (ret) {
			error_add_place(error, "%s", device->path);
			return ret;
		}
		if (format_le64(&super.generation) > generation)
			generation = format_le64(&super.generation);
	}
	return generation != rs_image_generation(image);
}

const char *rs_image_device(const struct rs_image *image, size_t index)
{
	return index < image->devices.count ? image->devices.devices[index].path : NULL;
}

void rs_image_close(struct rs_image *image)
{
	size_t at;

	if (!image)
		return;
	for (at = 0; at < image->warning_count; at++)
		alloc_free(image->warnings[at]);
	chunk_map_destroy(image->chunks);
	alloc_free(image->name);
	device_set_close(&image->devices);
	pthread_mutex_destroy(&image->warning_lock);
	alloc_free(image);
}

uint64_t rs_image_generation(const struct rs_image *image)
{
	return format_le64(&image->devices.super.generation);
}

int rs_device_mounted(const char *path, char *where, size_t where_bytes)
{
	return device_mounted(path, where, where_bytes);
}
