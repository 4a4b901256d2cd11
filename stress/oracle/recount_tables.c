/* SPDX-License-Identifier: MIT */
#include "stress/oracle/recount_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

#define FIRST_SLOTS 256U

/* Where the address is, or would be put. */
static struct recount_block *slot_of(const struct recount_blocks *blocks, uint64_t bytenr)
{
	uint64_t hash = (bytenr >> 12) * 0x9e3779b97f4a7c15ULL;
	size_t at = (size_t)(hash >> 20) & blocks->mask;

	/* Ends: there are free slots. */
	while (blocks->slots[at].used && blocks->slots[at].bytenr != bytenr)
		at = (at + 1) & blocks->mask;
	return &blocks->slots[at];
}

static int grow(struct recount_blocks *blocks)
{
	size_t slots = blocks->slots ? (blocks->mask + 1) * 2 : FIRST_SLOTS;
	struct recount_blocks larger = { .mask = slots - 1, .count = blocks->count };
	size_t at;

	if (blocks->slots && blocks->count < (blocks->mask + 1) / 2)
		return 0;
	larger.slots = alloc_zeroed(slots, sizeof(*larger.slots));
	if (!larger.slots)
		return -ENOMEM;
	for (at = 0; blocks->slots && at <= blocks->mask; at++)
		if (blocks->slots[at].used)
			*slot_of(&larger, blocks->slots[at].bytenr) = blocks->slots[at];
	alloc_free(blocks->slots);
	*blocks = larger;
	return 0;
}

struct recount_block *recount_blocks_get(struct recount_blocks *blocks, uint64_t bytenr)
{
	struct recount_block *block;

	if (grow(blocks))
		return NULL;
	block = slot_of(blocks, bytenr);
	if (!block->used) {
		*block = (struct recount_block){ .bytenr = bytenr, .used = true };
		blocks->count++;
	}
	return block;
}

struct recount_block *recount_blocks_find(const struct recount_blocks *blocks, uint64_t bytenr)
{
	struct recount_block *block;

	if (!blocks->slots)
		return NULL;
	block = slot_of(blocks, bytenr);
	return block->used ? block : NULL;
}

int recount_refs_add(struct recount_refs *refs, const struct recount_ref *ref)
{
	struct recount_ref *grown =
		array_grow(refs->refs, refs->count, 1, &refs->capacity, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	refs->refs = grown;
	refs->refs[refs->count++] = *ref;
	return 0;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

int recount_refs_compare(const struct recount_ref *a, const struct recount_ref *b)
{
	int order = compare_numbers(a->bytenr, b->bytenr);

	if (!order)
		order = compare_numbers(a->type, b->type);
	if (!order)
		order = compare_numbers(a->from, b->from);
	if (!order)
		order = compare_numbers(a->owner, b->owner);
	return order ? order : compare_numbers(a->offset, b->offset);
}

static int compare_with_bytes(const void *a, const void *b)
{
	const struct recount_ref *left = a;
	const struct recount_ref *right = b;
	int order = recount_refs_compare(left, right);

	return order ? order : compare_numbers(left->bytes, right->bytes);
}

void recount_refs_merge(struct recount_refs *refs)
{
	size_t kept = 0;
	size_t at;

	if (!refs->count)
		return;
	qsort(refs->refs, refs->count, sizeof(*refs->refs), compare_with_bytes);
	for (at = 1; at < refs->count; at++) {
		/* Two lengths of one reference are found as such later, by the first of them. */
		if (!compare_with_bytes(&refs->refs[kept], &refs->refs[at]))
			refs->refs[kept].count += refs->refs[at].count;
		else
			refs->refs[++kept] = refs->refs[at];
	}
	refs->count = kept + 1;
}
