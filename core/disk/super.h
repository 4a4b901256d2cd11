/* SPDX-License-Identifier: MIT */
/* Super blocks: reading the mirrors of a device, choosing the best, refusing what cannot be read. */
#ifndef REFSTORM_DISK_SUPER_H
#define REFSTORM_DISK_SUPER_H

#include "core/disk/format.h"
#include "refstorm/error.h"

/* Byte offset of mirror 0, 1 or 2 on each device: 64 KiB, 64 MiB, 256 GiB. */
uint64_t super_offset(unsigned mirror);

/*
 * Reads all mirrors of the open device or file `fd` of `device_bytes` bytes and
 * leaves in `best` the valid one with the highest generation (the lowest mirror
 * among equals). Valid: magic, its own address, checksum, and the plain sense of
 * every field. `*bad_mirrors` gets bit m for a mirror within the device that is
 * there but not valid (all zeros, as behind a device that was grown, is not
 * there). A mirror that cannot be read, or is of another fsid than the first
 * valid one (left by what was there before), is not valid either. Returns 0;
 * -EINVAL: no btrfs magic on any mirror ("not a btrfs file system", and whether
 * it is empty, too short, only zeros or something else); with a magic but no
 * valid mirror the reason of the first: -EUCLEAN, -EOPNOTSUPP for an unknown
 * checksum type, -EIO and other errno of pread.
 */
int super_read(int fd, uint64_t device_bytes, struct format_super *best, unsigned *bad_mirrors,
	       struct rs_error *error) __attribute__((warn_unused_result));

/*
 * Whether this program can read the file system: -EOPNOTSUPP with every
 * unsupported feature by name (zoned, extent-tree-v2, remap-tree, unknown bits by
 * number, a metadata dump, an unfinished conversion), else 0. A seed device is
 * supported: alone it is a whole file system. What grew on one is refused by
 * device_set_open, which sees both.
 */
int super_check_supported(const struct format_super *super, struct rs_error *error)
	__attribute__((warn_unused_result));

/* The id that stands in tree blocks: metadata_uuid where that feature is on, else fsid. */
const uint8_t *super_block_fsid(const struct format_super *super);

#endif /* REFSTORM_DISK_SUPER_H */
