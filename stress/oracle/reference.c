/* SPDX-License-Identifier: MIT */
#include "stress/oracle/reference.h"

#include <inttypes.h>
#include <stdio.h>

/* Multiplies to 128 bits and folds: every bit of both goes into every bit of the result. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t reference_hash(const struct reference *reference, uint64_t seed)
{
	uint64_t hash = mix(seed ^ reference->from, 0xd6e8feb86659fd93ULL ^ reference->type);

	hash = mix(hash ^ reference->objectid, 0xa0761d6478bd642fULL ^ seed);
	hash = mix(hash ^ reference->offset, 0xe7037ed1a0b428dbULL);
	return hash | 1;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

int reference_compare(const struct reference *a, const struct reference *b)
{
	int order = compare_numbers(a->bytenr, b->bytenr);

	if (!order)
		order = compare_numbers(a->type, b->type);
	if (!order)
		order = compare_numbers(a->from, b->from);
	if (!order)
		order = compare_numbers(a->objectid, b->objectid);
	return order ? order : compare_numbers(a->offset, b->offset);
}

const char *reference_text(const struct reference *reference, char *text)
{
	switch (reference->type) {
	case BTRFS_TREE_BLOCK_REF_KEY:
		snprintf(text, REFERENCE_TEXT_BYTES, "tree block of tree %" PRId64,
			 (int64_t)reference->from);
		break;
	case BTRFS_SHARED_BLOCK_REF_KEY:
		snprintf(text, REFERENCE_TEXT_BYTES, "tree block below the block at %" PRIu64,
			 reference->from);
		break;
	case BTRFS_SHARED_DATA_REF_KEY:
		snprintf(text, REFERENCE_TEXT_BYTES, "file extent in the leaf at %" PRIu64,
			 reference->from);
		break;
	default:
		snprintf(text, REFERENCE_TEXT_BYTES,
			 "file extent of tree %" PRId64 ", inode %" PRIu64 ", offset %" PRIu64,
			 (int64_t)reference->from, reference->objectid, reference->offset);
	}
	return text;
}
