/* SPDX-License-Identifier: MIT */
#include "core/disk/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/disk/csum.h"
#include "tests/support/chunk_item.h"
#include "tests/support/image_build.h"

#define NODE 4096
#define HEADER sizeof(struct format_header)

static uint64_t seed;

/* One block, what is expected of it, and the rules. */
struct fixture {
	struct image_build *build;
	struct image_items items;
	uint8_t *block;
	struct node_rules rules;
	struct node_expect expect;
};

static void add_items(struct fixture *fixture, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint8_t data[16];

		memset(data, (int)i, sizeof(data));
		image_items_add(&fixture->items, 300 + i / 4, (uint8_t)(i % 4), i, data, i % 17);
	}
}

static struct node_expect expect_of(const uint8_t *block)
{
	return (struct node_expect){
		.bytenr = image_bytenr(block),
		.generation = IMAGE_GENERATION,
		.owner = 256 == node_header(block)->owner ? NODE_OWNER_SUBVOLUME :
							    node_header(block)->owner,
		.first_key = node_count(block) ? node_key(block, 0) : (struct format_key){ 0 },
		.level = node_level(block),
	};
}

static void begin(struct fixture *fixture, uint64_t owner, bool leaf)
{
	*fixture = (struct fixture){ .build = image_build_create(NODE, IMAGE_SINGLE) };
	add_items(fixture, 20);
	fixture->block = image_build_tree(fixture->build, owner, &fixture->items, leaf ? 0 : 2, 0);
	fixture->rules = (struct node_rules){
		.node_bytes = NODE,
		.sector_bytes = 4096,
		.generation_max = IMAGE_GENERATION,
	};
	memset(fixture->rules.fsid, IMAGE_FSID, sizeof(fixture->rules.fsid));
	fixture->expect = expect_of(fixture->block);
}

static void end(struct fixture *fixture)
{
	image_items_free(&fixture->items);
	image_build_free(fixture->build);
}

static int check(const struct fixture *fixture, struct rs_error *error)
{
	*error = (struct rs_error)RS_ERROR_INIT;
	csum_block_write(fixture->rules.csum_type, fixture->block, NODE);
	return node_check(&fixture->rules, &fixture->expect, fixture->block, error);
}

static void good(struct fixture *fixture)
{
	struct rs_error error;

	if (check(fixture, &error))
		fail_msg("%s", error.what);
	assert_int_equal(node_check(&fixture->rules, &fixture->expect, fixture->block, NULL), 0);
}

/* Refused with the address and that text; ends the fixture. */
static void bad(struct fixture *fixture, const char *text)
{
	struct rs_error error;

	assert_int_equal(check(fixture, &error), -EUCLEAN);
	assert_int_equal(error.code, -EUCLEAN);
	assert_int_equal(error.address, fixture->expect.bytenr);
	if (!strstr(error.what, text))
		fail_msg("'%s' does not say '%s'", error.what, text);
	assert_int_equal(node_check(&fixture->rules, &fixture->expect, fixture->block, NULL),
			 -EUCLEAN);
	end(fixture);
}

static void test_good(void **state)
{
	struct fixture fixture;

	(void)state;
	for (uint16_t type = 0; type < 4; type++) {
		for (unsigned kind = 0; kind < 4; kind++) {
			begin(&fixture, kind & 1 ? 256 : 8, kind & 2);
			fixture.rules.csum_type = type;
			good(&fixture);
			fixture.expect.is_root = true;
			fixture.expect.first_key.objectid = 1;
			good(&fixture);
			end(&fixture);
		}
	}
	/* Any subvolume may own a shared block. */
	begin(&fixture, 256, true);
	image_header(fixture.block)->owner = 5;
	good(&fixture);
	image_header(fixture.block)->owner = (UINT64_C(1) << 48) - 1;
	good(&fixture);
	end(&fixture);
}

static void test_header(void **state)
{
	struct fixture fixture;
	struct rs_error error;

	(void)state;
	begin(&fixture, 8, true);
	csum_block_write(0, fixture.block, NODE);
	for (unsigned at = 32; at < NODE; at += 131) {
		fixture.block[at] ^= 0x10;
		assert_int_equal(node_check(&fixture.rules, &fixture.expect, fixture.block, &error),
				 -EUCLEAN);
		assert_string_equal(error.what, "checksum does not match");
		fixture.block[at] ^= 0x10;
	}
	end(&fixture);
	begin(&fixture, 8, true);
	image_header(fixture.block)->bytenr += 4096;
	bad(&fixture, "block says it is the one at 4198400");
	for (unsigned i = 0; i < FORMAT_FSID_BYTES; i++) {
		begin(&fixture, 8, true);
		image_header(fixture.block)->fsid[i] ^= 0x80;
		bad(&fixture, "block belongs to another file system");
	}
	begin(&fixture, 8, true);
	image_header(fixture.block)->level = 1;
	bad(&fixture, "level is 1, expected 0");
	begin(&fixture, 8, false);
	image_header(fixture.block)->level = 255;
	bad(&fixture, "level is 255, expected 1");
	begin(&fixture, 8, true);
	image_header(fixture.block)->generation = 99;
	bad(&fixture, "generation is 99, expected 100");
	begin(&fixture, 8, true);
	fixture.rules.generation_max = 99;
	bad(&fixture, "generation 100 is above the super block's 99");
}

