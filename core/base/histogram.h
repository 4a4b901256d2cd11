/* SPDX-License-Identifier: MIT */
/*
 * Times in buckets that are 1/64 of their value wide: under 1 % from their middle. Values below 128 have a
 * bucket each; what does not fit into the last one is counted apart.
 *
 * Callers: a histogram belongs to one thread at a time; each thread has its own, and they are added up.
 */
#ifndef REFSTORM_BASE_HISTOGRAM_H
#define REFSTORM_BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BITS 6U    /* a doubling has 1 << so many buckets */
#define HISTOGRAM_GROUPS 37U /* up to 2^42 ns: over an hour */
#define HISTOGRAM_BUCKETS (HISTOGRAM_GROUPS << HISTOGRAM_BITS)

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t over; /* of count: above the last bucket */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that so much of all (0 to 1) does not exceed: the middle of its bucket, and never above max. 0 if it is empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double part);

/* The lowest value of bucket `at`, and the number of the bucket of a value (HISTOGRAM_BUCKETS: over). */
uint64_t histogram_bucket_low(size_t at);
size_t histogram_bucket_of(uint64_t value);

#endif /* REFSTORM_BASE_HISTOGRAM_H */
