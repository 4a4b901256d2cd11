/* SPDX-License-Identifier: MIT */
#include "core/disk/chunk.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

struct stripe {
	uint64_t device_id;
	uint64_t offset;
};

struct chunk {
	uint64_t logical;
	uint64_t bytes;
	uint64_t flags;
	size_t first_stripe; /* index into the map's stripes */
	uint32_t stripes;
};

struct chunk_map {
	struct chunk *chunks; /* sorted by logical, never overlapping */
	size_t count;
	size_t room;
	struct stripe *stripes; /* those of one chunk stand together */
	size_t stripe_count;
	size_t stripe_room;
};

/* What a profile asks of a chunk. Sources: the tree checker and the RAID table of Linux 6.18. */
struct profile {
	uint64_t flag;
	const char *name;
	uint8_t stripes_min;
	uint8_t stripes_max; /* 0: no limit */
	uint8_t copies;      /* of each byte that stand in the chunk as such */
	uint8_t parities;
	bool striped;
};

static const struct profile profiles[] = {
	{ 0, "single", 1, 1, 1, 0, false },
	{ BTRFS_BLOCK_GROUP_DUP, "DUP", 2, 2, 2, 0, false },
	{ BTRFS_BLOCK_GROUP_RAID1, "RAID1", 2, 2, 2, 0, false },
	{ BTRFS_BLOCK_GROUP_RAID1C3, "RAID1C3", 3, 3, 3, 0, false },
	{ BTRFS_BLOCK_GROUP_RAID1C4, "RAID1C4", 4, 4, 4, 0, false },
	{ BTRFS_BLOCK_GROUP_RAID0, "RAID0", 1, 0, 1, 0, true },
	{ BTRFS_BLOCK_GROUP_RAID10, "RAID10", 2, 0, 2, 0, true },
	{ BTRFS_BLOCK_GROUP_RAID5, "RAID5", 2, 0, 1, 1, true },
	{ BTRFS_BLOCK_GROUP_RAID6, "RAID6", 3, 0, 1, 2, true },
};

#define STRIPES_AT offsetof(struct btrfs_chunk, stripe)
#define KNOWN_FLAGS (BTRFS_BLOCK_GROUP_TYPE_MASK | BTRFS_BLOCK_GROUP_PROFILE_MASK)

/* The kernel numbers the rows of a chunk in 32 bits. */
#define CHUNK_BYTES_MAX (FORMAT_STRIPE_BYTES * UINT32_MAX)

/* NULL if more than one profile bit is set. */
static const struct profile *profile_of(uint64_t flags)
{
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
		if (profiles[i].flag == (flags & BTRFS_BLOCK_GROUP_PROFILE_MASK))
			return &profiles[i];
	}
	return NULL;
}

/* Stripes that hold different bytes of the same row. */
static uint32_t data_stripes(const struct profile *profile, uint32_t stripes)
{
	return profile->striped ? (stripes - profile->parities) / profile->copies : 1;
}

struct chunk_map *chunk_map_create(void)
{
	return alloc_zeroed(1, sizeof(struct chunk_map));
}

void chunk_map_destroy(struct chunk_map *map)
{
	if (!map)
		return;
	alloc_free(map->chunks);
	alloc_free(map->stripes);
	alloc_free(map);
}

