/* SPDX-License-Identifier: MIT */
#include "core/base/histogram.h"

size_t histogram_bucket_of(uint64_t value)
{
	unsigned group;
	size_t at;

	if (value < UINT64_C(2) << HISTOGRAM_BITS)
		return (size_t)value;
	group = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
	at = ((size_t)group << HISTOGRAM_BITS) + (size_t)(value >> group);
	return at < HISTOGRAM_BUCKETS ? at : HISTOGRAM_BUCKETS;
}

uint64_t histogram_bucket_low(size_t at)
{
	unsigned group = (unsigned)(at >> HISTOGRAM_BITS);

	if (group < 2)
		return at;
	group--;
	return ((uint64_t)at - ((uint64_t)group << HISTOGRAM_BITS)) << group;
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
	size_t at = histogram_bucket_of(value);

	histogram->count++;
	histogram->sum += value;
	if (value > histogram->max)
		histogram->max = value;
	if (at < HISTOGRAM_BUCKETS)
		histogram->buckets[at]++;
	else
		histogram->over++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	size_t at;

	into->count += from->count;
	into->sum += from->sum;
	into->over += from->over;
	if (from->max > into->max)
		into->max = from->max;
	for (at = 0; at < HISTOGRAM_BUCKETS; at++)
		into->buckets[at] += from->buckets[at];
}

uint64_t histogram_quantile(const struct histogram *histogram, double part)
{
	uint64_t rank = (uint64_t)(part * (double)histogram->count);
	uint64_t seen = 0;
	size_t at;

	if (!histogram->count)
		return 0;
	if (rank >= histogram->count)
		rank = histogram->count - 1;
	for (at = 0; at < HISTOGRAM_BUCKETS; at++) {
		uint64_t low = histogram_bucket_low(at);
		uint64_t middle = low + (histogram_bucket_low(at + 1) - low) / 2;

		seen += histogram->buckets[at];
		if (seen > rank)
			return middle < histogram->max ? middle : histogram->max;
	}
	return histogram->max;
}
