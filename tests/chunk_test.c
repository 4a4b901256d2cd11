/* SPDX-License-Identifier: MIT */
/* What a chunk may say, and how chunks go together. Where bytes stand: chunk_layout_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "tests/support/chunk_item.h"

static uint64_t seed;

/* Addresses within a sector, and just outside the chunk. */
static void test_edges(void **state)
{
	struct chunk_map *map = chunk_item_map();
	struct chunk_place place;
	struct chunk_item item;

	(void)state;
	chunk_item_make(&item, 4 * MIB, BTRFS_BLOCK_GROUP_DATA | BTRFS_BLOCK_GROUP_RAID0, 2);
	assert_int_equal(chunk_item_add(map, 8 * MIB, &item), 0);
	assert_false(chunk_map_find(map, 8 * MIB - 1, 0, &place));
	assert_false(chunk_map_find(map, 12 * MIB, 0, &place));
	assert_false(chunk_map_find(map, 0, 0, &place));
	assert_false(chunk_map_find(map, UINT64_MAX, 0, &place));
	assert_int_equal(chunk_map_mirrors(map, 12 * MIB), 0);
	assert_int_equal(chunk_map_flags(map, 8 * MIB - 1), 0);

	assert_true(chunk_map_find(map, 8 * MIB + 65536 + 5, 0, &place));
	assert_int_equal(place.device_id, 11);
	assert_int_equal(place.physical, 2 * MIB + 5);
	assert_int_equal(place.bytes, 65536 - 5);
	assert_true(chunk_map_find(map, 12 * MIB - 1, 0, &place));
	assert_int_equal(place.device_id, 11);
	assert_int_equal(place.physical, 4 * MIB - 1);
	assert_int_equal(place.bytes, 1);
	chunk_map_destroy(map);
	chunk_map_destroy(NULL);
}

static void test_stripe_counts(void **state)
{
	static const struct {
		uint64_t profile;
		unsigned allowed; /* bit n: n stripes, up to 9 */
	} rules[] = {
		{ 0, 1U << 1 },
		{ BTRFS_BLOCK_GROUP_DUP, 1U << 2 },
		{ BTRFS_BLOCK_GROUP_RAID1, 1U << 2 },
		{ BTRFS_BLOCK_GROUP_RAID1C3, 1U << 3 },
		{ BTRFS_BLOCK_GROUP_RAID1C4, 1U << 4 },
		{ BTRFS_BLOCK_GROUP_RAID0, 0x3fe },
		{ BTRFS_BLOCK_GROUP_RAID10, 1U << 2 | 1U << 4 | 1U << 6 | 1U << 8 },
		{ BTRFS_BLOCK_GROUP_RAID5, 0x3fc },
		{ BTRFS_BLOCK_GROUP_RAID6, 0x3f8 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		for (unsigned stripes = 0; stripes <= 9; stripes++) {
			bool allowed = rules[i].allowed >> stripes & 1;
			struct chunk_map *map = chunk_item_map();
			struct chunk_item item;

			chunk_item_make(&item, MIB, BTRFS_BLOCK_GROUP_DATA | rules[i].profile,
					stripes);
			assert_int_equal(chunk_item_add(map, MIB, &item), allowed ? 0 : -EUCLEAN);
			assert_int_equal(chunk_map_count(map), allowed);
			chunk_map_destroy(map);
		}
	}
}

/* 0 if a chunk of these types is taken. */
static int add_flags(uint64_t flags, unsigned stripes)
{
	struct chunk_map *map = chunk_item_map();
	struct chunk_item item;
	int ret;

	chunk_item_make(&item, MIB, flags, stripes);
	ret = chunk_item_add(map, MIB, &item);
	chunk_map_destroy(map);
	return ret;
}

static void test_types(void **state)
{
	(void)state;
	assert_int_equal(add_flags(BTRFS_BLOCK_GROUP_DATA, 1), 0);
	assert_int_equal(add_flags(BTRFS_BLOCK_GROUP_SYSTEM, 1), 0);
	assert_int_equal(add_flags(BTRFS_BLOCK_GROUP_METADATA, 1), 0);
	assert_int_equal(add_flags(BTRFS_BLOCK_GROUP_DATA | BTRFS_BLOCK_GROUP_METADATA, 1), 0);
	assert_int_equal(add_flags(0, 1), -EUCLEAN);
	assert_int_equal(add_flags(BTRFS_BLOCK_GROUP_RAID1, 2), -EUCLEAN);
	assert_int_equal(add_flags(BTRFS_BLOCK_GROUP_SYSTEM | BTRFS_BLOCK_GROUP_DATA, 1), -EUCLEAN);
	assert_int_equal(add_flags(BTRFS_BLOCK_GROUP_DATA | 1ULL << 11, 1), -EUCLEAN);
	assert_int_equal(add_flags(BTRFS_BLOCK_GROUP_DATA | 1ULL << 63, 1), -EUCLEAN);
	assert_int_equal(add_flags(BTRFS_BLOCK_GROUP_DATA | BTRFS_BLOCK_GROUP_RAID1 |
					   BTRFS_BLOCK_GROUP_DUP,
				   2),
			 -EUCLEAN);
}

static void expect_refused(struct chunk_item *item, uint64_t logical)
{
	struct chunk_map *map = chunk_item_map();

	assert_int_equal(chunk_item_add(map, logical, item), -EUCLEAN);
	assert_int_equal(chunk_map_count(map), 0);
	chunk_map_destroy(map);
}

static void test_fields(void **state)
{
	static const uint64_t lengths[] = {
		0, 1, CHUNK_CELL + 1, 65536ULL * UINT32_MAX, UINT64_MAX, UINT64_MAX - CHUNK_CELL + 1
	};
	static const uint64_t stripe_lengths[] = { 0, 1, 32768, 131072, 65536ULL << 32, UINT64_MAX };
	static const uint64_t offsets[] = { 1,          512,
					    UINT64_MAX, UINT64_MAX - CHUNK_CELL + 1,
					    1ULL << 63, (1ULL << 63) - MIB };
	const uint64_t flags = BTRFS_BLOCK_GROUP_DATA | BTRFS_BLOCK_GROUP_RAID10;
	struct chunk_item item;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		chunk_item_make(&item, lengths[i], flags, 4);
		expect_refused(&item, MIB);
		chunk_item_make(&item, MIB, flags, 4);
		chunk_put64(&chunk_item_fields(&item)->stripe_len, stripe_lengths[i]);
		expect_refused(&item, MIB);
		chunk_item_make(&item, 2 * MIB, flags, 4);
		chunk_put64(&(&chunk_item_fields(&item)->stripe)[3].offset, offsets[i]);
		expect_refused(&item, MIB);
	}
	for (unsigned sub_stripes = 0; sub_stripes < 5; sub_stripes++) {
		chunk_item_make(&item, MIB, flags, 4);
		chunk_item_fields(&item)->sub_stripes = (uint16_t)sub_stripes;
		if (sub_stripes != 2)
			expect_refused(&item, MIB);
	}
	chunk_item_make(&item, MIB, flags, 4);
	chunk_item_fields(&item)->sector_size = 8192;
	expect_refused(&item, MIB);
	chunk_item_make(&item, MIB, flags, 4);
	expect_refused(&item, MIB + 1);
	expect_refused(&item, UINT64_MAX - CHUNK_CELL + 1);
	expect_refused(&item, UINT64_MAX - MIB + 1);
	for (size_t size = item.size - 1; size > 0; size--) {
		item.size = size;
		expect_refused(&item, MIB);
	}
	chunk_item_make(&item, MIB, flags, 4);
	item.size++;
	expect_refused(&item, MIB);
}