static void test_owner(void **state)
{
	static const uint64_t strangers[] = {
		0, 1, 4, 6, 255, UINT64_C(1) << 48, UINT64_MAX, BTRFS_TREE_RELOC_OBJECTID
	};
	struct fixture fixture;

	(void)state;
	for (unsigned i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		begin(&fixture, 256, true);
		image_header(fixture.block)->owner = strangers[i];
		bad(&fixture, "which is no subvolume");
	}
	begin(&fixture, 8, true);
	image_header(fixture.block)->owner = 256;
	bad(&fixture, "owner is tree 256, expected 8");
	begin(&fixture, 8, true);
	image_header(fixture.block)->owner = BTRFS_TREE_RELOC_OBJECTID;
	bad(&fixture, "owner is tree -8, expected 8");
}

static void test_counts(void **state)
{
	static const uint32_t counts[] = { 1000, UINT32_MAX, UINT32_MAX / 25 + 1,
					   UINT32_MAX / 33 + 1, 1U << 31 };
	uint32_t leaf_room = (NODE - HEADER) / 25;
	uint32_t node_room = (NODE - HEADER) / 33;
	struct fixture fixture;
	char text[64];

	(void)state;
	for (unsigned i = 0; i < 2 * sizeof(counts) / sizeof(counts[0]); i++) {
		begin(&fixture, 8, i % 2);
		image_header(fixture.block)->nritems = counts[i / 2];
		snprintf(text, sizeof(text), "%u items, but there is room for %u", counts[i / 2],
			 i % 2 ? leaf_room : node_room);
		bad(&fixture, text);
	}
	begin(&fixture, 8, true);
	image_header(fixture.block)->nritems = leaf_room + 1;
	bad(&fixture, "there is room for");
	begin(&fixture, 8, true);
	image_header(fixture.block)->nritems = 0;
	bad(&fixture, "block has no items");
	begin(&fixture, 8, false);
	image_header(fixture.block)->nritems = 0;
	fixture.expect.is_root = true;
	bad(&fixture, "block has no items");
	/* A tree of nothing. */
	begin(&fixture, 8, true);
	image_header(fixture.block)->nritems = 0;
	fixture.expect.is_root = true;
	good(&fixture);
	end(&fixture);
}

static void test_keys(void **state)
{
	struct fixture fixture;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct btrfs_disk_key *key;
		unsigned slot = i % 2 ? 9 : 1;
		char text[64];

		begin(&fixture, 8, i & 2);
		key = i & 2 ? &image_item_at(fixture.block, slot)->key :
			      &image_pointer_at(fixture.block, slot)->key;
		if (i & 4)
			key->objectid = 0;
		else
			memcpy(key, (uint8_t *)key - (i & 2 ? 25 : 33), sizeof(*key));
		snprintf(text, sizeof(text), "key of slot %u is not above the one before it", slot);
		bad(&fixture, text);
	}
	for (unsigned i = 0; i < 3; i++) {
		begin(&fixture, 8, i != 2);
		if (i == 0)
			fixture.expect.first_key.offset += 1;
		else if (i == 1)
			fixture.expect.first_key.type += 1;
		else
			fixture.expect.first_key.objectid -= 1;
		bad(&fixture, "is not the one its parent gives");
	}
}

