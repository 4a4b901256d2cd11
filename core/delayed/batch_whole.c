/* SPDX-License-Identifier: MIT */
/*
 * Sorting the whole deltas of a piece. A sort item has what varies of the key, as much as there is
 * room for, above the number of the delta. Deltas that are equal in that much are sorted once more
 * by what varies among them, or if they are few compared.
 *
 * What varies of root, owner and offset depends on the type: types are put into kinds, and each
 * has these fields at places of its own, below those that all share.
 */
#include "core/delayed/batch_impl.h"

#define WHOLE_FEW 12U /* by insertion */

/* Kinds of back references, as their types are ordered, and then the root deltas. */
#define WHOLE_TYPE_LOW (RS_DELTA_TREE_BLOCK_REF - 1U) /* this and lower ones: one kind */
#define WHOLE_TYPE_HIGH (RS_DELTA_SHARED_DATA_REF + 1U)
#define WHOLE_KIND_ROOT (WHOLE_TYPE_HIGH - WHOLE_TYPE_LOW + 1)
#define WHOLE_KINDS (WHOLE_KIND_ROOT + 1)

/* A delta as it lies in memory. */
enum whole_word {
	WHOLE_BYTENR,
	WHOLE_ROOT,
	WHOLE_OWNER,
	WHOLE_OFFSET,
	WHOLE_COUNT, /* with the length; no part of the key */
	WHOLE_SEQ_TYPE,
	WHOLE_WORDS,
};
_Static_assert(WHOLE_WORDS * sizeof(uint64_t) == sizeof(struct rs_delta), "a delta is 6 words");

/* Bits that are set in some and in all of a kind. */
struct whole_seen {
	uint64_t some[WHOLE_WORDS];
	uint64_t all[WHOLE_WORDS];
	size_t count;
};

/* Bits of a word, and where they are in a sort item: (word >> shift & mask) * unit. */
struct whole_field {
	unsigned shift;
	uint64_t mask;
	uint64_t unit;
};

/* What belongs to one kind. */
struct whole_own {
	uint64_t item; /* the kind itself */
	struct whole_field type;
	struct whole_field root;
	struct whole_field owner;
	struct whole_field offset;
	struct whole_field group;
};

struct whole_key {
	struct whole_field part;
	struct whole_field row;
	struct whole_field below; /* in the sector */
	struct whole_own own[WHOLE_KINDS];
	bool parts; /* there are several */
	bool groups;
	bool strange;  /* addresses within sectors, types without a name */
	uint64_t mask; /* of sort items, what is sorted by */
	bool exact;    /* equal in that much: the same key */
};

static inline unsigned whole_kind(const struct rs_delta *delta)
{
	unsigned type = (unsigned)rs_delta_type(delta);
	unsigned bound = type > WHOLE_TYPE_LOW ? type : WHOLE_TYPE_LOW;

	bound = bound < WHOLE_TYPE_HIGH ? bound : WHOLE_TYPE_HIGH;
	return type == RS_DELTA_ROOT ? WHOLE_KIND_ROOT : bound - WHOLE_TYPE_LOW;
}

static void whole_measure(const struct batch_whole *whole, const uint64_t *items, size_t count,
			  struct whole_seen *kinds)
{
	unsigned word;
	size_t at;

	memset(kinds, 0, WHOLE_KINDS * sizeof(*kinds));
	for (at = 0; at < WHOLE_KINDS; at++)
		memset(kinds[at].all, 0xff, sizeof(kinds[at].all));
	for (at = 0; at < count; at++) {
		const struct rs_delta *delta =
			batch_whole_number(whole->chunks, items[at] & whole->index_mask);
		struct whole_seen *seen = &kinds[whole_kind(delta)];
		uint64_t words[WHOLE_WORDS];

		memcpy(words, delta, sizeof(words));
#pragma GCC unroll 6
		for (word = 0; word < WHOLE_WORDS; word++) {
			seen->some[word] |= words[word];
			seen->all[word] &= words[word];
		}
		seen->count++;
	}
}