/* Index of the first chunk that ends behind `logical`; `count` if none does. */
static size_t lower_bound(const struct chunk_map *map, uint64_t logical)
{
	size_t low = 0;
	size_t high = map->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct chunk *chunk = &map->chunks[middle];

		if (chunk->logical + (chunk->bytes - 1) < logical)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct chunk *find(const struct chunk_map *map, uint64_t logical)
{
	size_t index = lower_bound(map, logical);

	if (index == map->count || map->chunks[index].logical > logical)
		return NULL;
	return &map->chunks[index];
}

static int check_flags(uint64_t logical, uint64_t flags, struct rs_error *error)
{
	uint64_t type = flags & BTRFS_BLOCK_GROUP_TYPE_MASK;

	if (flags & ~KNOWN_FLAGS)
		return error_set_at(error, -EUCLEAN, logical, "chunk of unknown type %#" PRIx64,
				    flags);
	if (!profile_of(flags))
		return error_set_at(error, -EUCLEAN, logical,
				    "chunk with more than one profile: %#" PRIx64, flags);
	if (type == 0)
		return error_set_at(error, -EUCLEAN, logical,
				    "chunk that is neither data nor metadata nor system");
	if ((type & BTRFS_BLOCK_GROUP_SYSTEM) && type != BTRFS_BLOCK_GROUP_SYSTEM)
		return error_set_at(error, -EUCLEAN, logical,
				    "system chunk that is data or metadata too");
	return 0;
}

static int check_stripes(const struct btrfs_chunk *item, uint64_t logical, uint32_t sector_bytes,
			 struct rs_error *error)
{
	const struct profile *profile = profile_of(format_le64(&item->type));
	uint32_t stripes = format_le16(&item->num_stripes);
	uint32_t sub_stripes = format_le16(&item->sub_stripes);
	uint64_t row_bytes;
	uint64_t device_bytes;

	if (stripes < profile->stripes_min ||
	    (profile->stripes_max && stripes > profile->stripes_max) ||
	    (stripes - profile->parities) % profile->copies)
		return error_set_at(error, -EUCLEAN, logical, "%s chunk of %" PRIu32 " stripes",
				    profile->name, stripes);
	if (profile->flag == BTRFS_BLOCK_GROUP_RAID10 && sub_stripes != 2)
		return error_set_at(error, -EUCLEAN, logical,
				    "RAID10 chunk of %" PRIu32 " sub-stripes", sub_stripes);

	device_bytes = format_le64(&item->length);
	if (profile->striped) {
		row_bytes = FORMAT_STRIPE_BYTES * data_stripes(profile, stripes);
		device_bytes = (device_bytes + row_bytes - 1) / row_bytes * FORMAT_STRIPE_BYTES;
	}
	for (uint32_t i = 0; i < stripes; i++) {
		uint64_t offset = format_le64(&(&item->stripe)[i].offset);

		/* Physical addresses are file offsets, which are signed. */
		if (offset % sector_bytes || offset > (uint64_t)INT64_MAX - device_bytes)
			return error_set_at(error, -EUCLEAN, logical,
					    "chunk with a stripe at %" PRIu64 " of device %" PRIu64,
					    offset, format_le64(&(&item->stripe)[i].devid));
	}
	return 0;
}

static int check_item(const struct btrfs_chunk *item, size_t item_bytes, uint64_t logical,
		      uint32_t sector_bytes, struct rs_error *error)
{
	uint64_t bytes;
	uint64_t stripe_bytes;
	int ret;

	if (item_bytes < sizeof(*item))
		return error_set_at(error, -EUCLEAN, logical, "chunk item of %zu bytes",
				    item_bytes);
	if (STRIPES_AT + format_le16(&item->num_stripes) * sizeof(item->stripe) != item_bytes)
		return error_set_at(error, -EUCLEAN, logical,
				    "chunk item of %zu bytes for %u stripes", item_bytes,
				    format_le16(&item->num_stripes));
	bytes = format_le64(&item->length);
	if (bytes == 0 || bytes % sector_bytes || bytes >= CHUNK_BYTES_MAX)
		return error_set_at(error, -EUCLEAN, logical, "chunk of %" PRIu64 " bytes", bytes);
	if (logical % sector_bytes || logical > UINT64_MAX - bytes)
		return error_set_at(error, -EUCLEAN, logical,
				    "chunk of %" PRIu64 " bytes at %" PRIu64, bytes, logical);
	stripe_bytes = format_le64(&item->stripe_len);
	if (stripe_bytes != FORMAT_STRIPE_BYTES)
		return error_set_at(error, -EUCLEAN, logical,
				    "chunk of stripe length %" PRIu64 ", not %" PRIu64,
				    stripe_bytes, (uint64_t)FORMAT_STRIPE_BYTES);
	if (format_le32(&item->sector_size) != sector_bytes)
		return error_set_at(error, -EUCLEAN, logical,
				    "chunk of sector size %" PRIu32 ", not %" PRIu32,
				    format_le32(&item->sector_size), sector_bytes);
	ret = check_flags(logical, format_le64(&item->type), error);
	return ret ? ret : check_stripes(item, logical, sector_bytes, error);
}

/* Whether the chunk that is there already says the same as the item. */
static bool is_same(const struct chunk_map *map, const struct chunk *chunk, uint64_t logical,
		    const struct btrfs_chunk *item)
{
	const struct stripe *stripes = &map->stripes[chunk->first_stripe];

	if (chunk->logical != logical || chunk->bytes != format_le64(&item->length) ||
	    chunk->flags != format_le64(&item->type) ||
	    chunk->stripes != format_le16(&item->num_stripes))
		return false;
	for (uint32_t i = 0; i < chunk->stripes; i++) {
		if (stripes[i].device_id != format_le64(&(&item->stripe)[i].devid) ||
		    stripes[i].offset != format_le64(&(&item->stripe)[i].offset))
			return false;
	}
	return true;
}

/* The array with room for `more` elements, moved if need be; NULL if there is no memory. */
static void *grow(void *array, size_t *room, size_t count, size_t more, size_t size)
{
	size_t wanted = *room ? *room : 16;
	void *grown;

	while (wanted - count < more)
		wanted *= 2;
	if (wanted == *room)
		return array;
	grown = alloc_resize(array, wanted, size);
	if (grown)
		*room = wanted;
	return grown;
}

/* Chunks come in ascending order from the chunk tree: then nothing is moved. */
static int insert(struct chunk_map *map, size_t index, uint64_t logical,
		  const struct btrfs_chunk *item)
{
	uint32_t stripes = format_le16(&item->num_stripes);
	struct chunk *chunks;
	struct chunk *chunk;
	struct stripe *stripe;

	chunks = grow(map->chunks, &map->room, map->count, 1, sizeof(*chunks));
	if (!chunks)
		return -ENOMEM;
	map->chunks = chunks;
	stripe = grow(map->stripes, &map->stripe_room, map->stripe_count, stripes, sizeof(*stripe));
	if (!stripe)
		return -ENOMEM;
	map->stripes = stripe;

	chunk = &chunks[index];
	memmove(chunk + 1, chunk, (map->count - index) * sizeof(*chunk));
	map->count++;
	chunk->logical = logical;
	chunk->bytes = format_le64(&item->length);
	chunk->flags = format_le64(&item->type);
	chunk->first_stripe = map->stripe_count;
	chunk->stripes = stripes;
	for (uint32_t i = 0; i < stripes; i++) {
		stripe = &map->stripes[map->stripe_count++];
		stripe->device_id = format_le64(&(&item->stripe)[i].devid);
		stripe->offset = format_le64(&(&item->stripe)[i].offset);
	}
	return 0;
}

int chunk_map_add(struct chunk_map *map, uint64_t logical, const void *item, size_t item_bytes,
		  uint32_t sector_bytes, struct rs_error *error)
{
	const struct btrfs_chunk *fields = item;
	const struct chunk *next;
	size_t index;
	int ret;

	ret = check_item(fields, item_bytes, logical, sector_bytes, error);
	if (ret)
		return ret;
	index = lower_bound(map, logical);
	next = index < map->count ? &map->chunks[index] : NULL;
	if (next && next->logical < logical + format_le64(&fields->length)) {
		if (is_same(map, next, logical, fields))
			return 0;
		return error_set_at(error, -EUCLEAN, logical,
				    "chunk of %" PRIu64
				    " bytes that overlaps or contradicts the one "
				    "of %" PRIu64 " bytes at %" PRIu64,
				    (uint64_t)format_le64(&fields->length), next->bytes,
				    next->logical);
	}
	if (insert(map, index, logical, fields))
		return error_no_memory(error, "the chunk map");
	return 0;
}

/* One entry of the array, key and item. Its size goes to `used`. */
static int add_system_entry(struct chunk_map *map, const uint8_t *entry, size_t bytes,
			    uint32_t sector_bytes, size_t *used, struct rs_error *error)
{
	const struct btrfs_chunk *item = (const void *)(entry + sizeof(struct btrfs_disk_key));
	struct format_key key;
	size_t item_bytes;

	if (bytes < sizeof(struct btrfs_disk_key) + sizeof(*item))
		return error_set(error, -EUCLEAN, "cut off: %zu bytes are left", bytes);
	key = format_key_read((const void *)entry);
	if (key.objectid != BTRFS_FIRST_CHUNK_TREE_OBJECTID || key.type != BTRFS_CHUNK_ITEM_KEY)
		return error_set(error, -EUCLEAN, "item (%" PRIu64 " %u %" PRIu64 ") is no chunk",
				 key.objectid, key.type, key.offset);
	item_bytes = STRIPES_AT + format_le16(&item->num_stripes) * sizeof(item->stripe);
	if (item_bytes > bytes - sizeof(struct btrfs_disk_key))
		return error_set_at(error, -EUCLEAN, key.offset,
				    "cut off within a chunk of %u stripes",
				    format_le16(&item->num_stripes));
	if (!(format_le64(&item->type) & BTRFS_BLOCK_GROUP_SYSTEM))
		return error_set_at(error, -EUCLEAN, key.offset, "not a system chunk");
	*used = sizeof(struct btrfs_disk_key) + item_bytes;
	return chunk_map_add(map, key.offset, item, item_bytes, sector_bytes, error);
}

int chunk_map_add_system(struct chunk_map *map, const struct format_super *super,
			 struct rs_error *error)
{
	size_t bytes = format_le32(&super->sys_chunk_array_size);
	uint32_t sector_bytes = format_le32(&super->sectorsize);
	size_t at = 0;
	int ret = 0;

	if (bytes == 0 || bytes > sizeof(super->sys_chunk_array) || sector_bytes == 0)
		ret = error_set(error, -EUCLEAN, "%zu bytes, sectors of %" PRIu32, bytes,
				sector_bytes);
	while (!ret && at < bytes) {
		size_t used = 0;

		ret = add_system_entry(map, super->sys_chunk_array + at, bytes - at, sector_bytes,
				       &used, error);
		at += used;
	}
	if (ret == -EUCLEAN)
		error_add_place(error, "system chunk array");
	return ret;
}

static void find_contiguous(const struct chunk_map *map, const struct chunk *chunk, uint64_t offset,
			    unsigned mirror, struct chunk_place *place)
{
	const struct stripe *stripe = &map->stripes[chunk->first_stripe + mirror];

	place->device_id = stripe->device_id;
	place->physical = stripe->offset + offset;
	place->bytes = chunk->bytes - offset;
}

/*
 * A chunk of several columns is filled row by row, 64 KiB a column. In RAID10
 * neighbouring devices hold the same column; in RAID5 and RAID6 the columns move
 * on by one device with each row, so that parity is spread.
 */
static void find_striped(const struct chunk_map *map, const struct chunk *chunk,
			 const struct profile *profile, uint64_t offset, unsigned mirror,
			 struct chunk_place *place)
{
	uint32_t columns = data_stripes(profile, chunk->stripes);
	uint64_t number = offset / FORMAT_STRIPE_BYTES;
	uint64_t within = offset % FORMAT_STRIPE_BYTES;
	uint64_t row = number / columns;
	uint64_t index = number % columns * profile->copies + mirror;
	const struct stripe *stripe;

	if (profile->parities)
		index = (index + row) % chunk->stripes;
	stripe = &map->stripes[chunk->first_stripe + index];
	place->device_id = stripe->device_id;
	place->physical = stripe->offset + row * FORMAT_STRIPE_BYTES + within;
	place->bytes = FORMAT_STRIPE_BYTES - within;
	if (place->bytes > chunk->bytes - offset)
		place->bytes = chunk->bytes - offset;
}

bool chunk_map_find(const struct chunk_map *map, uint64_t logical, unsigned mirror,
		    struct chunk_place *place)
{
	const struct chunk *chunk = find(map, logical);
	const struct profile *profile;

	if (!chunk)
		return false;
	profile = profile_of(chunk->flags);
	if (mirror >= profile->copies)
		return false;
	if (profile->striped)
		find_striped(map, chunk, profile, logical - chunk->logical, mirror, place);
	else
		find_contiguous(map, chunk, logical - chunk->logical, mirror, place);
	return true;
}

unsigned chunk_map_mirrors(const struct chunk_map *map, uint64_t logical)
{
	const struct chunk *chunk = find(map, logical);

	return chunk ? profile_of(chunk->flags)->copies : 0;
}

uint64_t chunk_map_flags(const struct chunk_map *map, uint64_t logical)
{
	const struct chunk *chunk = find(map, logical);

	return chunk ? chunk->flags : 0;
}

size_t chunk_map_count(const struct chunk_map *map)
{
	return map->count;
}
