/* SPDX-License-Identifier: MIT */
#include "stress/record/tally.h"

#include <errno.h>

#include "core/base/alloc.h"

int tally_create(struct tally *tally, const struct keyspace *space)
{
	tally->counts = alloc_zeroed(space->keys, sizeof(*tally->counts));
	tally->reserved = alloc_zeroed(space->keys, sizeof(*tally->reserved));
	if (tally->counts && tally->reserved)
		return 0;
	tally_destroy(tally);
	return -ENOMEM;
}

void tally_destroy(struct tally *tally)
{
	alloc_free(tally->counts);
	alloc_free(tally->reserved);
	tally->counts = NULL;
	tally->reserved = NULL;
}

uint64_t tally_compare(const struct keyspace *space, const struct tally *const *in, unsigned count,
		       const struct tally *out, tally_difference_fn *fn)
{
	uint64_t differences = 0;
	uint32_t key;
	unsigned at;

	for (key = 0; key < space->keys; key++) {
		int64_t counts[2] = { 0, out->counts[key] };
		uint64_t reserved[2] = { 0, out->reserved[key] };

		for (at = 0; at < count; at++) {
			counts[0] += in[at]->counts[key];
			reserved[0] += in[at]->reserved[key];
		}
		if (counts[0] == counts[1] && reserved[0] == reserved[1])
			continue;
		differences++;
		fn(space, key, counts, reserved);
	}
	return differences;
}