/* The bits of addresses in which some differ. */
static uint64_t whole_bytenr_varying(const struct whole_seen *kinds)
{
	uint64_t some = 0;
	uint64_t all = UINT64_MAX;
	unsigned kind;

	for (kind = 0; kind < WHOLE_KINDS; kind++) {
		some |= kinds[kind].some[WHOLE_BYTENR];
		all &= kinds[kind].all[WHOLE_BYTENR];
	}
	return some & ~all;
}

/*
 * Gives the varying bits of a word a place below `position`. If there is no room down to `bottom`,
 * only the upper ones get it, and false is returned: nothing may come behind.
 */
static bool whole_field_make(struct whole_field *field, uint64_t varying, unsigned *position,
			     unsigned bottom)
{
	unsigned room = *position - bottom;
	unsigned width;
	bool fits;

	if (!varying)
		return true;
	field->shift = (unsigned)__builtin_ctzll(varying);
	width = batch_bits(varying >> field->shift);
	fits = width <= room;
	if (!room) {
		field->shift = 0;
		return false;
	}
	if (!fits)
		field->shift += width - room;
	width = fits ? width : room;
	*position -= width;
	field->mask = width < 64 ? (UINT64_C(1) << width) - 1 : UINT64_MAX;
	field->unit = UINT64_C(1) << *position;
	return fits;
}

static bool whole_own_make(struct whole_own *own, const struct whole_seen *seen, bool is_root,
			   unsigned position, unsigned bottom)
{
	uint64_t varying[WHOLE_WORDS];
	unsigned word;

	for (word = 0; word < WHOLE_WORDS; word++)
		varying[word] = seen->some[word] & ~seen->all[word];
	/* Of root deltas these are no part of the key. */
	if (is_root)
		varying[WHOLE_OWNER] = varying[WHOLE_OFFSET] = 0;
	return whole_field_make(&own->type, varying[WHOLE_SEQ_TYPE] & 0xff, &position, bottom) &&
	       whole_field_make(&own->root, varying[WHOLE_ROOT], &position, bottom) &&
	       whole_field_make(&own->owner, varying[WHOLE_OWNER], &position, bottom) &&
	       whole_field_make(&own->offset, varying[WHOLE_OFFSET], &position, bottom) &&
	       whole_field_make(&own->group, varying[WHOLE_SEQ_TYPE] >> 8, &position, bottom);
}

/* The address, and behind it the kind. False if they do not fit. */
static bool whole_shared_make(struct whole_key *key, const struct whole_seen *kinds,
			      unsigned *position, unsigned bottom)
{
	uint64_t varying = whole_bytenr_varying(kinds);
	uint64_t refs = 0;
	unsigned bits;
	unsigned kind;

	for (kind = 0; kind < WHOLE_KIND_ROOT; kind++)
		refs += kinds[kind].count != 0;
	/* Root deltas come behind all others. */
	if (refs && kinds[WHOLE_KIND_ROOT].count)
		key->own[WHOLE_KIND_ROOT].item = UINT64_C(1) << --*position;
	bits = refs ? batch_bits(refs - 1) : 0;
	if (!whole_field_make(&key->part, delta_part(varying), position, bottom) ||
	    !whole_field_make(&key->row, batch_row(varying), position, bottom) ||
	    !whole_field_make(&key->below, varying & (RS_DELTA_UNIT - 1), position, bottom) ||
	    *position - bottom < bits)
		return false;
	*position -= bits;
	for (kind = WHOLE_KIND_ROOT; bits && kind--;)
		if (kinds[kind].count)
			key->own[kind].item = --refs << *position;
	return true;
}

static void whole_key_make(struct whole_key *key, const struct whole_seen *kinds,
			   unsigned number_bits)
{
	unsigned position = 64;
	unsigned kind;
	bool shared;

	memset(key, 0, sizeof(*key));
	shared = whole_shared_make(key, kinds, &position, number_bits);
	key->exact = shared;
	key->strange = key->below.mask != 0;
	for (kind = 0; kind < WHOLE_KINDS && shared; kind++) {
		if (!kinds[kind].count)
			continue;
		if (!whole_own_make(&key->own[kind], &kinds[kind], kind == WHOLE_KIND_ROOT,
				    position, number_bits))
			key->exact = false;
		key->groups |= key->own[kind].group.mask != 0;
		key->strange |= key->own[kind].type.mask != 0;
	}
	key->parts = key->part.mask != 0;
	key->mask = UINT64_MAX << number_bits;
}

