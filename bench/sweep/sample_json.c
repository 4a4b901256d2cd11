// SPDX-License-Identifier: MIT
#include "bench/sweep/sample_json.h"

#include <stdio.h>
#include <string.h>

/* Appends, and lets go of the array if that fails. */
static bool append(json_t **array, json_t *value)
{
	if (*array && !json_array_append_new(*array, value))
		return true;
	json_decref(*array);
	*array = NULL;
	return false;
}

json_t *sample_json_buckets(const struct histogram *histogram)
{
	json_t *buckets = json_array();
	size_t at;

	for (at = 0; at < HISTOGRAM_BUCKETS; at++)
		if (histogram->buckets[at] &&
		    !append(&buckets, json_pack("[I, I]", (json_int_t)histogram_bucket_low(at),
						(json_int_t)histogram->buckets[at])))
			return NULL;
	return buckets;
}

static json_t *json_time(uint64_t time_ns, bool measured)
{
	return measured ? json_integer((json_int_t)time_ns) : json_null();
}

json_t *sample_json_lock(const struct sample_lock *lock, bool times)
{
	const struct lock_statistics *numbers = &lock->numbers;

	return json_pack("{s:s, s:i, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "name", lock->name,
			 "rank", (int)numbers->rank, "acquisitions",
			 (json_int_t)numbers->acquisitions, "contended",
			 (json_int_t)numbers->contended, "wait_ns",
			 json_time(numbers->wait_ns, times), "wait_ns_p99",
			 json_time(numbers->wait_ns_p99, times), "wait_ns_max",
			 json_time(numbers->wait_ns_max, times), "hold_ns",
			 json_time(numbers->hold_ns, times), "hold_ns_max",
			 json_time(numbers->hold_ns_max, times));
}

static json_t *pack_metrics(const struct sample *sample)
{
	json_t *metrics = json_array();
	unsigned at;

	for (at = 0; at < SAMPLE_METRICS; at++)
		if (!append(&metrics,
			    sample->has[at] ? json_real(sample->metrics[at]) : json_null()))
			return NULL;
	return metrics;
}

static json_t *pack_latencies(const struct sample *sample, unsigned operations)
{
	json_t *latencies = json_array();
	unsigned at;

	for (at = 0; at < operations; at++) {
		const struct histogram *histogram = &sample->latencies[at];

		if (!append(&latencies,
			    json_pack("{s:I, s:I, s:I, s:I, s:o}", "count",
				      (json_int_t)histogram->count, "sum",
				      (json_int_t)histogram->sum, "max", (json_int_t)histogram->max,
				      "over", (json_int_t)histogram->over, "buckets",
				      sample_json_buckets(histogram))))
			return NULL;
	}
	return latencies;
}

/* As in the result, and the waits that its p99 is counted from: [[bucket, count], ...]. */
static json_t *pack_lock(const struct sample_lock *lock)
{
	json_t *packed = sample_json_lock(lock, true);
	json_t *waits = json_array();
	unsigned at;

	for (at = 0; at < LOCK_WAIT_BUCKETS; at++)
		if (lock->numbers.waits[at] &&
		    !append(&waits,
			    json_pack("[i, I]", (int)at, (json_int_t)lock->numbers.waits[at])))
			break;
	if (json_object_set_new(packed, "waits", waits)) {
		json_decref(packed);
		return NULL;
	}
	return packed;
}

static json_t *pack_locks(const struct sample *sample)
{
	json_t *locks = json_array();
	size_t at;

	for (at = 0; at < sample->lock_count; at++)
		if (!append(&locks, pack_lock(&sample->locks[at])))
			return NULL;
	return locks;
}

json_t *sample_json_pack(const struct sample *sample, unsigned operations)
{
	return json_pack("{s:I, s:o, s:o, s:o}", "operations", (json_int_t)sample->operations,
			 "metrics", pack_metrics(sample), "latencies",
			 pack_latencies(sample, operations), "locks", pack_locks(sample));
}

static uint64_t number(const json_t *json, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(json, name));
}

static bool unpack_histogram(const json_t *json, struct histogram *histogram)
{
	const json_t *buckets = json_object_get(json, "buckets");
	size_t at;

	if (!json_is_array(buckets))
		return false;
	histogram->count = number(json, "count");
	histogram->sum = number(json, "sum");
	histogram->max = number(json, "max");
	histogram->over = number(json, "over");
	for (at = 0; at < json_array_size(buckets); at++) {
		const json_t *pair = json_array_get(buckets, at);
		size_t bucket =
			histogram_bucket_of((uint64_t)json_integer_value(json_array_get(pair, 0)));

		if (bucket >= HISTOGRAM_BUCKETS)
			return false;
		histogram->buckets[bucket] = (uint64_t)json_integer_value(json_array_get(pair, 1));
	}
	return true;
}

static bool unpack_lock(const json_t *json, struct sample_lock *lock)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	const json_t *waits = json_object_get(json, "waits");
	struct lock_statistics *numbers = &lock->numbers;
	size_t at;

	if (!name || !json_is_array(waits))
		return false;
	snprintf(lock->name, sizeof(lock->name), "%s", name);
	numbers->rank = (enum lock_rank)number(json, "rank");
	numbers->acquisitions = number(json, "acquisitions");
	numbers->contended = number(json, "contended");
	numbers->wait_ns = number(json, "wait_ns");
	numbers->wait_ns_p99 = number(json, "wait_ns_p99");
	numbers->wait_ns_max = number(json, "wait_ns_max");
	numbers->hold_ns = number(json, "hold_ns");
	numbers->hold_ns_max = number(json, "hold_ns_max");
	for (at = 0; at < json_array_size(waits); at++) {
		const json_t *pair = json_array_get(waits, at);
		json_int_t bucket = json_integer_value(json_array_get(pair, 0));

		if (bucket < 0 || bucket >= LOCK_WAIT_BUCKETS)
			return false;
		numbers->waits[bucket] = (uint64_t)json_integer_value(json_array_get(pair, 1));
	}
	return true;
}

bool sample_json_unpack(const json_t *json, unsigned operations, struct sample *sample)
{
	const json_t *metrics = json_object_get(json, "metrics");
	const json_t *latencies = json_object_get(json, "latencies");
	const json_t *locks = json_object_get(json, "locks");
	size_t at;

	memset(sample, 0, sizeof(*sample));
	sample->operations = number(json, "operations");
	sample->lock_count = json_array_size(locks);
	if (json_array_size(metrics) != SAMPLE_METRICS ||
	    json_array_size(latencies) != operations || sample->lock_count > SAMPLE_LOCKS_MAX)
		return false;
	for (at = 0; at < SAMPLE_METRICS; at++) {
		const json_t *value = json_array_get(metrics, at);

		sample->has[at] = !json_is_null(value);
		sample->metrics[at] = json_number_value(value);
	}
	for (at = 0; at < operations; at++)
		if (!unpack_histogram(json_array_get(latencies, at), &sample->latencies[at]))
			return false;
	for (at = 0; at < sample->lock_count; at++)
		if (!unpack_lock(json_array_get(locks, at), &sample->locks[at]))
			return false;
	return true;
}
