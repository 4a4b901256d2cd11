/* SPDX-License-Identifier: MIT */
/* Writing little-endian fields at any alignment. Any thread. */
#ifndef REFSTORM_DISK_PUT_H
#define REFSTORM_DISK_PUT_H

#include "core/disk/format.h"

static inline void put_le16(void *at, uint16_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	value = __builtin_bswap16(value);
#endif
	memcpy(at, &value, sizeof(value));
}

static inline void put_le32(void *at, uint32_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	value = __builtin_bswap32(value);
#endif
	memcpy(at, &value, sizeof(value));
}

static inline void put_le64(void *at, uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	value = __builtin_bswap64(value);
#endif
	memcpy(at, &value, sizeof(value));
}

static inline void put_key(struct btrfs_disk_key *disk, const struct format_key *key)
{
	put_le64(&disk->objectid, key->objectid);
	disk->type = key->type;
	put_le64(&disk->offset, key->offset);
}

#endif /* REFSTORM_DISK_PUT_H */
