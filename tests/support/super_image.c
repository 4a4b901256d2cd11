/* SPDX-License-Identifier: MIT */
#include "tests/support/super_image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <unistd.h>

#include "core/disk/csum.h"
#include "tests/support/chunk_item.h"

static const uint64_t offsets[FORMAT_SUPER_MIRRORS] = {
	UINT64_C(65536),
	UINT64_C(67108864),
	UINT64_C(274877906944),
};

static void add_system_chunk(struct format_super *super)
{
	struct btrfs_disk_key key = { .objectid = BTRFS_FIRST_CHUNK_TREE_OBJECTID,
				      .type = BTRFS_CHUNK_ITEM_KEY,
				      .offset = MIB };
	struct chunk_item item;

	chunk_item_make(&item, 8 * MIB, BTRFS_BLOCK_GROUP_SYSTEM, 1);
	memcpy(super->sys_chunk_array, &key, sizeof(key));
	memcpy(super->sys_chunk_array + sizeof(key), chunk_item_fields(&item), item.size);
	super->sys_chunk_array_size = (uint32_t)(sizeof(key) + item.size);
}

void super_image_make(struct format_super *super, uint8_t fsid, uint64_t device_id,
		      uint64_t devices)
{
	memset(super, 0, sizeof(*super));
	memset(super->fsid, fsid, sizeof(super->fsid));
	super->flags = BTRFS_HEADER_FLAG_WRITTEN;
	super->magic = FORMAT_MAGIC;
	super->generation = 10;
	super->root = 30 * MIB;
	super->chunk_root = 2 * MIB;
	super->chunk_root_generation = 5;
	super->total_bytes = devices * SUPER_IMAGE_BYTES;
	super->bytes_used = 128 << 10;
	super->num_devices = devices;
	super->sectorsize = 4096;
	super->nodesize = 16384;
	super->leafsize = 16384;
	super->stripesize = 4096;
	super->incompat_flags = 0x361;
	super->dev_item.devid = device_id;
	super->dev_item.total_bytes = SUPER_IMAGE_BYTES;
	super->dev_item.bytes_used = SUPER_IMAGE_BYTES / 2;
	super->dev_item.sector_size = 4096;
	memset(super->dev_item.fsid, fsid, sizeof(super->dev_item.fsid));
	memset(super->dev_item.uuid, (int)device_id, sizeof(super->dev_item.uuid));
	super->cache_generation = UINT64_MAX;
	add_system_chunk(super);
}

void super_image_write_raw(int fd, unsigned mirror, const struct format_super *super)
{
	assert_int_equal(pwrite(fd, super, sizeof(*super), (off_t)offsets[mirror]), sizeof(*super));
}

void super_image_write(int fd, unsigned mirror, const struct format_super *super)
{
	struct format_super copy = *super;

	copy.bytenr = offsets[mirror];
	csum_block_write(copy.csum_type, (uint8_t *)&copy, sizeof(copy));
	super_image_write_raw(fd, mirror, &copy);
}