static void test_items(void **state)
{
	static const uint32_t offsets[] = { 0, 1, UINT32_MAX, 3995, 4096, 1U << 31 };
	struct fixture fixture;

	(void)state;
	for (unsigned slot = 0; slot < 20; slot++) {
		for (unsigned i = 0; i < 10; i++) {
			struct format_item *item;
			char text[32];

			begin(&fixture, 8, true);
			item = image_item_at(fixture.block, slot);
			if (i < 6 && item->offset == offsets[i]) { /* that is where it stands */
				end(&fixture);
				continue;
			}
			if (i < 6)
				item->offset = offsets[i];
			else if (i == 6)
				item->size += 1;
			else if (i == 7)
				item->size -= 1;
			else if (i == 8)
				item->size = UINT32_MAX;
			else
				item->offset -= 1, item->size += 1; /* grown over the next */
			snprintf(text, sizeof(text), "data of item %u (", i == 9 ? slot + 1 : slot);
			if (i == 9 && slot == 19) { /* into the free space: that is allowed */
				good(&fixture);
				end(&fixture);
				continue;
			}
			bad(&fixture, text);
		}
	}
	/* Data that reach down into the items. */
	begin(&fixture, 8, true);
	image_item_at(fixture.block, 19)->size += image_item_at(fixture.block, 19)->offset - 499;
	image_item_at(fixture.block, 19)->offset = 499;
	bad(&fixture, "data of item 19 (");
	begin(&fixture, 8, true);
	image_item_at(fixture.block, 19)->size += image_item_at(fixture.block, 19)->offset - 500;
	image_item_at(fixture.block, 19)->offset = 500;
	good(&fixture);
	end(&fixture);
}

static void test_pointers(void **state)
{
	static const uint64_t addresses[] = { 0, 1, 4095, UINT64_MAX };
	struct fixture fixture;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		char text[64];
		unsigned slot = i & 4 ? 9 : 0;

		begin(&fixture, 8, false);
		image_pointer_at(fixture.block, slot)->blockptr = addresses[i % 4];
		snprintf(text, sizeof(text), "pointer %u leads to %llu, which", slot,
			 (unsigned long long)addresses[i % 4]);
		bad(&fixture, text);
	}
}

/* All of the block that the accessors may be asked for. */
static uint64_t read_all(const uint8_t *block)
{
	uint64_t sum = 0;

	for (uint32_t slot = 0; slot < node_count(block); slot++) {
		struct format_key key = node_key(block, slot);

		sum += key.objectid + node_lower_bound(block, &key) - slot;
		if (node_level(block)) {
			sum += node_child(block, slot, 0).bytenr;
			continue;
		}
		for (uint32_t i = 0; i < node_item_bytes(block, slot); i++)
			sum += node_item_data(block, slot)[i];
	}
	return sum;
}

/* The copy ends with its allocation, so that the address sanitizer sees a step outside. */
static void test_random_bits(void **state)
{
	uint64_t random = seed;
	unsigned refused = 0;
	unsigned passed = 0;
	uint64_t sum = 0;

	(void)state;
	for (unsigned round = 0; round < 40000; round++) {
		struct fixture fixture;
		uint8_t *copy = malloc(NODE);
		struct rs_error error = RS_ERROR_INIT;
		unsigned flips = 1 + (unsigned)(chunk_random(&random) % 4);

		assert_non_null(copy);
		begin(&fixture, round & 1 ? 8 : 256, round & 2);
		memcpy(copy, fixture.block, NODE);
		for (unsigned i = 0; i < flips; i++) {
			uint64_t bit = chunk_random(&random) % (round & 4 ? NODE * 8 : 700 * 8);

			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		csum_block_write(0, copy, NODE);
		if (node_check(&fixture.rules, &fixture.expect, copy, &error)) {
			assert_int_equal(error.code, -EUCLEAN);
			refused++;
		} else {
			sum += read_all(copy);
			passed++;
		}
		free(copy);
		end(&fixture);
	}
	assert_true(refused > 1000 && passed > 1000 && sum);
}

static void test_lower_bound(void **state)
{
	struct fixture fixture;

	(void)state;
	for (unsigned leaf = 0; leaf < 2; leaf++) {
		begin(&fixture, 8, leaf);
		for (uint32_t slot = 0; slot < node_count(fixture.block); slot++) {
			struct format_key key = node_key(fixture.block, slot);

			assert_int_equal(node_lower_bound(fixture.block, &key), slot);
			key.offset++;
			assert_int_equal(node_lower_bound(fixture.block, &key), slot + 1);
			key.offset -= 2;
			assert_int_equal(node_lower_bound(fixture.block, &key),
					 key.offset == UINT64_MAX ? slot + 1 : slot);
		}
		end(&fixture);
	}
}

int main(void)
{
	const char *text = getenv("REFSTORM_SEED");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),        cmocka_unit_test(test_header),
		cmocka_unit_test(test_owner),       cmocka_unit_test(test_counts),
		cmocka_unit_test(test_keys),        cmocka_unit_test(test_items),
		cmocka_unit_test(test_pointers),    cmocka_unit_test(test_random_bits),
		cmocka_unit_test(test_lower_bound),
	};

	seed = text ? strtoull(text, NULL, 10) : 20261120;
	printf("seed %llu (REFSTORM_SEED)\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
