/* SPDX-License-Identifier: MIT */
/*
 * What the inputs of the fuzz targets mean. One thread.
 *
 * A leaf: the first byte says how. Even: what follows is the block, as it is; node size
 * FUZZ_RAW_BYTES. Odd: what follows are items, put into a leaf of FUZZ_NODE_BYTES one after the
 * other: type (1 byte), objectid (8), offset (8), size (2), data.
 */
#ifndef REFSTORM_TEST_FUZZ_INPUT_H
#define REFSTORM_TEST_FUZZ_INPUT_H

#include "core/disk/node.h"

#define FUZZ_RAW_BYTES 4096
#define FUZZ_NODE_BYTES 16384
#define FUZZ_ITEM_BYTES 19
#define FUZZ_BYTENR (UINT64_C(1) << 20)
#define FUZZ_GENERATION 10

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* Zeros behind the end. */
uint64_t fuzz_take(struct fuzz_input *input, unsigned bytes);

struct fuzz_leaf {
	uint8_t *block; /* memory of its own, so that a byte read behind it is seen */
	struct node_rules rules;
	struct node_expect expect;
};

/* A leaf of tree `owner`, header and checksum right; whether it is sound only node_check tells. */
void fuzz_leaf_make(struct fuzz_leaf *leaf, const uint8_t *data, size_t size, uint64_t owner);

void fuzz_leaf_free(struct fuzz_leaf *leaf);

/* An item for an input of the odd kind. Bytes written. */
size_t fuzz_item_write(uint8_t *to, const struct format_key *key, const uint8_t *data,
		       uint32_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif /* REFSTORM_TEST_FUZZ_INPUT_H */
