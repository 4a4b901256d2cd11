/* SPDX-License-Identifier: MIT */
/*
 * The btrfs on-disk format: what the system's <linux/btrfs_tree.h> lacks, and
 * the reading of little-endian fields at any alignment.
 *
 * Source: Documentation/dev/On-disk-format.rst of btrfs-progs and the uapi
 * headers of Linux 6.18.
 */
#ifndef REFSTORM_DISK_FORMAT_H
#define REFSTORM_DISK_FORMAT_H

#include <assert.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FORMAT_SUPER_BYTES 4096
#define FORMAT_SUPER_MIRRORS 3
#define FORMAT_MAGIC 0x4d5f53665248425fULL /* "_BHRfS_M" */
#define FORMAT_CSUM_BYTES 32
#define FORMAT_FSID_BYTES 16
#define FORMAT_STRIPE_BYTES 65536ULL
#define FORMAT_LEVELS 8
#define FORMAT_NODE_BYTES_MAX 65536U
/* The kernel makes none over 256 MiB; far above that, sums of all extents still fit 64 bits. */
#define FORMAT_EXTENT_BYTES_MAX (1ULL << 30)
#define FORMAT_SYSTEM_CHUNKS_MAX 2048

struct format_super {
	uint8_t csum[FORMAT_CSUM_BYTES];
	uint8_t fsid[FORMAT_FSID_BYTES];
	__le64 bytenr;
	__le64 flags;
	__le64 magic;
	__le64 generation;
	__le64 root;
	__le64 chunk_root;
	__le64 log_root;
	__le64 log_root_transid;
	__le64 total_bytes;
	__le64 bytes_used;
	__le64 root_dir_objectid;
	__le64 num_devices;
	__le32 sectorsize;
	__le32 nodesize;
	__le32 leafsize;
	__le32 stripesize;
	__le32 sys_chunk_array_size;
	__le64 chunk_root_generation;
	__le64 compat_flags;
	__le64 compat_ro_flags;
	__le64 incompat_flags;
	__le16 csum_type;
	uint8_t root_level;
	uint8_t chunk_root_level;
	uint8_t log_root_level;
	struct btrfs_dev_item dev_item;
	char label[256];
	__le64 cache_generation;
	__le64 uuid_tree_generation;
	uint8_t metadata_uuid[FORMAT_FSID_BYTES];
	__le64 nr_global_roots;
	__le64 reserved[27];
	uint8_t sys_chunk_array[FORMAT_SYSTEM_CHUNKS_MAX];
	uint8_t super_roots[672];
	uint8_t padding[565];
} __attribute__((packed));

struct format_header {
	uint8_t csum[FORMAT_CSUM_BYTES];
	uint8_t fsid[FORMAT_FSID_BYTES];
	__le64 bytenr;
	__le64 flags; /* the top 8 bits are the back reference revision */
	uint8_t chunk_tree_uuid[FORMAT_FSID_BYTES];
	__le64 generation;
	__le64 owner;
	__le32 nritems;
	uint8_t level;
} __attribute__((packed));

struct format_item {
	struct btrfs_disk_key key;
	__le32 offset; /* from the end of the header */
	__le32 size;
} __attribute__((packed));

struct format_key_ptr {
	struct btrfs_disk_key key;
	__le64 blockptr;
	__le64 generation;
} __attribute__((packed));

/* btrfs_qgroup_status_item as of Linux 6.7; older ones end before enable_gen. */
struct format_qgroup_status {
	__le64 version;
	__le64 generation;
	__le64 flags;
	__le64 rescan;
	__le64 enable_gen;
} __attribute__((packed));

#define FORMAT_QGROUP_FLAG_SIMPLE (1ULL << 3)
#define FORMAT_EXTENT_OWNER_REF_KEY 172

/* super flags */
#define FORMAT_SUPER_SEEDING (1ULL << 32)
#define FORMAT_SUPER_METADUMP (1ULL << 33)
#define FORMAT_SUPER_METADUMP_V2 (1ULL << 34)
#define FORMAT_SUPER_CHANGING_FSID (1ULL << 35)
#define FORMAT_SUPER_CHANGING_FSID_V2 (1ULL << 36)
#define FORMAT_SUPER_CHANGING_BG_TREE (1ULL << 38)
#define FORMAT_SUPER_CHANGING_DATA_CSUM (1ULL << 39)
#define FORMAT_SUPER_CHANGING_META_CSUM (1ULL << 40)

/* incompat features */
#define FORMAT_INCOMPAT_METADATA_UUID (1ULL << 10)
#define FORMAT_INCOMPAT_RAID1C34 (1ULL << 11)
#define FORMAT_INCOMPAT_ZONED (1ULL << 12)
#define FORMAT_INCOMPAT_EXTENT_TREE_V2 (1ULL << 13)
#define FORMAT_INCOMPAT_RAID_STRIPE_TREE (1ULL << 14)
#define FORMAT_INCOMPAT_SIMPLE_QUOTA (1ULL << 16)

enum format_csum_type {
	FORMAT_CSUM_CRC32C = 0,
	FORMAT_CSUM_XXHASH64 = 1,
	FORMAT_CSUM_SHA256 = 2,
	FORMAT_CSUM_BLAKE2B = 3,
};

static_assert(sizeof(struct format_super) == FORMAT_SUPER_BYTES, "super block");
static_assert(sizeof(struct format_header) == 101, "node header");
static_assert(sizeof(struct format_item) == 25, "leaf item");
static_assert(sizeof(struct format_key_ptr) == 33, "node pointer");

static inline uint16_t format_le16(const void *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	value = __builtin_bswap16(value);
#endif
	return value;
}

static inline uint32_t format_le32(const void *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	value = __builtin_bswap32(value);
#endif
	return value;
}

static inline uint64_t format_le64(const void *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	value = __builtin_bswap64(value);
#endif
	return value;
}

/* A key in the order of the trees: by objectid, then type, then offset. */
struct format_key {
	uint64_t objectid;
	uint64_t offset;
	uint8_t type;
};

static inline struct format_key format_key_read(const struct btrfs_disk_key *disk)
{
	struct format_key key;

	key.objectid = format_le64(&disk->objectid);
	key.offset = format_le64(&disk->offset);
	key.type = disk->type;
	return key;
}

/* Below, at or above zero, as in memcmp. */
static inline int format_key_compare(const struct format_key *a, const struct format_key *b)
{
	if (a->objectid != b->objectid)
		return a->objectid < b->objectid ? -1 : 1;
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	return 0;
}

/* Subvolumes and snapshots: 5, and 256 up to where group levels or special trees begin. */
static inline bool format_is_subvolume(uint64_t objectid)
{
	return objectid == BTRFS_FS_TREE_OBJECTID ||
	       (objectid >= BTRFS_FIRST_FREE_OBJECTID && objectid >> 48 == 0);
}

#endif /* REFSTORM_DISK_FORMAT_H */
