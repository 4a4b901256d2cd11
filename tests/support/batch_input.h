/* SPDX-License-Identifier: MIT */
/* Batches of deltas by chance, of given shapes. Callers: any thread, each with its own input. */
#ifndef REFSTORM_TEST_BATCH_INPUT_H
#define REFSTORM_TEST_BATCH_INPUT_H

#include "core/delayed/batch.h"

#define BATCH_INPUT_SPANS 1024U

/* What a batch is made of. 0 in a number stands for its plainest. */
struct batch_shape {
	const char *name;
	size_t count;
	uint64_t extents;   /* different ones */
	uint64_t stride;    /* bytes from one to the next; 0: anywhere in 64 bits */
	uint64_t base;      /* of the first */
	uint64_t roots;     /* different ones */
	uint64_t root_step; /* from one to the next; 0: anywhere in 64 bits */
	unsigned whole_in;  /* one in so many root deltas has a reservation */
	unsigned refs_in;   /* one in so many deltas is a back reference; 0: none, 1: all */
	uint64_t keys;      /* different owners and offsets; 0: anywhere in 64 bits */
	unsigned groups;
	uint64_t seqs;      /* numbers from 1 on */
	uint64_t count_max; /* of references gained or lost */
	bool sequential;    /* extents one after the other, not by chance */
	bool skewed;        /* half of the deltas are of the first extent */
	bool extreme;       /* counts and reservations as large as they can be */
};

struct batch_input {
	struct rs_delta *deltas;
	size_t count;
	struct sequence_groups groups;
	struct batch_span spans[BATCH_INPUT_SPANS];
	size_t span_count;
};

#define BATCH_SHAPES 21U

/* Their `count` is 0. */
extern const struct batch_shape batch_shapes[BATCH_SHAPES];

/* The deltas are freed with free. */
void batch_input_make(struct batch_input *input, const struct batch_shape *shape, uint64_t seed);

#endif /* REFSTORM_TEST_BATCH_INPUT_H */
