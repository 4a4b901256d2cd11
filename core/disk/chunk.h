/* SPDX-License-Identifier: MIT */
/*
 * The chunk map: from logical addresses to copies on devices.
 *
 * Who may call: one thread fills it; from then on any number of threads look up.
 */
#ifndef REFSTORM_DISK_CHUNK_H
#define REFSTORM_DISK_CHUNK_H

#include "core/disk/format.h"
#include "refstorm/error.h"

/* Where one copy of some bytes is: `bytes` of them from `physical` on. */
struct chunk_place {
	uint64_t device_id;
	uint64_t physical; /* byte offset on the device */
	uint64_t bytes;    /* that stand there in one piece, from the address asked for */
};

struct chunk_map;

struct chunk_map *chunk_map_create(void);
void chunk_map_destroy(struct chunk_map *map);

/*
 * Adds the chunk that begins at `logical`, checking every field against the
 * rules of the format (sector size, stripe length 64 KiB, stripe counts of the
 * profile, sub-stripes, power-of-two and overflow rules, overlap with a chunk
 * that is there already; the same chunk again is allowed, as the system chunks
 * stand in the super block and in the chunk tree).
 * `item_bytes` is the size of what `item` points to. Returns 0, -EUCLEAN with
 * the address and the rule in `error`, or -ENOMEM.
 */
int chunk_map_add(struct chunk_map *map, uint64_t logical, const void *item, size_t item_bytes,
		  uint32_t sector_bytes, struct rs_error *error)
	__attribute__((warn_unused_result));

/*
 * Adds all chunks of a super block's system chunk array. Errors as above, and
 * -EUCLEAN for an array that is cut off or holds something other than chunks.
 */
int chunk_map_add_system(struct chunk_map *map, const struct format_super *super,
			 struct rs_error *error) __attribute__((warn_unused_result));

/*
 * The copy number `mirror` (from 0) of the bytes at `logical`. False if no chunk
 * holds that address, or it has no such copy. RAID5 and RAID6 have one copy: the
 * data stripe.
 */
bool chunk_map_find(const struct chunk_map *map, uint64_t logical, unsigned mirror,
		    struct chunk_place *place);

/* Copies of the bytes at `logical`; 0 if no chunk holds that address. */
unsigned chunk_map_mirrors(const struct chunk_map *map, uint64_t logical);

/* BTRFS_BLOCK_GROUP_* of the chunk that holds `logical`; 0 if none does. */
uint64_t chunk_map_flags(const struct chunk_map *map, uint64_t logical);

/* Chunks in the map. */
size_t chunk_map_count(const struct chunk_map *map);

#endif /* REFSTORM_DISK_CHUNK_H */
