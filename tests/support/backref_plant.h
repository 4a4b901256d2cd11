/* SPDX-License-Identifier: MIT */
/* Errors to be planted in an extent tree, each in one item or one extent. One thread. */
#ifndef REFSTORM_TEST_BACKREF_PLANT_H
#define REFSTORM_TEST_BACKREF_PLANT_H

#include "stress/oracle/backref.h"
#include "tests/support/extent_tree.h"

struct backref_plant;

/* One error, in the leaves that are in memory. */
struct planted {
	const struct backref_plant *plant;
	struct extent_tree *tree;
	struct extent_site site;
	/* Filled in by the plant. */
	uint64_t bytenr; /* where an error must be found */
	uint64_t also;   /* where one may be found too; 0: nowhere */
	bool anywhere;   /* errors may be found at blocks below, too */
	bool apart;      /* item and keyed reference stand on different leaves */
};

struct backref_plant {
	const char *name;
	unsigned kinds; /* bits, BACKREF_PLANT_KIND: what is found must be one of these */
	/* Changes the leaves; false if the item is not one for this, and then nothing was changed. */
	bool (*make)(struct planted *planted);
	uint64_t argument;
};

#define BACKREF_PLANT_KIND(kind) (1U << (kind))

/* Ended by one without a name. */
extern const struct backref_plant backref_item_plants[];
extern const struct backref_plant backref_reference_plants[];

/* For the plants: what an item holds. */
#define BACKREF_INLINE_MAX 64

struct inline_refs {
	uint32_t at[BACKREF_INLINE_MAX]; /* offsets into the item's data */
	uint32_t count;
};

/* Where inline references begin in the data of an extent item. */
uint32_t inline_refs_begin(const struct format_key *key, const uint8_t *data);
void inline_refs_read(struct inline_refs *refs, const struct format_key *key, const uint8_t *data,
		      uint32_t bytes);
/* Bytes of one, its type included. */
uint32_t inline_ref_bytes(uint8_t type);

/* Whether items may be put in, taken out or given another key at that slot. */
bool plant_may_move(const struct planted *planted);
/* Whether a key between slots of the leaf keeps the order of the whole tree. */
bool plant_key_fits(const struct extent_tree *tree, uint32_t leaf, const struct format_key *key);
/* Adds to the references that the item counts. */
void plant_refs_add(uint8_t *item, uint64_t more);
bool plant_is_data(const uint8_t *item);

#endif /* REFSTORM_TEST_BACKREF_PLANT_H */
