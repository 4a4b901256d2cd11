/* SPDX-License-Identifier: MIT */
/*
 * The model of the layouts writes chunks to make-believe devices, row after row,
 * in cells of 4 KiB; what the map says is then looked up in the cells.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/chunk_item.h"

#define STRIPE_CELLS 16
#define DEVICES_MAX 9
#define DEVICE_CELLS 4096

static uint64_t seed;

/* What each cell of each device holds: the index of a cell of the chunk, or one of these. */
enum {
	CELL_EMPTY = -1,
	CELL_PARITY = -2
};

struct model {
	int cells[DEVICES_MAX][DEVICE_CELLS];
	unsigned filled[DEVICES_MAX]; /* cells from the beginning of the stripe */
};

static void model_put(struct model *model, unsigned device, int cell)
{
	unsigned begin = (device + 1) * (unsigned)(MIB / CHUNK_CELL);

	assert_true(begin + model->filled[device] < DEVICE_CELLS);
	model->cells[device][begin + model->filled[device]++] = cell;
}

/* Puts the next 16 cells of the chunk, or fewer at its end, on `copies` devices from `first` on. */
static void model_put_column(struct model *model, const unsigned *devices, unsigned copies,
			     int *next, int cells)
{
	for (unsigned i = 0; i < STRIPE_CELLS; i++) {
		for (unsigned copy = 0; copy < copies; copy++)
			model_put(model, devices[copy], *next < cells ? *next : CELL_EMPTY);
		*next += *next < cells;
	}
}

/*
 * Deals the chunk out. `columns` of `copies` each and then the parities make up
 * a row; where there are parities, the order of the devices turns after each row.
 */
static void model_fill(struct model *model, unsigned devices, unsigned columns, unsigned copies,
		       int cells)
{
	unsigned order[DEVICES_MAX];
	bool turns = devices > columns * copies;
	int next = 0;

	memset(model, 0xff, sizeof(*model));
	memset(model->filled, 0, sizeof(model->filled));
	for (unsigned i = 0; i < devices; i++)
		order[i] = i;
	while (next < cells) {
		for (unsigned column = 0; column < columns; column++)
			model_put_column(model, &order[column * copies], copies, &next, cells);
		for (unsigned i = columns * copies; i < devices; i++) {
			for (unsigned cell = 0; cell < STRIPE_CELLS; cell++)
				model_put(model, order[i], CELL_PARITY);
		}
		if (turns) {
			unsigned first = order[0];

			memmove(order, order + 1, (devices - 1) * sizeof(order[0]));
			order[devices - 1] = first;
		}
	}
}

/* All that the map says of a chunk at `logical`, against the cells; each cell is met once. */
static void model_compare(struct model *model, const struct chunk_map *map, uint64_t logical,
			  unsigned copies, int cells)
{
	unsigned met = 0;
	unsigned there = 0;

	for (unsigned i = 0; i < DEVICES_MAX; i++) {
		for (unsigned cell = 0; cell < DEVICE_CELLS; cell++)
			there += model->cells[i][cell] >= 0;
	}
	assert_int_equal(there, copies * (unsigned)cells);
	for (int cell = 0; cell < cells; cell++) {
		uint64_t at = logical + (uint64_t)cell * CHUNK_CELL;

		assert_int_equal(chunk_map_mirrors(map, at), copies);
		for (unsigned mirror = 0; mirror < copies; mirror++) {
			struct chunk_place place;
			int *found;

			assert_true(chunk_map_find(map, at, mirror, &place));
			assert_in_range(place.device_id, 10, 10 + DEVICES_MAX - 1);
			assert_int_equal(place.physical % CHUNK_CELL, 0);
			assert_int_equal(place.bytes % CHUNK_CELL, 0);
			found = &model->cells[place.device_id - 10][place.physical / CHUNK_CELL];
			for (uint64_t i = 0; i < place.bytes / CHUNK_CELL; i++) {
				int there_now = found[i] < CELL_PARITY ? -found[i] - 3 : found[i];

				assert_int_equal(there_now, cell + (int)i);
			}
			assert_true(found[0] >= 0);
			found[0] = -found[0] - 3; /* met */
			met++;
		}
		assert_false(chunk_map_find(map, at, copies, &(struct chunk_place){ 0 }));
	}
	assert_int_equal(met, there);
}

static const struct layout {
	uint64_t profile;
	unsigned devices;
	unsigned columns;
	unsigned copies;
} layouts[] = {
	{ 0, 1, 1, 1 },
	{ BTRFS_BLOCK_GROUP_DUP, 2, 1, 2 },
	{ BTRFS_BLOCK_GROUP_RAID1, 2, 1, 2 },
	{ BTRFS_BLOCK_GROUP_RAID1C3, 3, 1, 3 },
	{ BTRFS_BLOCK_GROUP_RAID1C4, 4, 1, 4 },
	{ BTRFS_BLOCK_GROUP_RAID0, 1, 1, 1 },
	{ BTRFS_BLOCK_GROUP_RAID0, 2, 2, 1 },
	{ BTRFS_BLOCK_GROUP_RAID0, 5, 5, 1 },
	{ BTRFS_BLOCK_GROUP_RAID10, 2, 1, 2 },
	{ BTRFS_BLOCK_GROUP_RAID10, 4, 2, 2 },
	{ BTRFS_BLOCK_GROUP_RAID10, 8, 4, 2 },
	{ BTRFS_BLOCK_GROUP_RAID5, 2, 1, 1 },
	{ BTRFS_BLOCK_GROUP_RAID5, 3, 2, 1 },
	{ BTRFS_BLOCK_GROUP_RAID5, 7, 6, 1 },
	{ BTRFS_BLOCK_GROUP_RAID6, 3, 1, 1 },
	{ BTRFS_BLOCK_GROUP_RAID6, 4, 2, 1 },
	{ BTRFS_BLOCK_GROUP_RAID6, 9, 7, 1 },
};

