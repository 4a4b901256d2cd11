/* SPDX-License-Identifier: MIT */
#include "core/disk/super.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/disk/csum.h"

/* What stands at the place of one mirror. */
enum mirror_state {
	MIRROR_NONE,    /* behind the end of the device, or all zeros */
	MIRROR_FOREIGN, /* something without the magic */
	MIRROR_BAD,     /* the magic, but not valid; or not readable */
	MIRROR_VALID,
};

/* Bits of a flags field and what to call them in a message. */
struct flag_name {
	unsigned bit;
	const char *name;
};

uint64_t super_offset(unsigned mirror)
{
	return mirror == 0 ? 64ULL << 10 : 16ULL << (10 + 12 * mirror);
}

const uint8_t *super_block_fsid(const struct format_super *super)
{
	if (format_le64(&super->incompat_flags) & FORMAT_INCOMPAT_METADATA_UUID)
		return super->metadata_uuid;
	return super->fsid;
}

static bool is_zero(const void *at, size_t bytes)
{
	const uint8_t *byte = at;

	for (size_t i = 0; i < bytes; i++) {
		if (byte[i])
			return false;
	}
	return true;
}

static bool is_power_of_two(uint32_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static bool is_block_size(uint32_t bytes)
{
	return is_power_of_two(bytes) && bytes >= 4096 && bytes <= FORMAT_NODE_BYTES_MAX;
}

static int check_sizes(const struct format_super *super, struct rs_error *error)
{
	uint32_t sector = format_le32(&super->sectorsize);
	uint32_t node = format_le32(&super->nodesize);
	uint32_t leaf = format_le32(&super->leafsize);
	uint32_t array = format_le32(&super->sys_chunk_array_size);

	if (!is_block_size(sector))
		return error_set(error, -EUCLEAN, "bad sector size %" PRIu32, sector);
	if (!is_block_size(node) || node < sector)
		return error_set(error, -EUCLEAN,
				 "bad node size %" PRIu32 " for sectors of %" PRIu32, node, sector);
	if (leaf != node)
		return error_set(error, -EUCLEAN,
				 "leaf size %" PRIu32 " is not the node size %" PRIu32, leaf, node);
	if (array > FORMAT_SYSTEM_CHUNKS_MAX ||
	    array < sizeof(struct btrfs_disk_key) + sizeof(struct btrfs_chunk))
		return error_set(error, -EUCLEAN, "bad size of the system chunk array: %" PRIu32,
				 array);
	return 0;
}

static int check_root(const char *name, uint64_t address, uint8_t level, uint32_t sector,
		      struct rs_error *error)
{
	if (address % sector)
		return error_set(error, -EUCLEAN, "address %" PRIu64 " of the %s is not aligned",
				 address, name);
	if (level >= FORMAT_LEVELS)
		return error_set(error, -EUCLEAN, "bad level %u of the %s", level, name);
	return 0;
}

static int check_roots(const struct format_super *super, struct rs_error *error)
{
	uint32_t sector = format_le32(&super->sectorsize);
	uint64_t root = format_le64(&super->root);
	uint64_t chunk_root = format_le64(&super->chunk_root);
	uint64_t log_root = format_le64(&super->log_root);
	uint64_t generation = format_le64(&super->generation);
	uint64_t chunk_generation = format_le64(&super->chunk_root_generation);
	int ret;

	if (root == 0 || chunk_root == 0)
		return error_set(error, -EUCLEAN, "no address of the %s",
				 root == 0 ? "root tree" : "chunk tree");
	ret = check_root("root tree", root, super->root_level, sector, error);
	if (!ret)
		ret = check_root("chunk tree", chunk_root, super->chunk_root_level, sector, error);
	if (!ret)
		ret = check_root("log tree", log_root, super->log_root_level, sector, error);
	if (ret)
		return ret;
	if (generation == 0)
		return error_set(error, -EUCLEAN, "generation 0");
	if (chunk_generation > generation)
		return error_set(error, -EUCLEAN,
				 "chunk tree of generation %" PRIu64 " in generation %" PRIu64,
				 chunk_generation, generation);
	return 0;
}

static int check_devices(const struct format_super *super, struct rs_error *error)
{
	const struct btrfs_dev_item *item = &super->dev_item;
	uint64_t total = format_le64(&super->total_bytes);
	uint64_t used = format_le64(&super->bytes_used);
	uint64_t device_total = format_le64(&item->total_bytes);
	uint64_t device_used = format_le64(&item->bytes_used);

	if (format_le64(&super->num_devices) == 0)
		return error_set(error, -EUCLEAN, "a file system of 0 devices");
	if (total == 0 || used > total)
		return error_set(error, -EUCLEAN, "%" PRIu64 " bytes used of %" PRIu64, used,
				 total);
	if (device_total == 0 || device_used > device_total)
		return error_set(error, -EUCLEAN,
				 "%" PRIu64 " bytes allocated of %" PRIu64 " on the device",
				 device_used, device_total);
	if (memcmp(item->fsid, super_block_fsid(super), FORMAT_FSID_BYTES) != 0)
		return error_set(error, -EUCLEAN,
				 "the device item has another file system id than the super block");
	return 0;
}

/* Whether the block, which has the magic, is a sound super block of that mirror. */
static int check_super(const struct format_super *super, unsigned mirror, struct rs_error *error)
{
	uint16_t type = format_le16(&super->csum_type);
	uint64_t bytenr = format_le64(&super->bytenr);
	int ret;

	if (csum_bytes(type) == 0)
		return error_set(error, -EOPNOTSUPP, "unknown checksum type %u", type);
	if (!csum_block_valid(type, (const uint8_t *)super, sizeof(*super)))
		return error_set(error, -EUCLEAN, "bad checksum (%s)", csum_name(type));
	if (bytenr != super_offset(mirror))
		return error_set(error, -EUCLEAN, "says that it is for byte %" PRIu64, bytenr);
	ret = check_sizes(super, error);
	if (!ret)
		ret = check_roots(super, error);
	if (!ret)
		ret = check_devices(super, error);
	return ret;
}

/* Through a buffer that a device opened with O_DIRECT can be read into. */
static int read_block(int fd, uint64_t offset, struct format_super *super, struct rs_error *error)
{
	uint8_t block[FORMAT_SUPER_BYTES] __attribute__((aligned(FORMAT_SUPER_BYTES)));
	size_t done = 0;

	while (done < FORMAT_SUPER_BYTES) {
		ssize_t got =
			pread(fd, block + done, FORMAT_SUPER_BYTES - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(error, -errno, "cannot be read: %m");
		if (got == 0)
			return error_set(error, -EIO, "cannot be read: the file became shorter");
		done += (size_t)got;
	}
	memcpy(super, block, sizeof(*super));
	return 0;
}

/* Reads and judges one mirror. `error` is set for MIRROR_BAD only. */
static enum mirror_state mirror_read(int fd, uint64_t device_bytes, unsigned mirror,
				     struct format_super *super, struct rs_error *error)
{
	uint64_t offset = super_offset(mirror);

	if (device_bytes < offset || device_bytes - offset < FORMAT_SUPER_BYTES)
		return MIRROR_NONE;
	if (read_block(fd, offset, super, error))
		goto bad;
	if (is_zero(super, sizeof(*super)))
		return MIRROR_NONE;
	if (format_le64(&super->magic) != FORMAT_MAGIC)
		return MIRROR_FOREIGN;
	if (check_super(super, mirror, error))
		goto bad;
	return MIRROR_VALID;
bad:
	error_add_place(error, "super block at %" PRIu64, offset);
	return MIRROR_BAD;
}

static int no_magic(uint64_t device_bytes, bool blank, struct rs_error *error)
{
	if (device_bytes == 0)
		return error_set(error, -EINVAL, "not a btrfs file system: empty");
	if (device_bytes < super_offset(0) + FORMAT_SUPER_BYTES)
		return error_set(error, -EINVAL,
				 "not a btrfs file system: too short, %" PRIu64 " bytes",
				 device_bytes);
	if (blank)
		return error_set(error, -EINVAL,
				 "not a btrfs file system: only zeros where a super block would be");
	return error_set(error, -EINVAL, "not a btrfs file system: no magic number");
}

int super_read(int fd, uint64_t device_bytes, struct format_super *best, unsigned *bad_mirrors,
	       struct rs_error *error)
{
	struct rs_error first_flaw = RS_ERROR_INIT;
	bool blank = true;
	bool found = false;

	*bad_mirrors = 0;
	for (unsigned mirror = 0; mirror < FORMAT_SUPER_MIRRORS; mirror++) {
		struct rs_error flaw = RS_ERROR_INIT;
		struct format_super super;
		enum mirror_state state = mirror_read(fd, device_bytes, mirror, &super, &flaw);

		if (state == MIRROR_NONE)
			continue;
		blank = false;
		/* A file system that was there before may have left a mirror of its own. */
		if (state == MIRROR_VALID && found &&
		    memcmp(super.fsid, best->fsid, FORMAT_FSID_BYTES) != 0)
			state = MIRROR_FOREIGN;
		if (state != MIRROR_VALID)
			*bad_mirrors |= 1U << mirror;
		if (state == MIRROR_BAD && first_flaw.code == 0)
			first_flaw = flaw;
		if (state != MIRROR_VALID ||
		    (found && format_le64(&super.generation) <= format_le64(&best->generation)))
			continue;
		*best = super;
		found = true;
	}
	if (found)
		return 0;
	if (first_flaw.code == 0)
		return no_magic(device_bytes, blank, error);
	if (error)
		*error = first_flaw;
	return first_flaw.code;
}

static const struct flag_name refused_features[] = {
	{ 12, "zoned" },
	{ 13, "extent-tree-v2" },
	{ 15, "encrypt" },
	{ 17, "remap-tree" },
};

/* Bits 0 to 11 are all known: from mixed-backref to raid1c34. */
#define SUPPORTED_FEATURES                                                                         \
	(0xfffULL | FORMAT_INCOMPAT_RAID_STRIPE_TREE | FORMAT_INCOMPAT_SIMPLE_QUOTA)

static const struct flag_name refused_flags[] = {
	{ 33, "metadata dump (btrfs-image)" },
	{ 34, "metadata dump v2 (restored by btrfs-image)" },
	{ 35, "unfinished change of the file system id" },
	{ 36, "unfinished change of the file system id (v2)" },
	{ 37, "unfinished change of the checksum type" },
	{ 38, "unfinished conversion to a block group tree" },
	{ 39, "unfinished change of the data checksums" },
	{ 40, "unfinished change of the metadata checksums" },
};

/*
 * Seeding is no obstacle by itself: a seed device on its own is a whole file
 * system. One that grew on top of it shows by a device of another fsid.
 */
#define SUPPORTED_FLAGS                                                                            \
	(BTRFS_HEADER_FLAG_WRITTEN | BTRFS_HEADER_FLAG_RELOC | BTRFS_SUPER_FLAG_ERROR |            \
	 FORMAT_SUPER_SEEDING)

/* Appends a name for each bit of `bits`, as much as there is room for. */
static void append_names(char *text, size_t text_bytes, uint64_t bits,
			 const struct flag_name *names, size_t count, const char *field)
{
	while (bits) {
		unsigned bit = (unsigned)__builtin_ctzll(bits);
		size_t used = strlen(text);
		const char *comma = used ? ", " : "";
		const char *name = NULL;

		for (size_t i = 0; i < count; i++) {
			if (names[i].bit == bit)
				name = names[i].name;
		}
		if (name)
			snprintf(text + used, text_bytes - used, "%s%s", comma, name);
		else
			snprintf(text + used, text_bytes - used, "%sunknown %s bit %u", comma,
				 field, bit);
		bits &= bits - 1;
	}
}

int super_check_supported(const struct format_super *super, struct rs_error *error)
{
	uint64_t features = format_le64(&super->incompat_flags) & ~SUPPORTED_FEATURES;
	uint64_t flags = format_le64(&super->flags) & ~SUPPORTED_FLAGS;
	char names[RS_ERROR_WHAT_MAX] = "";

	if (!features && !flags)
		return 0;
	append_names(names, sizeof(names), features, refused_features,
		     sizeof(refused_features) / sizeof(refused_features[0]), "feature");
	append_names(names, sizeof(names), flags, refused_flags,
		     sizeof(refused_flags) / sizeof(refused_flags[0]), "super flag");
	return error_set(error, -EOPNOTSUPP, "cannot be read, not supported: %s", names);
}