/* The highest addresses that are allowed. */
static void test_limits(void **state)
{
	struct chunk_map *map = chunk_item_map();
	uint64_t bytes = 65536ULL * (UINT32_MAX - 1);
	uint64_t logical = UINT64_MAX - CHUNK_CELL + 1 - bytes;
	uint64_t offset = (1ULL << 63) - CHUNK_CELL - bytes;
	struct chunk_place place;
	struct chunk_item item;

	(void)state;
	chunk_item_make(&item, bytes, BTRFS_BLOCK_GROUP_DATA, 1);
	chunk_put64(&chunk_item_fields(&item)->stripe.offset, offset);
	assert_int_equal(chunk_item_add(map, logical, &item), 0);
	assert_true(chunk_map_find(map, logical + bytes - 1, 0, &place));
	assert_int_equal(place.physical, offset + bytes - 1);
	assert_int_equal(place.bytes, 1);
	assert_false(chunk_map_find(map, logical + bytes, 0, &place));
	chunk_map_destroy(map);
}

static void test_overlaps(void **state)
{
	struct chunk_map *map = chunk_item_map();
	struct chunk_item item;
	struct chunk_item other;

	(void)state;
	chunk_item_make(&item, 4 * MIB, BTRFS_BLOCK_GROUP_METADATA | BTRFS_BLOCK_GROUP_DUP, 2);
	assert_int_equal(chunk_item_add(map, 16 * MIB, &item), 0);
	assert_int_equal(chunk_item_add(map, 16 * MIB, &item), 0);
	assert_int_equal(chunk_map_count(map), 1);

	chunk_item_make(&other, 4 * MIB, BTRFS_BLOCK_GROUP_METADATA | BTRFS_BLOCK_GROUP_RAID1, 2);
	assert_int_equal(chunk_item_add(map, 16 * MIB, &other), -EUCLEAN);
	chunk_item_make(&other, 8 * MIB, BTRFS_BLOCK_GROUP_METADATA | BTRFS_BLOCK_GROUP_DUP, 2);
	assert_int_equal(chunk_item_add(map, 16 * MIB, &other), -EUCLEAN);
	other = item;
	chunk_put64(&(&chunk_item_fields(&other)->stripe)[1].offset, 64 * MIB);
	assert_int_equal(chunk_item_add(map, 16 * MIB, &other), -EUCLEAN);
	other = item;
	chunk_put64(&(&chunk_item_fields(&other)->stripe)[1].devid, 77);
	assert_int_equal(chunk_item_add(map, 16 * MIB, &other), -EUCLEAN);

	assert_int_equal(chunk_item_add(map, 18 * MIB, &item), -EUCLEAN);
	assert_int_equal(chunk_item_add(map, 14 * MIB, &item), -EUCLEAN);
	assert_int_equal(chunk_item_add(map, 20 * MIB - CHUNK_CELL, &item), -EUCLEAN);
	assert_int_equal(chunk_item_add(map, 12 * MIB + CHUNK_CELL, &item), -EUCLEAN);
	chunk_item_make(&other, 64 * MIB, BTRFS_BLOCK_GROUP_DATA, 1);
	assert_int_equal(chunk_item_add(map, 8 * MIB, &other), -EUCLEAN);
	chunk_item_make(&other, CHUNK_CELL, BTRFS_BLOCK_GROUP_DATA, 1);
	assert_int_equal(chunk_item_add(map, 17 * MIB, &other), -EUCLEAN);
	assert_int_equal(chunk_map_count(map), 1);

	assert_int_equal(chunk_item_add(map, 20 * MIB, &item), 0);
	assert_int_equal(chunk_item_add(map, 12 * MIB, &item), 0);
	assert_int_equal(chunk_map_count(map), 3);
	chunk_map_destroy(map);
}