#define LAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

static void test_layouts(void **state)
{
	/* Whole rows, some rows more than devices, and a last row that is not full. */
	static const unsigned sizes[] = { 1, 16, 17, 960, 1008, 1009 };
	static struct model model;

	(void)state;
	for (unsigned i = 0; i < LAYOUTS; i++) {
		const struct layout *layout = &layouts[i];

		for (unsigned j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
			uint64_t flags = BTRFS_BLOCK_GROUP_METADATA | layout->profile;
			uint64_t logical = 1234 * MIB + CHUNK_CELL;
			struct chunk_map *map = chunk_item_map();
			struct chunk_item item;

			chunk_item_make(&item, sizes[j] * CHUNK_CELL, flags, layout->devices);
			assert_int_equal(chunk_item_add(map, logical, &item), 0);
			model_fill(&model, layout->devices, layout->columns, layout->copies,
				   (int)sizes[j]);
			model_compare(&model, map, logical, layout->copies, (int)sizes[j]);
			assert_int_equal(chunk_map_flags(map, logical), flags);
			chunk_map_destroy(map);
		}
	}
}

/* Whether the place lies in a stripe of the item, and within the chunk. */
static void check_place(struct chunk_item *item, uint64_t logical, uint64_t at,
			const struct chunk_place *place)
{
	const struct btrfs_chunk *fields = chunk_item_fields(item);
	uint64_t bytes = format_le64(&fields->length);
	bool found = false;

	assert_true(at - logical < bytes);
	assert_true(place->bytes > 0 && place->bytes <= bytes - (at - logical));
	assert_true(place->bytes <= INT64_MAX && place->physical <= INT64_MAX - place->bytes);
	for (unsigned i = 0; i < fields->num_stripes; i++) {
		uint64_t offset = format_le64(&(&fields->stripe)[i].offset);

		found |= format_le64(&(&fields->stripe)[i].devid) == place->device_id &&
			 place->physical >= offset &&
			 place->physical - offset + place->bytes <=
				 (bytes | (FORMAT_STRIPE_BYTES - 1)) + 1;
	}
	assert_true(found);
}

static void look_around(const struct chunk_map *map, struct chunk_item *item, uint64_t logical)
{
	uint64_t bytes = format_le64(&chunk_item_fields(item)->length);
	struct chunk_place place;

	for (unsigned i = 0; i < 64; i++) {
		uint64_t at = logical + (i == 0 ? 0 :
					 i == 1 ? bytes - 1 :
						  chunk_random(&seed) % bytes);
		unsigned mirrors = chunk_map_mirrors(map, at);

		assert_in_range(mirrors, 1, 4);
		for (unsigned mirror = 0; mirror < 6; mirror++) {
			assert_int_equal(chunk_map_find(map, at, mirror, &place), mirror < mirrors);
			if (mirror < mirrors)
				check_place(item, logical, at, &place);
		}
	}
	assert_false(chunk_map_find(map, logical + bytes, 0, &place));
	assert_false(chunk_map_find(map, logical - 1, 0, &place));
}

static void test_flipped_bits(void **state)
{
	unsigned accepted = 0;
	unsigned refused = 0;

	(void)state;
	for (unsigned round = 0; round < 200000; round++) {
		const struct layout *layout = &layouts[chunk_random(&seed) % LAYOUTS];
		struct chunk_map *map = chunk_item_map();
		uint64_t logical = (1 + chunk_random(&seed) % 1000) * CHUNK_CELL;
		struct chunk_item item;
		int ret;

		chunk_item_make(&item, (1 + chunk_random(&seed) % 5000) * CHUNK_CELL,
				BTRFS_BLOCK_GROUP_DATA | layout->profile, layout->devices);
		for (unsigned flips = (unsigned)(chunk_random(&seed) % 4); flips > 0; flips--) {
			unsigned bit = (unsigned)(chunk_random(&seed) % (8 * item.size));

			item.bytes[1 + bit / 8] ^= (uint8_t)(1U << bit % 8);
		}
		ret = chunk_item_add(map, logical, &item);
		assert_true(ret == 0 || ret == -EUCLEAN);
		if (ret == 0)
			look_around(map, &item, logical);
		accepted += ret == 0;
		refused += ret != 0;
		chunk_map_destroy(map);
	}
	assert_in_range(accepted, 50000, 190000);
	assert_in_range(refused, 10000, 150000);
}

static void test_random_bytes(void **state)
{
	struct chunk_map *map = chunk_item_map();

	(void)state;
	for (unsigned round = 0; round < 200000; round++) {
		struct chunk_item item;
		uint64_t logical = chunk_random(&seed) & ~(CHUNK_CELL - 1);

		for (unsigned i = 0; i < sizeof(item.bytes); i++)
			item.bytes[i] = (uint8_t)(chunk_random(&seed) >> 20);
		item.size = (size_t)(chunk_random(&seed) % CHUNK_ITEM_BYTES_MAX);
		if (chunk_item_add(map, logical, &item) == 0)
			look_around(map, &item, logical);
	}
	chunk_map_destroy(map);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_flipped_bits),
		cmocka_unit_test(test_random_bytes),
	};

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) | 1 : 20240711;
	fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