static inline uint64_t whole_part(const struct whole_field *field, uint64_t word)
{
	return (word >> field->shift & field->mask) * field->unit;
}

static inline uint64_t whole_key_of(const struct whole_key *key, const struct rs_delta *delta)
{
	const struct whole_own *own = &key->own[whole_kind(delta)];
	uint64_t item = own->item;

	item |= whole_part(&key->row, batch_row(delta->bytenr));
	item |= whole_part(&own->root, delta->root);
	item |= whole_part(&own->owner, delta->owner);
	item |= whole_part(&own->offset, delta->offset);
	if (key->parts)
		item |= whole_part(&key->part, delta_part(delta->bytenr));
	if (key->groups)
		item |= whole_part(&own->group, delta->seq_type >> 8);
	if (key->strange)
		item |= whole_part(&key->below, delta->bytenr & (RS_DELTA_UNIT - 1)) |
			whole_part(&own->type, delta->seq_type & 0xff);
	return item;
}

/* As the result is ordered, and root deltas behind all others. */
static int whole_compare(const struct batch_whole *whole, uint64_t a, uint64_t b)
{
	const struct rs_delta *one = batch_whole_number(whole->chunks, a & whole->index_mask);
	const struct rs_delta *two = batch_whole_number(whole->chunks, b & whole->index_mask);
	int order = (int)delta_is_root(one) - (int)delta_is_root(two);

	return order ? order : batch_order(one, two);
}

static void whole_insert(const struct batch_whole *whole, uint64_t *items, size_t count)
{
	size_t at;

	for (at = 1; at < count; at++) {
		uint64_t item = items[at];
		size_t to = at;

		for (; to && whole_compare(whole, items[to - 1], item) > 0; to--)
			items[to] = items[to - 1];
		items[to] = item;
	}
}

/*
 * Recursion ends: what is sorted once more is equal in as many bits more as there were in the
 * items, some 30 at least, of the 5 words that a key has.
 */
static void whole_sort(const struct batch_whole *whole, uint64_t *items, uint64_t *other,
		       size_t count)
{
	struct whole_seen kinds[WHOLE_KINDS];
	struct whole_key key;
	uint64_t *sorted;
	size_t begin;
	size_t end;

	whole_measure(whole, items, count, kinds);
	whole_key_make(&key, kinds, batch_bits(whole->index_mask));
	for (begin = 0; begin < count; begin++) {
		uint64_t number = items[begin] & whole->index_mask;

		items[begin] = number |
			       whole_key_of(&key, batch_whole_number(whole->chunks, number));
	}
	sorted = batch_sort_items(items, other, count, key.mask);
	if (sorted != items)
		memcpy(items, sorted, count * sizeof(*items));
	for (begin = 0; begin < count && !key.exact; begin = end) {
		for (end = begin + 1; end < count && !((items[begin] ^ items[end]) & key.mask);
		     end++)
			;
		if (end == begin + 1)
			continue;
		if (end - begin <= WHOLE_FEW)
			whole_insert(whole, items + begin, end - begin);
		else
			whole_sort(whole, items + begin, other + begin, end - begin);
	}
}

static size_t whole_roots(const struct batch_whole *whole)
{
	size_t roots = 0;

	while (roots < whole->count &&
	       delta_is_root(batch_whole_at(whole, whole->count - 1 - roots)))
		roots++;
	return roots;
}

void batch_whole_sort(struct batch *batch, size_t piece, struct batch_whole *whole)
{
	struct batch_work *work = &batch->work;
	struct batch_chunk *chunk = batch->whole.tails[piece].first;
	size_t at;

	whole->count = batch->whole.fill[piece];
	whole->chunks = work->chunks;
	whole->items = work->items;
	whole->index_mask = (UINT64_C(1) << batch_bits(whole->count - 1)) - 1;
	for (at = 0; chunk; chunk = chunk->next)
		work->chunks[at++] = chunk;
	for (at = 0; at < whole->count; at++)
		work->items[at] = at;
	if (whole->count <= WHOLE_FEW)
		whole_insert(whole, work->items, whole->count);
	else
		whole_sort(whole, work->items, work->other, whole->count);
	whole->refs = whole->count - whole_roots(whole);
}
