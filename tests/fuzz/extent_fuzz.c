/* SPDX-License-Identifier: MIT */
/* A leaf of the extent tree, as the check of back references reads it. */
#include <stdlib.h>

#include "stress/oracle/extent_items.h"
#include "tests/fuzz/fuzz_input.h"

static int on_extent(void *argument, unsigned worker, const struct mapped_extent *extent)
{
	uint64_t *sum = argument;

	(void)worker;
	*sum += extent->bytenr + extent->bytes + extent->refs + extent->level;
	return 0;
}

static int on_reference(void *argument, unsigned worker, const struct reference *reference,
			uint64_t count)
{
	uint64_t *sum = argument;
	char text[REFERENCE_TEXT_BYTES];

	(void)worker;
	if (reference_compare(reference, reference) ||
	    !memchr(reference_text(reference, text), 0, sizeof(text)))
		abort();
	*sum += count * reference_hash(reference, 1);
	return 0;
}

static int on_wrong(void *argument, unsigned worker, enum backref_kind kind, uint64_t bytenr,
		    const char *detail)
{
	uint64_t *sum = argument;

	(void)worker;
	if (!backref_kind_name(kind)[0] || !detail[0])
		abort();
	*sum += bytenr;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_leaf leaf;
	uint64_t sum = 0;
	const struct extent_items_sink sink = {
		.argument = &sum,
		.extent = on_extent,
		.reference = on_reference,
		.wrong = on_wrong,
	};
	struct rs_error error = RS_ERROR_INIT;

	fuzz_leaf_make(&leaf, data, size, BTRFS_EXTENT_TREE_OBJECTID);
	if (!node_check(&leaf.rules, &leaf.expect, leaf.block, &error) &&
	    extent_items_read(leaf.block, leaf.rules.node_bytes, leaf.rules.sector_bytes, &sink))
		abort();
	fuzz_leaf_free(&leaf);
	return 0;
}