/* In which order chunks come makes no difference. Chunk i: i + 1 cells at i * 16 MiB. */
static void check_order(const unsigned *order, unsigned count)
{
	struct chunk_map *map = chunk_item_map();
	struct chunk_place place;
	struct chunk_item item;

	for (unsigned i = 0; i < count; i++) {
		chunk_item_make(&item, (order[i] + 1) * CHUNK_CELL, BTRFS_BLOCK_GROUP_DATA, 1);
		chunk_put64(&chunk_item_fields(&item)->stripe.offset, order[i] * MIB);
		assert_int_equal(chunk_item_add(map, order[i] * 16 * MIB, &item), 0);
	}
	assert_int_equal(chunk_map_count(map), count);
	for (unsigned i = 0; i < count; i++) {
		assert_true(chunk_map_find(map, i * 16 * MIB, 0, &place));
		assert_int_equal(place.physical, i * MIB);
		assert_int_equal(place.bytes, (i + 1) * CHUNK_CELL);
		assert_false(chunk_map_find(map, i * 16 * MIB + (i + 1) * CHUNK_CELL, 0, &place));
	}
	chunk_map_destroy(map);
}

static void test_order(void **state)
{
	unsigned order[300];

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		order[i] = i;
	check_order(order, 300);
	for (unsigned i = 0; i < 300; i++)
		order[i] = 299 - i;
	check_order(order, 300);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 299; i > 0; i--) {
			unsigned j = (unsigned)(chunk_random(&seed) % (i + 1));
			unsigned swap = order[i];

			order[i] = order[j];
			order[j] = swap;
		}
		check_order(order, 300);
	}
}

/* Would not end within the time of a test if adding in order were quadratic. */
static void test_many(void **state)
{
	struct chunk_map *map = chunk_item_map();
	struct chunk_place place;
	struct chunk_item item;
	const uint64_t count = 1000000;

	(void)state;
	chunk_item_make(&item, MIB, BTRFS_BLOCK_GROUP_DATA | BTRFS_BLOCK_GROUP_RAID1, 2);
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(chunk_item_add(map, i * MIB, &item), 0);
	assert_int_equal(chunk_map_count(map), count);
	for (uint64_t i = 0; i < count; i += 7) {
		assert_true(chunk_map_find(map, i * MIB + CHUNK_CELL, 1, &place));
		assert_int_equal(place.physical, 2 * MIB + CHUNK_CELL);
	}
	chunk_map_destroy(map);
}

static void system_append(struct format_super *super, uint64_t logical, struct chunk_item *item)
{
	struct btrfs_disk_key key = { .type = BTRFS_CHUNK_ITEM_KEY };
	uint8_t *at = super->sys_chunk_array + super->sys_chunk_array_size;

	chunk_put64(&key.objectid, BTRFS_FIRST_CHUNK_TREE_OBJECTID);
	chunk_put64(&key.offset, logical);
	super->sys_chunk_array_size += (uint32_t)(sizeof(key) + item->size);
	assert_true(super->sys_chunk_array_size <= FORMAT_SYSTEM_CHUNKS_MAX);
	memcpy(at, &key, sizeof(key));
	memcpy(at + sizeof(key), chunk_item_fields(item), item->size);
}

static int system_add(const struct format_super *super, size_t chunks)
{
	struct rs_error error = RS_ERROR_INIT;
	struct chunk_map *map = chunk_item_map();
	int ret = chunk_map_add_system(map, super, &error);

	assert_int_equal(error.code, ret);
	if (ret == 0)
		assert_int_equal(chunk_map_count(map), chunks);
	else
		assert_non_null(strstr(error.where, "system chunk array"));
	chunk_map_destroy(map);
	return ret;
}

static void test_system_chunks(void **state)
{
	static struct format_super super;
	struct chunk_item item;
	struct chunk_item data;
	uint32_t bytes;
	uint32_t first;

	(void)state;
	super.sectorsize = CHUNK_SECTOR;
	assert_int_equal(system_add(&super, 0), -EUCLEAN);
	chunk_item_make(&item, 8 * MIB, BTRFS_BLOCK_GROUP_SYSTEM | BTRFS_BLOCK_GROUP_DUP, 2);
	system_append(&super, MIB, &item);
	first = super.sys_chunk_array_size;
	assert_int_equal(system_add(&super, 1), 0);
	system_append(&super, 16 * MIB, &item);
	assert_int_equal(system_add(&super, 2), 0);
	system_append(&super, 16 * MIB, &item);
	assert_int_equal(system_add(&super, 2), 0);

	bytes = super.sys_chunk_array_size;
	for (uint32_t cut = 0; cut < bytes; cut++) {
		super.sys_chunk_array_size = cut;
		assert_int_equal(system_add(&super, cut / first),
				 cut && cut % first == 0 ? 0 : -EUCLEAN);
	}
	super.sys_chunk_array_size = bytes;
	super.sys_chunk_array[first] ^= 1;
	assert_int_equal(system_add(&super, 2), -EUCLEAN);
	super.sys_chunk_array[first] ^= 1;
	super.sys_chunk_array[first + 8] = BTRFS_DEV_ITEM_KEY;
	assert_int_equal(system_add(&super, 2), -EUCLEAN);
	super.sys_chunk_array_size = FORMAT_SYSTEM_CHUNKS_MAX + 1;
	assert_int_equal(system_add(&super, 2), -EUCLEAN);
	super.sys_chunk_array_size = UINT32_MAX;
	assert_int_equal(system_add(&super, 2), -EUCLEAN);
	super.sys_chunk_array_size = first;
	super.sectorsize = 0;
	assert_int_equal(system_add(&super, 1), -EUCLEAN);

	super.sectorsize = CHUNK_SECTOR;
	super.sys_chunk_array_size = 0;
	chunk_item_make(&data, 8 * MIB, BTRFS_BLOCK_GROUP_DATA, 1);
	system_append(&super, MIB, &data);
	assert_int_equal(system_add(&super, 1), -EUCLEAN);
}

static void test_no_memory(void **state)
{
	struct chunk_map *map;
	struct chunk_place place;
	struct chunk_item item;
	uint64_t failures = 0;

	(void)state;
	alloc_fail_arm(1, 0);
	assert_null(chunk_map_create());
	alloc_fail_arm(0, 0);
	map = chunk_item_map();
	chunk_item_make(&item, MIB, BTRFS_BLOCK_GROUP_DATA | BTRFS_BLOCK_GROUP_RAID0, 5);
	for (uint64_t i = 0; i < 500; i++) {
		int ret;

		alloc_fail_arm(1 + i % 2, 1);
		ret = chunk_item_add(map, i * MIB, &item);
		failures += alloc_fail_count();
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		assert_int_equal(chunk_map_count(map), i + (ret == 0));
		alloc_fail_arm(0, 0);
		if (ret)
			assert_int_equal(chunk_item_add(map, i * MIB, &item), 0);
	}
	assert_true(failures > 0);
	for (uint64_t i = 0; i < 500; i++)
		assert_true(chunk_map_find(map, i * MIB, 0, &place));
	chunk_map_destroy(map);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),     cmocka_unit_test(test_stripe_counts),
		cmocka_unit_test(test_types),     cmocka_unit_test(test_fields),
		cmocka_unit_test(test_limits),    cmocka_unit_test(test_overlaps),
		cmocka_unit_test(test_order),     cmocka_unit_test(test_many),
		cmocka_unit_test(test_no_memory), cmocka_unit_test(test_system_chunks),
	};

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) | 1 : 20240711;
	fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
